//! One allocation: a relayed address for one 5-tuple, with its permissions and channels. Which requests change it, and
//! what they are answered, is `server`'s.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use stun_types::message::TransactionId;

use crate::account::Account;
use crate::address::{Family, FiveTuple};
use crate::auth::Origin;
use crate::channel::Channels;
use crate::key::Key;
use crate::limit::Paces;
use crate::mobility::Mobility;
use crate::permission::Permissions;
use crate::registrar::Lease;
use crate::stats::Flow;
use crate::stream::Streams;

/// RFC 8656 section 7.2: life without a wish, which is also the shortest.
pub(crate) const DEFAULT_LIFE: u32 = 600;
/// RFC 8656 section 7.2: the longest life that may be asked for.
pub(crate) const MAX_LIFE: u32 = 3600;

/// Names an allocation of one server; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AllocationId {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

impl AllocationId {
    /// A small number, unique among the living allocations of a server: an index for tables of the shell.
    pub fn slot(self) -> u32 {
        self.slot
    }

    /// As one number, for tables of the shell.
    pub fn to_bits(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.slot)
    }

    /// Back from [`AllocationId::to_bits`].
    pub fn from_bits(bits: u64) -> Self {
        Self { slot: bits as u32, generation: (bits >> 32) as u32 }
    }
}

/// What an allocation carried.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// From the client to peers.
    pub to_peers: Flow,
    /// From peers to the client.
    pub to_client: Flow,
}

/// An allocation, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Its name.
    pub id: AllocationId,
    /// Who made it.
    pub username: String,
    /// Who pays for it.
    pub quota_key: String,
    /// Where its key came from.
    pub origin: Origin,
    /// The client's side.
    pub client: FiveTuple,
    /// The relayed address, or both of them.
    pub relayed: Vec<SocketAddr>,
    /// Life left.
    pub remaining: Duration,
    /// IPs with a permission.
    pub permissions: usize,
    /// Bound channels.
    pub channels: usize,
    /// What it carried.
    pub usage: Usage,
    /// What other allocations of the same payer carried that have ended since it began to have some.
    pub ended: Usage,
    /// Packets among those to the client that were dropped because it reads too slowly.
    pub unsent: u64,
}

/// A relayed address of an allocation.
pub(crate) struct Relayed {
    /// As peers see it.
    pub(crate) public: SocketAddr,
    /// Where the socket is bound.
    pub(crate) local: SocketAddr,
    pub(crate) lease: Lease,
}

impl Relayed {
    pub(crate) fn family(&self) -> Family {
        Family::of(self.public.ip())
    }
}

/// See the module.
pub(crate) struct Allocation {
    pub(crate) id: AllocationId,
    pub(crate) client: FiveTuple,
    pub(crate) username: String,
    pub(crate) key: Key,
    pub(crate) origin: Origin,
    /// When the credentials end that it was made with.
    pub(crate) expires: Option<Instant>,
    /// The request that made it, to answer its retransmissions alike (RFC 8489 section 6.3.1).
    pub(crate) made_by: TransactionId,
    /// What the answer to it said.
    pub(crate) granted: u32,
    pub(crate) token: Option<u64>,
    /// The family that it asked for and did not get, and why not.
    pub(crate) missing: Option<(Family, u16)>,
    pub(crate) first: Relayed,
    /// Of the other family.
    pub(crate) second: Option<Box<Relayed>>,
    /// When it was made.
    pub(crate) since: Instant,
    pub(crate) until: Instant,
    pub(crate) permissions: Permissions,
    pub(crate) channels: Channels,
    /// It relays TCP, by these connections.
    pub(crate) streams: Option<Box<Streams>>,
    /// It has a ticket to follow its client.
    pub(crate) mobility: Option<Box<Mobility>>,
    pub(crate) usage: Usage,
    pub(crate) unsent: u64,
    pub(crate) paces: Paces,
    /// When it is in the server's timer list.
    pub(crate) timer: Instant,
}

impl Allocation {
    /// The relayed address of a family.
    pub(crate) fn relayed(&self, family: Family) -> Option<&Relayed> {
        self.all_relayed().find(|relayed| relayed.family() == family)
    }

    /// One or two.
    pub(crate) fn all_relayed(&self) -> impl Iterator<Item = &Relayed> {
        std::iter::once(&self.first).chain(self.second.as_deref())
    }

    /// Who pays for all of them.
    pub(crate) fn account(&self) -> &Account {
        &self.first.lease.account
    }

    /// Takes one of two relayed addresses away.
    pub(crate) fn remove_relayed(&mut self, family: Family) -> Option<Relayed> {
        let second = *self.second.take()?;
        if second.family() == family { Some(second) } else { Some(std::mem::replace(&mut self.first, second)) }
    }

    /// The next moment at which something of it ends.
    pub(crate) fn next_end(&self) -> Instant {
        let streams = self.streams.as_ref().and_then(|streams| streams.next_end());
        let parts = [self.permissions.next_end(), self.channels.next_end(), streams];
        parts.into_iter().flatten().fold(self.until, Instant::min)
    }

    pub(crate) fn snapshot(&self, now: Instant) -> Snapshot {
        Snapshot {
            id: self.id,
            username: self.username.clone(),
            quota_key: self.first.lease.user.as_str().into(),
            origin: self.origin.clone(),
            client: self.client,
            relayed: self.all_relayed().map(|relayed| relayed.public).collect(),
            remaining: self.until.saturating_duration_since(now),
            permissions: self.permissions.len(),
            channels: self.channels.len(),
            usage: self.usage,
            ended: self.account().ended(),
            unsent: self.unsent,
        }
    }
}

/// RFC 8656 section 7.2: what is asked for, but at least the default and at most an hour.
pub(crate) fn life(asked: Option<u32>) -> u32 {
    asked.unwrap_or(DEFAULT_LIFE).clamp(DEFAULT_LIFE, MAX_LIFE)
}
