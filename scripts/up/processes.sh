# Building, starting and waiting. Sourced by up.sh.
# shellcheck shell=bash

READY_SECONDS=60

binary_folder() {
    local folder="$PROFILE"
    if [ "$PROFILE" = dev ]; then folder=debug; fi
    printf '%s/%s\n' "${CARGO_TARGET_DIR:-$ROOT/target}" "$folder"
}

# Cargo says nothing for minutes when its output is no terminal, and too much when it is one.
build() {
    local log="$LOGS/build.log" seconds=0 pid
    say "building with profile $PROFILE (the first time takes minutes; $log follows it)"
    cargo build --workspace --locked --profile "$PROFILE" >"$log" 2>&1 8>&- &
    pid=$!
    # shellcheck disable=SC2064 # this build, not a later one
    trap "kill $pid 2>/dev/null; exit 130" INT TERM
    while kill -0 "$pid" 2>/dev/null; do
        sleep 1
        seconds=$((seconds + 1))
        if [ $((seconds % 30)) -eq 0 ]; then
            say "  still building after $seconds s, $(grep -c '^ *Compiling' "$log" || true) crates so far," \
                "now $(grep '^ *Compiling' "$log" | tail -n 1 | awk '{ print $2 }')"
        fi
    done
    trap - INT TERM
    if ! wait "$pid"; then
        tail -n 40 "$log" >&2
        die "the build failed; the whole of it is in $log"
    fi
}

start_databases() {
    local lines postgres mongodb TEST_POSTGRES_URL TEST_MONGODB_URL
    mkdir -p "$DATABASES"
    chmod 755 "$DATABASES"
    say "starting PostgreSQL and MongoDB (data in $DATABASES)"
    lines="$("$ROOT/scripts/databases.sh" start "$DATABASES" 8>&-)"
    eval "$lines"
    postgres="${TEST_POSTGRES_URL#*@}"
    mongodb="${TEST_MONGODB_URL%%/\?*}"
    STACK_DB_HOST="${postgres%%:*}"
    STACK_DB_PORT="${postgres#*:}"
    STACK_DB_PORT="${STACK_DB_PORT%%/*}"
    STACK_MONGODB="$mongodb"
    "$ROOT/scripts/databases.sh" createdb "$DATABASES" "${DB_NAME:-accounting_db}"
}

# Some shells export HOST as the name of the machine, which is no address to listen on.
bind_address() { case "${HOST:-}" in [0-9]*.*.*.* | *:*) printf '%s\n' "$HOST" ;; *) printf '127.0.0.1\n' ;; esac; }

# service_environment SERVICE: what a service is told beyond what the caller's environment says already.
service_environment() {
    local -a common=("HOST=$(bind_address)" "JWT_ACCESS_SECRET=$JWT_ACCESS_SECRET" "SERVICE_JWT_SECRET=$SERVICE_JWT_SECRET"
        "EXTERNAL_AUTH_URL=${EXTERNAL_AUTH_URL:-$(service_url auth-service)}"
        # The gateway is on this machine and says who its clients are.
        "TRUSTED_PROXIES=${TRUSTED_PROXIES:-127.0.0.1/32}")
    case "$1" in
    auth-service)
        printf '%s\0' "${common[@]}" "PORT=$AUTH_PORT" "JWT_REFRESH_SECRET=$JWT_REFRESH_SECRET" \
            "MONGODB_URI=${MONGODB_URI:-$STACK_MONGODB/auth_db?directConnection=true}" \
            "PUBLIC_URL=${PUBLIC_URL:-${HOST_URL:-$(service_url gateway)}}" \
            "BOOTSTRAP_ADMIN_USERNAME=$BOOTSTRAP_ADMIN_USERNAME" "BOOTSTRAP_ADMIN_EMAIL=$BOOTSTRAP_ADMIN_EMAIL" \
            "BOOTSTRAP_ADMIN_PASSWORD=$BOOTSTRAP_ADMIN_PASSWORD" "MAIL_DIR=${MAIL_DIR:-$STATE/mail}" \
            "PROXY_SERVICE_URL=${PROXY_SERVICE_URL:-$(service_url proxy-service)}" \
            "ACCOUNTING_SERVICE_URL=${ACCOUNTING_SERVICE_URL:-$(service_url accounting-service)}"
        ;;
    accounting-service)
        printf '%s\0' "${common[@]}" "PORT=$ACCOUNTING_PORT"
        if [ -z "${DATABASE_URL:-}" ]; then
            printf '%s\0' "DB_HOST=${DB_HOST:-$STACK_DB_HOST}" "DB_PORT=${DB_PORT:-$STACK_DB_PORT}" \
                "DB_NAME=${DB_NAME:-accounting_db}" "DB_USER=${DB_USER:-postgres}" \
                "DB_PASSWORD=${DB_PASSWORD:-not-asked-for-on-loopback}"
        fi
        ;;
    proxy-service)
        printf '%s\0' "${common[@]}" "PORT=$PROXY_PORT" \
            "MONGODB_URI=${MONGODB_URI:-$STACK_MONGODB/?directConnection=true}" \
            "MONGODB_DATABASE_NAME=${MONGODB_DATABASE_NAME:-proxy_db}" \
            "ACCOUNTING_SERVICE_URL=${ACCOUNTING_SERVICE_URL:-$(service_url accounting-service)}" \
            "PUBLIC_BASE_URL=${PUBLIC_BASE_URL:-$(service_url gateway)}" "JWT_SECRET_KEY=$JWT_SECRET_KEY" "SESSION_SECRET_KEY=$SESSION_SECRET_KEY" \
            "N8N_ALLOWED_HOSTS=${N8N_ALLOWED_HOSTS:-$(service_url stand-in-n8n)}" \
            "FLOWISE_API_URL=$FLOWISE_API_URL" ${FLOWISE_API_KEY:+"FLOWISE_API_KEY=$FLOWISE_API_KEY"} \
            "ENABLE_CHATFLOW_SYNC=${ENABLE_CHATFLOW_SYNC:-true}"
        ;;
    gateway)
        # The table's names are those of the containers.
        printf '%s\0' "URL_auth_service=$(service_url auth-service)" "URL_flowise_proxy=$(service_url proxy-service)" \
            "URL_accounting_service=$(service_url accounting-service)" PUBLIC_HOST= REPLICAS=1
        ;;
    esac
}

