#!/usr/bin/env bash
# Checks licences, banned packages and sources of everything that is built in against deny.toml, without a network.
# `cargo deny` does so too where it is installed; the check here needs nothing but cargo.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)"
# shellcheck source=scripts/lib.sh
. "$here/lib.sh"
cd "$ROOT"

if cargo deny --version >/dev/null 2>&1; then
    cargo deny --offline check bans licenses sources
fi

failures=0
fail() {
    say "  $*"
    failures=$((failures + 1))
}

# The lines between `name = [` and `]` of deny.toml.
list_of() { sed -n "/^$1 = \[\$/,/^\]/p" deny.toml | sed '1d;$d'; }

mapfile -t allowed < <(list_of allow | cut -d '"' -f 2)
[ "${#allowed[@]}" -gt 5 ] || die "deny.toml holds no list of licences"

is_allowed() {
    local licence
    [ "$1" = yes ] && return 0
    for licence in "${allowed[@]}"; do [ "$licence" = "$1" ] && return 0; done
    return 1
}

# An expression without parentheses: one of the alternatives, with all of its parts.
flat_is_allowed() {
    local alternative part rest
    local -a alternatives
    mapfile -t alternatives <<<"${1// OR /$'\n'}"
    for alternative in "${alternatives[@]}"; do
        rest="$alternative"
        while :; do
            part="${rest%% AND *}"
            is_allowed "$part" || break
            [ "$part" = "$rest" ] && return 0
            rest="${rest#* AND }"
        done
    done
    return 1
}

licence_is_allowed() {
    local expression="$1" answer
    # Old manifests write a slash for OR.
    expression="${expression// \/ / OR }"
    expression="${expression//\// OR }"
    while [[ "$expression" =~ ^(.*)\(([^()]*)\)(.*)$ ]]; do
        answer=no
        if flat_is_allowed "${BASH_REMATCH[2]}"; then answer=yes; fi
        expression="${BASH_REMATCH[1]}$answer${BASH_REMATCH[3]}"
    done
    flat_is_allowed "$expression"
}

is_below() { [ "$1" != "$2" ] && [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]; }

bans="$(list_of deny | sed -nE 's/.*crate = "([^"@]+)(@<([^"]+))?", reason = "(.*)" \},?$/\1|\3|\4/p')"
[ -n "$bans" ] || die "deny.toml holds no list of bans"
packages="$(cargo tree --workspace --locked --offline -e normal,build,dev --prefix none --format '{p}|{l}|{r}' |
    sed 's/ (\*)$//' | grep . | sort -u)"
count="$(wc -l <<<"$packages")"

while IFS='|' read -r package licence repository; do
    name="${package%% *}"
    version="$(cut -d ' ' -f 2 <<<"$package")"
    version="${version#v}"
    if [ -z "$licence" ]; then
        fail "$name $version names no licence ($repository)"
    elif ! licence_is_allowed "$licence"; then
        fail "$name $version has the licence $licence, which deny.toml does not allow ($repository)"
    fi
    while IFS='|' read -r banned below reason; do
        [ "$name" = "$banned" ] || continue
        if [ -z "$below" ] || is_below "$version" "$below"; then fail "$name $version is banned: $reason"; fi
    done <<<"$bans"
done <<<"$packages"

while read -r source; do
    [ "$source" = '"registry+https://github.com/rust-lang/crates.io-index"' ] || fail "Cargo.lock has packages from $source"
done < <(sed -n 's/^source = //p' Cargo.lock | sort -u)

[ "$failures" -eq 0 ] || die "$failures things in the dependencies are not allowed"
say "  $count packages: licences, bans and sources are as deny.toml wants them"
