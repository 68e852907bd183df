#!/usr/bin/env bash
# The platform in containers.
#
#   scripts/compose.sh up | down | build | start | stop | restart | logs | status | clean | config
#
# PROFILE=dev,observability chooses profiles (deploy/compose.yaml says which there are); a later command needs none: it
# means whatever runs. SERVICE=auth-service limits logs and restart. Settings: deploy/.env.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)"
# shellcheck source=scripts/lib.sh
. "$here/lib.sh"
cd "$ROOT/deploy"

PROFILES=(flowise dev scale observability)

find_compose() {
    if docker compose version >/dev/null 2>&1; then
        compose=(docker compose)
    elif have podman-compose; then
        compose=(podman-compose)
    else
        die "docker with its compose plugin is needed: https://docs.docker.com/engine/install/"
    fi
}

# The profiles that were asked for, and what they imply.
choose_profiles() {
    local profile wanted known
    for profile in ${PROFILE//,/ }; do
        known=no
        for wanted in "${PROFILES[@]}"; do if [ "$wanted" = "$profile" ]; then known=yes; fi; done
        [ "$known" = yes ] || die "there is no profile $profile; there are ${PROFILES[*]}"
        compose+=(--profile "$profile")
        case "$profile" in
        dev)
            export SMTP_HOST="${SMTP_HOST:-mailpit}" SMTP_PORT="${SMTP_PORT:-1025}"
            export N8N_ALLOWED_HOSTS="${N8N_ALLOWED_HOSTS:-http://n8n:5678}"
            ;;
        scale) export REPLICAS="${REPLICAS:-2}" REDIS_URL="${REDIS_URL:-redis://redis:6379}" ;;
        esac
    done
    case ",$PROFILE," in
    *,dev,*flowise,* | *,flowise,*dev,*) die "flowise and dev are two answers to one question; choose one" ;;
    esac
}

all_profiles() {
    local profile
    for profile in "${PROFILES[@]}"; do compose+=(--profile "$profile"); done
}

# One image after the other: they share one compilation, which must not run four times at once.
build_images() {
    local service
    local -a services=(auth-service flowise-proxy accounting-service)
    case ",${PROFILE:-}," in *,dev,*) services+=(stand-in-flowise stand-in-n8n) ;; esac
    REVISION="$(git -C "$ROOT" rev-parse --short HEAD 2>/dev/null || echo unknown)"
    export REVISION
    for service in "${services[@]}"; do "${compose[@]}" build "$service"; done
    docker image ls --format '  {{.Repository}}:{{.Tag}}  {{.Size}}' "${IMAGES:-flowgate}/*" | sort >&2
}

# Where people reach the platform, unless it was said.
public_url() {
    local url="http://localhost:${HTTP_PORT:-80}"
    if [ -n "${PUBLIC_HOST:-}" ]; then url="https://$PUBLIC_HOST"; fi
    printf '%s\n' "${url%:80}"
}

print_addresses() {
    local password="$ROOT/deploy/secrets/bootstrap_admin_password"
    cat <<TABLE

  platform   $PUBLIC_URL
  admin      ${BOOTSTRAP_ADMIN_USERNAME:-admin}, password in $password

Is it well?  make smoke URL=$PUBLIC_URL
Next: make status, make logs, make compose-down; proto-docs/operations.md for everything else.
TABLE
}

up() {
    "$here/generate-secrets.sh"
    choose_profiles
    build_images
    "${compose[@]}" up -d --wait --wait-timeout 300 --remove-orphans
    print_addresses
}

# Asks where somebody can answer; elsewhere CONFIRM=yes is the answer.
confirm() {
    local answer="${CONFIRM:-}"
    if [ -z "$answer" ] && [ -t 0 ]; then read -rp "$1 Type yes: " answer; fi
    [ "$answer" = yes ] || die "nothing was done; say CONFIRM=yes"
}

[ $# -eq 1 ] || { sed -n '2,/^set -/{/^#/s/^# \{0,1\}//p}' "$0" >&2; exit 2; }
PROFILE="${PROFILE:-}"
if [ -f .env ]; then
    # What the script itself wants to know of the settings; what the caller says wins.
    while IFS='=' read -r name value; do
        if [[ "$name" =~ ^[A-Z_]+$ ]] && [ -z "${!name:-}" ]; then export "$name=$value"; fi
    done <.env
fi
export PUBLIC_URL="${PUBLIC_URL:-$(public_url)}"
# Over TLS nobody but this very host may set or read the cookies of a session.
case "$PUBLIC_URL" in https://*) export COOKIE_SECURE="${COOKIE_SECURE:-true}" ;; esac
find_compose

case "$1" in
up) up ;;
build)
    choose_profiles
    build_images
    ;;
config)
    choose_profiles
    "${compose[@]}" config --quiet
    ;;
start | stop | restart | down | logs | status | clean)
    all_profiles
    case "$1" in
    start) "${compose[@]}" start ;;
    stop) "${compose[@]}" stop ;;
    restart) "${compose[@]}" restart ${SERVICE:+"$SERVICE"} ;;
    down) "${compose[@]}" down --remove-orphans ;;
    logs) "${compose[@]}" logs --follow --tail 200 ${SERVICE:+"$SERVICE"} ;;
    status) "${compose[@]}" ps --all ;;
    clean)
        confirm "This removes the containers AND ALL DATA: users, conversations, credits."
        "${compose[@]}" down --remove-orphans --volumes
        ;;
    esac
    ;;
*) die "there is no command $1" ;;
esac
