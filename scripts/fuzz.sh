#!/usr/bin/env bash
# Runs each fuzz target for some seconds from its committed corpus. Findings land in fuzz/artifacts.
# Usage: fuzz.sh SECONDS [TARGET...]
set -euo pipefail
. "$(dirname "$0")/lib.sh"
cd "$root"

seconds=${1:-60}
shift || true
cargo +nightly --version >/dev/null 2>&1 ||
    die "fuzzing needs a nightly compiler: rustup toolchain install nightly"
if ! have cargo-fuzz; then
    say "installing cargo-fuzz"
    cargo install --quiet --locked cargo-fuzz
fi
targets=("$@")
if [ ${#targets[@]} -eq 0 ]; then
    mapfile -t targets < <(cargo +nightly fuzz list)
fi
for target in "${targets[@]}"; do
    step "fuzz $target, $seconds s"
    # New inputs go to a folder of their own: the committed corpus changes only on purpose.
    found=$root/target/fuzz-found/$target
    mkdir -p "$found"
    cargo +nightly fuzz run --release --features libfuzzer "$target" "$found" "fuzz/corpus/$target" -- \
        -max_total_time="$seconds" -timeout=5 -rss_limit_mb=2048 -print_final_stats=1 2>&1 | tail -n 12
done
