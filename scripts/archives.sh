# How each database is saved and loaded, in containers or directly. Sourced by backup.sh and restore.sh.
# shellcheck shell=bash

compose=(docker compose -f "$ROOT/deploy/compose.yaml")
SERVICES=(flowise-proxy accounting-service auth-service)

is_direct() { [ "${DIRECT:-}" = yes ]; }

replace_option() { if [ "${REPLACE:-}" = yes ]; then printf -- '--replace\n'; fi; }

# archive SERVICE backup|restore…: the service's own program does it.
archive() {
    local service="$1" program
    shift
    if ! is_direct; then
        [ "$service" = auth ] && service=auth-service || service=flowise-proxy
        "${compose[@]}" run --rm --no-deps -T "$service" "$@"
    elif [ "$service" = auth ]; then
        read -ra program <<<"${AUTH_SERVICE:-auth-service}"
        MONGODB_URI="${AUTH_MONGODB_URI:?says where the database of auth-service is}" "${program[@]}" "$@"
    else
        read -ra program <<<"${PROXY_SERVICE:-proxy-service}"
        MONGODB_URI="${PROXY_MONGODB_URI:?says where the database of proxy-service is}" "${program[@]}" "$@"
    fi
}

# postgres TOOL ARGUMENTS…: one of PostgreSQL's own programs, on the ledger's database.
postgres() {
    local tool="$1"
    shift
    if is_direct; then
        have "$tool" || die "$tool is needed (Debian, Ubuntu: sudo apt-get install postgresql-client)"
        "$tool" --dbname "${DATABASE_URL:?says where the database of accounting-service is}" "$@"
    else
        "${compose[@]}" exec -T postgres "$tool" --username postgres --dbname accounting_db "$@"
    fi
}

save() {
    case "$1" in
    auth | proxy) archive "$1" backup | gzip ;;
    accounting) postgres pg_dump --format=custom --no-owner --no-privileges ;;
    esac
}

load() {
    local -a options=()
    case "$1" in
    auth | proxy)
        mapfile -t options < <(replace_option)
        gzip -dc | archive "$1" restore ${options[@]+"${options[@]}"}
        ;;
    accounting)
        # All or nothing; in the name of the role that owns the database.
        options=(--single-transaction --exit-on-error --no-owner --no-privileges)
        if [ "${REPLACE:-}" = yes ]; then postgres psql -X -q -v ON_ERROR_STOP=1 <<<"$EMPTY" >/dev/null; fi
        is_direct || options+=(--role accounting)
        postgres pg_restore "${options[@]}"
        ;;
    esac
}

# A schema that is as it was when the database was made.
EMPTY="$(
    cat <<'SQL'
BEGIN;
DROP SCHEMA public CASCADE;
CREATE SCHEMA public;
DO $$ BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'accounting') THEN ALTER SCHEMA public OWNER TO accounting; END IF;
END $$;
COMMIT;
SQL
)"

is_empty_or_replaced() {
    local tables
    [ "${REPLACE:-}" != yes ] || return 0
    tables="$(postgres psql -X -A -t <<<"SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")"
    [ "$tables" = 0 ]
}

services_stop() { is_direct || "${compose[@]}" stop "${SERVICES[@]}"; }
services_start() { is_direct || "${compose[@]}" start "${SERVICES[@]}"; }
