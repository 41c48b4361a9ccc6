#!/usr/bin/env bash
# `make conformance`: runs the tests that name rules of tests/rules.txt, and writes docs/conformance.md.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
cd "$root"

"$root/scripts/install-tools.sh"
step "binaries"
cargo build --release --locked --workspace --bins --quiet
step "tests"
cargo nextest run --cargo-profile release --locked --workspace --profile conformance --no-fail-fast \
    --test-threads $((2 * $(nproc))) \
    -E 'package(turn) | package(sfu) | package(turn-server) | package(fuzz) | package(tests) & test(/^((rooms::)?relay|tidy::sources)::/)' || say "some tests failed"
step "docs/conformance.md"
document=$("${CARGO_TARGET_DIR:-$root/target}/release/conformance" \
    "${CARGO_TARGET_DIR:-$root/target}/nextest/conformance/junit.xml") || die "not every rule that has a test is proven"
printf '%s\n' "$document" >docs/conformance.md
