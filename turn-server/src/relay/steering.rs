//! What workers tell each other of clients that one of them hears and another one serves: an allocation stays where it was
//! made, while the kernel gives its client's new 5-tuple (RFC 8016), or its second connection (RFC 6062), to any worker.

use crossbeam_channel::{Receiver, Sender};
use mio::net::TcpStream;
use turn::{ConnectionId, FiveTuple, Join, Usage};

use crate::handover::Lane;

/// Packets that may wait for a worker; control never waits for room.
const DEPTH: usize = 4096;

/// A message from worker to worker.
pub(super) enum Steered {
    /// What a client sent, a datagram or a frame, from the worker that hears it.
    FromClient { client: FiveTuple, bytes: Vec<u8>, hearing: u8 },
    /// For the worker that hears a client: write this to it.
    ToClient { client: FiveTuple, bytes: Vec<u8>, media: bool },
    /// For the worker that hears a client: what it sends is the serving worker's.
    Claim { client: FiveTuple, serving: u8 },
    /// It is not any more.
    Release { client: FiveTuple },
    /// For the serving worker: the client's connection is gone.
    Gone { client: FiveTuple },
    /// For the worker that has a client's connection: join it with this one of a peer.
    Join { id: ConnectionId, stream: TcpStream, home: u8, join: Join },
    /// For the worker that has a connection of our allocation: close it.
    CloseStream { id: ConnectionId },
    /// For the worker whose allocation it is: a connection is over.
    StreamClosed { id: ConnectionId },
    /// For the worker whose allocation it is: what a connection carried since the last time.
    StreamUsage { id: ConnectionId, usage: Usage },
}

impl Steered {
    /// Whether it may be lost, as a packet on the network may be.
    fn is_packet(&self) -> bool {
        matches!(self, Self::FromClient { .. } | Self::ToClient { .. })
    }
}

/// The ways to all workers.
#[derive(Clone)]
pub(super) struct Ways(Vec<(Sender<Steered>, Lane)>);

impl Ways {
    /// One to each worker, which `lanes` wake; and the ends, in the same order.
    pub(super) fn new(lanes: impl IntoIterator<Item = Lane>) -> (Self, Vec<Receiver<Steered>>) {
        let ways = lanes.into_iter().map(|lane| {
            let (sender, receiver) = crossbeam_channel::unbounded();
            ((sender, lane), receiver)
        });
        let (ways, ends) = ways.unzip();
        (Self(ways), ends)
    }

    /// Tells a worker something; `false`: there is no such worker, or too much waits for it.
    pub(super) fn tell(&self, worker: u8, message: Steered) -> bool {
        let Some((sender, lane)) = self.0.get(usize::from(worker)) else { return false };
        let told = !(message.is_packet() && sender.len() >= DEPTH) && sender.try_send(message).is_ok();
        lane.wake();
        told
    }
}
