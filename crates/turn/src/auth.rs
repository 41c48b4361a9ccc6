//! Who may use the relay: long-term users and time-limited (REST) names, always both.
//! The order of checks on a request is `server`'s; this file only knows names, secrets and keys.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::key::{Key, user_hash};
use crate::quota::QuotaKey;
use crate::secret::Secret;

/// How a request names its user (RFC 8489 sections 14.3 and 14.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserName {
    /// USERNAME.
    Plain(String),
    /// USERHASH: the name is for us to know.
    Hash([u8; 32]),
}

/// Why a signed request is refused. The client hears 401 for all of them, so that names cannot be guessed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AuthFailure {
    /// Nobody has this name.
    UnknownUser,
    /// The name is good, the signature is not.
    WrongPassword,
    /// The time of a time-limited name is over.
    Expired,
    /// The operator took it back.
    Revoked,
    /// Whoever was asked said no.
    Denied,
}

impl AuthFailure {
    /// All of them, in the order of [`crate::Stats::auth_failures`].
    pub const ALL: [Self; 5] = [Self::UnknownUser, Self::WrongPassword, Self::Expired, Self::Revoked, Self::Denied];

    /// A metric label, and the word in the log.
    pub fn label(self) -> &'static str {
        match self {
            Self::UnknownUser => "unknown_user",
            Self::WrongPassword => "wrong_password",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Denied => "denied",
        }
    }
}

/// Where a key comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A long-term user.
    User,
    /// A time-limited name, signed with the secret of this id.
    Secret(Arc<str>),
    /// Somebody else who was asked.
    Elsewhere,
}

/// A key that a request may be signed with.
#[derive(Debug, Clone)]
pub(crate) struct Signer {
    pub(crate) key: Key,
    pub(crate) origin: Origin,
}

/// The keys that a request of some user name may be signed with.
#[derive(Debug, Clone)]
pub struct Candidates {
    /// The plain name; empty where nobody has this hash.
    pub(crate) username: String,
    /// Never empty, also for unknown names: the check then costs the same.
    pub(crate) signers: Vec<Signer>,
    /// Refuse whatever the check says.
    pub(crate) refused: Option<AuthFailure>,
    /// Who pays for allocations.
    pub(crate) quota: QuotaKey,
    /// When the credentials end, Unix time in seconds.
    pub(crate) expiry: Option<u64>,
    /// Life left, seconds.
    pub(crate) remaining: Option<u64>,
}

impl Candidates {
    /// A user whom somebody else knows, for `ttl` seconds from now if that is limited.
    pub fn known_elsewhere(username: &str, key: Key, quota: QuotaKey, ttl: Option<u64>) -> Self {
        let signers = vec![Signer { key, origin: Origin::Elsewhere }];
        Self { username: username.into(), signers, refused: None, quota, expiry: None, remaining: ttl }
    }

    /// A user whom somebody else refuses.
    pub fn denied_elsewhere(username: &str, realm: &str) -> Self {
        let nobody =
            Self::known_elsewhere(username, Key::of_password(username, realm, ""), QuotaKey::new(username), None);
        Self { refused: Some(AuthFailure::Denied), ..nobody }
    }
}

/// How time-limited names are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RestNames {
    /// `expiry` or `expiry:id`, split at the first colon: ids may have colons of their own, as those of Matrix do.
    #[default]
    StampFirst,
    /// Also `id:expiry`, split at the last colon.
    Either,
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
    secrets: Vec<Secret>,
    rest_names: RestNames,
}

impl Credentials {
    /// Long-term users with their keys, and the shared secrets of REST names (the first one signs ours).
    pub fn new<'a>(
        realm: &str,
        users: impl IntoIterator<Item = (&'a str, Key)>,
        secrets: impl IntoIterator<Item = Secret>,
    ) -> Self {
        let users: HashMap<String, Key> = users.into_iter().map(|(name, key)| (name.to_owned(), key)).collect();
        Self {
            realm: realm.into(),
            hashes: users.keys().map(|name| (user_hash(name, realm), name.clone())).collect(),
            users,
            secrets: secrets.into_iter().collect(),
            rest_names: RestNames::default(),
        }
    }

    /// How time-limited names are written.
    pub fn with_rest_names(mut self, names: RestNames) -> Self {
        self.rest_names = names;
        self
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
        let rest = RestName::read(username, self.rest_names);
        let quota = match (user, &rest) {
            (None, Some(RestName { id: Some(id), .. })) => QuotaKey::new(id),
            // A bare timestamp tells nobody apart but by address.
            (None, Some(_)) => QuotaKey::of_client(client),
            _ => QuotaKey::new(username),
        };
        let expiry = rest.filter(|_| user.is_none()).map(|rest| rest.expiry);
        let refused = match expiry {
            None if user.is_some() => None,
            None => Some(AuthFailure::UnknownUser),
            Some(_) if self.secrets.is_empty() => Some(AuthFailure::UnknownUser),
            Some(expiry) => (expiry <= unix).then_some(AuthFailure::Expired),
        };
        let mut signers: Vec<_> = user.map(|key| Signer { key: *key, origin: Origin::User }).into_iter().collect();
        if user.is_none() {
            // Also for names that no secret can have signed: unknown names must take as long as wrong passwords.
            signers.extend(self.signers_by_secret(username));
        }
        if signers.is_empty() {
            signers.push(Signer { key: Key::of_password(username, &self.realm, ""), origin: Origin::User });
        }
        let remaining = expiry.map(|expiry| expiry.saturating_sub(unix));
        Candidates { username: username.to_owned(), signers, refused, quota, expiry, remaining }
    }

