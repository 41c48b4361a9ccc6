//! Signing and checking whole messages: MESSAGE-INTEGRITY and MESSAGE-INTEGRITY-SHA256 (RFC 8489 sections 14.5, 14.6).

use hmac::digest::Output;
use hmac::{Hmac, KeyInit, Mac as Mac_};
use sha1::Sha1;
use sha2::Sha256;
use stun_types::attribute::{Attribute as _, AttributeStaticType as _, MessageIntegrity, MessageIntegritySha256};
use stun_types::message::Message;
use subtle::ConstantTimeEq as _;

use crate::framing::STUN_HEADER;
use crate::key::{Key, PasswordAlgorithm};

/// Type and length of an attribute.
const ATTRIBUTE_HEADER: usize = 4;
/// RFC 8489 section 14.6: a truncated MAC has at least this many bytes.
const SHORTEST_SHA256: usize = 16;

/// Which attribute signs a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mac {
    Sha1,
    Sha256,
    /// One after the other, for who may expect either.
    Both,
}

/// How the answer to a request is signed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Signature {
    pub(crate) key: Key,
    pub(crate) algorithm: PasswordAlgorithm,
    pub(crate) mac: Mac,
}

/// The attribute of a request that is to be checked.
pub(crate) struct Signed<'a> {
    bytes: &'a [u8],
    at: usize,
    mac: Mac,
    value: Vec<u8>,
}

impl<'a> Signed<'a> {
    /// Finds the signature; of two the stronger one counts.
    pub(crate) fn find(request: &'a Message<'a>) -> Option<Self> {
        let mut found = None;
        for (at, attribute) in request.iter_attributes() {
            let mac = match attribute.get_type() {
                MessageIntegrity::TYPE => Mac::Sha1,
                MessageIntegritySha256::TYPE => Mac::Sha256,
                _ => continue,
            };
            found = Some(Self { bytes: request.as_bytes(), at, mac, value: attribute.value.to_vec() });
        }
        found
    }

    /// Which attribute it is; never both.
    pub(crate) fn mac(&self) -> Mac {
        self.mac
    }

    /// Whether it was made with this key. Takes the same time whatever is wrong.
    pub(crate) fn is_by(&self, key: &[u8]) -> bool {
        let end = self.at + ATTRIBUTE_HEADER + self.value.len();
        match self.mac {
            Mac::Sha1 => bool::from(mac_over::<Hmac<Sha1>>(key, self.bytes, self.at, end)[..].ct_eq(&self.value)),
            Mac::Sha256 | Mac::Both => {
                let full = mac_over::<Hmac<Sha256>>(key, self.bytes, self.at, end);
                let len = self.value.len();
                let sound = (SHORTEST_SHA256..=full.len()).contains(&len) && len.is_multiple_of(4);
                sound && bool::from(full[..len].ct_eq(&self.value))
            }
        }
    }
}

/// The MAC over the message before `at`, whose header's length says `end`.
fn mac_over<M: Mac_ + KeyInit>(key: &[u8], bytes: &[u8], at: usize, end: usize) -> Output<M> {
    let mut mac = <M as KeyInit>::new_from_slice(key).expect("HMAC takes keys of any length");
    let len = (end - STUN_HEADER) as u16;
    mac.update(&bytes[..2]);
    mac.update(&len.to_be_bytes());
    mac.update(&bytes[4..at]);
    mac.finalize().into_bytes()
}

/// Signs a finished message that has neither signature nor fingerprint.
pub(crate) fn sign(message: &mut Vec<u8>, signature: &Signature) {
    let Some(key) = signature.key.bytes(signature.algorithm) else { return };
    if signature.mac != Mac::Sha256 {
        append::<Hmac<Sha1>>(message, key, MessageIntegrity::TYPE.value());
    }
    if signature.mac != Mac::Sha1 {
        append::<Hmac<Sha256>>(message, key, MessageIntegritySha256::TYPE.value());
    }
}

fn append<M: Mac_ + KeyInit>(message: &mut Vec<u8>, key: &[u8], kind: u16) {
    let at = message.len();
    let len = M::output_size();
    let end = at + ATTRIBUTE_HEADER + len;
    let value = mac_over::<M>(key, message, at, end);
    message.extend(kind.to_be_bytes());
    message.extend((len as u16).to_be_bytes());
    message.extend_from_slice(&value);
    message[2..4].copy_from_slice(&((end - STUN_HEADER) as u16).to_be_bytes());
}

#[cfg(test)]
mod tests {
    use stun_types::message::{
        BINDING, IntegrityAlgorithm, IntegrityKey, MessageWrite as _, MessageWriteExt as _, MessageWriteVec,
        ShortTermCredentials,
    };

    use super::*;

    /// Rule: abuse-13
    #[test]
    fn a_mac_that_is_wrong_anywhere_is_wrong() {
        let key: IntegrityKey = ShortTermCredentials::new("key".into()).make_key();
        for algorithm in [IntegrityAlgorithm::Sha1, IntegrityAlgorithm::Sha256] {
            let mut write = Message::builder_request(BINDING, MessageWriteVec::new());
            write.add_message_integrity_with_key(&key, algorithm).unwrap();
            let good = write.finish();
            let is_good = |bytes: &[u8]| {
                let message = Message::from_bytes(bytes).unwrap();
                Signed::find(&message).expect("a signature").is_by(b"key")
            };
            assert!(is_good(&good));
            for at in STUN_HEADER + ATTRIBUTE_HEADER..good.len() {
                let mut bad = good.clone();
                bad[at] ^= 1;
                assert!(!is_good(&bad), "byte {at}, however much before it is right");
            }
        }
    }
}
