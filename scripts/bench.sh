#!/usr/bin/env bash
# Measures Flowgate beside a plain reverse proxy, its upstream called directly, and PostgreSQL's own benchmark, and
# prints one table of ratios. Everything runs on this machine, on durable databases (fsync on) of its own.
# Options go on to the program:  scripts/bench.sh --secs 20 --only ledger
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)"
# shellcheck source=scripts/lib.sh
. "$here/lib.sh"
# shellcheck source=scripts/databases/postgres.sh
. "$here/databases/postgres.sh"
cd "$ROOT"

have cargo || die "cargo is not in PATH; install Rust from https://rustup.rs"
mkdir -p .flowgate
databases="$(mktemp -d "$ROOT/.flowgate/bench.XXXXXX")"
chmod 755 "$databases"
finish() {
    "$here/databases.sh" stop "$databases" || true
    rm -rf "$databases"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# What is missing costs only its rows; the table says so.
have nginx || PATH="$PATH:/usr/sbin:/usr/local/sbin"
have nginx || install_packages nginx nginx-light nginx || say "nginx is not here; its rows will say so"

say "building in release mode; on a small machine the first time takes several minutes"
cargo build --release --workspace --locked --bins
eval "$("$here/databases.sh" start "$databases")"
postgres_programs="$(find_postgres)"

# The work folder keeps the services' logs until the next run.
rm -rf .flowgate/bench
"target/release/bench" --programs target/release --work "$ROOT/.flowgate/bench" \
    --postgres "$TEST_POSTGRES_URL" --mongodb "$TEST_MONGODB_URL" --postgres-programs "$postgres_programs" "$@"

case " $* " in *" --only "*) exit ;; esac
say "checking tokens: one core, in memory"
cargo bench --locked --package common-jwt --bench verify
