#!/usr/bin/env bash
# `make docker-test`: docker-compose.yml as a user starts it, from nothing, with a call, a recording and its download.
#
# Uses the machine's docker where it runs and can pull. Where there is no registry, it starts a Docker engine of its own
# in a network namespace, and makes the base images from Debian packages, this Rust toolchain and garage's crate; the
# Dockerfile and the compose file stay as they are. Needs root; everything it makes lies in .cache/docker-test.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
cd "$root"

[ "$(id -u)" -eq 0 ] || die "needs root, for network namespaces and a Docker engine of its own"
export DOCKER_BUILDKIT=1 COMPOSE_DOCKER_CLI_BUILD=1 COMPOSE_PROJECT_NAME=tern-test
# Debian's client has BuildKit built in; another one earlier on PATH may lack its plugin.
export PATH=/usr/bin:$PATH
work=$root/.cache/docker-test
mkdir -p "$work"
own_engine=
namespace=
enter=()

# shellcheck disable=SC2317 # called by the trap
cleanup() {
    set +e
    [ -n "${up:-}" ] && compose down --volumes --timeout 20 >/dev/null 2>&1
    stop_engine
    [ -n "$namespace" ] && ip netns del "$namespace"
}
trap cleanup EXIT

compose() { if docker compose version >/dev/null 2>&1; then docker compose "$@"; else docker-compose "$@"; fi; }

# Starts our engine; the arguments say how (its network namespace), then dockerd's options.
start_engine() {
    "$@" --data-root "$work/data" --exec-root "$work/exec" --pidfile "$work/pid" -H "unix://$work/docker.sock" \
        --storage-driver overlay2 >"$work/engine.log" 2>&1 </dev/null &
    own_engine=$!
    export DOCKER_HOST=unix://$work/docker.sock
    local tries=100
    until docker info >/dev/null 2>&1; do
        tries=$((tries - 1))
        if [ $tries -eq 0 ] || ! kill -0 "$own_engine" 2>/dev/null; then
            tail -n 5 "$work/engine.log" >&2
            die "the Docker engine did not start; its log: $work/engine.log"
        fi
        sleep 0.1
    done
}

stop_engine() {
    [ -n "$own_engine" ] || return 0
    kill "$own_engine" 2>/dev/null || true
    wait "$own_engine" 2>/dev/null || true
    own_engine=
}

has_image() { docker image inspect "$1" >/dev/null 2>&1; }

make_base_images() {
    if ! has_image debian:bookworm-slim; then
        step "debian:bookworm-slim from Debian packages"
        rm -rf "$work/bookworm"
        debootstrap --variant=minbase bookworm "$work/bookworm" >"$work/debootstrap.log"
        tar -C "$work/bookworm" --exclude='./var/cache/apt/archives/*.deb' --exclude=./usr/share/doc \
            --exclude=./usr/share/man --exclude=./usr/share/locale -c . |
            docker import -c 'CMD ["bash"]' - debian:bookworm-slim
        rm -rf "$work/bookworm"
    fi
    if ! has_image rust:1.95-slim-bookworm; then
        step "rust:1.95-slim-bookworm from this machine's toolchain"
        tar -C "$(rustc --print sysroot)" --exclude=./share -c . | docker import - tern-toolchain:local
        mkdir -p "$work/empty"
        docker build --network host -t rust:1.95-slim-bookworm -f - "$work/empty" <<'DOCKERFILE'
FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev ca-certificates && rm -rf /var/lib/apt/lists/*
COPY --from=tern-toolchain:local / /usr/local/rust
ENV PATH=/usr/local/rust/bin:$PATH CARGO_HOME=/usr/local/cargo
DOCKERFILE
    fi
    if ! has_image dxflrs/garage:v2.5.0; then
        step "dxflrs/garage:v2.5.0 from its crate"
        "$root/scripts/install-garage.sh"
        rm -rf "$work/garage" && mkdir -p "$work/garage"
        cp "$root/.cache/garage/bin/garage" "$work/garage/"
        # The official image is FROM scratch; this binary is not linked statically, so it brings Debian's libc.
        docker build -t dxflrs/garage:v2.5.0 -f - "$work/garage" <<'DOCKERFILE'
FROM debian:bookworm-slim
COPY garage /garage
CMD ["/garage", "server"]
DOCKERFILE
    fi
}

build_ours() {
    step "our image"
    local secret=()
    [ -e /etc/ssl/certs/ca-certificates.crt ] && secret=(--secret "id=ca,src=/etc/ssl/certs/ca-certificates.crt")
    docker build --network host "${secret[@]}" -t tern:local .
}

if docker info >/dev/null 2>&1 && timeout 60 docker pull -q debian:bookworm-slim >/dev/null 2>&1; then
    build_ours
else
    apt_install docker.io docker-compose debootstrap iptables iproute2 curl
    # Bash remembers where it found another client before.
    hash -r
    # To build, it needs the machine's network, and no bridge: nothing outside changes.
    start_engine dockerd --bridge=none --iptables=false --ip6tables=false --ip-forward=false --ip-masq=false
    make_base_images
    build_ours
    stop_engine
    # To run, a network of its own: bridge, address translation and published ports stay out of the machine's.
    namespace=tern-docker-$$
    ip netns add "$namespace"
    ip -n "$namespace" link set lo up
    enter=(nsenter "--net=/run/netns/$namespace")
    # Not `ip netns exec`, which hides the cgroup mounts.
    start_engine "${enter[@]}" dockerd
fi

healthy() { [ "$(docker inspect -f '{{.State.Health.Status}}' "$(compose ps -q "$1")" 2>/dev/null)" = healthy ]; }

# As a user does, and waits until both programs are healthy.
bring_up() {
    up=1
    compose up -d --no-build
    local tries=240 name
    for name in turn-server recorder; do
        until healthy "$name"; do
            tries=$((tries - 1))
            if [ $tries -eq 0 ]; then
                compose ps
                compose logs --tail 30
                die "$name did not become healthy"
            fi
            sleep 0.25
        done
    done
}

# Of the whole workspace, so that features, and with them what is built already, are those of the tests.
cargo build --release --locked --quiet --workspace --bins
step "up"
bring_up
key=$(compose exec -T turn-server cat /secrets/api-key)

step "a call, a recording, its download"
"${enter[@]}" "${CARGO_TARGET_DIR:-$root/target}/release/recorded-call" --url http://localhost:8080 --key "$key" || {
    compose logs --tail 60
    die "the recorded call failed"
}

step "down, and up again: keys and recordings are still there"
compose down --timeout 40
bring_up
[ "$(compose exec -T turn-server cat /secrets/api-key)" = "$key" ] || die "the API key changed"
"${enter[@]}" curl -sf -H "Authorization: Bearer $key" http://localhost:8080/v1/recordings | grep -q '"ready"' ||
    die "the recording is not listed any more"
compose down --volumes --timeout 40
up=
say
say "containers: all passed"
