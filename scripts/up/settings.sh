# Ports, addresses and secrets of a stack. Sourced by up.sh.
# shellcheck shell=bash

# The settings that a later `make up`, `make status` and `make logs` have to know.
SETTINGS=(GATEWAY_PORT AUTH_PORT ACCOUNTING_PORT PROXY_PORT FLOWISE_STAND_IN_PORT FLOWISE_API_URL USES_STAND_IN
    N8N_STAND_IN_PORT USES_N8N_STAND_IN PROFILE)

everything_runs() {
    local service
    [ -s "$SETTINGS_FILE" ] && [ -s "$STACK_FILE" ] || return 1
    (
        load_settings
        for service in "${SERVICES[@]}"; do
            if is_wanted "$service"; then is_running "$service" || exit 1; fi
        done
    )
}

load_settings() {
    # shellcheck source=/dev/null
    . "$SETTINGS_FILE"
}

choose_settings() {
    local name
    : "${GATEWAY_PORT:=8080}" "${AUTH_PORT:=3000}" "${ACCOUNTING_PORT:=3001}" "${PROXY_PORT:=8000}" "${FLOWISE_STAND_IN_PORT:=3065}" "${N8N_STAND_IN_PORT:=3066}" \
        "${PROFILE:=dev}"
    USES_STAND_IN=no
    if [ -z "${FLOWISE_API_URL:-}" ]; then
        USES_STAND_IN=yes
        FLOWISE_API_URL="http://127.0.0.1:$FLOWISE_STAND_IN_PORT"
    fi
    # shellcheck disable=SC2034 # stack.sh and accounts.sh ask for it
    if [ -z "${N8N_WEBHOOK_URL:-}" ]; then USES_N8N_STAND_IN=yes; else USES_N8N_STAND_IN=no; fi
    for name in GATEWAY_PORT AUTH_PORT ACCOUNTING_PORT PROXY_PORT FLOWISE_STAND_IN_PORT N8N_STAND_IN_PORT; do
        if [[ ! "${!name}" =~ ^[0-9]{1,5}$ ]] || [ "${!name}" -lt 1 ] || [ "${!name}" -gt 65535 ]; then
            die "$name=${!name} is not a port"
        fi
    done
    for name in "${SETTINGS[@]}"; do printf '%s=%q\n' "$name" "${!name}"; done >"$SETTINGS_FILE"
}

random_hex() { head -c "$1" /dev/urandom | od -An -tx1 | tr -d ' \n'; }

# remember_secret NAME DEFAULT: what the environment says (or the file that NAME_FILE names), else what an earlier
# start kept, else the default.
remember_secret() {
    local name="$1" file="$1_FILE" kept
    if [ -n "${!file:-}" ]; then
        [ -r "${!file}" ] || die "$file=${!file} cannot be read"
        printf -v "$name" '%s' "$(cat "${!file}")"
        # The services are given the value; both would be a contradiction to them.
        unset "$file"
    fi
    kept="$(sed -n "s/^$name=//p" "$SECRETS_FILE")"
    if [ -n "${!name:-}" ]; then
        [ -n "$kept" ] || printf '%s=%q\n' "$name" "${!name}" >>"$SECRETS_FILE"
    elif [ -n "$kept" ]; then
        eval "$name=$kept"
    else
        printf -v "$name" '%s' "$2"
        printf '%s=%q\n' "$name" "$2" >>"$SECRETS_FILE"
    fi
}

make_secrets() {
    [ -e "$SECRETS_FILE" ] || say "making the secrets of this stack ($SECRETS_FILE)"
    touch "$SECRETS_FILE"
    chmod 600 "$SECRETS_FILE"
    remember_secret JWT_ACCESS_SECRET "$(random_hex 32)"
    remember_secret JWT_REFRESH_SECRET "$(random_hex 32)"
    remember_secret SERVICE_JWT_SECRET "$(random_hex 32)"
    remember_secret JWT_SECRET_KEY "$(random_hex 32)"
    remember_secret SESSION_SECRET_KEY "$(random_hex 32)"
    remember_secret BOOTSTRAP_ADMIN_USERNAME admin
    remember_secret BOOTSTRAP_ADMIN_EMAIL admin@example.com
    remember_secret BOOTSTRAP_ADMIN_PASSWORD "$(random_hex 12)"
    remember_secret USER_USERNAME alice
    remember_secret USER_EMAIL alice@example.com
    remember_secret USER_PASSWORD "$(random_hex 12)"
    remember_secret STAND_IN_API_KEY "$(random_hex 24)"
    # shellcheck disable=SC2034 # processes.sh hands it to the proxy
    if [ "$USES_STAND_IN" = yes ]; then FLOWISE_API_KEY="$STAND_IN_API_KEY"; fi
}

# Says who listens on a port, as far as this user may know.
port_owner() {
    local hex inode link pid
    hex="$(printf ':%04X' "$1")"
    inode="$(awk -v port="$hex" '$4 == "0A" && index($2, port) == length($2) - 4 { print $10; exit }' \
        /proc/net/tcp /proc/net/tcp6 2>/dev/null)"
    [ -n "$inode" ] || return 0
    for link in /proc/[0-9]*/fd/*; do
        if [ "$(readlink "$link" 2>/dev/null)" = "socket:[$inode]" ]; then
            pid="${link#/proc/}"
            pid="${pid%%/*}"
            printf ' by process %s (%s)' "$pid" "$(tr '\0' ' ' <"/proc/$pid/cmdline" | cut -c 1-60)"
            return 0
        fi
    done
    printf ' by a process of another user'
}

check_ports() {
    local service variable
    for service in "${SERVICES[@]}"; do
        is_wanted "$service" || continue
        is_running "$service" && continue
        variable="$(port_variable "$service")"
        if port_is_taken "${!variable}"; then
            die "port ${!variable}, wanted for $service, is taken$(port_owner "${!variable}").
Choose another one:  make up $variable=$((${!variable} + 100))"
        fi
    done
}
