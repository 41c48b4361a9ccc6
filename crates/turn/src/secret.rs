//! Shared secrets of time-limited names. Each has an id, so that two can live side by side and logs can say which one
//! somebody used.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use crate::key::Key;

/// Letters of an id, at most.
const MAX_ID: usize = 64;

/// Why a secret is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// Nothing in it, or nothing after the id.
    #[error("a secret is empty")]
    Empty,
    /// What stands before the first colon cannot be an id.
    #[error(
        "must be secret, or id:secret with 1 to 64 letters, digits, `.`, `_`, `-` as id; give one with colons an id"
    )]
    Id,
}

/// See the module.
#[derive(Clone)]
pub struct Secret {
    id: Arc<str>,
    mac: Hmac<Sha1>,
}

impl Secret {
    /// A secret with an id.
    pub fn new(id: &str, secret: &str) -> Self {
        let mac = Hmac::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
        Self { id: id.into(), mac }
    }

    /// Reads `id:secret`, or a secret without a colon, which gets an id derived from it.
    ///
    /// # Errors
    /// The text is neither.
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        match text.split_once(':') {
            None if text.is_empty() => Err(SecretError::Empty),
            None => Ok(Self::new(&derived_id(text), text)),
            Some((id, _)) if !is_id(id) => Err(SecretError::Id),
            Some((_, "")) => Err(SecretError::Empty),
            Some((id, secret)) => Ok(Self::new(id, secret)),
        }
    }

    /// Its id, for people.
    pub fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn shared_id(&self) -> Arc<str> {
        Arc::clone(&self.id)
    }

    /// The password that belongs to a time-limited name: base64(HMAC-SHA1(secret, name)).
    pub fn password(&self, username: &str) -> String {
        let mut mac = self.mac.clone();
        mac.update(username.as_bytes());
        STANDARD.encode(mac.finalize().into_bytes())
    }

    pub(crate) fn key(&self, username: &str, realm: &str) -> Key {
        Key::of_password(username, realm, &self.password(username))
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Secret({})", self.id)
    }
}

fn is_id(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=MAX_ID).contains(&text.len()) && text.bytes().all(is_letter)
}

/// The same for the same secret, so that a reload does not rename it; too short to find the secret by.
fn derived_id(secret: &str) -> String {
    let digest = Sha256::digest(secret);
    format!("{:02x}{:02x}{:02x}", digest[0], digest[1], digest[2])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_may_stand_before_a_secret() {
        // printf 1700000000:alice | openssl dgst -sha1 -hmac secret -binary | base64
        let wanted = "d8soP47RbdIKLDUOpnJPVQyq5Ts=";
        for (text, id) in [("secret", "2bb80d"), ("2026-11:secret", "2026-11")] {
            let secret = Secret::parse(text).unwrap();
            assert_eq!((secret.id(), secret.password("1700000000:alice").as_str()), (id, wanted));
            assert_eq!(format!("{secret:?}"), format!("Secret({id})"));
        }
        assert_eq!(Secret::parse("a:b:c").unwrap().password("x"), Secret::new("other", "b:c").password("x"));
    }

    #[test]
    fn what_is_neither_is_refused() {
        assert_eq!(Secret::parse("").unwrap_err(), SecretError::Empty);
        assert_eq!(Secret::parse("id:").unwrap_err(), SecretError::Empty);
        for text in [":secret", "two words:secret", "pa$$:word", &format!("{}:x", "i".repeat(65))] {
            assert_eq!(Secret::parse(text).unwrap_err(), SecretError::Id, "{text}");
        }
    }
}
