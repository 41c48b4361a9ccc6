//! Signatures of webhooks, as Standard Webhooks (1.0) defines them: HMAC-SHA256 over `id.timestamp.body`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// What secrets begin with where they are handed around.
const PREFIX: &str = "whsec_";

/// A secret is 24 to 64 bytes (Standard Webhooks, "Signature scheme").
const LENGTH: std::ops::RangeInclusive<usize> = 24..=64;

/// A key that signs.
#[derive(Clone)]
pub(crate) struct SigningKey(Vec<u8>);

impl SigningKey {
    /// Reads a secret: base64, with `whsec_` before it or not. `None`: it is none.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let bytes = STANDARD.decode(text.strip_prefix(PREFIX).unwrap_or(text)).ok()?;
        LENGTH.contains(&bytes.len()).then_some(Self(bytes))
    }
}

/// `webhook-signature`: one signature of each key, so that a receiver may know either while a secret is exchanged.
pub(super) fn sign(keys: &[SigningKey], id: &str, timestamp: u64, body: &str) -> String {
    let signature = |SigningKey(key): &SigningKey| {
        let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
        mac.update(format!("{id}.{timestamp}.{body}").as_bytes());
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    };
    keys.iter().map(signature).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_specification_is_signed_alike() {
        // Of the reference libraries' tests.
        let key = SigningKey::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("a secret");
        let signed = sign(&[key], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, "{\"test\": 2432232314}");
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn secrets_have_the_form_of_the_specification() {
        let bare = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let keys: Vec<_> = [bare, &format!("whsec_{bare}")].into_iter().filter_map(SigningKey::parse).collect();
        let both = sign(&keys, "msg_1", 1, "{}");
        let (one, other) = both.split_once(' ').expect("two");
        assert_eq!(one, other);
        for bad in ["", "whsec_", "not base64!", "c2hvcnQ=", &STANDARD.encode([7; 65])] {
            assert!(SigningKey::parse(bad).is_none(), "{bad}");
        }
    }
}
