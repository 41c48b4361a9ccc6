//! coturn's clients against our relay.

use tests::netns::Namespace;
use tests::relay::{SECRET, USER, start};
use tests::turn_tools::{EchoPeer, uclient};

const LOGIN: [&str; 4] = ["-u", USER.0, "-w", USER.1];

fn to_each_other(more: &[&str]) {
    let (relay, address) = start(|_| {});
    let arguments = [&["-n", "20", "-m", "2", "-l", "170", "-y"], more].concat();
    uclient(address, &arguments).assert_nothing_lost();
    let stats = relay.stats();
    assert!(stats.handed_over > 0, "between allocations of one relay, packets do not take the kernel's way");
    assert_eq!(stats.sent_to_peers, 0);
    assert_eq!(stats.core.to_peers.packets, stats.handed_over);
}

#[test]
fn channels_over_udp() {
    to_each_other(&[&LOGIN[..], &["-c"]].concat());
}

#[test]
fn send_indications_over_udp() {
    to_each_other(&[&LOGIN[..], &["-c", "-s"]].concat());
}

#[test]
fn channels_over_tcp() {
    to_each_other(&[&LOGIN[..], &["-c", "-t"]].concat());
}

#[test]
fn send_indications_over_tcp() {
    to_each_other(&[&LOGIN[..], &["-c", "-s", "-t"]].concat());
}

#[test]
fn even_ports_and_reservation_tokens() {
    to_each_other(&LOGIN);
}

#[test]
fn over_ipv6() {
    let (relay, address) = start(|config| {
        config.listen = vec!["[::1]:0".parse().expect("an address")];
        config.relay_addresses = vec!["::1".parse().expect("an address")];
    });
    for mode in [&["-c"][..], &["-c", "-s"], &["-c", "-t"]] {
        let arguments = [&["-n", "20", "-m", "2", "-l", "170", "-y", "-x"], &LOGIN[..], mode].concat();
        uclient(address, &arguments).assert_nothing_lost();
    }
    assert!(relay.stats().handed_over > 0);
}

#[test]
fn time_limited_credentials() {
    to_each_other(&["-u", "alice", "-W", SECRET, "-c"]);
    to_each_other(&["-u", "alice", "-W", "south", "-c"]);
}

#[test]
fn wrong_credentials_are_refused() {
    let (relay, address) = start(|_| {});
    let wrong = uclient(address, &["-n", "1", "-y", "-c", "-u", USER.0, "-w", "wrong"]);
    assert!(!wrong.success && wrong.received() == 0, "{}", wrong.output);
    let wrong = uclient(address, &["-n", "1", "-y", "-c", "-u", "alice", "-W", "west"]);
    assert!(!wrong.success && wrong.received() == 0, "{}", wrong.output);
    assert_eq!(relay.stats().core.allocations_made, 0);
}

#[test]
fn a_peer_in_another_network_is_reached_through_the_kernel() {
    let space = Namespace::new();
    let peer = EchoPeer::start(&space);
    let there = space.there.to_string();
    let (relay, address) = start(|config| {
        config.relay_addresses = vec![space.here.into()];
        config.allow_peers = vec![format!("{there}/32")];
    });
    let port = peer.address.port().to_string();
    for mode in [&[][..], &["-s"], &["-t"], &["-t", "-s"]] {
        let echo = ["-n", "50", "-m", "2", "-l", "1200", "-c", "-e", &there, "-r", &port];
        uclient(address, &[&echo[..], &LOGIN, mode].concat()).assert_nothing_lost();
    }
    let stats = relay.stats();
    assert_eq!(stats.handed_over, 0);
    assert!(stats.sent_to_peers >= 400 && stats.received_from_peers >= 400, "{stats:?}");
    assert_eq!(stats.send_dropped + stats.tcp_dropped, 0);
}

#[test]
fn ports_come_back_when_clients_leave() {
    let (relay, address) = start(|_| {});
    for _ in 0..3 {
        uclient(address, &[&["-n", "2", "-m", "2", "-y", "-t", "-c"], &LOGIN[..]].concat()).assert_nothing_lost();
    }
    // Its connections are closed, and with them its allocations end.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while relay.stats().ports_used > 0 {
        assert!(std::time::Instant::now() < deadline, "{:?}", relay.stats());
        std::thread::yield_now();
    }
    assert_eq!(relay.allocations().len(), 0);
}
