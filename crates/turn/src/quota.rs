//! How many allocations each user, each address and the server hold. Which user that is, `auth` says.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use crate::account::Account;
use crate::registrar::Unavailable;

/// Who pays: a user's name, the id part of a REST name, or the client's address where a REST name has no id.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QuotaKey(Arc<str>);

impl QuotaKey {
    /// Names a payer.
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// A payer who has no name: the part of an address that one client is likely to have for itself.
    pub(crate) fn of_client(client: IpAddr) -> Self {
        Self::new(&Source::of(client).0.to_string())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Allocations and reservations at once; 0: no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Quotas {
    /// For one user: 486 beyond.
    pub per_user: u32,
    /// For one client address, IPv6 by /64: 486 beyond.
    pub per_address: u32,
    /// For all: 508 beyond.
    pub total: u32,
}

/// The part of an address that one client is likely to have for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Source(IpAddr);

impl Source {
    pub(crate) fn of(client: IpAddr) -> Self {
        Self(match client.to_canonical() {
            IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64).into(),
            ip => ip,
        })
    }
}

/// Users who hold nothing and whose accounts are kept: whoever gives back and takes again has no new one, and so no new
/// burst at any limit.
const RESTING: usize = 4096;

#[derive(Debug, Default)]
struct Entry {
    held: u32,
    account: Account,
    /// It is in the list of those who held nothing at some time.
    resting: bool,
}

/// What is held, and the accounts of those who hold something, or did lately.
#[derive(Debug)]
pub(crate) struct Quota {
    limits: Quotas,
    users: HashMap<QuotaKey, Entry>,
    resting: VecDeque<QuotaKey>,
    sources: HashMap<Source, u32>,
    total: u32,
}

impl Quota {
    pub(crate) fn new(limits: Quotas) -> Self {
        Self { limits, users: HashMap::new(), resting: VecDeque::new(), sources: HashMap::new(), total: 0 }
    }

    pub(crate) fn set_limits(&mut self, limits: Quotas) {
        self.limits = limits;
    }

    /// Takes `count` at once, or nothing.
    ///
    /// # Errors
    /// Which limit stands in the way.
    pub(crate) fn take(&mut self, user: &QuotaKey, source: Source, count: u32) -> Result<Account, Unavailable> {
        let exceeds = |held: u32, limit: u32| limit != 0 && held.saturating_add(count) > limit;
        if exceeds(self.held(user), self.limits.per_user) {
            return Err(Unavailable::UserQuota);
        }
        if exceeds(self.sources.get(&source).copied().unwrap_or(0), self.limits.per_address) {
            return Err(Unavailable::AddressQuota);
        }
        if exceeds(self.total, self.limits.total) {
            return Err(Unavailable::TotalQuota);
        }
        *self.sources.entry(source).or_default() += count;
        self.total += count;
        let entry = self.users.entry(user.clone()).or_default();
        if entry.held == 0 {
            // What is told of a user begins with its first allocation.
            entry.account.forget_ended();
        }
        entry.held += count;
        Ok(entry.account.clone())
    }

    pub(crate) fn give_back(&mut self, user: &QuotaKey, source: Source) {
        let Some(entry) = self.users.get_mut(user).filter(|entry| entry.held > 0) else { return };
        entry.held -= 1;
        if entry.held == 0 && !entry.resting {
            entry.resting = true;
            self.resting.push_back(user.clone());
        }
        self.forget();
        self.total -= 1;
        if let Some(count) = self.sources.get_mut(&source) {
            *count -= 1;
            if *count == 0 {
                self.sources.remove(&source);
            }
        }
    }

    /// Keeps as many accounts as may rest, those that began last.
    fn forget(&mut self) {
        while self.resting.len() > RESTING
            && let Some(user) = self.resting.pop_front()
        {
            match self.users.get_mut(&user) {
                Some(entry) if entry.held > 0 => entry.resting = false,
                _ => drop(self.users.remove(&user)),
            }
        }
    }

