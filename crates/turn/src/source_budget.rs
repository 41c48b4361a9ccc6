//! How much a part of the network may cost before anybody there has shown a password. A datagram's source may be forged,
//! and whoever is named there gets our answer: without a bound the relay would be a reflector, and fill logs.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Counters, 64 KiB of them. Prefixes that share one share its rate.
const BUCKETS: usize = 4096;

/// As much as the rate gives in this time may go at once.
const BURST: Duration = Duration::from_secs(2);

/// A rate for each /24 of IPv4 and each /64 of IPv6, in memory that does not grow.
pub struct SourceBudget {
    /// Time that one of them takes up; zero: no limit.
    interval: Duration,
    /// When those so far will have been paid for (the generic cell rate algorithm, ITU-T I.371).
    paid_at: Vec<Option<Instant>>,
}

impl SourceBudget {
    /// `rate` a second (answers, lines of a log); 0: no limit.
    pub fn new(rate: u32) -> Self {
        let interval = Duration::from_secs(1).checked_div(rate).unwrap_or_default();
        Self { interval, paid_at: vec![None; if rate == 0 { 0 } else { BUCKETS }] }
    }

    /// Changes the rate; what was taken stays taken.
    pub(crate) fn set_rate(&mut self, rate: u32) {
        let new = Self::new(rate);
        if self.paid_at.len() == new.paid_at.len() {
            self.interval = new.interval;
        } else {
            *self = new;
        }
    }

    /// Whether one more for this address is within the budget, which it is taken from.
    pub fn take(&mut self, now: Instant, to: IpAddr) -> bool {
        let mut hasher = DefaultHasher::new();
        prefix(to).hash(&mut hasher);
        // The hash has no secret: who finds addresses that share a counter could as well forge the address itself.
        let index = hasher.finish() as usize % BUCKETS;
        let Some(paid_at) = self.paid_at.get_mut(index) else { return true };
        let from = paid_at.map_or(now, |at| at.max(now));
        if from - now > BURST {
            return false;
        }
        *paid_at = Some(from + self.interval);
        true
    }
}

/// The part of an address that one party is likely to hold.
fn prefix(ip: IpAddr) -> [u8; 8] {
    let mut prefix = [0; 8];
    match ip.to_canonical() {
        IpAddr::V4(ip) => prefix[..3].copy_from_slice(&ip.octets()[..3]),
        IpAddr::V6(ip) => prefix.copy_from_slice(&ip.octets()[..8]),
    }
    prefix
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(budget: &mut SourceBudget, now: Instant, ip: &str, tries: usize) -> usize {
        let ip = ip.parse().unwrap();
        (0..tries).filter(|_| budget.take(now, ip)).count()
    }

    /// Rule: abuse-21
    #[test]
    fn a_prefix_gets_its_rate_and_others_theirs() {
        let (mut budget, now) = (SourceBudget::new(100), crate::some_instant());
        let burst = taken(&mut budget, now, "198.51.100.1", 1000);
        assert!((200..=202).contains(&burst), "{burst}");
        assert_eq!(taken(&mut budget, now, "198.51.100.254", 10), 0, "a neighbour shares it");
        assert_eq!(taken(&mut budget, now, "198.51.101.1", 10), 10);
        assert_eq!(taken(&mut budget, now, "2001:db8::1", 1000), burst);
        assert_eq!(taken(&mut budget, now, "2001:db8::ffff:1", 10), 0);
        assert_eq!(taken(&mut budget, now, "2001:db8:0:1::1", 10), 10);
        let later = now + Duration::from_millis(500);
        let again = taken(&mut budget, later, "198.51.100.1", 1000);
        assert!((49..=51).contains(&again), "{again}");
        assert_eq!(taken(&mut budget, later + Duration::from_secs(60), "198.51.100.1", 1000), burst);
    }

    #[test]
    fn a_new_rate_forgets_nothing() {
        let (mut budget, now) = (SourceBudget::new(100), crate::some_instant());
        taken(&mut budget, now, "198.51.100.1", 1000);
        budget.set_rate(10);
        assert_eq!(taken(&mut budget, now, "198.51.100.1", 10), 0);
        let later = now + Duration::from_secs(1);
        assert!((9..=11).contains(&taken(&mut budget, later, "198.51.100.1", 100)));
        budget.set_rate(0);
        assert_eq!(taken(&mut budget, later, "198.51.100.1", 1000), 1000);
        budget.set_rate(10);
        assert!(taken(&mut budget, later, "198.51.100.1", 1000) < 30);
    }

    #[test]
    fn zero_is_no_limit_and_no_memory() {
        let mut budget = SourceBudget::new(0);
        assert_eq!(taken(&mut budget, crate::some_instant(), "198.51.100.1", 10_000), 10_000);
        assert_eq!(budget.paid_at.capacity(), 0);
    }

    #[test]
    fn a_mapped_address_is_its_ipv4() {
        assert_eq!(prefix("::ffff:198.51.100.7".parse().unwrap()), prefix("198.51.100.9".parse().unwrap()));
    }
}
