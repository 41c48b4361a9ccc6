//! Ids whose time-limited credentials were taken back. A name does not say when it was made, only when it ends: whoever
//! takes it back says how long such credentials live, and from that it follows which were made before.

use std::collections::{BTreeSet, HashMap};

use crate::auth::{AuthFailure, Candidates};

/// Ids at once; beyond it the one that ends first is forgotten.
const MAX: usize = 100_000;

/// See the module. Times are Unix time in seconds.
#[derive(Debug, Default)]
pub struct Revocations {
    /// Credentials of an id that end at this time or earlier are refused.
    until: HashMap<String, u64>,
    by_time: BTreeSet<(u64, String)>,
}

impl Revocations {
    /// Takes back what was made for `id` until `now` with a life of `ttl` seconds.
    pub fn revoke(&mut self, id: &str, ttl: u64, now: u64) {
        self.forget(now);
        let until = now.saturating_add(ttl);
        if let Some(before) = self.until.insert(id.to_owned(), until) {
            self.by_time.remove(&(before, id.to_owned()));
        }
        self.by_time.insert((until, id.to_owned()));
        if self.until.len() > MAX
            && let Some((_, first)) = self.by_time.pop_first()
        {
            self.until.remove(&first);
        }
    }

    /// Refuses candidates that were taken back.
    pub fn apply(&self, candidates: &mut Candidates) {
        let until = self.until.get(candidates.quota.as_str());
        if candidates.refused.is_none() && candidates.expiry.zip(until).is_some_and(|(expiry, until)| expiry <= *until)
        {
            candidates.refused = Some(AuthFailure::Revoked);
        }
    }

    /// Ids that are refused.
    pub fn len(&self) -> usize {
        self.until.len()
    }

    /// Whether nothing was taken back.
    pub fn is_empty(&self) -> bool {
        self.until.is_empty()
    }

    /// What an entry is about has expired by itself.
    fn forget(&mut self, now: u64) {
        while let Some((until, _)) = self.by_time.first()
            && *until < now
        {
            if let Some((_, id)) = self.by_time.pop_first() {
                self.until.remove(&id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{Credentials, UserName};
    use crate::secret::Secret;

    const NOW: u64 = 1_741_600_000;

    fn failure(list: &Revocations, name: &str) -> Option<AuthFailure> {
        let credentials = Credentials::new("tern", [], [Secret::new("a", "secret")]);
        let client = "192.0.2.9".parse().unwrap();
        let mut found = credentials.candidates(&UserName::Plain(name.into()), NOW, client);
        list.apply(&mut found);
        found.refused
    }

    #[test]
    fn what_was_made_before_is_refused_and_what_comes_after_is_not() {
        let mut list = Revocations::default();
        list.revoke("bob", 100, NOW);
        let name = |expiry: u64, id: &str| format!("{}:{id}", NOW + expiry);
        assert_eq!(failure(&list, &name(100, "bob")), Some(AuthFailure::Revoked));
        assert_eq!(failure(&list, &name(1, "bob")), Some(AuthFailure::Revoked));
        assert_eq!(failure(&list, &name(101, "bob")), None);
        assert_eq!(failure(&list, &name(100, "bobby")), None);
        assert_eq!(failure(&list, &format!("{}:bob", NOW - 1)), Some(AuthFailure::Expired));
        list.revoke("bob", 200, NOW + 1);
        assert_eq!(failure(&list, &name(201, "bob")), Some(AuthFailure::Revoked));
        assert_eq!((list.len(), list.by_time.len()), (1, 1));
    }

    #[test]
    fn an_entry_lives_as_long_as_credentials_can_and_there_are_only_so_many() {
        let mut list = Revocations::default();
        list.revoke("bob", 100, NOW);
        list.revoke("eve", 10, NOW + 100);
        assert_eq!(list.len(), 2);
        list.revoke("mallory", 10, NOW + 101);
        assert_eq!(list.len(), 2, "bob's have expired");
        for number in 0..MAX as u64 + 10 {
            list.revoke(&number.to_string(), 1000 + number, NOW + 101);
        }
        assert_eq!((list.len(), list.by_time.len()), (MAX, MAX));
        assert!(!list.until.contains_key("eve") && !list.is_empty());
    }
}
