//! What the rest of the process asks a worker, and the counters that it answers with.

use std::sync::Arc;

use crossbeam_channel::Sender;
use turn::{AllocationId, Candidates, Credentials, Limits, Options, Policy, RequestId, Snapshot, Stats};

/// A question or an order for a worker.
pub(super) enum Command {
    Stats(Sender<RelayStats>),
    Snapshots(Sender<Vec<Snapshot>>),
    End(AllocationId, Sender<bool>),
    /// Ends all allocations of who pays for them; the answer is how many.
    EndUser(String, Sender<usize>),
    /// New rules, applied to what is installed before the answer.
    Rules(Rules, Sender<()>),
    /// What the external check said; `None`: nothing.
    Key(RequestId, Option<Box<Candidates>>),
    Stop,
}

/// What a reload changes in a core.
#[derive(Clone)]
pub(super) struct Rules {
    pub(super) policy: Arc<Policy>,
    pub(super) limits: Limits,
    pub(super) unproven_replies: u32,
    pub(super) options: Options,
    pub(super) credentials: Arc<Credentials>,
}

/// How full the relay is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RelayLoad {
    /// Allocations and reservations of all workers.
    pub allocations: u32,
    /// `allocations_total`; 0: no limit.
    pub max_allocations: u32,
    /// Relayed ports in use or reserved.
    pub ports_used: u32,
    /// Relayed ports of all families that there are.
    pub ports: u32,
    /// Whether it takes nobody new.
    pub draining: bool,
}

impl RelayLoad {
    /// Whether another allocation would find room.
    pub fn has_room(&self) -> bool {
        let below_limit = self.max_allocations == 0 || self.allocations < self.max_allocations;
        !self.draining && below_limit && self.ports_used < self.ports
    }
}

/// Counters of the relay.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RelayStats {
    /// What the cores count.
    pub core: Stats,
    /// Relayed packets that left through relayed sockets towards peers.
    pub sent_to_peers: u64,
    /// Packets that came from peers through relayed sockets, wanted or not.
    pub received_from_peers: u64,
    /// Packets between own addresses that were handed over inside the process: to other allocations or the SFU.
    pub handed_over: u64,
    /// Packets that came by hand-over: from other allocations or the SFU.
    pub received_by_handover: u64,
    /// Packets that found a full lane, or nobody at an own address.
    pub handover_dropped: u64,
    /// Packets that the kernel did not take.
    pub send_dropped: u64,
    /// Media frames dropped because a TCP client reads too slowly.
    pub tcp_dropped: u64,
    /// TCP connections now.
    pub connections: u64,
    /// TCP connections refused or closed: too many, silent, or not speaking STUN.
    pub connections_refused: u64,
    /// DTLS sessions now.
    pub sessions: u64,
    /// DTLS sessions refused or ended: too many, silent, or with nothing in common.
    pub sessions_refused: u64,
    /// DTLS datagrams that neither belong to a session nor begin one.
    pub dtls_dropped: u64,
    /// Relayed ports in use or reserved, of all workers.
    pub ports_used: u64,
    /// Ids whose credentials were taken back.
    pub revocations: u64,
}

impl std::ops::AddAssign<&RelayStats> for RelayStats {
    fn add_assign(&mut self, other: &Self) {
        self.core += &other.core;
        self.sent_to_peers += other.sent_to_peers;
        self.received_from_peers += other.received_from_peers;
        self.handed_over += other.handed_over;
        self.received_by_handover += other.received_by_handover;
        self.handover_dropped += other.handover_dropped;
        self.send_dropped += other.send_dropped;
        self.tcp_dropped += other.tcp_dropped;
        self.connections += other.connections;
        self.connections_refused += other.connections_refused;
        self.sessions += other.sessions;
        self.sessions_refused += other.sessions_refused;
        self.dtls_dropped += other.dtls_dropped;
        // The registrar is shared: every worker reports the same number.
        self.ports_used = self.ports_used.max(other.ports_used);
        self.revocations = self.revocations.max(other.revocations);
    }
}
