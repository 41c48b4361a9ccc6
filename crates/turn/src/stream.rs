//! The peer connections of an allocation that relays TCP (RFC 6062): which there are, and what each waits for. Requests
//! that change them are `server::connect`'s, their bytes the shell's.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::account::Account;
use crate::address::FiveTuple;
use crate::integrity::Signature;
use crate::limit::{Meter, Paces};

/// RFC 6062 sections 5.2 and 5.4: a peer has this long to answer, and a client to come for a connection.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// Peer connections of one allocation; more is 508.
pub(crate) const MAX: usize = 64;
/// Bits of an id that tell connections of a worker apart.
const NUMBER_BITS: u32 = 24;

/// CONNECTION-ID (RFC 6062 section 6.2.1): the worker that has the allocation, and a number that is not used elsewhere
/// there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(u32);

impl ConnectionId {
    /// `number` counts up to 24 bits.
    pub(crate) fn new(worker: u8, number: u32) -> Self {
        Self(u32::from(worker) << NUMBER_BITS | number & ((1 << NUMBER_BITS) - 1))
    }

    /// As an attribute carries it.
    pub(crate) fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// As an attribute carries it; also an index for tables of the shell.
    pub fn to_bits(self) -> u32 {
        self.0
    }

    /// Which worker has the allocation.
    pub(crate) fn worker(self) -> u8 {
        (self.0 >> NUMBER_BITS) as u8
    }
}

/// What a peer connection waits for.
#[derive(Debug, Clone)]
pub(crate) enum StreamState {
    /// For the peer; the request is answered when it is there, or when the time is over. A refusal waits, too: how long an
    /// answer takes would tell closed ports from filtered ones.
    Connecting { request: Vec<u8>, signature: Signature, failed: bool },
    /// For the client to come for it.
    Waiting,
    /// For nothing: bytes flow.
    Bound { client: FiveTuple },
}

/// A peer connection.
#[derive(Debug, Clone)]
pub(crate) struct Stream {
    pub(crate) id: ConnectionId,
    pub(crate) peer: SocketAddr,
    pub(crate) state: StreamState,
    /// When waiting is over.
    pub(crate) until: Instant,
}

impl Stream {
    pub(crate) fn is_bound(&self) -> bool {
        matches!(self.state, StreamState::Bound { .. })
    }
}

/// A client's connection that becomes the way to a peer: from now on everything that comes there goes to the other end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Join {
    /// The client's connection.
    pub client: FiveTuple,
    /// What the client is told first.
    pub answer: Vec<u8>,
    /// Whom the bytes are charged to.
    pub meter: Meter,
}

/// All peer connections of an allocation.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    all: Vec<Stream>,
    /// They are charged together.
    paces: Arc<Paces>,
}

impl Streams {
    /// What the connections of an allocation are charged to.
    pub(crate) fn meter(&self, account: Account) -> Meter {
        Meter { paces: Arc::clone(&self.paces), account }
    }

    pub(crate) fn has_room(&self) -> bool {
        self.all.len() < MAX
    }

    pub(crate) fn has_peer(&self, peer: SocketAddr) -> bool {
        self.all.iter().any(|stream| stream.peer == peer)
    }

    pub(crate) fn add(&mut self, stream: Stream) {
        self.all.push(stream);
    }

    pub(crate) fn get_mut(&mut self, id: ConnectionId) -> Option<&mut Stream> {
        self.all.iter_mut().find(|stream| stream.id == id)
    }

    /// Takes those out for which `over` says so.
    pub(crate) fn take(&mut self, over: impl FnMut(&mut Stream) -> bool) -> Vec<Stream> {
        self.all.extract_if(.., over).collect()
    }

    /// When the first one has waited long enough.
    pub(crate) fn next_end(&self) -> Option<Instant> {
        self.all.iter().filter(|stream| !stream.is_bound()).map(|stream| stream.until).min()
    }
}
