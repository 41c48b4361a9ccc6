//! coturn's clients. A run of them waits more than it works, so the modes of a test run side by side.

use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use tests::netns::Namespace;
use tests::pki::Pki;
use tests::program::{finish, finish_within};
use tests::relay::{SECRET, USER, start, with_tls};
use tests::turn_tools::{ClientRun, uclient};
use tests::ways::{self, Target};
use turn_server::relay::{Relay, RelayStats};

const LOGIN: [&str; 4] = ["-u", USER.0, "-w", USER.1];

/// Calls `run` with each mode at once; a failure names its mode.
pub(super) fn side_by_side(modes: &[&str], run: impl Fn(&[&str]) + Sync) {
    std::thread::scope(|scope| {
        for mode in modes {
            let arguments: Vec<_> = mode.split_whitespace().collect();
            let run = &run;
            let thread = std::thread::Builder::new().name(format!("uclient {mode}"));
            thread.spawn_scoped(scope, move || run(&arguments)).expect("a thread");
        }
    });
}

/// `turnutils_uclient` with the password.
pub(super) fn uclient_as_user(server: SocketAddr, mode: &[&str]) -> ClientRun {
    uclient(server, &[&LOGIN[..], mode].concat())
}

/// Waits until the relay's counters are such.
fn reaches(relay: &Relay, what: impl Fn(&RelayStats) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !what(&relay.stats()) {
        assert!(Instant::now() < deadline, "{:?}", relay.stats());
        std::thread::yield_now();
    }
}

/// Two clients of ours to each other.
pub(super) const PAIR: [&str; 7] = ["-n", "20", "-m", "2", "-l", "170", "-y"];

fn to_each_other(login: &[&str], mode: &[&str]) {
    let (relay, server) = start(|_| {});
    uclient(server, &[login, &PAIR, mode].concat()).assert_nothing_lost();
    let stats = relay.stats();
    assert!(stats.handed_over > 0, "between allocations of one relay, packets do not take the kernel's way");
    assert_eq!(stats.sent_to_peers, 0);
    assert_eq!(stats.core.to_peers.packets, stats.handed_over);
}

/// Channels and Send indications (`-s`), without an EVEN-PORT pair (`-c`) and with one and its token, over UDP and TCP
/// (`-t`), with more requests than needed (`-G`), with padding (`-D`), with packets that must stay whole (`-g`).
#[test]
fn allocations_talk_to_each_other() {
    let modes = [
        "-c", "-c -s", "", "-s", "-c -G", "-c -s -G", "-c -D", "-c -g", "-c -g -s", "-c -t", "-c -t -s", "-t",
        "-c -t -G", "-c -t -D",
    ];
    side_by_side(&modes, |mode| to_each_other(&LOGIN, mode));
}

/// Requests that are wrong (`-N`) harm neither the client's next ones nor, with messages that are none (`-R`), others.
#[test]
fn negative_tests_leave_the_relay_whole() {
    let (relay, server) = start(|_| {});
    side_by_side(&["-R", "-R", "-R", "-c -N", "-c -N -s", "-c -N -t", "-c"], |mode| {
        if mode == ["-R"] {
            // What it sends is drawn by lot, and it may wait for ever for an answer that nobody owes it.
            garble(server);
        } else {
            uclient_as_user(server, &[&PAIR[..], mode].concat()).assert_nothing_lost();
        }
    });
    let stats = relay.stats();
    let wrong =
        stats.core.errors_with(400) + stats.core.errors_with(420) + stats.core.dropped_for(turn::Drop::Malformed);
    assert!(wrong > 0, "nothing wrong was sent: {stats:?}");
    uclient_as_user(server, &[&PAIR[..], &["-c"]].concat()).assert_nothing_lost();
}

/// Lets the client send messages that are wrong for some seconds.
fn garble(server: SocketAddr) {
    let mut client = Command::new("turnutils_uclient");
    client.args(["-p", &server.port().to_string()]).args(LOGIN);
    client.args(["-R", "-y", "-c", "-m", "1", "-n", "20", &server.ip().to_string()]);
    finish_within(client, Duration::from_secs(4));
}

/// Clients that break off without a word (`-B`) and come back get what they asked for, and leave nothing behind where
/// they have closed a connection.
/// Rule: abuse-32
#[test]
fn ports_come_back_when_clients_leave() {
    side_by_side(&["-t", "-t -B", "-B"], |mode| {
        let (relay, server) = start(|_| {});
        let run = |more: &[&str]| uclient_as_user(server, &[&["-n", "20", "-m", "2", "-y", "-c"], more].concat());
        if mode.contains(&"-B") {
            // It breaks off when it has sent more than five packets at a time, as it does with `-z 0`, and loses what is
            // under way.
            let broken_off = run(&[mode, &["-z", "0"]].concat());
            let lost = !broken_off.output.contains("Total lost packets 0 ");
            assert!(broken_off.success && lost, "{}", broken_off.output);
        } else {
            run(mode).assert_nothing_lost();
        }
        if !mode.contains(&"-t") {
            // Nobody can see that it has left.
            assert!(!relay.allocations().is_empty());
            return run(&[]).assert_nothing_lost();
        }
        run(&["-t"]).assert_nothing_lost();
        // Its connections are closed, and with them its allocations end.
        reaches(&relay, |stats| stats.ports_used == 0);
        assert_eq!(relay.allocations().len(), 0);
    });
}

