//! What the data path answers: where a packet goes and which bytes of it, never a copy. Also the form in which routes
//! are told to somebody who mirrors them (a kernel fast path).

use std::net::SocketAddr;
use std::ops::Range;
use std::time::Instant;

use crate::address::FiveTuple;
use crate::allocation::AllocationId;
use crate::stats::Drop;

pub use crate::wire::Head;

/// What became of a packet from a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Handled {
    /// Send a part of it to a peer.
    Relay(ToPeer),
    /// It was a request: see `poll_output`.
    Control,
    /// Nothing is sent.
    Dropped(Drop),
}

/// A packet on its way to a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToPeer {
    /// Sends from its relayed address.
    pub allocation: AllocationId,
    /// The relayed address, as peers see it.
    pub relayed: SocketAddr,
    /// Receives.
    pub peer: SocketAddr,
    /// The peer is an address of ours: hand over inside the process if its port is open now, never send.
    pub own: bool,
    /// The client wants to hear of it if the packet is too large for the way (RFC 8656 section 13).
    pub dont_fragment: bool,
    /// The payload's place in the packet.
    pub payload: Range<usize>,
}

/// A packet on its way to a client: `head`, the whole payload, `head.padding()`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToClient {
    /// Receives.
    pub client: FiveTuple,
    /// What goes around the payload.
    pub head: Head,
}

/// A bound channel between a client and a peer, as installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// Whose.
    pub allocation: AllocationId,
    /// The client's side; the server address is concrete.
    pub client: FiveTuple,
    /// Its channel.
    pub number: u16,
    /// The local address of the relayed socket: concrete.
    pub relayed: SocketAddr,
    /// The peer's side.
    pub peer: SocketAddr,
    /// Not valid at or after this.
    pub until: Instant,
}
