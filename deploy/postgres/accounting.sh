#!/usr/bin/env bash
# Run once, on an empty cluster: a role for accounting-service that owns its database and nothing else.
set -euo pipefail

psql -v ON_ERROR_STOP=1 -X -q -v "password=$(cat /run/secrets/db_password)" postgres <<'SQL'
CREATE ROLE accounting LOGIN PASSWORD :'password';
CREATE DATABASE accounting_db OWNER accounting;
REVOKE ALL ON DATABASE accounting_db FROM PUBLIC;
SQL
