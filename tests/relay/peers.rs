//! Peer policy of a running relay: ports, media only, reloads, and what the log says of a refusal.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

use tests::binary::Program;
use tests::relay::{USER, start, start_beside};
use tests::turn_client::TurnClient;
use turn::Drop;
use turn_server::config::Peers;
use turn_server::handover::lane;

/// Rule: abuse-7
#[test]
fn ports_outside_are_limited_and_a_reload_ends_what_it_forbids() {
    let space = tests::netns::Namespace::new();
    let mut config = None;
    let (relay, address) = start(|relay| {
        relay.relay_addresses = vec![space.here.into()];
        relay.allow_peers = vec![space.there.to_string()];
        config = Some(relay.clone());
    });
    let mut config = config.expect("edited");
    let (ssh, media) = (SocketAddr::from((space.there, 22)), SocketAddr::from((space.there, 5000)));
    let mut client = TurnClient::udp(address, USER.0, USER.1);
    client.allocate().expect("an allocation");
    assert_eq!(client.permit(ssh), 0, "a permission has no port");
    assert_eq!(client.bind(0x4000, ssh), 403);
    client.send(ssh, b"x");
    assert_eq!(client.bind(0x4001, media), 0);
    client.send_channel(0x4001, b"x");
    client.binding();
    let stats = relay.stats();
    assert_eq!((stats.sent_to_peers, stats.core.dropped_for(Drop::Policy)), (1, 1));
    assert_eq!(relay.check_peer(ssh).rule, "peer_ports: not one of [443, 1024-65535]");

    config.peer_ports = vec!["22".into()];
    relay.reload(&config).expect("a good configuration");
    assert_eq!(client.bind(0x4000, ssh), 0);
    client.send_channel(0x4000, b"x");
    client.send_channel(0x4001, b"x");
    client.binding();
    let stats = relay.stats();
    assert_eq!((stats.sent_to_peers, stats.core.channels), (2, 1));
    assert_eq!(relay.check_peer(media).rule, "peer_ports: not one of [22]");
}

#[test]
fn media_only_is_no_way_to_anybody_else() {
    let kernel = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let media = kernel.local_addr().expect("bound");
    let poll = mio::Poll::new().expect("epoll");
    let waker = Arc::new(mio::Waker::new(poll.registry(), mio::Token(0)).expect("an event fd"));
    let (sending, receiving) = lane(waker);
    let mut config = None;
    let (relay, address, _) = start_beside(vec![(media.port(), sending)], |relay| config = Some(relay.clone()));
    let mut config = config.expect("edited");
    let mut alice = TurnClient::udp(address, USER.0, USER.1);
    let mut bob = TurnClient::tcp(address, USER.0, USER.1);
    alice.allocate().expect("an allocation");
    let bob_relayed = bob.allocate().expect("an allocation");
    assert_eq!(alice.bind(0x4000, bob_relayed), 0);
    assert_eq!(alice.bind(0x4001, media), 0);

    config.peers = Peers::MediaOnly;
    relay.reload(&config).expect("a good configuration");
    alice.send_channel(0x4000, b"to bob");
    alice.send_channel(0x4001, b"to the sfu");
    alice.binding();
    assert_eq!(relay.stats().handed_over, 1);
    assert_eq!(receiving.try_recv().expect("handed over").bytes, b"to the sfu");
    for peer in [bob_relayed, "1.1.1.1:443".parse().expect("an address")] {
        assert_eq!(alice.permit(peer), 403);
        assert_eq!(alice.bind(0x4002, peer), 403);
    }
    assert_eq!(relay.check_peer(bob_relayed).rule, "peers = \"media-only\": own address, but not a media port");
    assert_eq!(alice.permit(media), 0);
}

#[test]
fn a_refusal_says_its_rule_in_the_log_and_does_not_fill_it() {
    let lines = tests::log::capture();
    let (_relay, address) = start(|_| {});
    let mut client = TurnClient::udp(address, USER.0, USER.1);
    client.allocate().expect("an allocation");
    for number in 0..200 {
        assert_eq!(client.permit(SocketAddr::from(([10, 0, 0, number], 80))), 403);
    }
    let from = client.local_addr().to_string();
    let line = lines.wait("peer denied", |fields| fields["client"] == from.as_str());
    assert_eq!(line["user"], USER.0);
    assert_eq!(line["peer"], "10.0.0.0:80");
    assert_eq!(line["rule"], "built-in: private 10.0.0.0/8");
    let count = lines.all("peer denied").iter().filter(|fields| fields["client"] == from.as_str()).count();
    assert!((1..100).contains(&count), "{count} lines of 200 refusals");
}

/// Rule: abuse-40
#[test]
fn who_may_reach_whom_is_logged_whole_or_anonymous() {
    for anonymize in ["false", "true"] {
        let environment = [
            ("TERN__RELAY__LISTEN", "127.0.0.1:0"),
            ("TERN__RELAY__RELAY_ADDRESSES", "127.0.0.1"),
            ("TERN__LOG__ANONYMIZE", anonymize),
        ];
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("turnserver.conf");
        std::fs::write(&file, "user=alice:pw\nrealm=x\n").expect("written");
        let mut program = Program::start(&["--coturn", file.to_str().expect("UTF-8")], &environment);
        let mut client = TurnClient::udp(program.relay, "alice", "pw");
        let relayed = client.allocate().expect("an allocation");
        assert_eq!(client.permit("9.9.9.9:1".parse().expect("an address")), 0);
        let line: serde_json::Value =
            serde_json::from_str(&program.wait_for("peer permitted")).expect("a line of JSON");
        let fields = &line["fields"];
        assert_eq!((&fields["user"], &fields["relayed"]), (&"alice".into(), &relayed.to_string().into()));
        let whole = (client.local_addr().to_string(), "9.9.9.9".to_owned());
        let network = ("127.0.0.0/24".to_owned(), "9.9.9.0/24".to_owned());
        let wanted = if anonymize == "true" { network } else { whole };
        assert_eq!((&fields["client"], &fields["peer"]), (&wanted.0.into(), &wanted.1.into()));
        assert_eq!(client.refresh(0), 0);
        let ended = program.wait_for("allocation ended");
        assert_eq!(ended.contains(&client.local_addr().to_string()), anonymize == "false", "{ended}");
    }
}