#[test]
fn over_ipv6() {
    let (relay, server) = start(|config| {
        config.listen = vec!["[::1]:0".parse().expect("an address")];
        config.relay_addresses = vec!["::1".parse().expect("an address")];
    });
    side_by_side(&["-c", "-c -s", "-c -t", "-c -t -s"], |mode| {
        uclient_as_user(server, &[&PAIR[..], &["-x"], mode].concat()).assert_nothing_lost();
    });
    assert!(relay.stats().handed_over > 0);
    assert_eq!(relay.stats().sent_to_peers, 0);
}

#[test]
fn time_limited_credentials() {
    side_by_side(&[SECRET, "south"], |secret| to_each_other(&["-u", "alice", "-W", secret[0]], &["-c"]));
}

#[test]
fn wrong_credentials_are_refused() {
    let (relay, server) = start(|_| {});
    for login in [["-u", USER.0, "-w", "wrong"], ["-u", "alice", "-W", "west"]] {
        let wrong = uclient(server, &[&login[..], &["-n", "1", "-y", "-c"]].concat());
        assert!(!wrong.success && wrong.received() == 0, "{}", wrong.output);
    }
    assert_eq!(relay.stats().core.allocations_made, 0);
}

#[test]
fn a_peer_in_another_network_is_reached_through_the_kernel() {
    let pki = Pki::new();
    ways::through_kernel(
        |config| {
            with_tls(&pki, config);
            config.allocations_per_user = 100;
        },
        |target| {
            // Over TLS the relay's counters say what was lost: `transports::coturns_client_over_tls_and_dtls`.
            let modes = ["", "-s", "-g", "-t", "-t -s", "-S", "-S -s", "-G", "-D"];
            side_by_side(&modes, |mode| to_echo(target, mode));
        },
    );
}

/// A client to the peer that sends everything back.
fn to_echo(target: &Target, mode: &[&str]) {
    let peer = target.echo.expect("there is an echo");
    let (host, port) = (peer.ip().to_string(), peer.port().to_string());
    let echo = ["-n", "50", "-m", "2", "-l", "1200", "-c", "-e", &host, "-r", &port];
    uclient_as_user(target.server, &[&echo[..], mode].concat()).assert_nothing_lost();
}

#[test]
fn the_stun_client_learns_its_address() {
    let (_relay, server) = start(|_| {});
    let mut client = Command::new("turnutils_stunclient");
    client.args(["-p", &server.port().to_string(), &server.ip().to_string()]);
    let output = finish(client).expect_success();
    assert!(output.contains("UDP reflexive addr: 127.0.0.1:"), "{output}");
}

/// Clients that come from another address and name their allocation by its ticket (`-M`, RFC 8016).
///
/// Rule: mobility
#[test]
fn allocations_follow_clients_that_move() {
    side_by_side(&["-c -M", "-c -M -s", "-M", "-c -M -t"], |mode| {
        let (relay, server) = start(|config| config.mobility = true);
        uclient_as_user(server, &[&PAIR[..], mode].concat()).assert_nothing_lost();
        assert!(relay.stats().handed_over > 0);
    });
}

/// Allocations of TCP (`-T`, RFC 6062), over TCP and over TLS: data takes connections of its own.
#[test]
fn allocations_of_tcp_connect_to_each_other() {
    let pki = Pki::new();
    side_by_side(&["-T", "-T -S"], |mode| {
        let (relay, server) = start(|config| {
            with_tls(&pki, config);
            config.tcp_relay = true;
        });
        let run = uclient_as_user(server, &[&["-n", "20", "-m", "2", "-l", "170"], mode].concat());
        run.assert_every_byte_came();
        let stats = relay.stats();
        assert!(stats.core.allocations_made >= 2, "{stats:?}");
        assert_eq!((stats.handed_over, stats.sent_to_peers), (0, 0), "no datagrams");
    });
}

/// Two addresses and two ports of ours tell a client how its translator maps and filters (RFC 5780 section 4): none here.
#[test]
fn the_discovery_client_finds_no_translator() {
    // On a host of its own, where nobody else has one of the four.
    let _alone = Namespace::new();
    let (primary, other) = (SocketAddr::from(([127, 83, 0, 1], 3478)), SocketAddr::from(([127, 83, 0, 2], 3479)));
    let (_relay, server) = start(|config| {
        config.listen = vec![primary];
        config.stun_alternate = Some(other);
    });
    let mut client = Command::new("turnutils_natdiscovery");
    client.args(["-m", "-f", "-p", &server.port().to_string(), "-L", "127.0.0.1", "127.83.0.1"]);
    let output = finish(client).expect_success();
    assert!(output.contains("NAT with Endpoint Independent Mapping") || output.contains("No NAT detected"), "{output}");
    assert!(output.contains("Endpoint Independent Filtering"), "{output}");
}
