#!/usr/bin/env bash
# Builds garage, the object storage of docker-compose.yml, from its crate into .cache/garage: for `make test-full` only.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
cd "$root"

[ -x "$root/.cache/garage/bin/garage" ] && exit 0
say "building garage (a quarter of an hour, once)"
# A cheap build: it only has to work.
CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
    cargo install --quiet garage@2.5.0 --locked --no-default-features --features bundled-libs,sqlite \
    --root "$root/.cache/garage"
