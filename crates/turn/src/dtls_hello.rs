//! DTLS's door without state (RFC 6347 section 4.2.1): a ClientHello from anywhere is answered with a cookie that only the
//! true source gets to see, and nothing is kept until it comes back. What DTLS does after that belongs to an engine.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::time::{Duration, Instant};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

/// Length of our cookies, and of a ClientHello's random.
pub const COOKIE: usize = 32;
/// A cookie is good in the window that it was made in, and in the next one.
const WINDOW: Duration = Duration::from_secs(30);

const RECORD_HEADER: usize = 13;
const HANDSHAKE_HEADER: usize = 12;
const BODY: usize = RECORD_HEADER + HANDSHAKE_HEADER;
/// Where the handshake message's number stands in a datagram that begins with it.
pub const MESSAGE_SEQ: usize = RECORD_HEADER + 4;
/// Where a ClientHello's session id begins: after version and random.
const SESSION_ID: usize = BODY + 2 + COOKIE;
/// Record type of handshakes, and a ClientHello among them.
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const ALERT: u8 = 21;
const DTLS_1_2: [u8; 2] = [0xFE, 0xFD];
/// Also what records are marked with before a version is agreed on.
const DTLS_1_0: [u8; 2] = [0xFE, 0xFF];

/// Whether a datagram is DTLS by its first byte, where STUN and ChannelData may come too (RFC 7983 section 7).
pub fn is_dtls(datagram: &[u8]) -> bool {
    datagram.first().is_some_and(|first| (20..=63).contains(first))
}

/// What a datagram that begins a DTLS association says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientHello {
    /// Names the attempt: the same in the hello without and with a cookie.
    pub random: [u8; 32],
    /// The number of the message: 0, then 1 with a cookie.
    pub message_seq: u16,
    /// The place of the cookie in the datagram.
    pub cookie: Range<usize>,
    /// It offers DTLS 1.0 at most, which must not be spoken any more (RFC 8996 section 2).
    pub is_outdated: bool,
    /// Of the record that carries it, with its epoch 0.
    sequence: [u8; 8],
}

impl ClientHello {
    /// Reads a datagram that begins with an unfragmented ClientHello. Versions after DTLS 1.2 offer that, too, and put
    /// their own into an extension, which need not be looked at.
    ///
    /// `None`: it begins with something else. A fragmented hello is not put together, as that would need memory.
    pub fn parse(datagram: &[u8]) -> Option<Self> {
        let record = datagram.get(..BODY)?;
        let (kind, major, epoch) = (record[0], record[1], [record[3], record[4]]);
        if kind != HANDSHAKE || major != DTLS_1_2[0] || epoch != [0, 0] {
            return None;
        }
        let payload = usize::from(u16_at(record, 11)?);
        let (length, offset, fragment) = (u24_at(record, 14)?, u24_at(record, 19)?, u24_at(record, 22)?);
        let whole = offset == 0 && fragment == length && payload >= HANDSHAKE_HEADER + length;
        if record[RECORD_HEADER] != CLIENT_HELLO || !whole {
            return None;
        }
        let end = BODY + length;
        let hello = datagram.get(..end)?;
        let is_outdated = match hello.get(BODY..BODY + 2)? {
            version if version == DTLS_1_2 => false,
            version if version == DTLS_1_0 => true,
            _ => return None,
        };
        let random = hello.get(BODY + 2..SESSION_ID)?.try_into().ok()?;
        let cookie_length = SESSION_ID + 1 + usize::from(*hello.get(SESSION_ID)?);
        let cookie = cookie_length + 1..cookie_length + 1 + usize::from(*hello.get(cookie_length)?);
        // At least a cipher suite and a compression method must follow.
        hello.get(cookie.end..cookie.end + 6)?;
        let mut sequence = [0; 8];
        sequence.copy_from_slice(&record[3..11]);
        Some(Self { random, message_seq: u16_at(record, MESSAGE_SEQ)?, cookie, is_outdated, sequence })
    }

