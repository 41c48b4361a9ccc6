//! How much may be carried: bytes and packets a second of an allocation, a user and the whole server, each way for
//! itself. Checked for every packet, so without a lock: a pace is one atomic number, and each limit that is 0 costs nothing.
//!
//! Beyond the limit of an allocation or a user its packets are dropped, after one second's worth at once. Beyond the
//! server's the greedy ones are slowed (`share`). Bytes of connections to peers (RFC 6062) wait instead (`meter`).
//! Nothing here ends or refuses an allocation: `registrar` counts those.

mod meter;
mod pace;
mod share;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::account::Account;
use crate::stats::Drop;
pub use meter::Meter;
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
pub enum Direction {
    /// From the client to peers.
    ToPeers,
    /// From peers to the client.
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
    /// Whether a user is within its share.
    fn admits(&self, now: Nanos, user: &Pair, total: Rates) -> bool {
        (total.bytes == 0 || self.bytes.admits(now, &user.bytes, total.bytes))
            && (total.packets == 0 || self.packets.admits(now, &user.packets, total.packets))
    }

    /// Notes what a share let pass.
    fn note(&self, total: Rates, bytes: u64) {
        if total.bytes != 0 {
            self.bytes.note(bytes);
        }
        if total.packets != 0 {
            self.packets.note(1);
        }
    }

    /// Whether the total has room.
    fn have_room(&self, now: Nanos, total: Rates) -> bool {
        (total.bytes == 0 || self.bytes.has_room(now)) && (total.packets == 0 || self.packets.has_room(now))
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
        let (now, bytes, total) = (self.trunk.nanos(now), bytes as u64, self.limits.total);
        self.is_within(now, direction, allocation, account)?;
        let shares = &self.trunk.ways[direction as usize];
        shares.note(total, bytes);
        if !shares.have_room(now, total) {
            return Err(Drop::TotalLimit);
        }
        self.charge(now, direction, allocation, account, bytes);
        Ok(())
    }

    /// Whether an allocation, its user and the user's share of the server owe nothing.
    fn is_within(&self, now: Nanos, direction: Direction, allocation: &Paces, account: &Account) -> Result<(), Drop> {
        let (way, limits) = (direction as usize, &self.limits);
        if !allocation.0[way].has_room(now, limits.allocation) {
            return Err(Drop::AllocationLimit);
        }
        if !account.paces().0[way].has_room(now, limits.user) {
            return Err(Drop::UserLimit);
        }
        let admits = self.trunk.ways[way].admits(now, &account.shares().0[way], limits.total);
        if admits { Ok(()) } else { Err(Drop::TotalLimit) }
    }

    fn charge(&self, now: Nanos, direction: Direction, allocation: &Paces, account: &Account, bytes: u64) {
        let (way, limits) = (direction as usize, &self.limits);
        allocation.0[way].charge(now, limits.allocation, bytes);
        account.paces().0[way].charge(now, limits.user, bytes);
        self.trunk.ways[way].charge(now, &account.shares().0[way], limits.total, bytes);
    }
}

#[cfg(test)]
mod tests;
