#!/usr/bin/env bash
# Everything but the tests that a change must pass.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)"
# shellcheck source=scripts/lib.sh
. "$here/lib.sh"
cd "$ROOT"

say "formatting"
cargo fmt --all --check
say "lints"
cargo clippy --workspace --all-targets --locked -- -D warnings
say "documentation"
RUSTDOCFLAGS="-D warnings ${RUSTDOCFLAGS:-}" cargo doc --workspace --no-deps --locked --quiet
say "dependencies"
"$here/audit.sh"
say "manifests"
"$here/manifests.sh"
if have shellcheck; then
    say "scripts"
    git ls-files -z '*.sh' .ci/run | xargs -0 shellcheck -x
else
    say "scripts: not checked, shellcheck is not installed"
fi
say "all is well"