    /// The alert protocol_version (RFC 5246 section 7.2.2), so that a client need not wait to try something else.
    pub fn refusal(&self) -> [u8; 15] {
        let mut alert = [0; 15];
        alert[..3].copy_from_slice(&[ALERT, DTLS_1_0[0], DTLS_1_0[1]]);
        alert[3..11].copy_from_slice(&self.sequence);
        alert[11..].copy_from_slice(&[0, 2, 2, 70]);
        alert
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2).map(|two| u16::from_be_bytes([two[0], two[1]]))
}

fn u24_at(bytes: &[u8], at: usize) -> Option<usize> {
    bytes.get(at..at + 3).map(|three| u32::from_be_bytes([0, three[0], three[1], three[2]]) as usize)
}

/// Makes and checks cookies. All workers share one.
#[derive(Clone)]
pub struct Cookies {
    mac: Hmac<Sha256>,
    epoch: Instant,
}

impl Cookies {
    /// `key` is random and secret; `epoch` is when the server started.
    pub fn new(key: &[u8; 32], epoch: Instant) -> Self {
        Self { mac: Hmac::new_from_slice(key).expect("HMAC takes keys of any length"), epoch }
    }

    /// The HelloVerifyRequest for a hello: 60 bytes, fewer than any hello has.
    pub fn challenge(&self, now: Instant, client: SocketAddr, hello: &ClientHello) -> [u8; 60] {
        let mut answer = [0; 60];
        let mut rest = &mut answer[..];
        let mut put = |bytes: &[u8]| {
            let (head, tail) = std::mem::take(&mut rest).split_at_mut(bytes.len());
            head.copy_from_slice(bytes);
            rest = tail;
        };
        // RFC 6347 section 4.2.1: version 1.0 whatever is spoken later, and the record number of the hello.
        put(&[HANDSHAKE, DTLS_1_0[0], DTLS_1_0[1]]);
        put(&hello.sequence);
        put(&[0, 47]);
        put(&[3, 0, 0, 35, 0, 0, 0, 0, 0, 0, 0, 35]);
        put(&[DTLS_1_0[0], DTLS_1_0[1], COOKIE as u8]);
        put(&self.tag(self.window(now), client, hello));
        answer
    }

    /// The cookie of a hello, if we made it for this source and this attempt not long ago.
    pub fn redeem(
        &self,
        now: Instant,
        client: SocketAddr,
        hello: &ClientHello,
        datagram: &[u8],
    ) -> Option<[u8; COOKIE]> {
        let cookie: [u8; COOKIE] = datagram.get(hello.cookie.clone())?.try_into().ok()?;
        let window = self.window(now);
        let made_in = |window| bool::from(self.tag(window, client, hello).ct_eq(&cookie));
        (made_in(window) || window.checked_sub(1).is_some_and(made_in)).then_some(cookie)
    }

