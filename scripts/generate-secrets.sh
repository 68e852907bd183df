#!/usr/bin/env bash
# Makes the secrets of a deployment, each in a file of its own, and never touches one that is there.
#
#   scripts/generate-secrets.sh [FOLDER]    deploy/secrets unless another is named
#
# The folder is for its owner only. The files in it are readable by all, because Docker hands them to the containers'
# users as they are; nobody else can get to them.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)"
# shellcheck source=scripts/lib.sh
. "$here/lib.sh"

folder="${1:-$ROOT/deploy/secrets}"
mkdir -p "$folder"
chmod 700 "$folder"
made=0

# put NAME VALUE: written beside and moved, so that a file is there whole or not at all.
put() {
    [ ! -e "$folder/$1" ] || return 0
    printf '%s' "$2" >"$folder/.$1.new"
    chmod 444 "$folder/.$1.new"
    mv "$folder/.$1.new" "$folder/$1"
    made=$((made + 1))
}

random_hex() { head -c "$1" /dev/urandom | od -An -tx1 | tr -d ' \n'; }

for name in jwt_access jwt_refresh service_jwt data_encryption_key widget_jwt n8n_jwt; do put "$name" "$(random_hex 32)"; done
for name in mongodb_root_password mongodb_auth_password mongodb_proxy_password postgres_password db_password \
    grafana_password bootstrap_admin_password flowise_api_key n8n_api_key; do
    put "$name" "$(random_hex 16)"
done
put mongodb_keyfile "$(random_hex 256)"
# Empty until you put in what your mail server wants.
put smtp_pass ''
mongodb="mongodb:27017"
put mongodb_uri_auth "mongodb://auth:$(cat "$folder/mongodb_auth_password")@$mongodb/auth_db?authSource=admin&replicaSet=rs0"
put mongodb_uri_proxy "mongodb://proxy:$(cat "$folder/mongodb_proxy_password")@$mongodb/flowise_proxy?authSource=admin&replicaSet=rs0"

if [ "$made" -gt 0 ]; then
    say "made $made secrets in $folder; keep a copy of the folder with the backups, apart from them"
else
    say "all secrets are in $folder already"
fi
