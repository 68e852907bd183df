#!/usr/bin/env bash
# Stops everything that `make up` has started, also when part of it has crashed. The data stays.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)"
# shellcheck source=scripts/lib.sh
. "$here/lib.sh"
# shellcheck source=scripts/stack.sh
. "$here/stack.sh"

# A service drains its streams for SHUTDOWN_GRACE_SECS; after somewhat more it is made to stop.
STOP_SECONDS=$((${SHUTDOWN_GRACE_SECS:-30} + 10))

lock_stack
stopped=0
for ((index = ${#SERVICES[@]} - 1; index >= 0; index--)); do
    service="${SERVICES[$index]}"
    if is_running "$service"; then
        say "stopping $service"
        stopped=$((stopped + 1))
    fi
    end_process "$(pid_file "$service")" "$STOP_SECONDS"
done
if [ -d "$DATABASES" ]; then
    say "stopping the databases"
    "$here/databases.sh" stop "$DATABASES" 8>&-
fi
rm -f "$SETTINGS_FILE" "$STATE/stand-in.key"
say "stopped; the data stays in $STATE (delete that folder to begin anew)"
