#!/usr/bin/env bash
# `make run`: builds and starts turn-server and recorder on this machine, says how to use them, stops both on Ctrl-C.
# Secrets, certificate, spool, recordings and logs live in ./data; delete the folder to start afresh.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
cd "$root"

"$root/scripts/install-build.sh"

# The defaults of config/turn-server.toml and config/recorder.toml, unless the environment says otherwise.
api=${TERN__API__LISTEN:-127.0.0.1:8080}
relay=${TERN__RELAY__LISTEN:-0.0.0.0:3478}
media=${TERN__ROOMS__LISTEN:-0.0.0.0:8189}
recorder_listen=${TERN__RECORDER__LISTEN:-127.0.0.1:8090}
check_ports() {
    need_port tcp "$(port_of "$api")" "[api] listen" "TERN__API__LISTEN=127.0.0.1:8081 make run"
    need_port tcp "$(port_of "$recorder_listen")" "[recorder] listen" "TERN__RECORDER__LISTEN=127.0.0.1:8091 make run"
    local kind
    for kind in udp tcp; do
        need_port "$kind" "$(port_of "$relay")" "[relay] listen" "TERN__RELAY__LISTEN=0.0.0.0:3479 make run"
        need_port "$kind" "$(port_of "$media")" "[rooms] listen" "TERN__ROOMS__LISTEN=0.0.0.0:8190 make run"
    done
}
check_ports

say "building (the first time takes some minutes)"
cargo build --release --locked
bin=${CARGO_TARGET_DIR:-$root/target}/release
# The build took a while; somebody may have come in between.
check_ports

logs=$root/data/logs
mkdir -p "$logs"
# --dev makes its secrets in the server's state_dir and keeps them.
state=${TERN__API__STATE_DIR:-data/turn-server}

server=
recorder=
# shellcheck disable=SC2317 # called by the trap
stop() {
    trap '' INT TERM
    local pid
    # The recorder first: it finishes its files while the server still answers.
    for pid in $recorder $server; do
        kill -TERM "$pid" 2>/dev/null || continue
        wait "$pid" 2>/dev/null || true
    done
}
# Whatever happens, nothing is left running.
trap stop EXIT
trap 'say; say "stopping"; exit 0' INT TERM

# Becomes a program that sees of our variables only those of its sections: it would refuse the others. It gets a session
# of its own, so that Ctrl-C reaches this script only, and the order of stopping is ours.
become() {
    local sections=" $1 " others=() name section
    shift
    for name in $(compgen -e TERN__); do
        section=${name#TERN__}
        case $sections in *" ${section%%__*} "*) ;; *) others+=(-u "$name") ;; esac
    done
    exec env "${others[@]}" setsid "$@"
}
# Waits until a program says that it can work; fails at once when it ends instead. $1 name, $2 its process, $3 its port.
wait_ready() {
    local tries=200
    until "$bin/turn-server" ready --url "http://127.0.0.1:$3/readyz" >/dev/null 2>&1; do
        tries=$((tries - 1))
        if [ $tries -eq 0 ] || ! kill -0 "$2" 2>/dev/null; then
            tail -n 5 "$logs/$1.log" >&2
            die "$1 did not become ready; its log: data/logs/$1.log"
        fi
        sleep 0.1
    done
}
become "LOG API RELAY ROOMS RECORDING STORAGE" "$bin/turn-server" --dev >"$logs/turn-server.log" 2>&1 </dev/null &
server=$!
port=$(port_of "$api")
wait_ready turn-server "$server" "$port"
export TERN__SERVER__KEY_FILE=${TERN__SERVER__KEY_FILE:-$state/recorder.key}
export TERN__SERVER__URL=${TERN__SERVER__URL:-http://127.0.0.1:$port}
become "LOG SERVER RECORDER STORAGE" "$bin/recorder" >"$logs/recorder.log" 2>&1 </dev/null &
recorder=$!
wait_ready recorder "$recorder" "$(port_of "$recorder_listen")"

key=$(cat "$state/api.key")
minted=$(become "LOG API RELAY ROOMS RECORDING STORAGE" "$bin/turn-server" --dev credentials --user alice --ttl 12h)
field() { printf '%s' "$minted" | sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p"; }
cat <<TEXT

Tern is running.

  page        http://localhost:$port/      open it in two tabs and join the same room
  API         http://localhost:$port/v1    Authorization: Bearer $key
  iceServers  [{ urls: "turn:localhost:$(port_of "$relay")", username: "$(field username)", credential: "$(field password)" }]
  recordings  data/recordings
  logs        data/logs/turn-server.log  data/logs/recorder.log

Next: join the room "demo" on the page, record it, and list what there is:

  curl -X POST   -H "Authorization: Bearer $key" http://localhost:$port/v1/rooms/demo/recording
  sleep 10
  curl -X DELETE -H "Authorization: Bearer $key" http://localhost:$port/v1/rooms/demo/recording
  curl           -H "Authorization: Bearer $key" http://localhost:$port/v1/recordings

Ctrl-C stops both.
TEXT

# Until one of them ends, or Ctrl-C.
wait -n "$server" "$recorder" || true
for name in turn-server recorder; do
    say "last lines of data/logs/$name.log:"
    tail -n 3 "$logs/$name.log"
done
die "one of the two ended by itself; the other was stopped"
