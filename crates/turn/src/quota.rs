//! How many allocations each user holds. Which user that is, `auth` says.

use std::collections::HashMap;
use std::sync::Arc;

/// Who pays: a user's name, the id part of a REST name, or the client's address where a REST name has no id.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QuotaKey(Arc<str>);

impl QuotaKey {
    /// Names a payer.
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Counts per payer, with a limit.
#[derive(Debug)]
pub(crate) struct Quota {
    limit: u32,
    held: HashMap<QuotaKey, u32>,
}

impl Quota {
    pub(crate) fn new(limit: u32) -> Self {
        Self { limit, held: HashMap::new() }
    }

    pub(crate) fn set_limit(&mut self, limit: u32) {
        self.limit = limit;
    }

    /// Takes `count` at once, or nothing.
    pub(crate) fn take(&mut self, key: &QuotaKey, count: u32) -> bool {
        let held = self.held(key);
        if held.saturating_add(count) > self.limit {
            return false;
        }
        self.held.insert(key.clone(), held + count);
        true
    }

    pub(crate) fn give_back(&mut self, key: &QuotaKey) {
        if let Some(held) = self.held.get_mut(key) {
            *held -= 1;
            if *held == 0 {
                self.held.remove(key);
            }
        }
    }

    pub(crate) fn held(&self, key: &QuotaKey) -> u32 {
        self.held.get(key).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_up_to_the_limit_and_forgets_who_holds_nothing() {
        let mut quota = Quota::new(2);
        let key = QuotaKey::new("alice");
        assert!(!quota.take(&key, 3));
        assert!(quota.take(&key, 2));
        assert!(!quota.take(&key, 1));
        assert!(quota.take(&QuotaKey::new("bob"), 1));
        quota.give_back(&key);
        assert!(quota.take(&key, 1));
        quota.give_back(&key);
        quota.give_back(&key);
        assert_eq!(quota.held.len(), 1);
    }
}
