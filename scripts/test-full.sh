#!/usr/bin/env bash
# `make test-full`: what is too long for every change: licences, advisories, 200 crashes of a recorder, churn of allocations,
# fuzzing (needs a nightly compiler), containers (need root).
set -euo pipefail
. "$(dirname "$0")/lib.sh"
cd "$root"

"$root/scripts/test.sh"

step "dependencies"
if ! have cargo-deny; then
    say "installing cargo-deny (some minutes, once)"
    CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_LTO=off cargo install --quiet --locked cargo-deny
fi
# Advisories come from a git repository; without a way there, the rest is checked all the same.
cargo deny --all-features check licenses bans sources
cargo deny --all-features check advisories || say "warning: advisories not checked or not clean, see above"

step "recordings that survive hundreds of crashes"
"$root/scripts/install-garage.sh"
cargo nextest run --cargo-profile release --locked --workspace --run-ignored only -E 'package(tests) & test(/_long$/)'

step "churn"
cargo run --quiet --release --locked --workspace --bin churn

"$root/scripts/fuzz.sh" "${FUZZ_SECONDS:-60}"
"$root/scripts/docker-test.sh"
say
say "test-full: all passed"
