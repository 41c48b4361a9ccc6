//! What an operator wants to read about: who was refused what, and why. How it is written and how often, is the shell's.

use std::net::SocketAddr;

use crate::address::FiveTuple;
use crate::auth::AuthFailure;

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
