#!/usr/bin/env bash
# PostgreSQL, MongoDB and Redis on loopback for one folder, which they are found again by.
#
#   scripts/databases.sh start DIR [--fast]   starts what does not run yet, prints `export` lines for eval
#   scripts/databases.sh stop DIR             stops what was started for DIR
#   scripts/databases.sh env DIR              prints the `export` lines again; fails when something does not run
#   scripts/databases.sh createdb DIR NAME    makes a PostgreSQL database unless it is there
#
#   eval "$(scripts/databases.sh start .flowgate/test --fast)"
#
# Without --fast the data is durable and stays. With --fast nothing waits for the disk, stop deletes the data, and
# there is a Redis too.
# PG_BIN, MONGOD and REDIS_SERVER choose the servers; without them what is installed is used, else fetched. A server that was not
# started here is never touched.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)"
# shellcheck source=scripts/lib.sh
. "$here/lib.sh"
# shellcheck source=scripts/databases/postgres.sh
. "$here/databases/postgres.sh"
# shellcheck source=scripts/databases/mongodb.sh
. "$here/databases/mongodb.sh"
# shellcheck source=scripts/databases/redis.sh
. "$here/databases/redis.sh"

usage() {
    sed -n '2,/^set -/{/^#/s/^# \{0,1\}//p}' "$0" >&2
    exit 2
}

print_env() {
    printf "export TEST_POSTGRES_URL='%s' TEST_MONGODB_URL='%s'" "$(postgres_url "$1")" "$(mongodb_url "$1")"
    if [ -s "$1/redis.port" ]; then printf " TEST_REDIS_URL='%s'" "$(redis_url "$1")"; fi
    printf '\n'
}

start() {
    local dir="$1" mode="$2" running=yes
    if [ -s "$dir/mode" ] && [ "$(cat "$dir/mode")" != "$mode" ]; then
        die "$dir was started as $(cat "$dir/mode"), not as $mode; choose another folder or stop and delete it"
    fi
    printf '%s\n' "$mode" >"$dir/mode"
    if ! our_process "$dir/postgres.pid" >/dev/null; then
        running=no
        start_postgres "$dir" "$mode"
    fi
    if ! our_process "$dir/mongodb.pid" >/dev/null; then
        running=no
        start_mongodb "$dir" "$mode"
    fi
    # Redis is for tests: the services do without.
    if [ "$mode" = fast ] && ! our_process "$dir/redis.pid" >/dev/null; then
        running=no
        start_redis "$dir"
    fi
    if [ "$running" = yes ]; then say "the databases of $dir already run"; fi
    print_env "$dir"
}

stop() {
    local dir="$1" mode
    mode="$(cat "$dir/mode" 2>/dev/null || echo durable)"
    stop_redis "$dir"
    stop_mongodb "$dir" "$mode"
    stop_postgres "$dir" "$mode"
    if [ "$mode" = fast ]; then rm -f "$dir/mode" "$dir"/{initdb,pg_ctl,mongod}.log; fi
}

[ $# -ge 2 ] || usage
command="$1"
case "$command" in start | stop | env | createdb) ;; *) usage ;; esac
if [ "$command" = start ]; then
    mkdir -p "$2"
elif [ ! -d "$2" ]; then
    [ "$command" = stop ] && exit 0
    die "nothing was started for $2"
fi
dir="$(cd "$2" && pwd -P)"
shift 2

# Two starts at once must not make two servers. The servers themselves do not inherit the lock (9>&-).
exec 9>"$dir/lock"
if have flock; then flock 9; fi

case "$command" in
start)
    case "${1:-}" in
    --fast) start "$dir" fast ;;
    "") start "$dir" durable ;;
    *) usage ;;
    esac
    ;;
stop) stop "$dir" ;;
env)
    our_process "$dir/postgres.pid" >/dev/null || die "PostgreSQL does not run for $dir"
    our_process "$dir/mongodb.pid" >/dev/null || die "MongoDB does not run for $dir"
    print_env "$dir"
    ;;
createdb)
    [ $# -eq 1 ] || usage
    our_process "$dir/postgres.pid" >/dev/null || die "PostgreSQL does not run for $dir"
    bin="$(find_postgres)"
    url="$(postgres_url "$dir")"
    found="$("$bin/psql" "$url" -X -A -t -q -v "name=$1" <<<"SELECT count(*) FROM pg_database WHERE datname = :'name'")"
    [ "$found" = 1 ] || "$bin/psql" "$url" -X -q -v ON_ERROR_STOP=1 -v "name=$1" <<<'CREATE DATABASE :"name"' >/dev/null
    ;;
esac
