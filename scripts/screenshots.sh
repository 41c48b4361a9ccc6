#!/usr/bin/env bash
# Pictures of the page in a real call, into the folder of the first argument (target/screenshots).
set -euo pipefail
. "$(dirname "$0")/lib.sh"
cd "$root"
folder=${1:-target/screenshots}
cargo build --release --locked --workspace --bins --quiet
"${CARGO_TARGET_DIR:-target}/release/screenshots" "$folder"
step "pictures are in $folder"
