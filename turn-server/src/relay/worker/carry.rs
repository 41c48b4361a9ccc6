//! Packets on their way: what the core says of each, done. Nothing is allocated for a packet unless it changes threads.

use std::net::SocketAddr;
use std::time::Instant;

use service::log::Address;
use service::udp::NetworkError;
use turn::{Context, FiveTuple, Handled, IcmpError, ToClient, ToPeer, Way};

use super::relays::{Reached, place};
use super::{ERROR_BUDGET, LANE_BUDGET, Neighbour, Socket, Worker};
use crate::handover::{Destination, Packet};

impl Worker {
    /// A datagram or frame from a client.
    pub(super) fn serve_client(&mut self, now: Instant, client: FiveTuple, bytes: &[u8]) {
        if !self.steer(client, bytes) {
            self.serve_here(now, client, bytes);
        }
    }

    /// The same, of a client that this worker serves.
    pub(super) fn serve_here(&mut self, now: Instant, client: FiveTuple, bytes: &[u8]) {
        let handled = self.server.handle_client(Context { now, open: &self.handover }, client, bytes);
        self.act(now, handled, bytes);
    }

    /// Does what the core says of a packet from a client.
    pub(super) fn act(&mut self, now: Instant, handled: Handled, bytes: &[u8]) {
        match handled {
            Handled::Relay(to_peer) => {
                self.carry_to_peer(now, &to_peer, &bytes[to_peer.payload.clone()]);
                // A packet may have told that its client has moved.
                self.execute(now);
            }
            Handled::Control => self.execute(now),
            Handled::Dropped(_) => {}
        }
    }

    fn carry_to_peer(&mut self, now: Instant, to_peer: &ToPeer, payload: &[u8]) {
        if !to_peer.own {
            self.stats.sent_to_peers += 1;
            let place = place(to_peer.allocation, turn::Family::of(to_peer.peer.ip()));
            if to_peer.dont_fragment {
                return self.send_whole(place, to_peer.peer, payload);
            }
            self.queue.push(Socket::Relay(place), to_peer.peer, None, &[payload]);
            return self.flush_if_full();
        }
        // Our own addresses are never reached through the kernel: it would deliver to any program of this host.
        let neighbour = match self.handover.destination(to_peer.peer) {
            Some(Destination::Relay(worker, _)) if worker == self.index => {
                self.stats.handed_over += 1;
                return self.take_packet(now, to_peer.relayed, to_peer.peer, payload);
            }
            Some(Destination::Relay(worker, _)) => Neighbour::Relay(worker.into()),
            Some(Destination::Media(index, _)) => Neighbour::Media(index),
            None => {
                self.stats.handover_dropped += 1;
                return;
            }
        };
        let lane = match neighbour {
            Neighbour::Relay(index) => &self.handover.relay[index],
            Neighbour::Media(index) => &self.handover.media[index].1,
        };
        let packet = Packet { from: to_peer.relayed, to: to_peer.peer, bytes: payload.to_vec() };
        if lane.send(packet) {
            self.stats.handed_over += 1;
        } else {
            self.stats.handover_dropped += 1;
        }
        if !self.to_wake.contains(&neighbour) {
            self.to_wake.push(neighbour);
        }
    }

    /// Sends a packet that must not be fragmented: the socket's mind is changed for it, so what waits goes before.
    fn send_whole(&mut self, place: u32, peer: SocketAddr, payload: &[u8]) {
        self.flush();
        let Some(relay) = self.relays.get(place) else { return };
        if let Err(error) = relay.socket.send_whole(peer, payload) {
            tracing::debug!(%error, peer = %Address(peer), "a packet that must stay whole was not sent");
            self.stats.send_dropped += 1;
            self.relays.mark_failed(place as usize);
        }
    }

    /// What the network says of packets that a relayed socket had sent.
    pub(super) fn take_errors(&mut self, now: Instant, place: u32) {
        for _ in 0..ERROR_BUDGET {
            let Some(relay) = self.relays.get(place) else { return };
            let Some(error) = relay.socket.next_error() else { return };
            let NetworkError { destination: peer, kind, code, mtu } = error;
            let context = Context { now, open: &self.handover };
            let told = self.server.handle_icmp(context, relay.id, IcmpError { peer, kind, code, data: mtu });
            if told.is_ok() {
                self.execute(now);
            }
        }
    }

    /// Packets from neighbours for our relayed addresses.
    pub(super) fn take_handed_over(&mut self, now: Instant) {
        for _ in 0..LANE_BUDGET {
            let Some(packet) = self.lane_end.try_recv() else { break };
            self.take_packet(now, packet.from, packet.to, &packet.bytes);
        }
    }

    fn take_packet(&mut self, now: Instant, from: SocketAddr, to: SocketAddr, payload: &[u8]) {
        match self.relays.slot_of(to) {
            Some(slot) => {
                self.stats.received_by_handover += 1;
                self.carry_to_client(now, slot, from, payload, Way::Handover);
            }
            None => self.stats.handover_dropped += 1,
        }
    }

    /// A datagram for a relayed address.
    pub(super) fn carry_to_client(&mut self, now: Instant, slot: u32, from: SocketAddr, payload: &[u8], way: Way) {
        let Some(relay) = self.relays.get(slot) else { return };
        let (id, reached) = (relay.id, relay.reached);
        let context = Context { now, open: &self.handover };
        let Ok(to_client) = self.server.handle_peer(context, id, from, payload.len(), way) else { return };
        let ToClient { client, head } = &to_client;
        let parts = [head.bytes(), payload, head.padding()];
        match reached {
            Reached::Udp { socket, from_any } => {
                let source = from_any.then(|| client.server.ip());
                self.queue.push(Socket::Client(socket), client.client, source, &parts);
                self.flush_if_full();
            }
            Reached::Guest { hearing } => {
                if !self.steering.to_client(hearing, *client, &parts, true) {
                    self.stats.handover_dropped += 1;
                }
            }
            Reached::Dtls { session } => self.send_sealed(now, session, &parts),
            Reached::Tcp { connection } => {
                let dropped = self.connections.push_media(connection, &parts, now);
                if dropped > 0 {
                    self.stats.tcp_dropped += dropped;
                    self.server.handle_unsent(id, dropped);
                }
            }
        }
    }
}
