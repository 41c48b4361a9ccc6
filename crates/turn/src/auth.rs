//! Who may use the relay: long-term users and time-limited (REST) names, always both.
//! The order of checks on a request is `server`'s; this file only knows names, secrets and keys.

use std::collections::HashMap;
use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

use crate::key::{Key, user_hash};
use crate::quota::QuotaKey;

/// How a request names its user (RFC 8489 sections 14.3 and 14.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserName {
    /// USERNAME.
    Plain(String),
    /// USERHASH: the name is for us to know.
    Hash([u8; 32]),
}

/// The keys that a request of some user name may be signed with.
pub struct Candidates {
    /// The plain name; empty where nobody has this hash.
    pub(crate) username: String,
    /// Never empty, also for unknown names: the check then costs the same.
    pub(crate) keys: Vec<Key>,
    /// Unknown or expired: refuse whatever the check says.
    pub(crate) refused: bool,
    /// Who pays for allocations.
    pub(crate) quota: QuotaKey,
}

/// Time-limited credentials that we hand out (draft-uberti-behave-turn-rest-00).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Minted {
    /// `expiry:id`
    pub username: String,
    /// base64(HMAC-SHA1(secret, username))
    pub password: String,
    /// Life from now, seconds.
    pub ttl: u64,
}

/// Users and secrets. Replace it as a whole to change it.
pub struct Credentials {
    realm: String,
    /// Only keys are kept, no passwords (RFC 8656 section 6).
    users: HashMap<String, Key>,
    /// The users' names by their USERHASH.
    hashes: HashMap<[u8; 32], String>,
    secrets: Vec<Hmac<Sha1>>,
}

impl Credentials {
    /// Long-term users with their keys, and the shared secrets of REST names (the first one signs ours).
    pub fn new<'a>(
        realm: &str,
        users: impl IntoIterator<Item = (&'a str, Key)>,
        secrets: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let users: HashMap<String, Key> = users.into_iter().map(|(name, key)| (name.to_owned(), key)).collect();
        let secret = |secret: &str| Hmac::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
        Self {
            realm: realm.into(),
            hashes: users.keys().map(|name| (user_hash(name, realm), name.clone())).collect(),
            users,
            secrets: secrets.into_iter().map(secret).collect(),
        }
    }

    /// Which keys a request of this name may be signed with. `unix` is the time in seconds.
    ///
    /// Expiry counts here, and so for a new allocation only: a call may outlive its credentials.
    pub fn candidates(&self, name: &UserName, unix: u64, client: IpAddr) -> Candidates {
        let username = match name {
            UserName::Plain(name) => name,
            // A time-limited name cannot be found by its hash: it is known to whoever made it, and to nobody else.
            UserName::Hash(hash) => self.hashes.get(hash).map_or("", String::as_str),
        };
        let user = self.users.get(username);
        let (expiry, id) = rest_name(username);
        let quota = match (user, id) {
            (None, Some(id)) => QuotaKey::new(id),
            // A bare timestamp tells nobody apart but by address.
            (None, None) if expiry.is_some() => QuotaKey::new(&client.to_string()),
            _ => QuotaKey::new(username),
        };
        let known = user.is_some() || expiry.is_some_and(|expiry| expiry > unix) && !self.secrets.is_empty();
        let mut keys: Vec<_> = user.copied().into_iter().collect();
        if user.is_none() {
            // Also for names that no secret can have signed: unknown names must take as long as wrong passwords.
            keys.extend(
                self.secrets.iter().map(|secret| Key::of_password(username, &self.realm, &sign(secret, username))),
            );
        }
        if keys.is_empty() {
            keys.push(Key::of_password(username, &self.realm, ""));
        }
        Candidates { username: username.to_owned(), keys, refused: !known, quota }
    }

    /// Whether every name is known beforehand: then users may be named by a hash. Time-limited names are not.
    pub fn names_are_known(&self) -> bool {
        self.secrets.is_empty()
    }

    /// Makes credentials for `id`; none without a secret.
    pub fn mint(&self, id: &str, ttl: u64, unix: u64) -> Option<Minted> {
        let username = format!("{}:{id}", unix.saturating_add(ttl));
        let password = sign(self.secrets.first()?, &username);
        Some(Minted { username, password, ttl })
    }

    /// The realm that keys are made for.
    pub fn realm(&self) -> &str {
        &self.realm
    }
}

/// `ts` or `ts:id`, split at the first colon only: Matrix ids have colons of their own.
fn rest_name(username: &str) -> (Option<u64>, Option<&str>) {
    let (stamp, id) = match username.split_once(':') {
        Some((stamp, id)) => (stamp, Some(id)),
        None => (username, None),
    };
    let digits = !stamp.is_empty() && stamp.bytes().all(|byte| byte.is_ascii_digit());
    match stamp.parse().ok().filter(|_| digits) {
        Some(expiry) => (Some(expiry), id.filter(|id| !id.is_empty())),
        None => (None, None),
    }
}

fn sign(secret: &Hmac<Sha1>, username: &str) -> String {
    let mut mac = secret.clone();
    mac.update(username.as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_741_600_000;

    fn credentials() -> Credentials {
        Credentials::new("tern", [("alice", Key::of_password("alice", "tern", "pw"))], ["new", "old"])
    }

    fn look(name: &str) -> (bool, String, usize) {
        let found = credentials().candidates(&UserName::Plain(name.into()), NOW, "192.0.2.9".parse().unwrap());
        (!found.refused, found.quota.as_str().to_owned(), found.keys.len())
    }

    #[test]
    fn the_quota_key_is_the_id_after_the_first_colon() {
        assert_eq!(look("1741604101:@user:domain.tld"), (true, "@user:domain.tld".into(), 2));
        assert_eq!(look("1741604102:@user:domain.tld"), (true, "@user:domain.tld".into(), 2));
        assert_eq!(look("1741604101"), (true, "192.0.2.9".into(), 2));
        assert_eq!(look("1741604101:"), (true, "192.0.2.9".into(), 2));
        assert_eq!(look("alice"), (true, "alice".into(), 1));
    }

    /// Rule: abuse-11
    #[test]
    fn expired_and_malformed_stamps_are_refused() {
        for name in [
            "1741599999:bob",
            "1741600000:bob",
            "0:bob",
            "-1:bob",
            "+1741604101:bob",
            "18446744073709551616:bob",
            "0x7fffffff:bob",
            " 1741604101:bob",
            "bob:1741604101",
            ":bob",
            "",
            "mallory",
        ] {
            assert!(!look(name).0, "{name}");
        }
    }

    #[test]
    fn minted_credentials_are_among_the_candidates() {
        let minted = credentials().mint("bob", 3600, NOW).unwrap();
        assert_eq!(minted.username, "1741603600:bob");
        let found =
            credentials().candidates(&UserName::Plain(minted.username.clone()), NOW, "192.0.2.9".parse().unwrap());
        assert!(found.keys.contains(&Key::of_password(&minted.username, "tern", &minted.password)));
        assert!(Credentials::new("tern", [], []).mint("bob", 1, NOW).is_none());
    }

    #[test]
    fn names_without_any_secret_are_refused() {
        let none = Credentials::new("tern", [], []);
        let found = none.candidates(&UserName::Plain("1741604101:bob".into()), NOW, "192.0.2.9".parse().unwrap());
        assert!(found.refused && found.keys.len() == 1);
    }
}