    fn window(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.epoch).as_secs() / WINDOW.as_secs()
    }

    fn tag(&self, window: u64, client: SocketAddr, hello: &ClientHello) -> [u8; COOKIE] {
        let mut mac = self.mac.clone();
        mac.update(&window.to_be_bytes());
        mac.update(&hello.random);
        mac.update(&client.port().to_be_bytes());
        match client.ip() {
            IpAddr::V4(ip) => mac.update(&ip.octets()),
            IpAddr::V6(ip) => mac.update(&ip.octets()),
        }
        mac.finalize().into_bytes().into()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hello(cookie: &[u8]) -> Vec<u8> {
        let mut body = DTLS_1_2.to_vec();
        body.extend([7; 32]);
        body.extend([0, cookie.len() as u8]);
        body.extend(cookie);
        body.extend([0, 2, 0xC0, 0x2B, 1, 0]);
        let length = body.len() as u8;
        let seq = u8::from(!cookie.is_empty());
        let mut bytes = vec![HANDSHAKE, 0xFE, 0xFF, 0, 0, 0, 0, 0, 0, 0, seq, 0, 12 + length];
        bytes.extend([CLIENT_HELLO, 0, 0, length, 0, seq, 0, 0, 0, 0, 0, length]);
        bytes.extend(body);
        bytes
    }

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_cookie_serves_its_source_and_attempt_for_a_while() {
        let now = crate::some_instant();
        let cookies = Cookies::new(&[1; 32], now);
        let client = address("198.51.100.7:4000");
        let first = hello(&[]);
        let parsed = ClientHello::parse(&first).unwrap();
        assert_eq!((parsed.message_seq, parsed.cookie.len(), parsed.random), (0, 0, [7; 32]));
        let challenge = cookies.challenge(now, client, &parsed);
        assert!(challenge.len() < first.len(), "no hello is so short");
        let cookie = &challenge[28..];

        let second = hello(cookie);
        let parsed = ClientHello::parse(&second).unwrap();
        let redeem = |now, client| cookies.redeem(now, client, &parsed, &second).is_some();
        assert_eq!(parsed.message_seq, 1);
        assert!(redeem(now, client) && redeem(now + Duration::from_secs(31), client));
        assert!(!redeem(now + Duration::from_secs(61), client));
        for other in ["198.51.100.8:4000", "198.51.100.7:4001", "[::1]:4000"] {
            assert!(!redeem(now, address(other)), "{other}");
        }
        let other_attempt = ClientHello { random: [8; 32], ..parsed.clone() };
        assert_eq!(cookies.redeem(now, client, &other_attempt, &second), None);
        assert_eq!(Cookies::new(&[2; 32], now).redeem(now, client, &parsed, &second), None);
        assert_eq!(cookies.redeem(now, client, &ClientHello::parse(&first).unwrap(), &first), None);
    }

    #[test]
    fn the_challenge_carries_the_number_of_the_hello() {
        let mut bytes = hello(&[]);
        bytes[10] = 9;
        let now = crate::some_instant();
        let parsed = ClientHello::parse(&bytes).unwrap();
        let challenge = Cookies::new(&[1; 32], now).challenge(now, address("[2001:db8::7]:4000"), &parsed);
        assert_eq!(
            challenge[..28],
            [22, 0xFE, 0xFF, 0, 0, 0, 0, 0, 0, 0, 9, 0, 47, 3, 0, 0, 35, 0, 0, 0, 0, 0, 0, 0, 35, 0xFE, 0xFF, 32,]
        );
    }

    #[test]
    fn what_is_no_whole_hello_is_none() {
        let good = hello(&[5; 32]);
        assert!(ClientHello::parse(&good).is_some() && is_dtls(&good));
        for end in 0..good.len() {
            assert_eq!(ClientHello::parse(&good[..end]), None, "{end} bytes");
        }
        let mut old = good.clone();
        old[26] = 0xFF;
        let parsed = ClientHello::parse(&old).unwrap();
        assert!(parsed.is_outdated && !ClientHello::parse(&good).unwrap().is_outdated);
        assert_eq!(parsed.refusal(), [21, 0xFE, 0xFF, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2, 2, 70]);
        // Type, epoch, message type, length, fragment offset, fragment length, version.
        for at in [0, 3, 13, 16, 21, 24, 26] {
            let mut bad = good.clone();
            bad[at] ^= 0x41;
            assert_eq!(ClientHello::parse(&bad), None, "byte {at}");
        }
        assert!(!is_dtls(b"") && !is_dtls(&[0, 1]) && !is_dtls(&[0x40, 0]) && !is_dtls(&[0x80]));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_within_bounds(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut begun = hello(&[])[..BODY].to_vec();
            begun.extend(&bytes);
            for datagram in [&bytes, &begun] {
                if let Some(hello) = ClientHello::parse(datagram) {
                    prop_assert!(datagram.get(hello.cookie).is_some());
                }
            }
        }
    }
}