# Traefik as it is deployed, with the ports of this stack in its settings and its table. It asks for no certificate.
configure_gateway() {
    local folder="$STATE/gateway"
    mkdir -p "$folder"
    sed -e "s|address: \":80\"|address: \"$(bind_address):$GATEWAY_PORT\"|" -e 's|address: ":443"|address: "127.0.0.1:0"|' \
        -e 's|address: ":8082"|address: "127.0.0.1:0"|' -e "s|/etc/traefik/dynamic.yaml|$folder/dynamic.yaml|" \
        -e "s|/acme/acme.json|$folder/acme.json|" "$ROOT/deploy/traefik/traefik.yaml" >"$folder/traefik.yaml"
    # shellcheck disable=SC2016 # what stands there is Traefik's template
    sed 's|http://{{ $project }}-{{ $service }}-{{ $number }}:{{ $port }}|{{ env (printf "URL_%s" (replace "-" "_" $service)) }}|' \
        "$ROOT/deploy/traefik/dynamic.yaml" >"$folder/dynamic.yaml"
}

start_service() {
    local service="$1" log
    local -a command environment=()
    is_running "$service" && return 0
    log="$(log_file "$service")"
    say "starting $service on $(service_url "$service") (log: $log)"
    if [ "$service" = gateway ]; then
        configure_gateway
        command=("$("$ROOT/scripts/programs.sh" path traefik)" "--configFile=$STATE/gateway/traefik.yaml")
    else
        command=("$(binary_folder)/$service")
    fi
    [ -x "${command[0]}" ] || die "the build has made no ${command[0]}"
    if [ "$service" = stand-in-flowise ]; then
        printf '%s' "$STAND_IN_API_KEY" >"$STATE/stand-in.key"
        command+=(--port "$FLOWISE_STAND_IN_PORT" --api-key-file "$STATE/stand-in.key" --token-delay-ms 30)
    fi
    if [ "$service" = stand-in-n8n ]; then
        printf '%s' "$SESSION_SECRET_KEY" >"$STATE/stand-in-n8n.key"
        command+=(--port "$N8N_STAND_IN_PORT" --token-secret-file "$STATE/stand-in-n8n.key" --word-delay-ms 40)
    fi
    while IFS= read -r -d '' variable; do environment+=("$variable"); done < <(service_environment "$service")
    mkdir -p "$STATE/mail"
    # A session of its own: Ctrl-C in this terminal is not meant for the services. The environment goes in by
    # export, not as arguments of a program, which every user of the machine could read.
    (
        for variable in ${environment[@]+"${environment[@]}"}; do export "${variable?}"; done
        if have setsid; then command=(setsid "${command[@]}"); else command=(nohup "${command[@]}"); fi
        exec "${command[@]}" </dev/null >"$log" 2>&1 8>&-
    ) &
    remember_process "$(pid_file "$service")" "$!"
}

explain_failure() {
    local service="$1" log
    log="$(log_file "$service")"
    say ""
    say "the last lines of $log:"
    tail -n 15 "$log" >&2
    die "$service $2.
Correct what the log complains about and run make up again, or stop everything with make down."
}

wait_until_ready() {
    local service deadline=$((SECONDS + READY_SECONDS))
    for service in "${SERVICES[@]}"; do
        is_wanted "$service" || continue
        until is_ready "$service"; do
            is_running "$service" || explain_failure "$service" "has stopped"
            [ "$SECONDS" -lt "$deadline" ] || explain_failure "$service" "was not ready after $READY_SECONDS s"
            sleep 0.2
        done
        # Another program might answer on that port while ours has given up.
        is_running "$service" || explain_failure "$service" "has stopped"
    done
}
