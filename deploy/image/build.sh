#!/usr/bin/env bash
# Builds the programs of the images; called by the Dockerfile.
#   build.sh dependencies   compiles what Cargo.lock names, with empty sources of our own
#   build.sh programs       compiles the rest and puts the programs into /out
set -euo pipefail

# What a program may have, so that its image has no more than 40 MB: the certificates beside it take 0.3.
PROGRAM_BYTES_MAX=39700000
PROGRAMS=(auth-service proxy-service accounting-service stand-in-flowise stand-in-n8n)
target="$(rustc -vV | sed -n 's/^host: //p')"
# What the linker of this platform can do for the size: functions with the same code are kept once, and addresses that are
# to be set at the start take a bit instead of 24 bytes.
case "$target" in
x86_64-*) export RUSTFLAGS="${RUSTFLAGS:-} -C link-arg=-Wl,--icf=all -C link-arg=-Wl,-z,pack-relative-relocs" ;;
esac
build=(cargo build --release --locked --target "$target")
for program in "${PROGRAMS[@]}"; do build+=(--bin "$program"); done

case "${1:-}" in
dependencies)
    for folder in crates/* tests; do
        mkdir -p "$folder/src"
        touch "$folder/src/lib.rs"
        # Tests and benchmarks that the manifest names have to exist.
        sed -n 's/^path = "\(.*\.rs\)"/\1/p' "$folder/Cargo.toml" | while read -r path; do
            mkdir -p "$folder/$(dirname "$path")"
            echo 'fn main() {}' >"$folder/$path"
        done
        sed -n '/^\[\[bench\]\]/,/^$/s/^name = "\(.*\)"/\1/p' "$folder/Cargo.toml" | while read -r name; do
            mkdir -p "$folder/benches"
            echo 'fn main() {}' >"$folder/benches/$name.rs"
        done
    done
    for service in auth-service proxy-service accounting-service; do
        echo 'fn main() {}' >"crates/$service/src/main.rs"
    done
    mkdir -p tests/src/bin
    for program in bench run-service stand-in-flowise stand-in-n8n; do echo 'fn main() {}' >"tests/src/bin/$program.rs"; done
    "${build[@]}"
    # Cargo compares times: what was compiled from nothing must not pass for new.
    for package in crates/*; do cargo clean --release --target "$target" -p "$(basename "$package")" --locked; done
    cargo clean --release --target "$target" -p system-tests --locked
    rm -rf crates tests
    ;;
programs)
    "${build[@]}"
    mkdir -p /out/empty
    for program in "${PROGRAMS[@]}"; do
        cp "target/$target/release/$program" /out/
        size="$(stat -c %s "/out/$program")"
        [ "$size" -le "$PROGRAM_BYTES_MAX" ] || echo "warning: $program has $size bytes; its image will be over 40 MB" >&2
    done
    ;;
*)
    sed -n '2,4s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac
