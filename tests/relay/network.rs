//! What only a network shows: errors that come back by ICMP, packets that are too large, two families at once.

use std::net::{SocketAddr, UdpSocket};
use std::process::Command;
use std::time::Duration;

use socket2::SockRef;
use stun_types::attribute::AttributeWrite;
use stun_types::message::Message;
use tests::netns::Namespace;
use tests::program::Listening;
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
    // With ports that nobody else takes meanwhile.
    let _alone = Namespace::new();
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

/// Stands in front of a server, or before nobody as an echo: what it sends is marked (expedited forwarding, capable of ECN),
/// and to `?` it says how packets were marked that came to it from beyond.
const MARKER: &str = "
import socket, sys
def marked(address):
    new = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    new.bind((address, 0))
    new.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, 0xB9)
    new.setsockopt(socket.IPPROTO_IP, socket.IP_RECVTOS, 1)
    return new
def receive(sock):
    data, ancillary, _, peer = sock.recvmsg(2048, 64)
    return data, ancillary[0][2][0], peer
near, seen = marked(sys.argv[1]), []
print(near.getsockname()[1], flush=True)
if len(sys.argv) == 2:
    while True:
        data, mark, peer = receive(near)
        seen += [mark] * (data != b'?')
        near.sendto(bytes(seen) if data == b'?' else data, peer)
far = marked(sys.argv[1])
while True:
    data, _, client = receive(near)
    if data == b'?':
        near.sendto(bytes(seen), client)
        continue
    far.sendto(data, (sys.argv[1], int(sys.argv[2])))
    far.settimeout(5)
    try:
        data, mark, _ = receive(far)
        seen.append(mark)
        near.sendto(data, client)
    except TimeoutError:
        pass
";

/// RFC 8656 sections 13 to 15 let a relay that sees no IP headers set these fields by itself: no client chooses how the
/// relay's network treats its packets, and nobody reads a mark that was made for another way.
///
/// Rule: turn-df-tos
#[test]
fn relayed_packets_have_no_mark_of_either_end() {
    let space = Namespace::new();
    let echo = Listening::start(space.command("python3").args(["-c", MARKER, &space.there.to_string()]));
    let peer = SocketAddr::from((space.there, echo.port));
    let (_relay, address) = start(|config| {
        config.relay_addresses = vec![space.here.into()];
        config.allow_peers = vec![format!("{}/32", space.there)];
    });
    let (ip, port) = (address.ip().to_string(), address.port().to_string());
    let front = Listening::start(Command::new("python3").args(["-c", MARKER, &ip, &port]));
    let mut client = TurnClient::udp(SocketAddr::new(address.ip(), front.port), USER.0, USER.1);
    client.allocate().expect("an allocation");
    assert_eq!((client.permit(peer), client.bind(0x4000, peer)), (0, 0));
    for by_channel in [false, true] {
        if by_channel {
            client.send_channel(0x4000, b"hello")
        } else {
            client.send(peer, b"hello")
        }
        let back = client.receive().expect("an echo");
        assert!(back.windows(5).any(|part| part == b"hello"), "{back:?}");
    }
    let direct = UdpSocket::bind((space.here, 0)).expect("a free port");
    direct.set_read_timeout(Some(Duration::from_secs(5))).expect("not zero");
    SockRef::from(&direct).set_tos_v4(0xB9).expect("IPv4");
    let ask = |question: &[u8]| {
        direct.send_to(question, peer).expect("sent");
        let mut bytes = [0; 64];
        let length = direct.recv(&mut bytes).expect("an answer");
        bytes[..length].to_vec()
    };
    assert_eq!(ask(b"?"), [0, 0], "what the peer saw");
    ask(b"marked");
    assert_eq!(ask(b"?"), [0, 0, 0xB9], "it would have seen a mark");
    client.send_raw(b"?");
    let seen = client.receive().expect("an answer");
    assert!(seen.len() >= 6 && seen.iter().all(|mark| *mark == 0), "what the client saw: {seen:?}");
}

/// Rule: abuse-40
#[test]
fn a_peer_sees_the_relay_and_what_was_sent_and_nothing_else() {
    let space = Namespace::new();
    let peer = space.within(|| UdpSocket::bind((space.there, 0)).expect("a free port"));
    peer.set_read_timeout(Some(Duration::from_secs(5))).expect("not zero");
    let there = peer.local_addr().expect("bound");
    let (_relay, address) = start(|config| {
        config.relay_addresses = vec![space.here.into()];
        config.allow_peers = vec![format!("{}/32", space.there)];
    });
    let mut bytes = [0; 2048];
    let mut receive = || {
        let (length, from) = peer.recv_from(&mut bytes).expect("a packet in time");
        (bytes[..length].to_vec(), from)
    };
    for tcp in [false, true] {
        let mut client = if tcp { TurnClient::tcp } else { TurnClient::udp }(address, USER.0, USER.1);
        let relayed = client.allocate().expect("an allocation");
        assert_eq!(client.permit(there), 0);
        client.send(there, b"by indication");
        assert_eq!(receive(), (b"by indication".to_vec(), relayed));
        assert_eq!(client.bind(0x4000, there), 0);
        client.send_channel(0x4000, b"by channel");
        assert_eq!(receive(), (b"by channel".to_vec(), relayed));
        // Whatever a peer asks the relayed address, the client gets it, and the server does not answer.
        for question in [&[0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12][..], b"x"] {
            peer.send_to(question, relayed).expect("sent");
            let data = client.receive().expect("ChannelData");
            assert_eq!(&data[4..], question);
        }
        client.send_channel(0x4000, b"the last");
        assert_eq!(receive(), (b"the last".to_vec(), relayed), "no answer came before it");
    }
}