    fn signers_by_secret(&self, username: &str) -> impl Iterator<Item = Signer> {
        let signer = |secret: &Secret| Signer {
            key: secret.key(username, &self.realm),
            origin: Origin::Secret(secret.shared_id()),
        };
        self.secrets.iter().map(signer)
    }

    /// Whether this is a name that users or secrets decide on; if not, somebody else may be asked.
    pub fn decides(&self, name: &UserName) -> bool {
        match name {
            UserName::Plain(name) => self.users.contains_key(name) || RestName::read(name, self.rest_names).is_some(),
            UserName::Hash(_) => true,
        }
    }

    /// Whether this key of a user is still good, whatever the time.
    pub(crate) fn covers(&self, username: &str, key: &Key, origin: &Origin) -> bool {
        match origin {
            Origin::User => self.users.get(username) == Some(key),
            Origin::Secret(_) => self.signers_by_secret(username).any(|signer| signer.key == *key),
            Origin::Elsewhere => true,
        }
    }

    /// Whether every name is known beforehand: then users may be named by a hash. Time-limited names are not.
    pub fn names_are_known(&self) -> bool {
        self.secrets.is_empty()
    }

    /// Makes credentials for `id`; none without a secret.
    pub fn mint(&self, id: &str, ttl: u64, unix: u64) -> Option<Minted> {
        let username = format!("{}:{id}", unix.saturating_add(ttl));
        let password = self.secrets.first()?.password(&username);
        Some(Minted { username, password, ttl })
    }

    /// The realm that keys are made for.
    pub fn realm(&self) -> &str {
        &self.realm
    }
}

/// A time-limited name, taken apart.
struct RestName<'a> {
    expiry: u64,
    id: Option<&'a str>,
}

impl<'a> RestName<'a> {
    fn read(username: &'a str, names: RestNames) -> Option<Self> {
        let (first, rest) = username.split_once(':').map_or((username, None), |(first, rest)| (first, Some(rest)));
        let last = || username.rsplit_once(':').filter(|_| names == RestNames::Either);
        let (expiry, id) = match stamp(first) {
            Some(expiry) => (expiry, rest),
            None => last().and_then(|(id, last)| Some((stamp(last)?, Some(id))))?,
        };
        Some(Self { expiry, id: id.filter(|id| !id.is_empty()) })
    }
}

/// Unix time in seconds: digits and nothing else.
fn stamp(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_741_600_000;

    fn credentials() -> Credentials {
        Credentials::new(
            "tern",
            [("alice", Key::of_password("alice", "tern", "pw"))],
            [Secret::new("new", "new"), Secret::new("old", "old")],
        )
    }

    fn look(name: &str) -> (bool, String, usize) {
        let found = credentials().candidates(&UserName::Plain(name.into()), NOW, "192.0.2.9".parse().unwrap());
        (found.refused.is_none(), found.quota.as_str().to_owned(), found.signers.len())
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
        let signer = found.signers.first().unwrap();
        assert!(signer.key == Key::of_password(&minted.username, "tern", &minted.password));
        assert_eq!(signer.origin, Origin::Secret("new".into()));
        assert!(Credentials::new("tern", [], []).mint("bob", 1, NOW).is_none());
    }

    #[test]
    fn names_without_any_secret_are_refused() {
        let none = Credentials::new("tern", [], []);
        let found = none.candidates(&UserName::Plain("1741604101:bob".into()), NOW, "192.0.2.9".parse().unwrap());
        assert_eq!((found.refused, found.signers.len()), (Some(AuthFailure::UnknownUser), 1));
    }

    #[test]
    fn the_stamp_may_come_last_where_that_is_switched_on() {
        let look = |names, name: &str| {
            let credentials = credentials().with_rest_names(names);
            let name = UserName::Plain(name.into());
            let found = credentials.candidates(&name, NOW, "192.0.2.9".parse().unwrap());
            (found.refused, found.quota.as_str().to_owned(), credentials.decides(&name))
        };
        let either = RestNames::Either;
        let last = "@user:domain.tld:1741604101";
        assert_eq!(look(RestNames::StampFirst, last), (Some(AuthFailure::UnknownUser), last.to_owned(), false));
        assert_eq!(look(either, last), (None, "@user:domain.tld".into(), true));
        assert_eq!(look(either, "bob:1741599999").0, Some(AuthFailure::Expired));
        assert_eq!(look(either, "1741604101:1741599999"), (None, "1741599999".into(), true), "the first one counts");
        assert_eq!(look(either, "1741604101"), (None, "192.0.2.9".into(), true));
        assert_eq!(look(either, "bob:17x"), (Some(AuthFailure::UnknownUser), "bob:17x".into(), false));
        assert_eq!(look(either, "alice"), (None, "alice".into(), true));
        assert_eq!(look(either, ":1741604101").1, "192.0.2.9");
    }

    #[test]
    fn a_key_is_covered_while_its_secret_or_user_is_there() {
        let all = credentials();
        let name = "1741604101:bob";
        let old = Secret::new("old", "old").key(name, "tern");
        let (by_secret, by_user) = (Origin::Secret("old".into()), Origin::User);
        assert!(all.covers(name, &old, &by_secret));
        let rotated = Credentials::new("tern", [], [Secret::new("old", "another")]);
        assert!(!rotated.covers(name, &old, &by_secret), "the id does not count");
        let alice = Key::of_password("alice", "tern", "pw");
        assert!(all.covers("alice", &alice, &by_user) && !rotated.covers("alice", &alice, &by_user));
        let changed = Credentials::new("tern", [("alice", Key::of_password("alice", "tern", "new"))], []);
        assert!(!changed.covers("alice", &alice, &by_user));
        assert!(rotated.covers("carol", &old, &Origin::Elsewhere));
    }
}
