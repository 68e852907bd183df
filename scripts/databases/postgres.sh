# PostgreSQL for one folder: found or fetched, started and stopped. Sourced by databases.sh.
# shellcheck shell=bash

POSTGRES_VERSION_MIN=13

postgres_is_new_enough() {
    local version
    [ -x "$1/postgres" ] && [ -x "$1/initdb" ] && [ -x "$1/pg_ctl" ] || return 1
    version="$("$1/postgres" --version | sed 's/[^0-9]*\([0-9]*\).*/\1/')"
    [ "${version:-0}" -ge "$POSTGRES_VERSION_MIN" ]
}

# Prints the folder with the newest server programs there are on this machine.
look_for_postgres() {
    local folder
    if [ -n "${PG_BIN:-}" ]; then
        postgres_is_new_enough "$PG_BIN" ||
            die "PG_BIN=$PG_BIN does not hold a PostgreSQL server of version $POSTGRES_VERSION_MIN or newer"
        printf '%s\n' "$PG_BIN"
        return 0
    fi
    if have pg_config; then
        folder="$(pg_config --bindir)"
        postgres_is_new_enough "$folder" && { printf '%s\n' "$folder"; return 0; }
    fi
    while read -r folder; do
        postgres_is_new_enough "$folder" && { printf '%s\n' "$folder"; return 0; }
    done < <(printf '%s\n' /usr/lib/postgresql/*/bin /usr/pgsql-*/bin /opt/homebrew/opt/postgresql*/bin | sort -rV
        have postgres && dirname "$(command -v postgres)")
    return 1
}

find_postgres() {
    look_for_postgres && return 0
    say "PostgreSQL is not on this machine"
    # Debian's package would create and start a cluster of its own on port 5432; nobody asked for that one.
    if have apt-get && can_be_root && [ ! -e /etc/postgresql-common/createcluster.conf ]; then
        as_root mkdir -p /etc/postgresql-common
        printf 'create_main_cluster = false\n' | as_root tee /etc/postgresql-common/createcluster.conf >/dev/null
    fi
    install_packages PostgreSQL postgresql postgresql-server && look_for_postgres && return 0
    die "PostgreSQL $POSTGRES_VERSION_MIN or newer is needed and could not be installed without a password.
  Debian, Ubuntu:  sudo apt-get install postgresql
  Fedora:          sudo dnf install postgresql-server
  macOS:           brew install postgresql
or set PG_BIN to the folder that holds postgres, initdb and pg_ctl."
}

# The server refuses to run as root, so root lends it to the least user there is.
postgres_user() {
    if id postgres >/dev/null 2>&1; then printf 'postgres\n'; else printf 'nobody\n'; fi
}

as_postgres() {
    local user
    if ! is_root; then
        "$@"
        return
    fi
    user="$(postgres_user)"
    if have runuser; then
        runuser -u "$user" -- "$@"
    elif have setpriv; then
        setpriv --reuid "$user" --regid "$(id -g "$user")" --clear-groups -- "$@"
    else
        die "root cannot start PostgreSQL without runuser or setpriv (package util-linux); start as a normal user"
    fi
}

# postgres_home DIR: where data and log live. Inside DIR, unless the server's user cannot get there.
postgres_home() {
    local home
    if [ -s "$1/postgres.home" ]; then
        cat "$1/postgres.home"
        return 0
    fi
    home="$1/postgres"
    if is_root; then
        mkdir -p "$home"
        chown "$(postgres_user)" "$home"
        if ! as_postgres test -w "$home" -a -x "$home"; then
            rmdir "$home"
            home="/var/lib/flowgate/$(printf '%s' "$1" | cksum | cut -d ' ' -f 1)"
            say "user $(postgres_user) cannot enter $1: PostgreSQL's data goes to $home"
            mkdir -p "$home"
            chmod 755 /var/lib/flowgate
            chown "$(postgres_user)" "$home"
        fi
    else
        mkdir -p "$home"
    fi
    chmod 700 "$home"
    printf '%s\n' "$home" >"$1/postgres.home"
    printf '%s\n' "$home"
}

postgres_url() { printf 'postgres://postgres@127.0.0.1:%s/postgres\n' "$(cat "$1/postgres.port")"; }

start_postgres() {
    local dir="$1" mode="$2" bin home port options
    local -a initdb=(-A trust -U postgres -E UTF8 --no-locale)
    bin="$(find_postgres)"
    home="$(postgres_home "$dir")"
    if ! as_postgres test -s "$home/data/PG_VERSION"; then
        [ "$mode" = fast ] && initdb+=(--no-sync)
        if ! as_postgres "$bin/initdb" -D "$home/data" "${initdb[@]}" >"$dir/initdb.log" 2>&1; then
            cat "$dir/initdb.log" >&2
            die "PostgreSQL could not make its data folder $home/data"
        fi
    fi

    options="-c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c max_connections=300"
    # Throw-away data needs no disk; durable data is what the ledger's promises rest on.
    if [ "$mode" = fast ]; then
        options="$options -c fsync=off -c synchronous_commit=off -c full_page_writes=off"
    fi
    for _ in 1 2 3; do
        port="$(cat "$dir/postgres.port" 2>/dev/null || free_port)"
        port_is_taken "$port" && port="$(free_port)"
        printf '%s\n' "$port" >"$dir/postgres.port"
        if as_postgres "$bin/pg_ctl" -D "$home/data" -l "$home/server.log" -w -t 60 -s -o "-p $port $options" start \
            >"$dir/pg_ctl.log" 2>&1 9>&-; then
            remember_process "$dir/postgres.pid" "$(as_postgres head -n 1 "$home/data/postmaster.pid")"
            return 0
        fi
        rm -f "$dir/postgres.port"
    done
    cat "$dir/pg_ctl.log" >&2
    tail -n 15 "$home/server.log" >&2
    die "PostgreSQL did not start; its log is $home/server.log"
}

stop_postgres() {
    local dir="$1" mode="$2" pid home tenths=300
    home="$(cat "$dir/postgres.home" 2>/dev/null || true)"
    if pid="$(our_process "$dir/postgres.pid")"; then
        # SIGINT is the fast shutdown: open transactions are rolled back. SIGQUIT leaves at once, without a checkpoint.
        if [ "$mode" = fast ]; then kill -QUIT "$pid"; else kill -INT "$pid"; fi
        while [ "$tenths" -gt 0 ] && our_process "$dir/postgres.pid" >/dev/null; do
            sleep 0.1
            tenths=$((tenths - 1))
        done
        our_process "$dir/postgres.pid" >/dev/null && die "PostgreSQL (process $pid) does not stop; see $home/server.log"
    fi
    rm -f "$dir/postgres.pid"
    if [ "$mode" = fast ] && [ -n "$home" ]; then
        rm -rf "$home/data" "$home/server.log"
        rmdir "$home" 2>/dev/null || true
        rm -f "$dir/postgres.home" "$dir/postgres.port"
    fi
}
