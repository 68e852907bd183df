#!/usr/bin/env bash
# Every test of the workspace, on databases of its own that are started before and gone afterwards.
# Arguments are passed on:  scripts/test.sh -E 'package(proxy-service)'
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)"
# shellcheck source=scripts/lib.sh
. "$here/lib.sh"
cd "$ROOT"

have cargo || die "cargo is not in PATH; install Rust from https://rustup.rs"
mkdir -p .flowgate
# What a run that was killed has left behind.
for left in "$ROOT"/.flowgate/test.*; do
    if [ -d "$left" ] && ! our_process "$left/run.pid" >/dev/null; then
        "$here/databases.sh" stop "$left" || true
        rm -rf "$left"
    fi
done
# A folder of its own for each run: two at once must not meet.
databases="$(mktemp -d "$ROOT/.flowgate/test.XXXXXX")"
remember_process "$databases/run.pid" "$$"
chmod 755 "$databases"
finish() {
    "$here/databases.sh" stop "$databases" || true
    rm -rf "$databases"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# What the deployment tests run; they would fetch it themselves, each waiting for the others.
"$here/programs.sh" fetch
eval "$("$here/databases.sh" start "$databases" --fast)"
export TEST_POSTGRES_URL TEST_MONGODB_URL TEST_REDIS_URL

if cargo nextest --version >/dev/null 2>&1; then
    cargo nextest run --config-file scripts/nextest.toml --workspace --locked "$@"
else
    cargo test --workspace --locked --all-targets "$@"
fi
if [ $# -eq 0 ]; then cargo test --workspace --locked --doc; fi
