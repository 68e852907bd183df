#!/usr/bin/env bash
# Gives the server a copy of the key file that belongs to it and that nobody else reads; it refuses any other.
set -euo pipefail
install -m 400 -o mongodb -g mongodb /run/secrets/mongodb_keyfile /tmp/keyfile
exec docker-entrypoint.sh "$@"
