#!/usr/bin/env bash
# Says of each part of the stack whether it runs and is ready; status 1 when one is not.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)"
# shellcheck source=scripts/lib.sh
. "$here/lib.sh"
# shellcheck source=scripts/stack.sh
. "$here/stack.sh"

if [ ! -s "$SETTINGS_FILE" ]; then
    if containers_run; then exec "$here/compose.sh" status; fi
    printf 'the stack does not run; make up starts it\n'
    exit 1
fi
# shellcheck source=/dev/null
. "$SETTINGS_FILE"

missing=0
line() { printf '%-20s %-14s %s\n' "$@"; }
for service in "${SERVICES[@]}"; do
    is_wanted "$service" || continue
    if ! is_running "$service"; then
        line "$service" "not running" "see $(log_file "$service")"
        missing=1
    elif ! is_ready "$service"; then
        line "$service" "not ready" "$(service_url "$service")$(ready_path "$service")"
        missing=1
    else
        line "$service" ready "$(service_url "$service")"
    fi
done
for database in postgres mongodb; do
    if our_process "$DATABASES/$database.pid" >/dev/null; then
        line "$database" running "127.0.0.1:$(cat "$DATABASES/$database.port")"
    else
        line "$database" "not running" "make up starts it"
        missing=1
    fi
done
exit "$missing"
