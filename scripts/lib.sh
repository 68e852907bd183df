# Shared by every script here; source it, do not run it. Messages go to standard error, so that standard
# output stays free for what a script is asked to print.
# shellcheck shell=bash

# shellcheck disable=SC2034 # used by those who source this
ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)"
CACHE="${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/flowgate"

say() { printf '%s\n' "$*" >&2; }

die() {
    printf '\nflowgate: %s\n' "$*" >&2
    exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

is_root() { [ "$(id -u)" -eq 0 ]; }

# Runs a command with root's rights; fails when there is no way to them that asks nobody anything.
as_root() {
    if is_root; then
        "$@"
    elif have sudo && sudo -n true 2>/dev/null; then
        sudo -n "$@"
    else
        return 1
    fi
}

can_be_root() { is_root || { have sudo && sudo -n true 2>/dev/null; }; }

port_is_taken() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# A free port below the range that the kernel hands out to outgoing connections.
free_port() {
    local port
    for _ in {1..200}; do
        port=$((20000 + RANDOM % 12000))
        port_is_taken "$port" || { printf '%s\n' "$port"; return 0; }
    done
    die "found no free port between 20000 and 32000"
}

# When a process was started, in whatever unit the system has: with the number it names one process for ever.
process_start() {
    if [ -r "/proc/$1/stat" ]; then
        # The name in parentheses may hold spaces; what follows the last one has the start time as field 20.
        sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d ' ' -f 20
    else
        ps -o lstart= -p "$1" 2>/dev/null
    fi
}

# remember_process FILE PID: a number alone could by now belong to somebody else's process.
remember_process() { printf '%s\n%s\n' "$2" "$(process_start "$2")" >"$1"; }

# Prints the number of the process that FILE remembers, if that very process still runs.
our_process() {
    local pid started
    [ -s "$1" ] || return 1
    { read -r pid && read -r started; } <"$1" || return 1
    [ -n "$started" ] && [ "$(process_start "$pid")" = "$started" ] || return 1
    # A zombie has ended: only its parent has not noticed yet.
    ! grep -q '^State:[[:space:]]*Z' "/proc/$pid/status" 2>/dev/null || return 1
    printf '%s\n' "$pid"
}

# end_process FILE SECONDS: asks the remembered process to stop, and after that time makes it.
end_process() {
    local file="$1" tenths=$(($2 * 10)) pid
    if pid="$(our_process "$file")"; then
        kill -TERM "$pid" 2>/dev/null || true
        while [ "$tenths" -gt 0 ] && our_process "$file" >/dev/null; do
            sleep 0.1
            tenths=$((tenths - 1))
        done
        if our_process "$file" >/dev/null; then
            kill -KILL "$pid" 2>/dev/null || true
            while our_process "$file" >/dev/null; do sleep 0.1; done
        fi
    fi
    rm -f "$file"
}

# install_packages PURPOSE DEBIAN_NAMES FEDORA_NAMES: quietly, and only where it needs no password.
install_packages() {
    local purpose="$1" debian="$2" fedora="$3" log="$CACHE/packages.log"
    can_be_root || return 1
    mkdir -p "$CACHE"
    if have apt-get; then
        say "installing $purpose with apt-get ($debian)"
        # shellcheck disable=SC2086 # the names are a list
        as_root env DEBIAN_FRONTEND=noninteractive sh -c 'apt-get update -q && apt-get install -q -y \
            --no-install-recommends -o Dpkg::Options::=--force-confold "$@"' sh $debian >"$log" 2>&1
    elif have dnf; then
        say "installing $purpose with dnf ($fedora)"
        # shellcheck disable=SC2086 # the names are a list
        as_root dnf install -q -y $fedora >"$log" 2>&1
    else
        return 1
    fi || { say "that failed; the last lines of $log:"; tail -n 5 "$log" >&2; return 1; }
}
