//! How much may be carried: bytes and packets a second of an allocation, a user and the whole server, each way for
//! itself. Checked for every packet, so without a lock: a pace is one atomic number, and each limit that is 0 costs nothing.
//!
//! Beyond the limit of an allocation or a user its packets are dropped, after one second's worth at once. Beyond the
//! server's the greedy ones are slowed (`share`). Nothing here ends or refuses an allocation: `registrar` counts those.

mod pace;
mod share;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::account::Account;
use crate::stats::Drop;
pub(crate) use pace::{Nanos, Pace, SECOND, cost};
use share::Share;

/// What may pass at once at the limit of an allocation or a user.
const BURST: Nanos = SECOND;

/// Payload bytes and packets a second, one way; 0: no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rates {
    /// Payload bytes a second.
    pub bytes: u64,
    /// Packets a second.
    pub packets: u64,
}

/// All limits of traffic, the same for both ways.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Of each allocation.
    pub allocation: Rates,
    /// Of each user (REST names: the id), over all its allocations.
    pub user: Rates,
    /// Of the server, shared fairly among the users.
    pub total: Rates,
    /// Peers a second that a user may permit and has not permitted lately, ten seconds' worth at once; 0: no limit.
    pub new_peers: u32,
}

/// A way of packets, as an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    ToPeers,
    ToClient,
}

/// The paces of one kind of traffic, both ways.
#[derive(Debug, Default)]
pub(crate) struct Paces([Pair; 2]);

#[derive(Debug, Default)]
struct Pair {
    bytes: Pace,
    packets: Pace,
}

impl Pair {
    fn has_room(&self, now: Nanos, rates: Rates) -> bool {
        (rates.bytes == 0 || self.bytes.has_room(now, BURST))
            && (rates.packets == 0 || self.packets.has_room(now, BURST))
    }

    fn charge(&self, now: Nanos, rates: Rates, bytes: u64) {
        if rates.bytes != 0 {
            self.bytes.charge(now, cost(bytes, rates.bytes));
        }
        if rates.packets != 0 {
            self.packets.charge(now, cost(1, rates.packets));
        }
    }
}

/// The traffic of all users of a server. Its workers share one.
#[derive(Debug)]
pub struct Trunk {
    epoch: Instant,
    seed: u64,
    ways: [Shares; 2],
}

#[derive(Debug, Default)]
struct Shares {
    bytes: Share,
    packets: Share,
}

impl Shares {
    fn admits(&self, now: Nanos, user: &Pair, total: Rates, bytes: u64) -> bool {
        let within_share = (total.bytes == 0 || self.bytes.admits(now, &user.bytes, total.bytes))
            && (total.packets == 0 || self.packets.admits(now, &user.packets, total.packets));
        within_share && {
            let bytes_fit = total.bytes == 0 || self.bytes.has_room(now, bytes);
            let packet_fits = total.packets == 0 || self.packets.has_room(now, 1);
            bytes_fit && packet_fits
        }
    }

    fn charge(&self, now: Nanos, user: &Pair, total: Rates, bytes: u64) {
        if total.bytes != 0 {
            self.bytes.charge(now, &user.bytes, bytes, total.bytes);
        }
        if total.packets != 0 {
            self.packets.charge(now, &user.packets, 1, total.packets);
        }
    }
}

impl Trunk {
    /// Nothing has passed. `epoch` is when the server started, `seed` random and secret.
    pub fn new(epoch: Instant, seed: u64) -> Self {
        Self { epoch, seed, ways: Default::default() }
    }

    pub(crate) fn seed(&self) -> u64 {
        self.seed
    }

    pub(crate) fn nanos(&self, now: Instant) -> Nanos {
        nanos(now.saturating_duration_since(self.epoch))
    }
}

fn nanos(time: Duration) -> Nanos {
    // 584 years.
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// The limits of a server, applied to each packet.
pub(crate) struct Gate {
    pub(crate) limits: Limits,
    pub(crate) trunk: Arc<Trunk>,
}

impl Gate {
    /// Whether a packet of an allocation may pass; if so, it is charged everywhere, else nowhere.
    ///
    /// # Errors
    /// Which limit is reached.
    pub(crate) fn admit(
        &self,
        now: Instant,
        direction: Direction,
        allocation: &Paces,
        account: &Account,
        bytes: usize,
    ) -> Result<(), Drop> {
        let (now, bytes, limits) = (self.trunk.nanos(now), bytes as u64, &self.limits);
        let way = direction as usize;
        let (allocation, user, share) = (&allocation.0[way], &account.paces().0[way], &account.shares().0[way]);
        if !allocation.has_room(now, limits.allocation) {
            return Err(Drop::AllocationLimit);
        }
        if !user.has_room(now, limits.user) {
            return Err(Drop::UserLimit);
        }
        if !self.trunk.ways[way].admits(now, share, limits.total, bytes) {
            return Err(Drop::TotalLimit);
        }
        allocation.charge(now, limits.allocation, bytes);
        user.charge(now, limits.user, bytes);
        self.trunk.ways[way].charge(now, share, limits.total, bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
