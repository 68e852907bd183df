#!/usr/bin/env bash
# Is an installation well? Goes through its one address as people do: an administrator signs in, makes a user, gives
# credits and a chatflow; the user signs in, chats, and pays; what is inside stays inside. Cleans up after itself.
#
#   scripts/smoke.sh [URL]     ADMIN_PASSWORD or ADMIN_PASSWORD_FILE (deploy/secrets/bootstrap_admin_password) is needed
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)"
# shellcheck source=scripts/lib.sh
. "$here/lib.sh"

url="${1:-${URL:-http://localhost}}"
url="${url%/}"
admin="${ADMIN_USERNAME:-admin}"
password_file="${ADMIN_PASSWORD_FILE:-$ROOT/deploy/secrets/bootstrap_admin_password}"
password="${ADMIN_PASSWORD:-$(cat "$password_file" 2>/dev/null || true)}"
[ -n "$password" ] || die "ADMIN_PASSWORD is not set and $password_file cannot be read"
have curl || die "curl is needed"
scratch="$(mktemp -d)"
name="smoke-$(date +%s)-$$"
email="$name@example.org"
user_password="$(head -c 12 /dev/urandom | od -An -tx1 | tr -d ' \n')"
admin_token='' user_id=''

json_text() { printf '%s' "$1" | sed 's/\\/\\\\/g; s/"/\\"/g'; }
field() { grep -oE "\"$1\":\"([^\"\\\\]|\\\\.)*\"" "$scratch/body" | head -n 1 | sed -E "s/^\"$1\":\"//; s/\"\$//"; }
number() { grep -oE "\"$1\":-?[0-9]+" "$scratch/body" | head -n 1 | sed 's/.*://'; }

# ask METHOD PATH TOKEN [BODY]: the status; the answer is in $scratch/body. Secrets never become arguments.
ask() {
    {
        printf 'url = "%s%s"\n' "$url" "$2"
        if [ -n "$3" ]; then printf 'header = "authorization: Bearer %s"\n' "$3"; fi
        if [ $# -gt 3 ]; then
            printf 'header = "content-type: application/json"\ndata-binary = "%s"\n' "$(json_text "$4")"
        fi
    } | curl -sS --max-time 60 -X "$1" -o "$scratch/body" -w '%{http_code}' -K - || printf '000'
}

# must WANTED WHAT METHOD PATH TOKEN [BODY]
must() {
    local wanted="$1" what="$2" status
    shift 2
    status="$(ask "$@")"
    # shellcheck disable=SC2254 # a pattern
    case "$status" in
    $wanted) say "  ok   $what" ;;
    *) die "$what: $1 $2 answered $status, $(head -c 400 "$scratch/body")" ;;
    esac
}

finish() {
    if [ -n "$user_id" ]; then ask DELETE "/api/admin/users/$user_id" "$admin_token" >/dev/null || true; fi
    rm -rf "$scratch"
}
trap finish EXIT

for path in /internal/revocations /metrics /livez /readyz; do
    must 404 "$path is not there for people" GET "$path" ''
done

must 200 "the administrator signs in" POST /api/auth/login '' \
    "{\"username\":\"$(json_text "$admin")\",\"password\":\"$(json_text "$password")\"}"
admin_token="$(field accessToken)"
must 201 "a user is made" POST /api/admin/users "$admin_token" \
    "{\"username\":\"$name\",\"email\":\"$email\",\"password\":\"$user_password\",\"skipVerification\":true}"
user_id="$(field userId)"
must 201 "credits are given" POST /api/credits/allocate "$admin_token" "{\"userId\":\"$user_id\",\"credits\":10}"
must 200 "chatflows are read from Flowise" POST /api/v1/admin/chatflows/sync "$admin_token" '{}'
must 200 "chatflows are listed" GET /api/v1/admin/chatflows "$admin_token"
chatflow="${CHATFLOW_ID:-}"
if [ -z "$chatflow" ]; then
    # The first that is active.
    chatflow="$(grep -oE '"(flowise_id|sync_status)":"[^"]*"' "$scratch/body" | cut -d '"' -f 4 | paste - - |
        awk '$2 == "active" { print $1; exit }')"
fi
[ -n "$chatflow" ] || die "Flowise has no chatflow; make one there"
must 200 "a chatflow is assigned" POST "/api/v1/admin/chatflows/$chatflow/users" "$admin_token" "{\"email\":\"$email\"}"
must 200 "the user signs in" POST /api/auth/login '' "{\"username\":\"$name\",\"password\":\"$user_password\"}"
token="$(field accessToken)"
must 200 "the user sees the balance" GET /api/credits/total-balance "$token"
before="$(number totalCredits)"

# The stream: when each piece arrived, in milliseconds.
{
    printf 'url = "%s/api/v1/chat/predict/stream/store"\n' "$url"
    printf 'header = "authorization: Bearer %s"\nheader = "content-type: application/json"\n' "$token"
    printf 'data-binary = "%s"\n' "$(json_text "{\"chatflow_id\":\"$chatflow\",\"sessionId\":\"\",\"question\":\"${QUESTION:-Say hello in five words, please.}\"}")"
} | curl -sSN --max-time 200 -K - | while IFS= read -r line; do
    printf '%s %s\n' "$(date +%s%3N)" "$line"
done >"$scratch/stream"
tokens="$(grep -c '"event":"token"' "$scratch/stream" || true)"
grep -q '"event":"end"' "$scratch/stream" || die "the stream did not end well: $(tail -n 3 "$scratch/stream")"
[ "$tokens" -gt 0 ] || die "no token came: $(cat "$scratch/stream")"
first="$(grep -m 1 '"event":"token"' "$scratch/stream" | cut -d ' ' -f 1)"
last="$(grep '"event":"token"' "$scratch/stream" | tail -n 1 | cut -d ' ' -f 1)"
say "  ok   a chat streamed: $tokens tokens, the last one $((last - first)) ms after the first"
must 200 "the user sees what is left" GET /api/credits/total-balance "$token"
after="$(number totalCredits)"
[ "$after" -lt "$before" ] || die "the turn cost nothing: $before before, $after after"
say "  ok   the turn was paid for: $before credits before, $after after"
say "all is well at $url"
