#!/usr/bin/env bash
# Checks that read the sources only: formatting, clippy, rustdoc, shell, JavaScript. Warnings are errors.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
cd "$root"

step "rustfmt"
cargo fmt --all --check
if have shellcheck; then
    step "shellcheck"
    shellcheck -x -P scripts scripts/*.sh .ci/run
fi
if have node; then
    step "node --check"
    # A module's syntax is checked as a module only under that name, or from stdin when told so.
    find web -name "*.js" | while read -r file; do
        node --input-type=module --check <"$file" || die "$file: syntax error"
    done
fi
step "clippy"
cargo clippy --release --locked --workspace --all-targets --quiet -- -D warnings
step "rustdoc"
RUSTDOCFLAGS="-D warnings" cargo doc --release --locked --no-deps --workspace --document-private-items --quiet
