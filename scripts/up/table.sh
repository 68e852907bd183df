# What `make up` ends with. Sourced by up.sh.
# shellcheck shell=bash

# stack_value PATH: a value of the stack file, which has one key a line, people on one line each.
stack_value() {
    local line="$1" key="${2:-$1}"
    grep "^  \"$line\":" "$STACK_FILE" | sed -E "s/.*\"$key\": \"(([^\"\\\\]|\\\\.)*)\".*/\1/; s/\\\\(.)/\1/g"
}

# A word for a shell, in single quotes whatever it holds.
quoted() { printf "'%s'" "$(printf '%s' "$1" | sed "s/'/'\\\\''/g")"; }

print_table() {
    local auth proxy accounting flowise log_in token json="-H 'content-type: application/json'" bearer chat
    auth="$(stack_value auth_url)"
    proxy="$(stack_value proxy_url)"
    accounting="$(stack_value accounting_url)"
    flowise="$(stack_value flowise_url)"
    log_in="curl -s $auth/api/auth/login $json -d $(quoted "{\"username\":\"$(json_text "$(stack_value user username)")\",\"password\":\"$(json_text "$(stack_value user password)")\"}")"
    token="TOKEN=\$($log_in | sed 's/.*\"accessToken\":\"\\([^\"]*\\)\".*/\\1/')"
    # shellcheck disable=SC2016 # the shell that it is pasted into expands it
    bearer='-H "authorization: Bearer $TOKEN"'
    chat="$(quoted "{\"chatflow_id\":\"$(stack_value chatflow_id)\",\"sessionId\":\"\",\"question\":\"Hello, who are you?\"}")"
    if [ "${USES_STAND_IN:-no}" = yes ]; then flowise="$flowise (stand-in)"; fi
    cat <<TABLE

  log-in page         $(stack_value url)/login
  chat                $(stack_value url)/chat
  administration      $(stack_value url)/admin
  chat widget         $(stack_value widget_demo_url)

  auth-service        $auth
  proxy-service       $proxy
  accounting-service  $accounting
  Flowise             $flowise
  chatflow            $(stack_value chatflow_name)

  admin               $(stack_value admin username)  $(stack_value admin email)  $(stack_value admin password)
  user                $(stack_value user username)  $(stack_value user email)  $(stack_value user password)

Log in:
$log_in

List my chatflows:
$token; curl -s $proxy/api/v1/chatflows/my-chatflows $bearer

Chat (streaming):
$token; curl -sN $proxy/api/v1/chat/predict/stream/store $bearer $json -d $chat

Balance:
$token; curl -s $accounting/api/credits/balance $bearer

The same is in $STACK_FILE. Next: make status, make logs, make down.
TABLE
}
