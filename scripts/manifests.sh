#!/usr/bin/env bash
# Renders every overlay for Kubernetes and checks what comes out against the schemas of Kubernetes' own API. Where the
# programs for it are neither here nor can be fetched, it says so and checks nothing; CI=true makes that a failure.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)"
# shellcheck source=scripts/lib.sh
. "$here/lib.sh"
cd "$ROOT"

# The oldest Kubernetes that is still supported and the newest that the schemas know.
VERSIONS=(1.33 1.36)
# Kinds of the Prometheus operator, which have no schema there.
WITHOUT_SCHEMA='^apiVersion: monitoring\.coreos\.com/'

if ! { kubectl="$("$here/programs.sh" path kubectl)" && validate="$("$here/programs.sh" path kubernetes-validate)"; }; then
    [ "${CI:-}" != true ] || die "the manifests could not be checked"
    say "  not checked: kubectl or kubernetes-validate is missing"
    exit 0
fi
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT

for overlay in deploy/kubernetes/base deploy/kubernetes/overlays/*/; do
    "$kubectl" kustomize "$overlay" >"$scratch/all.yaml"
    # A file for each object, without those that have no schema.
    rm -f "$scratch"/object-*
    awk -v folder="$scratch" 'BEGIN { n = 1 } /^---$/ { n++; next } { print > (folder "/object-" n ".yaml") }' "$scratch/all.yaml"
    total="$(find "$scratch" -name 'object-*' | wc -l)"
    grep -lE "$WITHOUT_SCHEMA" "$scratch"/object-* | xargs -r rm
    checked="$(find "$scratch" -name 'object-*' | wc -l)"
    [ "$checked" -ge 15 ] || die "$overlay renders only $checked objects"
    for version in "${VERSIONS[@]}"; do
        "$validate" -k "$version" --strict --quiet "$scratch"/object-*.yaml >"$scratch/log" 2>&1 ||
            { cat "$scratch/log" >&2; die "$overlay is not valid for Kubernetes $version"; }
    done
    say "  $overlay: $checked of $total objects valid for Kubernetes ${VERSIONS[*]}"
done
