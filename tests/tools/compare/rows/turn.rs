//! RFC 8656: allocations, permissions, channels, data.

use super::super::probe::*;
use super::stun::seconds;
use super::{Row, code, either, row};

pub(crate) fn rows() -> Vec<Row> {
    [allocate(), lifetimes(), permissions(), channels(), data()].into_iter().flatten().collect()
}

fn allocate() -> Vec<Row> {
    let token = || raw(TOKEN, b"12345678");
    vec![
        row("RFC 8656 7.2", "Allocate on a 5-tuple that has an allocation: 437", "437", |world| {
            world.allocated().code(ALLOCATE, &[udp_transport()])
        }),
        row("RFC 8656 7.2", "REQUESTED-TRANSPORT is missing: 400", "400", |world| world.allocate_code(&[])),
        row("RFC 8656 7.2", "REQUESTED-TRANSPORT is a protocol that nobody relays: 442", "442", |world| {
            world.allocate_code(&[raw(TRANSPORT, &[99, 0, 0, 0])])
        }),
        row("RFC 8656 7.2", "DONT-FRAGMENT is honoured, or refused by 420", "0 or 420", |world| {
            world.allocate_code(&[udp_transport(), raw(DONT_FRAGMENT, &[])])
        }),
        row("RFC 8656 7.2", "RESERVATION-TOKEN that nobody was given: 508", "508", move |world| {
            world.allocate_code(&[udp_transport(), token()])
        }),
        row("RFC 8656 7.2", "RESERVATION-TOKEN a second time: 508", "508", |world| {
            let (token, _, first) = reserved(world);
            let mut second = world.again(&first);
            let _ = code(second.allocate(&[raw(TOKEN, &token)]));
            code(world.again(&first).allocate(&[raw(TOKEN, &token)]))
        }),
        row("RFC 8656 7.2", "RESERVATION-TOKEN gives the next port, on another 5-tuple", "next port", |world| {
            let (token, port, first) = reserved(world);
            let mut second = world.again(&first);
            second.allocate(&[raw(TOKEN, &token)]);
            either(second.relayed.first().is_some_and(|next| next.port() == port + 1), "next port", "another")
        }),
        row("RFC 8656 7.2", "RESERVATION-TOKEN beside EVEN-PORT: 400", "400", move |world| {
            world.allocate_code(&[udp_transport(), token(), raw(EVEN_PORT, &[0])])
        }),
        row("RFC 8656 7.2", "RESERVATION-TOKEN beside REQUESTED-ADDRESS-FAMILY: 400", "400", move |world| {
            world.allocate_code(&[udp_transport(), token(), family(1)])
        }),
        row("RFC 8656 7.2", "EVEN-PORT gives an even port", "even", |world| {
            let probe = world.allocated_with(&[raw(EVEN_PORT, &[0])]);
            either(probe.relayed.first().is_some_and(|relayed| relayed.port() % 2 == 0), "even", "odd or none")
        }),
        row("RFC 8656 7.2", "REQUESTED- beside ADDITIONAL-ADDRESS-FAMILY: 400", "400", |world| {
            world.allocate_code(&[udp_transport(), family(1), raw(ADDITIONAL_FAMILY, &[2, 0, 0, 0])])
        }),
        row("RFC 8656 7.2", "ADDITIONAL-ADDRESS-FAMILY is IPv4: 400", "400", |world| {
            world.allocate_code(&[udp_transport(), raw(ADDITIONAL_FAMILY, &[1, 0, 0, 0])])
        }),
        row("RFC 8656 7.2", "ADDITIONAL-ADDRESS-FAMILY beside EVEN-PORT with R: 400", "400", |world| {
            let more = raw(ADDITIONAL_FAMILY, &[2, 0, 0, 0]);
            world.allocate_code(&[udp_transport(), more, raw(EVEN_PORT, &[0x80])])
        }),
        row("RFC 8656 7.2", "ADDITIONAL-ADDRESS-FAMILY gives two relayed addresses", "2", |world| {
            world.allocated_with(&[raw(ADDITIONAL_FAMILY, &[2, 0, 0, 0])]).relayed.len().to_string()
        }),
        row("RFC 8656 7.2", "an address family that nobody knows: 440", "440", |world| {
            world.allocate_code(&[udp_transport(), family(9)])
        }),
        row("RFC 8656 7.2", "no address family: IPv4", "IPv4", |world| {
            let probe = world.allocated();
            either(probe.relayed.first().is_some_and(|relayed| relayed.is_ipv4()), "IPv4", "IPv6 or none")
        }),
        row("RFC 8656 5", "another user on an allocation: 441", "441", |world| {
            let mut probe = world.allocated();
            probe.user = world.user().user;
            probe.code(REFRESH, &[raw(LIFETIME, &0u32.to_be_bytes())])
        }),
    ]
}

