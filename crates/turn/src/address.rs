//! Addresses as the relay sees them: the one canonical form of a peer, and the 5-tuple of a client.
//! Whether an address is allowed is `policy`'s business.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The family of a relayed address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// IPv4
    V4,
    /// IPv6
    V6,
}

impl Family {
    /// The family of an address.
    pub fn of(ip: IpAddr) -> Self {
        if ip.is_ipv4() { Self::V4 } else { Self::V6 }
    }
}

/// How a client talks to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Transport {
    /// Datagrams.
    Udp,
    /// A byte stream: messages are framed, and ChannelData is padded (RFC 8656 section 12.5).
    Tcp,
    /// A byte stream inside TLS (RFC 8489 section 6.2.3).
    Tls,
    /// Datagrams inside DTLS (RFC 7350).
    Dtls,
}

impl Transport {
    /// All, in the order of their labels in metrics.
    pub const ALL: [Self; 4] = [Self::Udp, Self::Tcp, Self::Tls, Self::Dtls];

    /// Whether messages are framed in a byte stream, and ChannelData is padded (RFC 8656 section 12.5).
    pub fn is_stream(self) -> bool {
        matches!(self, Self::Tcp | Self::Tls)
    }

    /// Whether what arrives here comes from the address that it names: only a bare datagram's source may be forged.
    /// Streams have shaken hands, and DTLS has had its cookie sent back.
    pub fn proves_source(self) -> bool {
        self != Self::Udp
    }

    /// A metric label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Dtls => "dtls",
        }
    }
}

/// A client's way to us; it names an allocation (RFC 8656 section 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FiveTuple {
    /// Protocol.
    pub transport: Transport,
    /// The client's address, as we see it.
    pub client: SocketAddr,
    /// Our address that the client uses: concrete, never unspecified.
    pub server: SocketAddr,
}

/// A peer's address. IPv4-mapped IPv6 is turned into the IPv4 that the kernel would make of it, so that what is checked
/// is what is used; other ways to write IPv4 inside IPv6 are kept and tell what they hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerAddress {
    canonical: SocketAddr,
    mapped: bool,
}

impl PeerAddress {
    /// Canonicalises what a client named or a socket received from.
    pub fn new(address: SocketAddr) -> Self {
        let mapped = matches!(address.ip(), IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some());
        // Scope and flow label are dropped: they are no part of what a client can name.
        Self { canonical: SocketAddr::new(address.ip().to_canonical(), address.port()), mapped }
    }

    /// What to send to, and to compare with.
    pub fn socket(&self) -> SocketAddr {
        self.canonical
    }

    /// IP of [`PeerAddress::socket`].
    pub fn ip(&self) -> IpAddr {
        self.canonical.ip()
    }

    /// Port.
    pub fn port(&self) -> u16 {
        self.canonical.port()
    }

    /// Whether it was written as `::ffff:a.b.c.d`.
    pub fn is_mapped(&self) -> bool {
        self.mapped
    }

    /// The IPv4 address inside an IPv6 one that gateways, tunnels or old stacks would unpack.
    pub fn embedded_ipv4(&self) -> Option<Ipv4Addr> {
        match self.ip() {
            IpAddr::V4(_) => None,
            IpAddr::V6(ip) => embedded_ipv4(ip),
        }
    }
}

fn embedded_ipv4(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let octets = ip.octets();
    let at = |index: usize| Ipv4Addr::new(octets[index], octets[index + 1], octets[index + 2], octets[index + 3]);
    match ip.segments() {
        // :: and ::1 are addresses of their own.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        // Compatible (RFC 4291 section 2.5.5.1), translated (RFC 2765), NAT64 (RFC 6052, RFC 8215 with a /96).
        [0, 0, 0, 0, 0, 0, ..]
        | [0, 0, 0, 0, 0xffff, 0, ..]
        | [0x64, 0xff9b, 0, 0, 0, 0, ..]
        | [0x64, 0xff9b, 1, ..] => Some(at(12)),
        // 6to4 (RFC 3056).
        [0x2002, ..] => Some(at(2)),
        // Teredo: the client's address with its bits inverted (RFC 4380 section 4).
        [0x2001, 0, ..] => Some(Ipv4Addr::from_bits(!at(12).to_bits())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rule: abuse-2
    #[test]
    fn every_way_to_write_an_ipv4_address_is_recognised() {
        let inside = |text: &str| PeerAddress::new(SocketAddr::new(text.parse().unwrap(), 1)).embedded_ipv4();
        let wanted = Some(Ipv4Addr::new(10, 1, 2, 3));
        for text in [
            "::10.1.2.3",
            "::ffff:0:10.1.2.3",
            "64:ff9b::10.1.2.3",
            "64:ff9b:1::10.1.2.3",
            "2002:a01:203::1",
            "2001:0:1:2:3:4:f5fe:fdfc",
        ] {
            assert_eq!(inside(text), wanted, "{text}");
        }
        assert_eq!(inside("2a00::1"), None);
        assert_eq!(inside("::1"), None);
    }

    #[test]
    fn a_mapped_address_becomes_the_ipv4_address() {
        let peer = PeerAddress::new("[::ffff:10.1.2.3]:7".parse().unwrap());
        assert_eq!(peer.socket(), "10.1.2.3:7".parse().unwrap());
        assert!(peer.is_mapped());
    }
}
