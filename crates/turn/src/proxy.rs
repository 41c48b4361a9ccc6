//! The PROXY protocol, version 2 (HAProxy's proxy-protocol.txt, section 2.2): what a proxy in front says about the client
//! whose stream it passes on. Which proxies are believed, [`Proxies`] says; what is done with the address is the shell's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::policy::{AddressRange, PolicyError};

/// "\r\n\r\n\0\r\nQUIT\n": no protocol begins so by accident, and neither STUN nor TLS.
const SIGNATURE: [u8; 12] = [0x0D, 0x0A, 0x0D, 0x0A, 0x00, 0x0D, 0x0A, 0x51, 0x55, 0x49, 0x54, 0x0A];
/// Signature, version and command, family and transport, length.
const FIXED: usize = 16;
/// Two IPv6 addresses and two ports.
const ADDRESSES_V6: usize = 36;
/// Two IPv4 addresses and two ports.
const ADDRESSES_V4: usize = 12;
/// Addresses and extensions, at most: the extensions that proxies send (TLS names, cloud ids, a checksum) need some
/// hundred bytes, and a header has to wait in the kernel until it is whole.
const MAX_BODY: usize = 4096;
/// The longest header that [`first_header`] takes, in bytes.
pub const MAX_HEADER: usize = FIXED + MAX_BODY;

/// A whole header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Who speaks through the proxy; `None`: the proxy itself (a health check), or nobody with an address.
    pub client: Option<SocketAddr>,
    /// Bytes of the header; the client's own begin there.
    pub len: usize,
}

/// Why a stream begins with no header: it ends, because a proxy that is believed always sends one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    /// Other bytes, or the text of version 1.
    #[error("no PROXY header of version 2")]
    NotAHeader,
    /// A header of a version, command, family or transport that a stream of version 2 cannot have.
    #[error("a PROXY header that is malformed")]
    Malformed,
    /// Longer than [`MAX_HEADER`].
    #[error("a PROXY header of {0} bytes")]
    TooLong(usize),
}

/// Reads the header that `stream` begins with; `None`: more bytes are needed.
///
/// # Errors
/// No header is there, as early as that can be told.
pub fn first_header(stream: &[u8]) -> Result<Option<Header>, ProxyError> {
    let seen = stream.len().min(SIGNATURE.len());
    if stream[..seen] != SIGNATURE[..seen] {
        return Err(ProxyError::NotAHeader);
    }
    let Some(fixed) = stream.get(SIGNATURE.len()..FIXED) else { return Ok(None) };
    let body = usize::from(u16::from_be_bytes([fixed[2], fixed[3]]));
    let (is_local, family) = match fixed[0] {
        0x20 => (true, fixed[1]),
        0x21 => (false, fixed[1]),
        _ => return Err(ProxyError::Malformed),
    };
    let addresses = match family {
        // LOCAL: whatever else it says is to be skipped.
        _ if is_local => 0,
        // No address, or a path of a Unix socket: the proxy knows of no client that could be named here.
        0x00 | 0x31 => 0,
        0x11 => ADDRESSES_V4,
        0x21 => ADDRESSES_V6,
        // Datagrams do not come through a stream; the rest does not exist.
        _ => return Err(ProxyError::Malformed),
    };
    if body < addresses {
        return Err(ProxyError::Malformed);
    }
    let len = FIXED + body;
    if body > MAX_BODY {
        return Err(ProxyError::TooLong(len));
    }
    let Some(body) = stream.get(FIXED..len) else { return Ok(None) };
    // After the addresses, up to the length, come extensions: none of them changes who the client is.
    let client = match addresses {
        ADDRESSES_V4 => address::<4, Ipv4Addr>(body),
        ADDRESSES_V6 => address::<16, Ipv6Addr>(body),
        _ => None,
    };
    Ok(Some(Header { client, len }))
}

/// The source of source, destination, source port, destination port. One client, one form: mapped IPv4 is IPv4.
fn address<const N: usize, Ip: From<[u8; N]> + Into<IpAddr>>(body: &[u8]) -> Option<SocketAddr> {
    let source: [u8; N] = body.get(..N)?.try_into().ok()?;
    let port: [u8; 2] = body.get(2 * N..2 * N + 2)?.try_into().ok()?;
    let ip: IpAddr = Ip::from(source).into();
    Some(SocketAddr::new(ip.to_canonical(), u16::from_be_bytes(port)))
}

/// The proxies whose word counts.
#[derive(Debug, Clone, Default)]
pub struct Proxies(Vec<AddressRange>);

impl Proxies {
    /// Reads ranges such as `10.0.0.0/8` or `10.0.0.1-10.0.0.9`.
    ///
    /// # Errors
    /// The first one that cannot be read.
    pub fn new(ranges: &[String]) -> Result<Self, PolicyError> {
        ranges.iter().map(|text| AddressRange::parse(text)).collect::<Result<_, _>>().map(Self)
    }

