//! What the external check said lately, by user and client address: the service may decide by both.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::service::Verdict;

/// Answers at once; beyond it nothing more is remembered until some are old.
const MAX: usize = 16_384;
/// A refusal is remembered for this time at most: users come to be.
const REFUSAL: Duration = Duration::from_secs(10);

/// See the module.
pub(super) struct Cache {
    life: Duration,
    answers: HashMap<(String, IpAddr), (Instant, Verdict)>,
}

impl Cache {
    pub(super) fn new(life: Duration) -> Self {
        Self { life, answers: HashMap::new() }
    }

    pub(super) fn get(&self, now: Instant, user: &str, from: IpAddr) -> Option<Verdict> {
        let (until, verdict) = self.answers.get(&(user.to_owned(), from))?;
        (*until > now).then(|| verdict.clone())
    }

    pub(super) fn put(&mut self, now: Instant, user: &str, from: IpAddr, verdict: Verdict) {
        if self.answers.len() >= MAX {
            self.answers.retain(|_, (until, _)| *until > now);
        }
        let life = match &verdict {
            Verdict::Denied => self.life.min(REFUSAL),
            Verdict::Known { ends, .. } => {
                ends.map_or(self.life, |ends| self.life.min(ends.saturating_duration_since(now)))
            }
        };
        if self.answers.len() < MAX && !life.is_zero() {
            self.answers.insert((user.to_owned(), from), (now + life, verdict));
        }
    }

    /// Forgets a user, by name or by who pays.
    pub(super) fn forget(&mut self, user: &str) {
        self.answers.retain(|(name, _), (_, verdict)| name != user && verdict.payer() != Some(user));
    }
}

#[cfg(test)]
mod tests {
    use turn::{Key, QuotaKey};

    use super::*;

    fn known(ends: Option<Instant>) -> Verdict {
        let key = Key::of_password("u", "r", "p");
        Verdict::Known { key, quota: Some(QuotaKey::new("tenant")), ends }
    }

    #[test]
    fn answers_are_of_a_user_at_an_address_and_for_a_time() {
        let (mut cache, now) = (Cache::new(Duration::from_secs(60)), Instant::now());
        let (here, there) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let later = |seconds| now + Duration::from_secs(seconds);
        cache.put(now, "alice", here, known(None));
        cache.put(now, "bob", here, Verdict::Denied);
        cache.put(now, "carol", here, known(Some(later(5))));
        assert!(cache.get(later(59), "alice", here).is_some() && cache.get(later(60), "alice", here).is_none());
        assert!(cache.get(now, "alice", there).is_none());
        assert!(cache.get(later(9), "bob", here).is_some() && cache.get(later(10), "bob", here).is_none());
        assert!(cache.get(later(4), "carol", here).is_some() && cache.get(later(5), "carol", here).is_none());
        cache.forget("tenant");
        assert!(cache.get(now, "alice", here).is_none() && cache.get(now, "bob", here).is_some());
        cache.forget("bob");
        assert!(cache.answers.is_empty());
    }

    #[test]
    fn there_are_only_so_many_and_none_without_a_time() {
        let (mut cache, now) = (Cache::new(Duration::from_secs(60)), Instant::now());
        let here = IpAddr::from([192, 0, 2, 1]);
        (0..MAX + 9).for_each(|number| cache.put(now, &number.to_string(), here, Verdict::Denied));
        assert_eq!(cache.answers.len(), MAX);
        let later = now + Duration::from_secs(10);
        cache.put(later, "alice", here, known(None));
        assert_eq!(cache.answers.len(), 1, "the old ones made room");
        let mut none = Cache::new(Duration::ZERO);
        none.put(now, "alice", here, known(None));
        assert!(none.answers.is_empty());
    }
}
