//! One user (whoever a quota key names) as all workers see it: how fast it goes, and which peers it had lately.
//! The registrar hands it out with each lease; how many allocations there are, it counts itself.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use crate::allocation::Usage;
use crate::limit::{Pace, Paces, SECOND, Trunk, cost};
use crate::stats::Flow;

/// Peers that are remembered; beyond that the oldest ones of a row are new again.
const SEEN: usize = 64;
/// Places in which a peer may stand.
const ROW: usize = 4;
/// How long a peer is remembered, seconds: longer than clients wait before they refresh a permission.
const MEMORY: u32 = 600;
/// New peers may come at once for this time.
const BURST: u64 = 10 * SECOND;

/// See the module. Clones are the same account.
#[derive(Debug, Clone, Default)]
pub struct Account(Arc<State>);

#[derive(Debug, Default)]
struct State {
    paces: Paces,
    shares: Paces,
    new_peers: Pace,
    /// What allocations carried that have ended: packets and bytes to peers, packets and bytes to the client.
    ended: [AtomicU64; 4],
    /// Second and fingerprint of the peers that were permitted lately. Made when it is needed.
    seen: OnceLock<Box<[AtomicU64; SEEN]>>,
}

/// Accounts are equal if they are the same one.
impl PartialEq for Account {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Account {}

impl Account {
    pub(crate) fn paces(&self) -> &Paces {
        &self.0.paces
    }

    pub(crate) fn shares(&self) -> &Paces {
        &self.0.shares
    }

    /// An allocation has ended that carried this.
    pub(crate) fn add_ended(&self, usage: &Usage) {
        let numbers = [usage.to_peers.packets, usage.to_peers.bytes, usage.to_client.packets, usage.to_client.bytes];
        for (sum, number) in self.0.ended.iter().zip(numbers) {
            sum.fetch_add(number, Ordering::Relaxed);
        }
    }

    /// What has ended counts no more.
    pub(crate) fn forget_ended(&self) {
        self.0.ended.iter().for_each(|sum| sum.store(0, Ordering::Relaxed));
    }

    /// What allocations carried that have ended.
    pub(crate) fn ended(&self) -> Usage {
        let [out_packets, out_bytes, in_packets, in_bytes] =
            [0, 1, 2, 3].map(|index: usize| self.0.ended[index].load(Ordering::Relaxed));
        Usage {
            to_peers: Flow { packets: out_packets, bytes: out_bytes },
            to_client: Flow { packets: in_packets, bytes: in_bytes },
        }
    }

    /// Whether these peers, none of which the allocation has a permission for, may be permitted at `rate` new ones a
    /// second. Peers that the user had lately are not new.
    pub(crate) fn takes_peers(
        &self,
        trunk: &Trunk,
        now: Instant,
        ips: impl Iterator<Item = IpAddr>,
        rate: u32,
    ) -> bool {
        let now = trunk.nanos(now);
        // One more than the clock: no mark is 0, which is an empty place.
        let second = u32::try_from(now / SECOND + 1).unwrap_or(u32::MAX);
        let seen = self.0.seen.get_or_init(|| Box::new([const { AtomicU64::new(0) }; SEEN]));
        let mut new: Vec<u32> = Vec::new();
        for mark in ips.map(|ip| fingerprint(trunk, ip)) {
            if !new.contains(&mark) && !refresh(seen, mark, second) {
                new.push(mark);
            }
        }
        let fits = self.0.new_peers.take(now, cost(new.len() as u64, rate.into()), BURST);
        if fits {
            new.into_iter().for_each(|mark| remember(seen, mark, second));
        }
        fits
    }
}

fn fingerprint(trunk: &Trunk, ip: IpAddr) -> u32 {
    let mut hasher = DefaultHasher::new();
    // With a secret, so that nobody can choose addresses that look alike.
    (trunk.seed(), ip).hash(&mut hasher);
    hasher.finish() as u32
}

fn row(seen: &[AtomicU64; SEEN], mark: u32) -> &[AtomicU64] {
    let start = mark as usize % (SEEN / ROW) * ROW;
    &seen[start..start + ROW]
}

fn entry(mark: u32, second: u32) -> u64 {
    u64::from(second) << 32 | u64::from(mark)
}

/// Whether the peer was there lately; then it is remembered from now on again.
fn refresh(seen: &[AtomicU64; SEEN], mark: u32, second: u32) -> bool {
    let place = row(seen, mark).iter().find(|place| {
        let held = place.load(Ordering::Relaxed);
        held as u32 == mark && held >> 32 != 0 && second.saturating_sub((held >> 32) as u32) < MEMORY
    });
    place.map(|place| place.store(entry(mark, second), Ordering::Relaxed)).is_some()
}

fn remember(seen: &[AtomicU64; SEEN], mark: u32, second: u32) {
    let oldest = row(seen, mark).iter().min_by_key(|place| place.load(Ordering::Relaxed));
    if let Some(place) = oldest {
        place.store(entry(mark, second), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn ip(number: u32) -> IpAddr {
        std::net::Ipv4Addr::from_bits(0xC614_0000 + number).into()
    }

    #[test]
    fn new_peers_have_a_rate_and_known_ones_none() {
        let (start, account) = (crate::some_instant(), Account::default());
        let trunk = Trunk::new(start, 1);
        let take = |after: u64, range: std::ops::Range<u32>| {
            account.takes_peers(&trunk, start + Duration::from_secs(after), range.map(ip), 2)
        };
        assert!(!take(0, 0..21), "all or nothing");
        assert!(take(0, 0..10) && take(0, 10..20));
        assert!(!take(0, 20..21));
        assert!(take(0, 5..8), "had lately");
        assert!(take(1, 20..22));
        assert!(!take(1, 22..23));
        assert!(take(1000, 0..20), "forgotten and paid for");
        assert!(!take(1000, 20..21));
    }

    #[test]
    fn a_peer_named_twice_is_one() {
        let (start, account) = (crate::some_instant(), Account::default());
        let trunk = Trunk::new(start, 1);
        assert!(account.takes_peers(&trunk, start, (0..1000).map(|_| ip(1)), 1));
    }
}
