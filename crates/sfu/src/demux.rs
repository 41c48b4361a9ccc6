//! Whose datagram is it: STUN by the ICE user name in it, everything else by the address pair that STUN validated.
//!
//! Many participants may share one address (a recorder, load generators, a NAT), so no transport is ever asked in turn.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::engine::Path;

/// Which transport of the worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct TransportId(pub(crate) u64);

/// A pair in use is not given to another transport within this time: whoever can forge a source address could
/// otherwise take somebody's media away.
const HELD: Duration = Duration::from_secs(10);
/// Pairs of one transport; a roaming phone has few at a time.
const MAX_PAIRS: usize = 32;

#[derive(Debug)]
struct Owner {
    transport: TransportId,
    heard: Instant,
}

/// The tables. Entries go with their transport.
#[derive(Debug, Default)]
pub(crate) struct Demux {
    ufrags: HashMap<String, TransportId>,
    pairs: HashMap<Path, Owner>,
    /// In the order in which they were validated.
    of: HashMap<TransportId, Vec<Path>>,
}

impl Demux {
    /// STUN requests with this user name are for this transport.
    pub(crate) fn add_ufrag(&mut self, ufrag: String, transport: TransportId) {
        self.ufrags.insert(ufrag, transport);
    }

    /// The user name is not used any more (ICE restart).
    pub(crate) fn remove_ufrag(&mut self, ufrag: &str) {
        self.ufrags.remove(ufrag);
    }

    /// The transport answered a valid STUN request on this path: other datagrams on it are its own.
    pub(crate) fn validate(&mut self, path: Path, transport: TransportId, now: Instant) {
        match self.pairs.get_mut(&path) {
            Some(owner) if owner.transport == transport => {
                owner.heard = now;
                return;
            }
            Some(owner) if now.saturating_duration_since(owner.heard) < HELD => return,
            Some(owner) => {
                let former = owner.transport;
                if let Some(paths) = self.of.get_mut(&former) {
                    paths.retain(|known| *known != path);
                }
            }
            None => {}
        }
        self.pairs.insert(path, Owner { transport, heard: now });
        let paths = self.of.entry(transport).or_default();
        paths.push(path);
        if paths.len() > MAX_PAIRS {
            self.pairs.remove(&paths.remove(0));
        }
    }

    /// Whose it is; `None`: nobody's, drop it.
    pub(crate) fn route(&mut self, path: Path, bytes: &[u8], now: Instant) -> Option<TransportId> {
        if is_stun(bytes) {
            return self.ufrags.get(receiver(bytes)?).copied();
        }
        let owner = self.pairs.get_mut(&path)?;
        owner.heard = now;
        Some(owner.transport)
    }

    /// Forgets a transport.
    pub(crate) fn remove(&mut self, transport: TransportId) {
        self.ufrags.retain(|_, owner| *owner != transport);
        for path in self.of.remove(&transport).unwrap_or_default() {
            self.pairs.remove(&path);
        }
    }

    /// Entries in all, to see that nothing is left behind.
    pub(crate) fn len(&self) -> usize {
        self.ufrags.len() + self.pairs.len() + self.of.len()
    }
}

/// RFC 7983, 7: STUN begins with 0 to 3.
fn is_stun(bytes: &[u8]) -> bool {
    bytes.len() >= 20 && bytes[0] < 4
}

/// A STUN success response to a Binding request (RFC 8489, 5).
pub(crate) fn is_stun_success(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0x01, 0x01])
}

/// The first half of USERNAME in a Binding request: the receiver's fragment (RFC 8445, 7.2.2).
fn receiver(bytes: &[u8]) -> Option<&str> {
    const BINDING_REQUEST: [u8; 2] = [0, 1];
    const USERNAME: u16 = 0x0006;
    let (header, mut attributes) = bytes.split_at_checked(20)?;
    if header[..2] != BINDING_REQUEST {
        return None;
    }
    while let [t0, t1, l0, l1, rest @ ..] = attributes {
        let length = usize::from(u16::from_be_bytes([*l0, *l1]));
        let value = rest.get(..length)?;
        if u16::from_be_bytes([*t0, *t1]) == USERNAME {
            return std::str::from_utf8(value).ok()?.split(':').next();
        }
        // RFC 8489, 14: attributes are padded to 4 bytes.
        attributes = rest.get(length.next_multiple_of(4)..)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Protocol;
    use crate::testing::epoch;

    fn path(port: u16) -> Path {
        let local = "127.0.0.1:8189".parse().expect("an address");
        Path { protocol: Protocol::Udp, local, remote: std::net::SocketAddr::from(([127, 0, 0, 1], port)) }
    }

    fn request(username: &str) -> Vec<u8> {
        let mut bytes = vec![0, 1, 0, 0];
        bytes.resize(20, 7);
        bytes.extend([0x80, 0x22, 0, 1, b'x', 0, 0, 0, 0, 6, 0, username.len() as u8]);
        bytes.extend(username.bytes());
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    #[test]
    fn stun_goes_by_user_name_and_media_by_pair() {
        let (mut demux, now) = (Demux::default(), epoch());
        let (a, b) = (TransportId(1), TransportId(2));
        demux.add_ufrag("aaaa".into(), a);
        demux.add_ufrag("bbbb".into(), b);
        assert_eq!(demux.route(path(1), &request("bbbb:xyz"), now), Some(b));
        assert_eq!(demux.route(path(1), &request("cccc:xyz"), now), None);
        assert_eq!(demux.route(path(1), &[0x80; 40], now), None);
        demux.validate(path(1), a, now);
        demux.validate(path(2), b, now);
        assert_eq!(demux.route(path(1), &[0x80; 40], now), Some(a));
        assert_eq!(demux.route(path(2), &[0x16; 40], now), Some(b));
        demux.remove(a);
        demux.remove(b);
        assert_eq!(demux.len(), 0);
    }

    #[test]
    fn a_pair_in_use_is_not_taken_away() {
        let (mut demux, now) = (Demux::default(), epoch());
        demux.validate(path(1), TransportId(1), now);
        demux.validate(path(1), TransportId(2), now + HELD / 2);
        assert_eq!(demux.route(path(1), &[0x80; 40], now + HELD / 2), Some(TransportId(1)));
        let later = now + HELD * 2;
        demux.validate(path(1), TransportId(2), later);
        assert_eq!(demux.route(path(1), &[0x80; 40], later), Some(TransportId(2)));
        demux.remove(TransportId(1));
        assert_eq!(demux.route(path(1), &[0x80; 40], later), Some(TransportId(2)));
    }

    #[test]
    fn stun_cut_anywhere_is_harmless() {
        let whole = request("abcd:efgh");
        for length in 0..whole.len() {
            let _ = Demux::default().route(path(1), &whole[..length], epoch());
        }
    }
}
