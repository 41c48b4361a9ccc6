//! Nonces without state: an answer to a flood of unauthenticated requests must cost no memory.
//! A nonce is the time and a MAC over time and source address, so it serves one source for a limited time. Before that
//! stands what the server can (RFC 8489 section 9.2.1): whoever strips an algorithm from a challenge is found out.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

const TIME: usize = 4;
const TAG: usize = 8;
const LENGTH: usize = TIME + TAG;

/// RFC 8489 section 9.2: a nonce that begins so has feature bits.
const COOKIE: &str = "obMatJos2";
/// Feature bits, counted from the lowest one (erratum 6290 of RFC 8489).
const PASSWORD_ALGORITHMS: u32 = 1;
const USERNAME_ANONYMITY: u32 = 1 << 1;
const FEATURES: usize = 3;
const DECODED: usize = FEATURES + LENGTH;

/// Makes and checks nonces. All workers of a server share one, so that a nonce is good at each of them.
#[derive(Clone)]
pub struct Nonces {
    mac: Hmac<Sha256>,
    epoch: Instant,
    life: Duration,
}

impl Nonces {
    /// RFC 8656 section 5: a nonce lives for an hour at most.
    pub const LIFE: Duration = Duration::from_secs(3600);

    /// `key` is random and secret; `epoch` is when the server started; `life` is cut to [`Nonces::LIFE`].
    pub fn new(key: &[u8; 32], epoch: Instant, life: Duration) -> Self {
        let mac = Hmac::new_from_slice(key).expect("HMAC takes keys of any length");
        Self { mac, epoch, life: life.min(Self::LIFE) }
    }

    /// A nonce for this source, which tells whether users can be named by their hash: 29 characters.
    pub(crate) fn issue(&self, now: Instant, source: SocketAddr, anonymity: bool) -> String {
        let seconds = self.seconds(now);
        let features = PASSWORD_ALGORITHMS | if anonymity { USERNAME_ANONYMITY } else { 0 };
        let mut bytes = [0; DECODED];
        bytes[..FEATURES].copy_from_slice(&features.to_be_bytes()[1..]);
        bytes[FEATURES..][..TIME].copy_from_slice(&seconds.to_be_bytes());
        bytes[FEATURES + TIME..].copy_from_slice(&self.tag(features, seconds, source));
        // Three bytes of features are four whole characters: the encoding of all is that of its parts.
        format!("{COOKIE}{}", STANDARD_NO_PAD.encode(bytes))
    }

    /// Whether we issued this nonce for this source, not too long ago.
    pub(crate) fn is_fresh(&self, nonce: &str, now: Instant, source: SocketAddr) -> bool {
        let mut bytes = [0; DECODED + 3];
        let Some(text) = nonce.strip_prefix(COOKIE) else { return false };
        let Ok(DECODED) = STANDARD_NO_PAD.decode_slice(text, &mut bytes) else { return false };
        let features = u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]]);
        let seconds = u32::from_be_bytes([bytes[3], bytes[4], bytes[5], bytes[6]]);
        let genuine = self.tag(features, seconds, source).ct_eq(&bytes[FEATURES + TIME..DECODED]);
        let age = self.seconds(now).checked_sub(seconds);
        bool::from(genuine) && age.is_some_and(|age| Duration::from_secs(age.into()) < self.life)
    }

    fn seconds(&self, now: Instant) -> u32 {
        now.saturating_duration_since(self.epoch).as_secs() as u32
    }

    fn tag(&self, features: u32, seconds: u32, source: SocketAddr) -> [u8; TAG] {
        let mut mac = self.mac.clone();
        mac.update(&features.to_be_bytes());
        mac.update(&seconds.to_be_bytes());
        match source {
            SocketAddr::V4(source) => mac.update(&source.ip().octets()),
            SocketAddr::V6(source) => mac.update(&source.ip().octets()),
        }
        mac.update(&source.port().to_be_bytes());
        let full = mac.finalize().into_bytes();
        std::array::from_fn(|index| full[index])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rule: abuse-14
    #[test]
    fn a_nonce_is_bound_to_source_time_and_key() {
        let start = crate::some_instant();
        let nonces = Nonces::new(&[1; 32], start, Duration::from_secs(600));
        let source: SocketAddr = "192.0.2.1:5000".parse().unwrap();
        let later = start + Duration::from_secs(100);
        let nonce = nonces.issue(later, source, false);
        assert_eq!((nonce.len(), &nonce[..13]), (29, "obMatJos2AAAB"));
        assert_eq!(&nonces.issue(later, source, true)[..13], "obMatJos2AAAD");
        let other_bits = nonce.replacen("AAAB", "AAAA", 1);
        assert!(!nonces.is_fresh(&other_bits, later, source), "a feature bit was stripped");
        assert!(nonces.is_fresh(&nonce, later, source));
        assert!(nonces.is_fresh(&nonce, later + Duration::from_secs(599), source));
        assert!(!nonces.is_fresh(&nonce, later + Duration::from_secs(600), source));
        assert!(!nonces.is_fresh(&nonce, later, "192.0.2.1:5001".parse().unwrap()));
        assert!(!nonces.is_fresh(&nonce, later, "192.0.2.2:5000".parse().unwrap()));
        assert!(!Nonces::new(&[2; 32], start, Nonces::LIFE).is_fresh(&nonce, later, source));
        assert!(!nonces.is_fresh(&nonce, start, source), "from the future");
        for bad in ["", "x", "AAAA", &nonce[1..], &format!("{nonce}AAAA"), &"A".repeat(700), "\u{fc}"] {
            assert!(!nonces.is_fresh(bad, later, source), "{bad}");
        }
    }

    /// Rule: turn-nonce-hourly
    #[test]
    fn no_nonce_outlives_an_hour() {
        let nonces = Nonces::new(&[1; 32], crate::some_instant(), Duration::from_secs(86_400));
        assert_eq!(nonces.life, Nonces::LIFE);
    }
}
