#!/usr/bin/env bash
# `make compare`: asks Debian's coturn and our server the same questions and writes down what both did.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
cd "$root"

"$root/scripts/install-tools.sh"
step "binaries"
cargo build --release --locked --workspace --bins --quiet
step "comparison"
table=$("${CARGO_TARGET_DIR:-$root/target}/release/compare")
printf '%s\n' "$table" >docs/compared-with-coturn.md
say "$(grep ' passes ' docs/compared-with-coturn.md)"
