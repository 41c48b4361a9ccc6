//! What the relay counts. Formats (Prometheus) are the shell's.

use crate::address::Transport;

use crate::auth::AuthFailure;

/// Why a packet was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Drop {
    /// Neither STUN nor ChannelData, or malformed.
    Malformed,
    /// A response, an error, or an indication that is not for a server: never answered, or two servers would talk
    /// forever.
    NotARequest,
    /// No allocation on this 5-tuple.
    NoAllocation,
    /// The channel is not bound, or its binding or permission is over.
    NoChannel,
    /// No permission for the peer.
    NoPermission,
    /// The peer policy, for own addresses asked for every packet.
    Policy,
    /// More requests wait for an answer than allowed, or one of this client does already.
    Busy,
    /// Larger than what can be passed on.
    TooLarge,
    /// Its part of the network had its answers for now.
    RateLimited,
    /// The allocation carries as much as it may.
    AllocationLimit,
    /// The user's allocations together carry as much as they may.
    UserLimit,
    /// The server carries as much as it may, and this user more than its share.
    TotalLimit,
    /// An answer would come back to this server.
    Loop,
}

impl Drop {
    /// All reasons, in the order of [`Stats::dropped`].
    pub const ALL: [Self; 13] = [
        Self::Malformed,
        Self::NotARequest,
        Self::NoAllocation,
        Self::NoChannel,
        Self::NoPermission,
        Self::Policy,
        Self::Busy,
        Self::TooLarge,
        Self::RateLimited,
        Self::AllocationLimit,
        Self::UserLimit,
        Self::TotalLimit,
        Self::Loop,
    ];

    /// A metric label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::NotARequest => "not_a_request",
            Self::NoAllocation => "no_allocation",
            Self::NoChannel => "no_channel",
            Self::NoPermission => "no_permission",
            Self::Policy => "policy",
            Self::Busy => "busy",
            Self::TooLarge => "too_large",
            Self::RateLimited => "rate_limited",
            Self::AllocationLimit => "allocation_limit",
            Self::UserLimit => "user_limit",
            Self::TotalLimit => "total_limit",
            Self::Loop => "loop",
        }
    }
}

/// What stood in the way of an allocation or a permission.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Limit {
    /// Allocations of a user.
    User,
    /// Allocations of a client's address.
    Address,
    /// Allocations of the server.
    Total,
    /// Relayed ports, or a reservation that is not there.
    Ports,
    /// New peers of a user.
    NewPeers,
    /// The server takes nobody new.
    Draining,
}

impl Limit {
    /// All limits, in the order of [`field@Stats::limited`].
    pub const ALL: [Self; 6] = [Self::User, Self::Address, Self::Total, Self::Ports, Self::NewPeers, Self::Draining];

    /// A metric label.
    pub fn label(self) -> &'static str {
        match self {
            Self::User => "allocations_per_user",
            Self::Address => "allocations_per_address",
            Self::Total => "allocations_total",
            Self::Ports => "ports",
            Self::NewPeers => "new_peers_per_second",
            Self::Draining => "draining",
        }
    }
}

/// The error codes that this server sends.
const CODES: [u16; 16] = [400, 401, 403, 405, 420, 437, 438, 440, 441, 442, 443, 446, 447, 486, 500, 508];

/// Counters of one worker; add them up with `+=`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// Binding requests answered.
    pub bindings: u64,
    /// Allocations made so far.
    pub allocations_made: u64,
    /// Allocations now.
    pub allocations: u64,
    /// Allocations now by how their clients reach us, by [`Transport::ALL`].
    pub allocations_over: [u64; Transport::ALL.len()],
    /// Permissions now.
    pub permissions: u64,
    /// Channels now.
    pub channels: u64,
    /// ICMP errors passed on to clients.
    pub icmp: u64,
    /// Packets and bytes from clients to peers.
    pub to_peers: Flow,
    /// Packets and bytes from peers to clients.
    pub to_clients: Flow,
    /// Error responses, by [`Stats::CODES`].
    pub errors: [u64; CODES.len()],
    /// Dropped packets, by [`Drop::ALL`].
    pub dropped: [u64; Drop::ALL.len()],
    /// Signed requests that were answered with 401, by [`AuthFailure::ALL`].
    pub auth_failures: [u64; AuthFailure::ALL.len()],
    /// Requests refused by a limit, by [`Limit::ALL`].
    pub limited: [u64; Limit::ALL.len()],
}

/// Packets and payload bytes one way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Flow {
    /// Packets.
    pub packets: u64,
    /// Payload bytes.
    pub bytes: u64,
}

impl Flow {
    pub(crate) fn add(&mut self, bytes: usize) {
        self.packets += 1;
        self.bytes += bytes as u64;
    }
}

impl std::ops::AddAssign for Flow {
    fn add_assign(&mut self, other: Self) {
        self.packets += other.packets;
        self.bytes += other.bytes;
    }
}

impl Stats {
    /// The codes of [`Stats::errors`].
    pub const CODES: [u16; CODES.len()] = CODES;

    pub(crate) fn drop(&mut self, reason: Drop) -> Drop {
        self.dropped[reason as usize] += 1;
        reason
    }

    pub(crate) fn limited(&mut self, limit: Limit) {
        self.limited[limit as usize] += 1;
    }

    pub(crate) fn error(&mut self, code: u16) {
        if let Some(index) = CODES.iter().position(|known| *known == code) {
            self.errors[index] += 1;
        }
    }

    /// Packets dropped for this reason.
    pub fn dropped_for(&self, reason: Drop) -> u64 {
        self.dropped[reason as usize]
    }

    /// Signed requests that were refused for this reason.
    pub fn auth_failures_by(&self, reason: AuthFailure) -> u64 {
        self.auth_failures[reason as usize]
    }

    /// Requests refused by this limit.
    pub fn limited_by(&self, limit: Limit) -> u64 {
        self.limited[limit as usize]
    }

    /// Error responses with this code.
    pub fn errors_with(&self, code: u16) -> u64 {
        CODES.iter().position(|known| *known == code).map_or(0, |index| self.errors[index])
    }
}

impl std::ops::AddAssign<&Stats> for Stats {
    fn add_assign(&mut self, other: &Self) {
        self.bindings += other.bindings;
        self.allocations_made += other.allocations_made;
        self.allocations += other.allocations;
        self.allocations_over.iter_mut().zip(other.allocations_over).for_each(|(sum, count)| *sum += count);
        self.permissions += other.permissions;
        self.channels += other.channels;
        self.icmp += other.icmp;
        self.to_peers += other.to_peers;
        self.to_clients += other.to_clients;
        self.errors.iter_mut().zip(other.errors).for_each(|(sum, count)| *sum += count);
        self.dropped.iter_mut().zip(other.dropped).for_each(|(sum, count)| *sum += count);
        self.auth_failures.iter_mut().zip(other.auth_failures).for_each(|(sum, count)| *sum += count);
        self.limited.iter_mut().zip(other.limited).for_each(|(sum, count)| *sum += count);
    }
}
