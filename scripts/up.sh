#!/usr/bin/env bash
# Brings up the whole platform on this machine: databases, services, a first admin, a user with credits and chatflows.
# Every variable of .env.example may be given in the environment; `make up NAME=value` does that too.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)"
# shellcheck source=scripts/lib.sh
. "$here/lib.sh"
# shellcheck source=scripts/stack.sh
. "$here/stack.sh"
# shellcheck source=scripts/up/settings.sh
. "$here/up/settings.sh"
# shellcheck source=scripts/up/processes.sh
. "$here/up/processes.sh"
# shellcheck source=scripts/up/accounts.sh
. "$here/up/accounts.sh"
# shellcheck source=scripts/up/table.sh
. "$here/up/table.sh"

cd "$ROOT"
have curl || die "curl is needed to set the stack up; install it (Debian, Ubuntu: sudo apt-get install curl)"
have cargo || die "cargo is not in PATH; install Rust from https://rustup.rs"
umask 077
lock_stack
mkdir -p "$LOGS"
# PostgreSQL may run as another user, who has to pass through here to its own folder.
chmod 755 "$STATE"

if everything_runs; then
    load_settings
    say "the stack already runs; make down stops it"
    print_table
    exit 0
fi

if anything_runs; then
    say "only a part of the stack runs; it is started anew as a whole"
    stop_services
fi
choose_settings
make_secrets
check_ports
build
start_databases
for service in "${SERVICES[@]}"; do
    if is_wanted "$service"; then start_service "$service"; fi
done
wait_until_ready
set_up_accounts
write_stack_file
say "the stack runs"
print_table
