#!/usr/bin/env bash
# What `make test` needs beside Rust: a browser, foreign STUN/TURN clients, media checkers, the test runner.
# Everything comes from Debian, PyPI and crates.io; on a machine that has it all this takes a fraction of a second.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

"$root/scripts/install-build.sh"

packages=(
    # To build the tests: libav bindings decode every recording.
    clang libclang-dev pkg-config libavcodec-dev libavformat-dev libavutil-dev libswresample-dev
    # Peers that are not ours: browser, TURN client, STUN client.
    chromium coturn
    # Media checkers.
    ffmpeg mkvtoolnix libwebm-tools
    # More TURN clients: Python's aioice (below), GNOME's libnice, Go's pion, and Gecko's own.
    python3-venv libnice-dev golang-go golang-github-pion-turn.v2-dev firefox-esr
    # An independent reader of what was on the wire, and a hand that changes it.
    tshark zzuf
    # Network namespaces with NATs, and who holds a port.
    iproute2 nftables procps
    # Reads the log of failed logins as operators have it read.
    fail2ban
    # Checks of the scripts themselves.
    shellcheck
)
new=$(missing_packages coturn fail2ban)
apt_install "${packages[@]}"
# Debian starts what it installs. The tests want the programs only: a coturn without credentials relays for everybody.
if [ -n "$new" ] && [ -d /run/systemd/system ]; then
    sudo=
    [ "$(id -u)" -eq 0 ] || sudo=sudo
    # shellcheck disable=SC2086 # a list of words
    $sudo systemctl disable --now $new >/dev/null 2>&1 || say "warning: could not stop the new services: $new"
fi

# Debian's Python, whichever one comes first on PATH; made anew when the list changes.
python=$root/.cache/python
wanted=$root/tests/requirements.txt
if ! cmp -s "$wanted" "$python/installed.txt"; then
    say "installing Python packages of tests/requirements.txt"
    /usr/bin/python3 -m venv --clear "$python"
    "$python/bin/pip" install --quiet --disable-pip-version-check --no-deps --requirement "$wanted"
    cp "$wanted" "$python/installed.txt"
fi

# The runner: one version, so that its configuration means the same everywhere.
nextest=0.9.143
if ! cargo nextest --version 2>/dev/null | grep -q "$nextest"; then
    say "installing cargo-nextest $nextest (some minutes, once)"
    # Faster to build, and it only starts programs.
    CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
        cargo install --quiet --locked cargo-nextest --version "$nextest"
fi
