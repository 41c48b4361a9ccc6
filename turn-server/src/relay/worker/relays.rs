//! The relayed sockets of a worker: by their place (the core's slot and the family), by port, and which may hold something.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;

use service::udp::UdpSocket;
use turn::{AllocationId, Family};

/// How the client of an allocation is reached.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reached {
    /// Through a client socket; `from_any`: it is bound to no address in particular, so each packet names its source.
    Udp { socket: usize, from_any: bool },
    /// Through a connection.
    Tcp { connection: usize },
    /// Through the worker that hears it.
    Guest { hearing: u8 },
    /// Through a DTLS session.
    Dtls { session: usize },
}

/// The relayed socket of an allocation.
pub(super) struct RelaySocket {
    pub(super) id: AllocationId,
    pub(super) socket: UdpSocket,
    pub(super) reached: Reached,
    port: (bool, u16),
    ready: bool,
    /// Its error queue may hold something.
    failed: bool,
}

#[derive(Default)]
pub(super) struct Relays {
    slots: Vec<Option<RelaySocket>>,
    by_port: HashMap<(bool, u16), u32>,
    ready: VecDeque<u32>,
}

/// Where a relayed socket of an allocation stands in tables.
pub(super) fn place(id: AllocationId, family: Family) -> u32 {
    id.slot() << 1 | u32::from(family == Family::V6)
}

/// Relayed ports are unique in a family, whatever name of ours comes before them.
fn port_key(address: SocketAddr) -> (bool, u16) {
    (address.is_ipv4(), address.port())
}

impl Relays {
    pub(super) fn insert(&mut self, id: AllocationId, socket: UdpSocket, reached: Reached) {
        let slot = place(id, Family::of(socket.local_addr().ip()));
        let port = port_key(socket.local_addr());
        if self.slots.len() <= slot as usize {
            self.slots.resize_with(slot as usize + 1, || None);
        }
        self.by_port.insert(port, slot);
        self.slots[slot as usize] = Some(RelaySocket { id, socket, reached, port, ready: false, failed: false });
        // Something may have come between bind and registration.
        self.mark(slot as usize);
    }

    pub(super) fn remove(&mut self, id: AllocationId, family: Family) -> Option<RelaySocket> {
        let taken = self.slots.get_mut(place(id, family) as usize)?;
        let relay = taken.take_if(|relay| relay.id == id)?;
        self.by_port.remove(&relay.port);
        Some(relay)
    }

    /// The client of an allocation is reached in another way now.
    pub(super) fn set_reached(&mut self, id: AllocationId, reached: Reached) {
        for family in [Family::V4, Family::V6] {
            let relay = self.slots.get_mut(place(id, family) as usize).and_then(Option::as_mut);
            if let Some(relay) = relay.filter(|relay| relay.id == id) {
                relay.reached = reached;
            }
        }
    }

    pub(super) fn get(&self, slot: u32) -> Option<&RelaySocket> {
        self.slots.get(slot as usize)?.as_ref()
    }

    pub(super) fn slot_of(&self, address: SocketAddr) -> Option<u32> {
        self.by_port.get(&port_key(address)).copied()
    }

    /// The socket may hold something.
    pub(super) fn mark(&mut self, slot: usize) {
        if let Some(Some(relay)) = self.slots.get_mut(slot)
            && !relay.ready
        {
            relay.ready = true;
            self.ready.push_back(slot as u32);
        }
    }

    /// The socket's error queue may hold something.
    pub(super) fn mark_failed(&mut self, slot: usize) {
        if let Some(Some(relay)) = self.slots.get_mut(slot) {
            relay.failed = true;
        }
        self.mark(slot);
    }

    /// Whether the error queue is to be looked at, which the caller does then.
    pub(super) fn take_failed(&mut self, slot: u32) -> bool {
        let relay = self.slots.get_mut(slot as usize).and_then(Option::as_mut);
        relay.is_some_and(|relay| std::mem::take(&mut relay.failed))
    }

    pub(super) fn any_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    pub(super) fn count_ready(&self) -> usize {
        self.ready.len()
    }

    /// Takes the next one that may hold something; mark it again if it was not emptied.
    pub(super) fn next_ready(&mut self) -> Option<u32> {
        let slot = self.ready.pop_front()?;
        if let Some(Some(relay)) = self.slots.get_mut(slot as usize) {
            relay.ready = false;
        }
        Some(slot)
    }
}
