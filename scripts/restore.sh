#!/usr/bin/env bash
# Puts a backup back into empty databases. Stops the services of deploy/compose.yaml before, and starts them after.
#
#   scripts/restore.sh FOLDER       or FROM=FOLDER: one folder that scripts/backup.sh has made
#
# Databases that are not empty are left alone: on a new machine bring the platform up, then `REPLACE=yes` says that what
# it has made by itself may go. DIRECT=yes as in backup.sh; then nothing may run on the databases.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)"
# shellcheck source=scripts/lib.sh
. "$here/lib.sh"
# shellcheck source=scripts/archives.sh
. "$here/archives.sh"

source="${1:-${FROM:-}}"
[ -s "${source:-.}/SHA256SUMS" ] || die "which backup? A folder that backup.sh has made, not ${source:-nothing}"
source="$(cd "$source" && pwd -P)"
# Before anything is touched: is the backup what it was?
(cd "$source" && sha256sum --check --quiet --strict SHA256SUMS >&2) || die "the backup is damaged; nothing was done"
is_empty_or_replaced || die "the database of accounting-service is not empty; nothing was done (REPLACE=yes replaces all three)"

services_stop
trap 'say "the services stay stopped, for not everything is restored: mend what is told above, and run this again with REPLACE=yes"' EXIT
load auth <"$source/auth.bson.gz"
load proxy <"$source/proxy.bson.gz"
load accounting <"$source/accounting.dump"
trap - EXIT
services_start
say "restored $source; accounting-service verify and make smoke say whether all is well"
