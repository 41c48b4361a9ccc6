//! Whom the relay reaches, with `denied-peer-ip` for 127/8 and 10/8 and `no-multicast-peers` in the configuration of both.

use std::net::{IpAddr, SocketAddr};

use super::super::probe::*;
use super::{Row, either, row};

/// Addresses that lead into a private network, to this host or to a cloud's credentials, and what they are.
const FORBIDDEN: [(&str, &str); 22] = [
    ("127.0.0.1", "loopback, denied by the file"),
    ("10.1.2.3", "private, denied by the file"),
    ("0.0.0.0", "this host"),
    ("224.0.0.1", "multicast"),
    ("255.255.255.255", "broadcast"),
    ("169.254.169.254", "the metadata service of a cloud"),
    ("100.64.0.1", "carrier-grade NAT"),
    ("192.0.2.1", "documentation"),
    ("::1", "loopback"),
    ("::ffff:127.0.0.1", "mapped loopback"),
    ("::ffff:10.1.2.3", "mapped private"),
    ("::ffff:0.0.0.0", "mapped this host"),
    ("::127.0.0.1", "compatible loopback"),
    ("::ffff:0:127.0.0.1", "translated loopback"),
    ("64:ff9b::7f00:1", "NAT64 of loopback"),
    ("2002:7f00:1::1", "6to4 of loopback"),
    ("2001:0:7f00:1::", "Teredo of loopback"),
    ("fd00::1", "unique local"),
    ("fd00:ec2::254", "the metadata service of a cloud"),
    ("fe80::1", "link-local"),
    ("fec0::1", "site-local"),
    ("100::1", "discard"),
];

pub(crate) fn rows() -> Vec<Row> {
    let mut rows: Vec<Row> = FORBIDDEN.iter().map(|(ip, what)| forbidden(ip, what)).collect();
    rows.push(row("abuse A5", "a service of this host, at an address that the file allows: 403", "403", |world| {
        // As guides tell people to allow the relay's own address, so that two clients can meet.
        let service = std::net::UdpSocket::bind((world.here, 0)).expect("a free port");
        let service = service.local_addr().expect("bound");
        let number = raw(CHANNEL_NUMBER, &[0x40, 0, 0, 0]);
        world.allocated().code(CHANNEL_BIND, &[number, Attr::Peer(service)])
    }));
    rows.push(row("abuse A5", "another client of this server is reached all the same", "relayed", |world| {
        let (first, second) = (world.allocated(), world.allocated());
        let (Some(a), Some(b)) = (first.relayed.first().copied(), second.relayed.first().copied()) else {
            return "no allocation".into();
        };
        first.code(CREATE_PERMISSION, &[Attr::Peer(b)]);
        second.code(CREATE_PERMISSION, &[Attr::Peer(a)]);
        first.send_to(b, b"hello");
        either(second.receive().is_some(), "relayed", "nothing")
    }));
    rows
}

fn forbidden(ip: &'static str, what: &str) -> Row {
    let ip: IpAddr = ip.parse().expect("an address");
    let place = if ip.is_ipv4() { "abuse A1" } else { "abuse A2" };
    row(place, format!("peer {ip} ({what}): 403"), "403", move |world| {
        let more = if ip.is_ipv4() { Vec::new() } else { vec![family(2)] };
        world.allocated_with(&more).code(CREATE_PERMISSION, &[Attr::Peer(SocketAddr::new(ip, 5000))])
    })
}
