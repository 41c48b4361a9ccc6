//! What only a network shows: errors that come back by ICMP, packets that are too large, two families at once.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use stun_types::attribute::AttributeWrite;
use stun_types::message::Message;
use tests::netns::Namespace;
use tests::relay::{USER, start};
use tests::turn_client::TurnClient;
use tests::turn_tools::EchoPeer;
use turn_types::AddressFamily;
use turn_types::attribute::{AdditionalAddressFamily, Data, DontFragment, Icmp, XorPeerAddress};
use turn_types::message::DATA;

/// The next Data indication with ICMP: inner destination, type, code, data.
fn icmp(client: &mut TurnClient) -> (SocketAddr, u8, u8, u32) {
    loop {
        let bytes = client.receive().expect("an ICMP error in time");
        let message = Message::from_bytes(&bytes).expect("a STUN message");
        assert_eq!(message.method(), DATA);
        if let Ok(icmp) = message.attribute::<Icmp>() {
            let peer = message.attribute::<XorPeerAddress>().expect("a peer").addr(message.transaction_id());
            return (peer, icmp.icmp_type(), icmp.code(), icmp.data());
        }
    }
}

/// Rule: turn-icmp, turn-dont-fragment
#[test]
fn a_client_hears_what_became_of_its_packets() {
    let space = Namespace::new();
    let echo = EchoPeer::start(&space);
    space.set_mtu(1300);
    let (relay, address) = start(|config| {
        config.relay_addresses = vec![space.here.into()];
        config.allow_peers = vec![format!("{}/32", space.there)];
    });
    for tcp in [false, true] {
        let mut client = if tcp { TurnClient::tcp } else { TurnClient::udp }(address, USER.0, USER.1);
        client.allocate_with(&[&DontFragment::new()]).expect("an allocation that keeps packets whole");
        let nobody = SocketAddr::from((space.there, 40_009));
        assert_eq!((client.permit(nobody), client.bind(0x4001, nobody)), (0, 0));
        client.send(nobody, b"is anybody there?");
        assert_eq!(icmp(&mut client), (nobody, 3, 3, 0), "port unreachable");
        client.send_channel(0x4001, b"still nobody?");
        assert_eq!(icmp(&mut client), (nobody, 3, 3, 0), "by channel, too");

        let large = vec![7; 1400];
        client.send_with(echo.address, &[&DontFragment::new() as &dyn AttributeWrite, &Data::new(&large)]);
        let (peer, kind, code, mtu) = icmp(&mut client);
        assert_eq!((peer, kind, code, mtu), (echo.address, 3, 4, 1300), "too large for the way");
        client.send(echo.address, &large);
        let back = client.receive().expect("the same in fragments");
        let message = Message::from_bytes(&back).expect("a STUN message");
        assert_eq!(message.attribute::<Data<'_>>().expect("data").data(), large);
        let small = vec![8; 1200];
        client.send_with(echo.address, &[&DontFragment::new() as &dyn AttributeWrite, &Data::new(&small)]);
        let back = client.receive().expect("what fits arrives");
        assert_eq!(Message::from_bytes(&back).unwrap().attribute::<Data<'_>>().expect("data").data(), small);
    }
    assert_eq!(relay.stats().core.icmp, 6);
}

#[test]
fn errors_of_one_peer_cost_the_others_nothing() {
    let space = Namespace::new();
    let echo = EchoPeer::start(&space);
    let (relay, address) = start(|config| {
        config.relay_addresses = vec![space.here.into()];
        config.allow_peers = vec![format!("{}/32", space.there)];
    });
    let mut client = TurnClient::udp(address, USER.0, USER.1);
    client.allocate().expect("an allocation");
    let nobody = SocketAddr::from((space.there, 40_009));
    assert_eq!((client.bind(0x4001, nobody), client.bind(0x4002, echo.address)), (0, 0));
    let mut back = 0;
    for number in 0..200u32 {
        client.send_channel(0x4001, b"lost");
        client.send_channel(0x4002, &number.to_be_bytes());
        loop {
            let bytes = client.receive().expect("each comes back, whatever the other peer's network says");
            if bytes[..2] == [0x40, 0x02] {
                assert_eq!(bytes[4..8], number.to_be_bytes());
                back += 1;
                break;
            }
        }
    }
    assert_eq!((back, relay.stats().send_dropped), (200, 0));
}

/// Rule: turn-dual-answer
#[test]
fn one_allocation_relays_both_families() {
    let (relay, address) = start(|config| {
        config.relay_addresses = vec![[127, 0, 0, 1].into(), "::1".parse().expect("an address")];
    });
    let more = AdditionalAddressFamily::new(AddressFamily::IPV6);
    let mut first = TurnClient::udp(address, USER.0, USER.1);
    let mut second = TurnClient::tcp(address, USER.0, USER.1);
    let here = first.allocate_with(&[&more]).expect("two addresses");
    let there = second.allocate_with(&[&more]).expect("two addresses");
    assert_eq!((here.len(), there.len(), relay.stats().ports_used), (2, 2, 4));
    for family in 0..2 {
        assert_eq!((first.permit(there[family]), second.permit(here[family])), (0, 0));
        first.send(there[family], b"over there");
        let bytes = second.receive().expect("data");
        let message = Message::from_bytes(&bytes).expect("a STUN message");
        let peer = message.attribute::<XorPeerAddress>().expect("a peer").addr(message.transaction_id());
        assert_eq!(peer, here[family]);
        second.send(here[family], b"and back");
        assert!(first.receive().is_some());
    }
    drop(second);
    assert_eq!(first.refresh(0), 0);
}

/// Rule: behaviour
#[test]
fn the_four_addresses_of_behaviour_discovery_answer() {
    let free = |ip: [u8; 4]| UdpSocket::bind(SocketAddr::from((ip, 0))).expect("a port").local_addr().expect("bound");
    let (primary, other) = (free([127, 0, 0, 1]), free([127, 0, 0, 2]));
    let (_relay, address) = start(|config| {
        config.listen = vec![primary];
        config.stun_alternate = Some(other);
    });
    assert_eq!(address, primary);
    let socket = UdpSocket::bind((address.ip(), 0)).expect("a port");
    socket.set_read_timeout(Some(Duration::from_secs(5))).expect("not zero");
    // A Binding request with CHANGE-REQUEST: IP and port.
    let mut request =
        vec![0, 1, 0, 8, 0x21, 0x12, 0xA4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0, 3, 0, 4, 0, 0, 0];
    for (flags, from) in
        [(0, primary), (6, other), (2, (primary.ip(), other.port()).into()), (4, (other.ip(), primary.port()).into())]
    {
        request.truncate(27);
        request.push(flags);
        socket.send_to(&request, primary).expect("sent");
        let mut answer = [0; 200];
        let (_, source) = socket.recv_from(&mut answer).expect("an answer");
        assert_eq!((source, &answer[..2]), (from, &[1, 1][..]));
    }
}