/// A token, the port before the reserved one, and the client that has it.
fn reserved(world: &mut super::World) -> (Vec<u8>, u16, Probe) {
    let mut probe = world.user();
    let answer = probe.allocate(&[raw(EVEN_PORT, &[0x80])]);
    let token = answer.and_then(|answer| answer.get(TOKEN)).unwrap_or_default();
    let port = probe.relayed.first().map_or(0, |relayed| relayed.port());
    (token, port, probe)
}

fn lifetimes() -> Vec<Row> {
    let asked = |seconds: u32| raw(LIFETIME, &seconds.to_be_bytes());
    vec![
        row("RFC 8656 7.2", "LIFETIME of 1 s becomes 600", "600", move |world| seconds(world.allocate(&[asked(1)]))),
        row("RFC 8656 7.2", "LIFETIME of 100,000 s becomes 3600", "3600", move |world| {
            seconds(world.allocate(&[asked(100_000)]))
        }),
        row("RFC 8656 8.2", "Refresh of another family: 443", "443", |world| {
            world.allocated().code(REFRESH, &[family(2)])
        }),
        row("RFC 8656 8.2", "Refresh after Refresh with LIFETIME=0: 437", "437", move |world| {
            let probe = world.allocated();
            probe.code(REFRESH, &[asked(0)]);
            probe.code(REFRESH, &[asked(600)])
        }),
    ]
}

fn permissions() -> Vec<Row> {
    vec![
        row("RFC 8656 5", "CreatePermission without an allocation: 437", "437", |world| {
            let echo = world.echo;
            world.greeted().code(CREATE_PERMISSION, &[Attr::Peer(echo)])
        }),
        row("RFC 8656 10.2", "CreatePermission without an address: 400", "400", |world| {
            world.allocated().code(CREATE_PERMISSION, &[])
        }),
        row("RFC 8656 10.2", "CreatePermission of another family: 443", "443", |world| {
            let peer = "[2606:4700::1111]:9".parse().expect("an address");
            world.allocated().code(CREATE_PERMISSION, &[Attr::Peer(peer)])
        }),
        row("RFC 8656 10.2, abuse A8", "one forbidden address of two: no permission", "nothing", |world| {
            let (probe, echo) = (world.allocated(), world.echo);
            let forbidden = "10.1.2.3:9".parse().expect("an address");
            probe.code(CREATE_PERMISSION, &[Attr::Peer(echo), Attr::Peer(forbidden)]);
            probe.send_to(echo, b"hello");
            either(probe.receive().is_none(), "nothing", "relayed")
        }),
    ]
}

