#!/usr/bin/env bash
# `make test`: everything that must hold before a merge, from nothing. Ends with the test runner's own summary.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
cd "$root"

"$root/scripts/install-tools.sh"
"$root/scripts/lint.sh"
step "binaries"
# Tests start the very binaries that users run.
cargo build --release --locked --workspace --bins --quiet
step "documentation examples"
# Doc tests print a page even when all is well; show it only when it is needed.
examples=$(cargo test --release --locked --workspace --doc --quiet 2>&1) || {
    say "$examples"
    die "documentation examples failed: cargo test --release --doc --workspace"
}
step "tests"
cargo nextest run --cargo-profile release --locked --workspace --test-threads $((3 * $(nproc)))
