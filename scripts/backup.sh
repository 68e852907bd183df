#!/usr/bin/env bash
# Saves the three databases into a new folder, while everything runs.
#
#   scripts/backup.sh [FOLDER]      or TO=FOLDER; /var/backups/flowgate unless one is named; KEEP=14 backups stay
#
# Databases in the containers of deploy/compose.yaml are saved through their containers. DIRECT=yes saves databases at
# other addresses with the programs of this machine: AUTH_MONGODB_URI, PROXY_MONGODB_URI (and MONGODB_DATABASE_NAME) and
# DATABASE_URL say where, AUTH_SERVICE and PROXY_SERVICE how the services' programs are called.
#
# The secrets are not part of it: keep deploy/secrets apart, without it sealed data cannot be opened again.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)"
# shellcheck source=scripts/lib.sh
. "$here/lib.sh"
# shellcheck source=scripts/archives.sh
. "$here/archives.sh"

target="${1:-${TO:-/var/backups/flowgate}}"
umask 077
mkdir -p "$target"
target="$(cd "$target" && pwd -P)"
moment="$(date -u +%Y%m%dT%H%M%SZ)"
work="$target/.$moment.$$"
mkdir "$work"
trap 'rm -rf "$work"' EXIT

# In this order: a turn that is settled in between is settled again after a restore, which changes nothing; and what
# happened to people is never older than what the others remember of it.
save proxy >"$work/proxy.bson.gz"
save accounting >"$work/accounting.dump"
save auth >"$work/auth.bson.gz"
(cd "$work" && sha256sum proxy.bson.gz accounting.dump auth.bson.gz >SHA256SUMS)
sync "$work"/* 2>/dev/null || true
mv "$work" "$target/$moment"
trap - EXIT
say "saved $(du -sh "$target/$moment" | cut -f 1) into $target/$moment"

# The oldest go; only folders that this script has made.
if [[ "${KEEP:-}" =~ ^[1-9][0-9]*$ ]]; then
    find "$target" -mindepth 1 -maxdepth 1 -type d -name '[0-9]*T[0-9]*Z' | sort -r | tail -n "+$((KEEP + 1))" |
        while IFS= read -r old; do
            rm -rf "$old"
            say "removed $old"
        done
fi
