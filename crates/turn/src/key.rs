//! A user's keys (RFC 8489 section 9.2.2): what is kept instead of a password, for each way to hash one.

use md5::{Digest as _, Md5};
use sha2::Sha256;
use unicode_normalization::UnicodeNormalization as _;

/// How a password becomes a key (RFC 8489 section 18.5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PasswordAlgorithm {
    Md5,
    Sha256,
}

impl PasswordAlgorithm {
    /// The ones that this server offers, the better one first, as PASSWORD-ALGORITHMS carries them (RFC 8489 section
    /// 14.11): number and length of parameters of each.
    pub(crate) const OFFERED: [u8; 8] = [0, 2, 0, 0, 0, 1, 0, 0];

    /// Reads PASSWORD-ALGORITHM (RFC 8489 section 14.12); `None`: not one that is offered.
    pub(crate) fn read(value: &[u8]) -> Option<Self> {
        match value {
            [0, 1, 0, 0] => Some(Self::Md5),
            [0, 2, 0, 0] => Some(Self::Sha256),
            _ => None,
        }
    }
}

/// The keys of one user in one realm. There is no way back to the password (RFC 8656 section 6).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Key {
    md5: [u8; 16],
    /// Unknown where somebody else hashed the password.
    sha256: Option<[u8; 32]>,
}

impl Key {
    /// The keys of a user with this password, however it was typed (RFC 8265 section 4.2, OpaqueString): composed and
    /// decomposed letters are the same, and so are all spaces.
    pub fn of_password(username: &str, realm: &str, password: &str) -> Self {
        let text = format!("{}:{}:{}", opaque(username), opaque(realm), opaque(password));
        Self { md5: Md5::digest(&text).into(), sha256: Some(Sha256::digest(&text).into()) }
    }

    /// The key of a user whose password only others know: MD5 over `username:realm:password`. Such a user cannot sign
    /// with SHA-256.
    pub fn from_md5(md5: [u8; 16]) -> Self {
        Self { md5, sha256: None }
    }

    /// [`Key::from_md5`] of 32 hexadecimal digits, as `turnadmin -k` of coturn and `md5sum` print them.
    pub fn from_hex(digits: &str) -> Option<Self> {
        let whole = digits.len() == 32 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        let number = u128::from_str_radix(digits, 16).ok().filter(|_| whole)?;
        Some(Self::from_md5(number.to_be_bytes()))
    }

    pub(crate) fn bytes(&self, algorithm: PasswordAlgorithm) -> Option<&[u8]> {
        match algorithm {
            PasswordAlgorithm::Md5 => Some(&self.md5),
            PasswordAlgorithm::Sha256 => self.sha256.as_ref().map(|key| &key[..]),
        }
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(..)")
    }
}

fn opaque(text: &str) -> String {
    let space = |letter: char| if letter.is_whitespace() && !letter.is_ascii() { ' ' } else { letter };
    text.chars().map(space).nfc().collect()
}

/// USERHASH of a name (RFC 8489 section 14.4).
pub(crate) fn user_hash(username: &str, realm: &str) -> [u8; 32] {
    Sha256::digest(format!("{username}:{realm}")).into()
}

#[cfg(test)]
mod tests {
    use stun_types::attribute::{PasswordAlgorithmValue, PasswordAlgorithms, Userhash};

    use super::*;

    /// Rule: stun-keys-only
    #[test]
    fn the_rfcs_example_gives_its_key() {
        // RFC 8489 section 9.2.2.
        let key = Key::of_password("user", "realm", "pass");
        let md5 = 0x8493_fbc5_3ba5_82fb_4c04_4c45_6bdc_40eb_u128.to_be_bytes();
        assert_eq!(key.bytes(PasswordAlgorithm::Md5), Some(&md5[..]));
        assert_eq!(key.bytes(PasswordAlgorithm::Sha256).map(<[u8]>::len), Some(32));
        assert_eq!(Key::from_md5(md5).bytes(PasswordAlgorithm::Md5), Some(&md5[..]));
        assert_eq!(Key::from_md5(md5).bytes(PasswordAlgorithm::Sha256), None);
        assert!(Key::from_hex("8493FBC53ba582fb4c044c456bdc40eb") == Some(Key::from_md5(md5)));
        assert!(Key::from_hex("+493fbc53ba582fb4c044c456bdc40eb").is_none() && Key::from_hex("84").is_none());
        assert_eq!(format!("{key:?}"), "Key(..)");
    }

    #[test]
    fn it_does_not_matter_how_a_password_was_typed() {
        let key = |password| Key::of_password("user", "realm", password);
        assert!(key("gr\u{fc}n \u{3000}x") == key("gru\u{308}n\u{2003} x"));
        assert!(key("gr\u{fc}n") != key("grun") && key("a\tb") != key("a b"));
    }

    /// Rule: stun-userhash
    #[test]
    fn the_codec_agrees() {
        assert_eq!(user_hash("user", "realm"), Userhash::compute("user", "realm"));
        let offered = PasswordAlgorithms::new(&[PasswordAlgorithmValue::SHA256, PasswordAlgorithmValue::MD5]);
        assert_eq!(stun_types::attribute::AttributeWrite::to_raw(&offered).value[..], PasswordAlgorithm::OFFERED);
    }
}