    pub(crate) fn held(&self, user: &QuotaKey) -> u32 {
        self.users.get(user).map_or(0, |entry| entry.held)
    }

    /// Of all users together.
    pub(crate) fn total(&self) -> u32 {
        self.total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source::of(text.parse().unwrap())
    }

    #[test]
    fn takes_up_to_the_limit() {
        let mut quota = Quota::new(Quotas { per_user: 2, ..Quotas::default() });
        let (key, here) = (QuotaKey::new("alice"), source("192.0.2.1"));
        assert_eq!(quota.take(&key, here, 3), Err(Unavailable::UserQuota));
        let account = quota.take(&key, here, 2).unwrap();
        assert_eq!(quota.take(&key, here, 1), Err(Unavailable::UserQuota));
        assert_ne!(quota.take(&QuotaKey::new("bob"), here, 1).unwrap(), account);
        quota.give_back(&key, here);
        assert_eq!(quota.take(&key, here, 1), Ok(account));
        quota.give_back(&key, here);
        quota.give_back(&key, here);
        assert_eq!((quota.held(&key), quota.sources.len(), quota.total()), (0, 1, 1));
    }

    #[test]
    fn who_gives_back_and_takes_again_has_the_same_account_until_many_have_come() {
        let mut quota = Quota::new(Quotas::default());
        let here = source("192.0.2.1");
        let mut visit = |name: &str| {
            let account = quota.take(&QuotaKey::new(name), here, 1).unwrap();
            quota.give_back(&QuotaKey::new(name), here);
            account
        };
        let alice = visit("alice");
        assert_eq!(visit("alice"), alice, "no new burst");
        (0..RESTING - 1).for_each(|number| drop(visit(&number.to_string())));
        assert_eq!(visit("alice"), alice);
        drop(visit("one more"));
        assert_ne!(visit("alice"), alice, "it was the first to rest");
        assert_eq!((quota.users.len(), quota.resting.len(), quota.total()), (RESTING, RESTING, 0));
        let (alice, again) = (quota.take(&QuotaKey::new("alice"), here, 1), QuotaKey::new("alice"));
        (0..RESTING).for_each(|number| {
            let key = QuotaKey::new(&format!("x{number}"));
            quota.take(&key, here, 1).unwrap();
            quota.give_back(&key, here);
        });
        assert_eq!(quota.take(&again, here, 1), alice, "who holds something is never forgotten");
        assert_eq!(quota.held(&again), 2);
    }

    #[test]
    fn an_address_has_a_limit_of_its_own_and_a_64_is_one_address() {
        let mut quota = Quota::new(Quotas { per_address: 2, ..Quotas::default() });
        let mut take = |user: &str, ip: &str| quota.take(&QuotaKey::new(user), source(ip), 1).err();
        assert_eq!(
            [take("a", "192.0.2.1"), take("b", "192.0.2.1"), take("c", "192.0.2.1")],
            [None, None, Some(Unavailable::AddressQuota)]
        );
        assert_eq!(take("c", "192.0.2.2"), None);
        assert_eq!(take("c", "::ffff:192.0.2.1"), Some(Unavailable::AddressQuota));
        assert_eq!(
            [take("a", "2001:db8::1"), take("b", "2001:db8::2:1"), take("c", "2001:db8:0:0:f::")],
            [None, None, Some(Unavailable::AddressQuota)]
        );
        assert_eq!(take("c", "2001:db8:0:1::"), None);
    }

    #[test]
    fn the_total_is_for_all() {
        let mut quota = Quota::new(Quotas { total: 2, ..Quotas::default() });
        let (here, there) = (source("192.0.2.1"), source("192.0.2.2"));
        quota.take(&QuotaKey::new("a"), here, 1).unwrap();
        assert_eq!(quota.take(&QuotaKey::new("b"), there, 2), Err(Unavailable::TotalQuota));
        quota.take(&QuotaKey::new("b"), there, 1).unwrap();
        quota.give_back(&QuotaKey::new("a"), here);
        quota.take(&QuotaKey::new("c"), here, 1).unwrap();
    }
}
