//! Values of options, read strictly: coturn takes `80x` for 80, and what is no address for nothing.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;

use turn::Key;

use turn::AddressRange;

/// A value and the line that it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Set<T> {
    pub(super) line: usize,
    pub(super) value: T,
}

/// A long-term user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct User {
    pub(super) name: String,
    pub(super) login: Login,
}

/// What a user's key is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Login {
    Password(String),
    /// MD5 over `name:realm:password`, 32 hexadecimal digits.
    Key(String),
}

/// A public address, and the private one that it stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct External {
    pub(super) public: IpAddr,
    pub(super) private: Option<IpAddr>,
}

/// A value that can have no blank, without the comment that guides of Matrix and others put behind it. coturn reads such a
/// number and stops; in texts the comment is part of the value.
fn word(value: &str) -> &str {
    let comment = |at: usize| value[..at].ends_with([' ', '\t']).then_some(at);
    let end = value.match_indices('#').find_map(|(at, _)| comment(at)).unwrap_or(value.len());
    value[..end].trim_end()
}

pub(super) fn flag(value: &str) -> Result<bool, String> {
    match word(value).to_ascii_lowercase().as_str() {
        "" | "1" | "on" | "yes" | "true" => Ok(true),
        "0" | "off" | "no" | "false" => Ok(false),
        _ => Err(format!("{value:?} must be on, off, yes, no, true, false, 1 or 0")),
    }
}

pub(super) fn text(value: &str) -> Result<String, String> {
    if value.is_empty() { Err("needs a value".into()) } else { Ok(value.to_owned()) }
}

pub(super) fn number(value: &str, allowed: RangeInclusive<u64>) -> Result<u64, String> {
    let number = word(value).parse().ok().filter(|number| allowed.contains(number));
    number.ok_or_else(|| format!("{value:?} must be a number from {} to {}", allowed.start(), allowed.end()))
}

/// A count or an amount; coturn has no limits above, we have those of 32 bits.
pub(super) fn amount(value: &str) -> Result<u32, String> {
    number(value, 0..=u64::from(u32::MAX)).map(|number| number as u32)
}

pub(super) fn bytes(value: &str) -> Result<u64, String> {
    number(value, 0..=i64::MAX as u64)
}

pub(super) fn port(value: &str) -> Result<u16, String> {
    number(value, 1..=65535).map(|number| number as u16)
}

pub(super) fn address(value: &str) -> Result<IpAddr, String> {
    word(value).parse().map_err(|_| format!("{value:?} must be an address; names are not looked up"))
}

/// `address:port`, the IPv6 address in brackets.
pub(super) fn address_and_port(value: &str) -> Result<SocketAddr, String> {
    word(value)
        .parse()
        .map_err(|_| format!("{value:?} must be address:port, such as 192.0.2.1:3479 or [2001:db8::1]:3479"))
}

pub(super) fn external(value: &str) -> Result<External, String> {
    match word(value).split_once('/') {
        Some((public, private)) => Ok(External { public: address(public)?, private: Some(address(private)?) }),
        None => Ok(External { public: address(value)?, private: None }),
    }
}

pub(super) fn range(value: &str) -> Result<AddressRange, String> {
    super::ranges::read(word(value))
}

/// `name:password` or `name:0xKEY`. The value is a secret and stays out of messages.
pub(super) fn user(value: &str) -> Result<User, String> {
    let (name, secret) = value.split_once(':').unwrap_or_default();
    let secret = secret.trim_start();
    if name.is_empty() || secret.is_empty() {
        return Err("must be name:password or name:0xKEY".into());
    }
    let login = match secret.strip_prefix("0x") {
        Some(digits) if Key::from_hex(digits).is_some() => Login::Key(digits.to_ascii_lowercase()),
        Some(_) => return Err(format!("the key of {name} must have 32 hexadecimal digits behind 0x")),
        None => Login::Password(secret.into()),
    };
    Ok(User { name: name.into(), login })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_coturn_would_guess_is_refused() {
        assert_eq!(flag("oN"), Ok(true));
        assert_eq!(flag("No"), Ok(false));
        assert!(flag("nope").is_err() && flag("2").is_err());
        assert_eq!(port("3478"), Ok(3478));
        for wrong in ["", "0", "65536", "80x", "-1", " 5"] {
            assert!(port(wrong).is_err(), "{wrong}");
        }
        assert_eq!(port("x").unwrap_err(), "\"x\" must be a number from 1 to 65535");
        assert!(address("example.org").is_err() && address("10.0.0").is_err());
        assert_eq!(number("12 # 4 streams a call", 0..=99), Ok(12));
        assert_eq!(
            flag("# for old ones"),
            Err("\"# for old ones\" must be on, off, yes, no, true, false, 1 or 0".into())
        );
        assert_eq!(text("a #b"), Ok("a #b".into()));
        assert!(number("12#x", 0..=99).is_err());
        assert!(address_and_port("::1:80").is_err() && address_and_port("[::1]:80").is_ok());
        assert!(external("192.0.2.1/").is_err() && external("192.0.2.1/10.0.0.1").is_ok());
    }

    #[test]
    fn users_have_passwords_or_keys_and_errors_keep_the_secret() {
        let user = |value: &str| user(value).map(|user| (user.name, user.login));
        assert_eq!(user("a:b:c"), Ok(("a".into(), Login::Password("b:c".into()))));
        let key = "0XBC807EE29DF3C9FFA736523FB2C4E8EE".to_lowercase();
        assert_eq!(user(&format!("a:{key}")), Ok(("a".into(), Login::Key(key[2..].into()))));
        for wrong in ["alone", ":hush", "a:", "a:0xhush", "a:0xbc"] {
            assert!(!user(wrong).unwrap_err().contains("hush"), "{wrong}");
        }
    }
}