    /// Whether connections from this address must begin with a header.
    pub fn contains(&self, ip: IpAddr) -> bool {
        self.0.iter().any(|range| range.contains(ip.to_canonical()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend([command, family]);
        bytes.extend((body.len() as u16).to_be_bytes());
        bytes.extend(body);
        bytes
    }

    fn v4_body() -> Vec<u8> {
        let mut body = vec![198, 51, 100, 7, 10, 0, 0, 1];
        body.extend(4000u16.to_be_bytes());
        body.extend(3478u16.to_be_bytes());
        body
    }

    fn v6_body(source: &str) -> Vec<u8> {
        let mut body = source.parse::<Ipv6Addr>().unwrap().octets().to_vec();
        body.extend([0; 16]);
        body.extend(4000u16.to_be_bytes());
        body.extend(3478u16.to_be_bytes());
        body
    }

    #[test]
    fn a_client_is_named_by_either_family() {
        let client = |bytes: &[u8]| first_header(bytes).unwrap().unwrap().client.map(|client| client.to_string());
        assert_eq!(client(&header(0x21, 0x11, &v4_body())).unwrap(), "198.51.100.7:4000");
        assert_eq!(client(&header(0x21, 0x21, &v6_body("2001:db8::7"))).unwrap(), "[2001:db8::7]:4000");
        assert_eq!(client(&header(0x21, 0x21, &v6_body("::ffff:198.51.100.7"))).unwrap(), "198.51.100.7:4000");
    }

    #[test]
    fn local_and_unspecified_name_nobody() {
        for (command, family, body) in [
            (0x20, 0x00, vec![]),
            (0x20, 0x11, v4_body()),
            (0x20, 0xFF, vec![1, 2, 3]),
            (0x21, 0x00, vec![]),
            (0x21, 0x31, vec![0; 216]),
        ] {
            let bytes = header(command, family, &body);
            assert_eq!(first_header(&bytes), Ok(Some(Header { client: None, len: bytes.len() })));
        }
    }

    #[test]
    fn extensions_are_skipped_and_what_follows_is_the_clients() {
        let mut body = v4_body();
        body.extend([0x03, 0, 4, 1, 2, 3, 4, 0x20, 0, 5, 1, 0, 0, 0, 0]);
        let mut bytes = header(0x21, 0x11, &body);
        let len = bytes.len();
        bytes.extend([0, 1, 0, 0]);
        assert_eq!(first_header(&bytes).unwrap().unwrap().len, len);
        for end in 0..len {
            assert_eq!(first_header(&bytes[..end]), Ok(None), "{end} bytes");
        }
    }

    #[test]
    fn what_is_no_header_is_seen_at_once() {
        for bytes in [&b"PROXY TCP4 198.51.100.7"[..], b"\x16\x03\x01", b"\0\x01\0\0", b"\r\n\r\n\0\r\nQUIT\r"] {
            assert_eq!(first_header(bytes), Err(ProxyError::NotAHeader), "{bytes:?}");
        }
        for (command, family, body) in [
            (0x11, 0x11, v4_body()),
            (0x22, 0x11, v4_body()),
            (0x21, 0x12, v4_body()),
            (0x21, 0x41, v4_body()),
            (0x21, 0x11, v4_body()[1..].to_vec()),
            (0x21, 0x21, v4_body()),
        ] {
            assert_eq!(first_header(&header(command, family, &body)), Err(ProxyError::Malformed));
        }
        let long = header(0x20, 0, &[0; MAX_BODY + 1]);
        assert_eq!(first_header(&long[..FIXED]), Err(ProxyError::TooLong(MAX_HEADER + 1)));
        assert!(first_header(&header(0x20, 0, &[0; MAX_BODY])).unwrap().is_some());
    }

    /// Rule: abuse-37
    #[test]
    fn only_listed_proxies_are_believed() {
        let proxies = Proxies::new(&["10.0.0.0/8".into(), "2001:db8::1-2001:db8::3".into()]).unwrap();
        let believed = |text: &str| proxies.contains(text.parse().unwrap());
        assert!(believed("10.9.8.7") && believed("2001:db8::2") && believed("::ffff:10.0.0.1"));
        assert!(
            !believed("11.0.0.1") && !believed("2001:db8::4") && !Proxies::default().contains([10, 0, 0, 1].into())
        );
        assert!(Proxies::new(&["10.0.0/8".into()]).is_err());
    }

    proptest! {
        /// Rule: abuse-34
        #[test]
        fn pieces_and_whole_say_the_same(mut bytes in proptest::collection::vec(any::<u8>(), 0..300), genuine: bool) {
            if genuine {
                let start = header(0x20 | bytes.first().copied().unwrap_or(0) & 1, 0x11, &[]);
                bytes.splice(0..0, start[..14].iter().copied());
            }
            let whole = first_header(&bytes);
            if let Ok(Some(header)) = whole {
                prop_assert!((FIXED..=MAX_HEADER).contains(&header.len) && header.len <= bytes.len());
            }
            for end in 0..bytes.len() {
                // What a beginning says stays true.
                match first_header(&bytes[..end]) {
                    Ok(None) => {}
                    early => prop_assert_eq!(early, whole),
                }
            }
        }
    }
}
