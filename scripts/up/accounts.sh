# The first accounts, credits and assignments, all through the services' own HTTP. Sourced by up.sh.
# shellcheck shell=bash

USER_CREDITS=1000
# A Flowise may hold hundreds of chatflows; the user of a development stack does not need them all.
ASSIGNED_MAX=50
# The classic chat of the stand-in is what the table shows.
PREFERRED_CHATFLOW=26806ff8-5cd7-41b2-8a3d-5dd901f928d0

json_text() { printf '%s' "$1" | sed 's/\\/\\\\/g; s/"/\\"/g'; }

# json_field NAME: the first string of that name in the JSON on standard input, as it is escaped there.
json_field() { grep -oE "\"$1\":\"([^\"\\\\]|\\\\.)*\"" | head -n 1 | sed -E "s/^\"$1\":\"//; s/\"\$//"; }

# http METHOD URL TOKEN [BODY]: prints the answer; HTTP_STATUS_FILE holds its status. Neither token nor body
# become arguments of a program, which every user of the machine could read.
HTTP_STATUS_FILE="$STATE/http-status"
http() {
    local -a options=(-sS --max-time 30 -X "$1" -w '%{http_code}' -o "$STATE/http-body" -K -)
    {
        printf 'url = "%s"\n' "$2"
        if [ -n "$3" ]; then printf 'header = "authorization: Bearer %s"\n' "$3"; fi
        if [ $# -gt 3 ]; then
            printf 'header = "content-type: application/json"\ndata-binary = "%s"\n' "$(json_text "$4")"
        fi
    } | curl "${options[@]}" >"$HTTP_STATUS_FILE" || printf '000' >"$HTTP_STATUS_FILE"
    cat "$STATE/http-body" 2>/dev/null || true
    rm -f "$STATE/http-body"
}

http_status() { cat "$HTTP_STATUS_FILE"; }

# expect_ok WHAT ANSWER
expect_ok() {
    case "$(http_status)" in
    2??) ;;
    *) die "could not $1: status $(http_status), $2
The logs are in $LOGS; make down stops everything." ;;
    esac
}

# log_in USERNAME PASSWORD: prints an access token, or nothing when the log-in is refused.
log_in() {
    http POST "$(service_url auth-service)/api/auth/login" "" \
        "{\"username\":\"$(json_text "$1")\",\"password\":\"$(json_text "$2")\"}" | json_field accessToken || true
}

set_up_user() {
    local admin_token="$1" answer
    USER_TOKEN="$(log_in "$USER_USERNAME" "$USER_PASSWORD")"
    [ -z "$USER_TOKEN" ] || return 0
    say "creating user $USER_USERNAME"
    answer="$(http POST "$(service_url auth-service)/api/admin/users" "$admin_token" \
        "{\"username\":\"$(json_text "$USER_USERNAME")\",\"email\":\"$(json_text "$USER_EMAIL")\",\"password\":\"$(json_text "$USER_PASSWORD")\",\"role\":\"enduser\",\"skipVerification\":true}")"
    expect_ok "create the user" "$answer"
    USER_TOKEN="$(log_in "$USER_USERNAME" "$USER_PASSWORD")"
    [ -n "$USER_TOKEN" ] || die "the user was created but cannot log in (status $(http_status))"
}

set_up_credits() {
    local admin_token="$1" answer credits user_id
    answer="$(http GET "$(service_url accounting-service)/api/credits/total-balance" "$USER_TOKEN")"
    expect_ok "read the user's balance" "$answer"
    credits="$(printf '%s' "$answer" | sed -n 's/.*"totalCredits":\([0-9]*\).*/\1/p')"
    if [ "${credits:-0}" -ge $((USER_CREDITS / 10)) ]; then return 0; fi
    say "giving $USER_USERNAME $USER_CREDITS credits"
    # The middle part of the token names the user; base64url without padding.
    answer="$(http GET "$(service_url auth-service)/api/admin/users/by-email/$USER_EMAIL" "$admin_token")"
    expect_ok "find the user" "$answer"
    user_id="$(printf '%s' "$answer" | json_field _id)"
    answer="$(http POST "$(service_url accounting-service)/api/credits/allocate" "$admin_token" \
        "{\"userId\":\"$user_id\",\"credits\":$USER_CREDITS,\"expiryDays\":365,\"notes\":\"make up\"}")"
    expect_ok "give the user credits" "$answer"
}

# Assigns the user to what Flowise has; CHATFLOW_ID and CHATFLOW_NAME are one of them.
set_up_chatflows() {
    local admin_token="$1" proxy answer id status count=0
    proxy="$(service_url proxy-service)"
    say "reading chatflows from $FLOWISE_API_URL"
    answer="$(http POST "$proxy/api/v1/admin/chatflows/sync" "$admin_token" '{}')"
    expect_ok "read the chatflows of Flowise" "$answer"
    answer="$(http GET "$proxy/api/v1/admin/chatflows" "$admin_token")"
    expect_ok "list the chatflows" "$answer"
    while read -r id status; do
        if [ "$status" != active ] || [ "$count" -ge "$ASSIGNED_MAX" ]; then continue; fi
        http POST "$proxy/api/v1/admin/chatflows/$id/users" "$admin_token" \
            "{\"email\":\"$(json_text "$USER_EMAIL")\"}" >"$STATE/assigned"
        expect_ok "assign chatflow $id" "$(cat "$STATE/assigned")"
        count=$((count + 1))
    done < <(printf '%s' "$answer" | grep -oE '"(flowise_id|sync_status)":"[^"]*"' | cut -d '"' -f 4 | paste - -)
    rm -f "$STATE/assigned"

    answer="$(http GET "$proxy/api/v1/chatflows/my-chatflows" "$USER_TOKEN")"
    expect_ok "list the user's chatflows" "$answer"
    CHATFLOW_ID="$(printf '%s' "$answer" | grep -o "\"id\":\"$PREFERRED_CHATFLOW\"" | json_field id || true)"
    if [ -z "$CHATFLOW_ID" ]; then CHATFLOW_ID="$(printf '%s' "$answer" | json_field id || true)"; fi
    [ -n "$CHATFLOW_ID" ] || die "Flowise at $FLOWISE_API_URL shows no chatflow to talk to; make one there and run
