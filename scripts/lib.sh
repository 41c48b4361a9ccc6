# Shared by the scripts beside it; sourced, never run. One sentence per failure: what is wrong and what to do.
# shellcheck shell=bash

say() { printf '%s\n' "$*"; }
step() { printf '\n== %s\n' "$*"; }
die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }

# The folder of the workspace.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# cargo installs tools here; a fresh machine has not put it on PATH for scripts.
PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin

# The Debian packages of the list that are not installed.
missing_packages() {
    local package
    for package in "$@"; do
        dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || printf '%s ' "$package"
    done
}

# Installs the Debian packages that are missing; says nothing and needs no network when all are there.
apt_install() {
    local missing sudo=
    have dpkg-query || die "this is not Debian or Ubuntu: install what corresponds to: $*"
    missing=$(missing_packages "$@")
    [ -n "$missing" ] || return 0
    if [ "$(id -u)" -ne 0 ]; then
        have sudo || die "missing packages, and neither root nor sudo: run as root: apt-get install $missing"
        sudo=sudo
    fi
    say "installing Debian packages: $missing"
    export DEBIAN_FRONTEND=noninteractive
    # The lists may be absent on a new machine and stale on an old one: try as things are, then once with fresh lists.
    # shellcheck disable=SC2086 # a list of words
    if ! $sudo apt-get install -y --no-install-recommends $missing </dev/null >/dev/null 2>&1; then
        $sudo apt-get update </dev/null >/dev/null 2>&1 || say "apt-get update failed; going on with the lists there are"
        # shellcheck disable=SC2086
        $sudo apt-get install -y --no-install-recommends $missing </dev/null >&2 ||
            die "apt-get could not install: $missing"
    fi
}

# Is version $1 at least $2? Both are dotted numbers.
version_at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

# Cargo is there and new enough for the workspace.
need_rust() {
    local want found
    want=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$root/Cargo.toml")
    have cargo || die "Rust is not installed: get it from https://rustup.rs, then run this again"
    # +toolchain files and overrides count, so ask inside the workspace.
    found=$(cd "$root" && rustc --version | sed 's/^rustc \([0-9.]*\).*/\1/')
    version_at_least "$found" "$want" || die "needs Rust $want or newer; you have $found: rustup update stable"
}

# The port of an address such as 127.0.0.1:8080 or [::]:8080, or of the first one in a list ["..", ".."].
port_of() { printf '%s' "$1" | sed 's/[],].*$//; s/["[:space:]]//g; s/.*://'; }

# Is a socket of this kind (tcp, udp) bound to the port? Reads /proc, because a new machine has no ss.
port_taken() {
    local kind=$1 hex
    hex=$(printf ':%04X' "$2")
    # 0A: listening; a bound UDP socket is in state 07.
    awk -v port="$hex" -v kind="$kind" '
        FNR > 1 && substr($2, length($2) - 4) == port && (kind == "udp" || $4 == "0A") { found = 1 }
        END { exit !found }' "/proc/net/$kind" "/proc/net/${kind}6" 2>/dev/null
}

# Who holds the port, as far as this user may know: "name, pid 12" or nothing.
port_holder() {
    have ss || return 0
    ss -Hlnp "--$1" "sport = :$2" 2>/dev/null |
        sed -n 's/.*users:(("\([^"]*\)",pid=\([0-9]*\).*/\1, pid \2/p' | head -n 1
}

# Fails with one sentence when the port is taken. $1 kind, $2 port, $3 config key, $4 how to change it.
need_port() {
    local holder
    port_taken "$1" "$2" || return 0
    holder=$(port_holder "$1" "$2")
    die "port $2/$1 is in use${holder:+ by $holder}: stop that program, or choose another port with $4 (config key $3)"
}
