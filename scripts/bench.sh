#!/usr/bin/env bash
# `make bench`: every benchmark and load generator of bench/, one after the other, on this machine.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
cd "$root"

# Media comes from ffmpeg, loss from nft.
"$root/scripts/install-tools.sh"
cargo build --release --locked --workspace --bins --quiet
for source in bench/src/bin/*.rs; do
    [ -e "$source" ] || die "bench/src/bin holds no benchmark"
    name=$(basename "$source" .rs)
    step "$name"
    "${CARGO_TARGET_DIR:-$root/target}/release/$name"
done
step "recorder-ready"
"${CARGO_TARGET_DIR:-$root/target}/release/recorder-ready"
step "recorder-cost"
# In a network of its own: needs root.
"${CARGO_TARGET_DIR:-$root/target}/release/recorder-cost"
