//! What an operator wants to read about: who was refused what, and why. How it is written and how often, is the shell's.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use crate::address::FiveTuple;
use crate::allocation::Usage;
use crate::auth::AuthFailure;
use crate::quota::QuotaKey;

/// Something for the log. Names are the sender's own bytes: write them escaped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// 403: the policy denies a peer.
    PeerDenied {
        /// Who asked.
        client: FiveTuple,
        /// As whom.
        username: String,
        /// For whom, canonical.
        peer: SocketAddr,
        /// The rule that decided, as in [`crate::Verdict::rule`].
        rule: String,
    },
    /// A client may exchange data with a peer that it had no permission for: who traces an abuse needs to know.
    PeerPermitted {
        /// Who asked.
        client: FiveTuple,
        /// As whom.
        username: String,
        /// The address that the peer sees.
        relayed: SocketAddr,
        /// The peer.
        peer: IpAddr,
    },
    /// An allocation is over, for whatever reason.
    AllocationEnded {
        /// Whose it was.
        client: FiveTuple,
        /// As whom.
        username: String,
        /// Who pays for it.
        user: QuotaKey,
        /// Its relayed address, or the first of two.
        relayed: SocketAddr,
        /// When it was made.
        since: Instant,
        /// What it carried.
        usage: Usage,
    },
    /// 401 for a request that was signed.
    AuthenticationFailed {
        /// Who asked.
        client: FiveTuple,
        /// As whom; empty: a hash that nobody has.
        username: String,
        /// Why, which the client is not told.
        reason: AuthFailure,
    },
}