fn channels() -> Vec<Row> {
    let number = |number: u16| raw(CHANNEL_NUMBER, &[&number.to_be_bytes()[..], &[0, 0]].concat());
    vec![
        row("RFC 8656 12.2", "channel 0x5000: 400", "400", move |world| {
            let echo = world.echo;
            world.allocated().code(CHANNEL_BIND, &[number(0x5000), Attr::Peer(echo)])
        }),
        row("RFC 8656 12.2", "channel 0x3FFF: 400", "400", move |world| {
            let echo = world.echo;
            world.allocated().code(CHANNEL_BIND, &[number(0x3FFF), Attr::Peer(echo)])
        }),
        row("RFC 8656 12.2", "a channel of another peer: 400", "400", move |world| {
            let (probe, echo) = (world.allocated(), world.echo);
            probe.code(CHANNEL_BIND, &[number(0x4000), Attr::Peer(echo)]);
            let other = std::net::SocketAddr::new(echo.ip(), echo.port() + 1);
            probe.code(CHANNEL_BIND, &[number(0x4000), Attr::Peer(other)])
        }),
        row("RFC 8656 12.2", "another channel of a peer: 400", "400", move |world| {
            let (probe, echo) = (world.allocated(), world.echo);
            probe.code(CHANNEL_BIND, &[number(0x4000), Attr::Peer(echo)]);
            probe.code(CHANNEL_BIND, &[number(0x4001), Attr::Peer(echo)])
        }),
        row("RFC 8656 12.5", "a bound peer is heard by ChannelData", "channel", move |world| {
            let (probe, echo) = (world.allocated(), world.echo);
            probe.code(CHANNEL_BIND, &[number(0x4000), Attr::Peer(echo)]);
            probe.channel(0x4000, b"hello");
            let heard = probe.receive();
            either(heard.is_some_and(|bytes| bytes == b"\x40\0\0\x05hello"), "channel", "something else")
        }),
        row("RFC 8656 12.4", "ChannelData may be empty", "empty", move |world| {
            let (probe, echo) = (world.allocated(), world.echo);
            probe.code(CHANNEL_BIND, &[number(0x4000), Attr::Peer(echo)]);
            probe.channel(0x4000, b"");
            either(probe.receive().is_some_and(|bytes| bytes == [0x40, 0, 0, 0]), "empty", "nothing")
        }),
        row("RFC 8656 12.4", "ChannelData that is shorter than it says is dropped", "nothing", move |world| {
            let (probe, echo) = (world.allocated(), world.echo);
            probe.code(CHANNEL_BIND, &[number(0x4000), Attr::Peer(echo)]);
            probe.send(b"\x40\0\0\x63short");
            either(probe.receive().is_none(), "nothing", "relayed")
        }),
    ]
}

fn data() -> Vec<Row> {
    vec![
        row("RFC 8656 11.2", "Send to a permitted peer, Data back", "data", |world| {
            let (probe, echo) = (world.allocated(), world.echo);
            probe.code(CREATE_PERMISSION, &[Attr::Peer(echo)]);
            probe.send_to(echo, b"hello");
            let heard = probe.receive().and_then(|bytes| Answer(bytes).get(DATA));
            either(heard.is_some_and(|data| data == b"hello"), "data", "nothing")
        }),
        row("RFC 8656 11.2", "Send may be empty", "empty", |world| {
            let (probe, echo) = (world.allocated(), world.echo);
            probe.code(CREATE_PERMISSION, &[Attr::Peer(echo)]);
            probe.send_to(echo, b"");
            let heard = probe.receive().and_then(|bytes| Answer(bytes).get(DATA));
            either(heard.is_some_and(|data| data.is_empty()), "empty", "nothing")
        }),
        row("RFC 8656 11.2", "Send without a permission is dropped", "nothing", |world| {
            let (probe, echo) = (world.allocated(), world.echo);
            probe.send_to(echo, b"hello");
            either(probe.receive().is_none(), "nothing", "relayed")
        }),
        row("RFC 8656 11.5", "an ICMP error reaches the client as a Data indication", "ICMP", |world| {
            let (probe, echo) = (world.allocated(), world.echo);
            let nobody = std::net::SocketAddr::new(echo.ip(), echo.port() + 2);
            probe.code(CREATE_PERMISSION, &[Attr::Peer(nobody)]);
            probe.send_to(nobody, b"is anybody there?");
            let heard = probe.receive().and_then(|bytes| Answer(bytes).get(ICMP));
            either(heard.is_some(), "ICMP", "nothing")
        }),
    ]
}
