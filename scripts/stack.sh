# What the scripts around `make up` know together: where the stack keeps its things, and who belongs to it.
# Source it after lib.sh.
# shellcheck shell=bash disable=SC2034 # the names are for those who source this

STATE="$ROOT/.flowgate"
LOGS="$STATE/logs"
DATABASES="$STATE/databases"
# Secrets are made once for a stack and stay; settings are those of the present start.
SECRETS_FILE="$STATE/secrets"
SETTINGS_FILE="$STATE/settings"
STACK_FILE="$STATE/stack.json"

# In the order in which they start; they stop the other way round.
SERVICES=(stand-in-flowise stand-in-n8n auth-service accounting-service proxy-service gateway)

pid_file() { printf '%s\n' "$STATE/$1.pid"; }
log_file() { printf '%s\n' "$LOGS/$1.log"; }
is_running() { our_process "$(pid_file "$1")" >/dev/null; }

# Whether the stack has this service: a stand-in only when nothing real was named.
is_wanted() {
    case "$1" in
    stand-in-flowise) [ "${USES_STAND_IN:-yes}" = yes ] ;;
    stand-in-n8n) [ "${USES_N8N_STAND_IN:-yes}" = yes ] ;;
    *) true ;;
    esac
}

port_variable() {
    case "$1" in
    stand-in-flowise) printf 'FLOWISE_STAND_IN_PORT\n' ;;
    stand-in-n8n) printf 'N8N_STAND_IN_PORT\n' ;;
    auth-service) printf 'AUTH_PORT\n' ;;
    accounting-service) printf 'ACCOUNTING_PORT\n' ;;
    proxy-service) printf 'PROXY_PORT\n' ;;
    gateway) printf 'GATEWAY_PORT\n' ;;
    esac
}

service_url() {
    local variable
    variable="$(port_variable "$1")"
    printf 'http://127.0.0.1:%s\n' "${!variable}"
}

# Where a service says that it can work.
ready_path() {
    case "$1" in
    stand-in-flowise) printf '/api/v1/ping\n' ;;
    stand-in-n8n) printf '/healthz\n' ;;
    # Through it to a page.
    gateway) printf '/login\n' ;;
    *) printf '/readyz\n' ;;
    esac
}

is_ready() { curl -sf -o /dev/null --max-time 3 "$(service_url "$1")$(ready_path "$1")"; }

# Stops the services that run, the last to start first.
stop_services() {
    local index service
    # A service drains its streams for SHUTDOWN_GRACE_SECS; some time after that it is made to stop.
    for ((index = ${#SERVICES[@]} - 1; index >= 0; index--)); do
        service="${SERVICES[$index]}"
        if is_running "$service"; then say "stopping $service"; fi
        end_process "$(pid_file "$service")" $((${SHUTDOWN_GRACE_SECS:-30} + 10))
    done
}

anything_runs() {
    local service
    for service in "${SERVICES[@]}"; do
        if is_running "$service"; then return 0; fi
    done
    return 1
}

# Only one `make up` or `make down` at a time; what they start does not inherit the lock (8>&-).
lock_stack() {
    mkdir -p "$STATE"
    exec 8>"$STATE/lock"
    if have flock; then
        flock -n 8 || { say "another make up or make down is at work; waiting for it"; flock 8; }
    fi
}

# Whether the platform runs in containers (scripts/compose.sh) instead.
containers_run() {
    have docker && [ -n "$(docker ps -q --filter "label=com.docker.compose.project=${PROJECT:-flowgate}" 2>/dev/null)" ]
}
