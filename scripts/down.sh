#!/usr/bin/env bash
# Stops everything that `make up` has started, also when part of it has crashed. The data stays.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)"
# shellcheck source=scripts/lib.sh
. "$here/lib.sh"
# shellcheck source=scripts/stack.sh
. "$here/stack.sh"

lock_stack
stop_services
if [ -d "$DATABASES" ]; then
    say "stopping the databases"
    "$here/databases.sh" stop "$DATABASES" 8>&-
fi
rm -f "$SETTINGS_FILE" "$STATE/stand-in.key" "$STATE/stand-in-n8n.key"
say "stopped; the data stays in $STATE (delete that folder to begin anew)"