make up again, or check FLOWISE_API_KEY. The answer was: $answer"
    CHATFLOW_NAME="$(printf '%s' "$answer" | sed "s/.*\"id\":\"$CHATFLOW_ID\"//" | json_field name)"
    say "assigned $USER_USERNAME to $count chatflows"
}

# Where the demo page may be opened: at the gateway and at the service itself.
demo_origins() {
    printf '"http://127.0.0.1:%s","http://localhost:%s","http://127.0.0.1:%s","http://localhost:%s"' \
        "$GATEWAY_PORT" "$GATEWAY_PORT" "$PROXY_PORT" "$PROXY_PORT"
}

# The embed `default`, in which the user's chatflow answers and for which the user pays; the operator may have described
# another one (N8N_WEBHOOK_URL, WIDGET_CHATFLOW_ID).
set_up_embed() {
    local admin_token="$1" proxy answer user_id
    proxy="$(service_url proxy-service)"
    http GET "$proxy/api/v1/embeds/default" "$admin_token" >/dev/null
    if [ "$(http_status)" = 200 ]; then return 0; fi
    say "making the embed that $(service_url gateway)/widget/demo shows"
    answer="$(http GET "$(service_url auth-service)/api/admin/users/by-email/$USER_EMAIL" "$admin_token")"
    expect_ok "find the user" "$answer"
    user_id="$(printf '%s' "$answer" | json_field _id)"
    answer="$(http POST "$proxy/api/v1/embeds" "$admin_token" \
        "{\"id\":\"default\",\"name\":\"Try me\",\"owner_id\":\"$user_id\",\"allowed_origins\":[$(demo_origins)],\"backend\":{\"type\":\"flowise\",\"chatflow_id\":\"$CHATFLOW_ID\"}}")"
    expect_ok "make the embed" "$answer"
}

# The embed `n8n`, in which the stand-in n8n answers and for which the user pays. One that is there stays as it is.
set_up_n8n_embed() {
    local admin_token="$1" answer user_id proxy
    [ "$USES_N8N_STAND_IN" = yes ] || return 0
    proxy="$(service_url proxy-service)"
    answer="$(http GET "$(service_url auth-service)/api/admin/users/by-email/$USER_EMAIL" "$admin_token")"
    expect_ok "find the user" "$answer"
    user_id="$(printf '%s' "$answer" | json_field _id)"
    answer="$(http POST "$proxy/api/v1/embeds" "$admin_token" \
        "{\"id\":\"n8n\",\"name\":\"Demo of n8n\",\"owner_id\":\"$user_id\",\"allowed_origins\":[$(demo_origins)],\"backend\":{\"type\":\"n8n\",\"webhook_url\":\"$(service_url stand-in-n8n)/webhook/stream-agent\"}}")"
    case "$(http_status)" in
    2??) say "made the embed that $(service_url gateway)/widget/demo?embed=n8n shows" ;;
    409) ;;
    *) say "could not make the embed n8n: status $(http_status), $answer" ;;
    esac
}

set_up_accounts() {
    local admin_token
    admin_token="$(log_in "$BOOTSTRAP_ADMIN_USERNAME" "$BOOTSTRAP_ADMIN_PASSWORD")"
    [ -n "$admin_token" ] || die "the admin $BOOTSTRAP_ADMIN_USERNAME cannot log in (status $(http_status)).
If the password was changed since, give it:  make up BOOTSTRAP_ADMIN_PASSWORD=..."
    set_up_user "$admin_token"
    set_up_credits "$admin_token"
    set_up_chatflows "$admin_token"
    set_up_embed "$admin_token"
    set_up_n8n_embed "$admin_token"
    rm -f "$HTTP_STATUS_FILE"
}

write_stack_file() {
    cat >"$STACK_FILE" <<JSON
{
  "url": "$(service_url gateway)",
  "auth_url": "$(service_url auth-service)",
  "proxy_url": "$(service_url proxy-service)",
  "accounting_url": "$(service_url accounting-service)",
  "flowise_url": "$(json_text "$FLOWISE_API_URL")",
  "widget_demo_url": "$(service_url gateway)/widget/demo",
  "admin": {"username": "$(json_text "$BOOTSTRAP_ADMIN_USERNAME")", "email": "$(json_text "$BOOTSTRAP_ADMIN_EMAIL")", "password": "$(json_text "$BOOTSTRAP_ADMIN_PASSWORD")"},
  "user": {"username": "$(json_text "$USER_USERNAME")", "email": "$(json_text "$USER_EMAIL")", "password": "$(json_text "$USER_PASSWORD")"},
  "chatflow_id": "$CHATFLOW_ID",
  "chatflow_name": "$CHATFLOW_NAME",
  "jwt_access_secret": "$(json_text "$JWT_ACCESS_SECRET")",
  "service_jwt_secret": "$(json_text "$SERVICE_JWT_SECRET")"
}
JSON
    chmod 600 "$STACK_FILE"
}
