#!/usr/bin/env bash
# The newest log lines of the stack, followed while standard output is a terminal. SERVICE=proxy-service shows one.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)"
# shellcheck source=scripts/lib.sh
. "$here/lib.sh"
# shellcheck source=scripts/stack.sh
. "$here/stack.sh"

files=()
for service in "${SERVICES[@]}"; do
    if [ -n "${SERVICE:-}" ] && [ "$SERVICE" != "$service" ] && [ "$SERVICE-service" != "$service" ]; then continue; fi
    if [ -e "$(log_file "$service")" ]; then files+=("$(log_file "$service")"); fi
done
if [ "${#files[@]}" -eq 0 ] && containers_run; then exec "$here/compose.sh" logs; fi
[ "${#files[@]}" -gt 0 ] || die "there is no log${SERVICE:+ of $SERVICE}; make up starts the stack"
if [ -t 1 ]; then
    exec tail -n 40 -F "${files[@]}"
else
    exec tail -n 40 "${files[@]}"
fi
