//! The data path: between ChannelData or Send indications and relayed datagrams. It looks up and answers; it allocates
//! nothing and changes nothing but counters (RFC 8656 sections 11 and 12.6: data refreshes nothing).

use std::ops::Range;

use rand::RngExt;

use super::{Context, Server, Way};
use crate::address::{Family, FiveTuple, PeerAddress};
use crate::allocation::{Allocation, AllocationId};
use crate::limit::Direction;
use crate::route::{Handled, Head, ToClient, ToPeer};
use crate::stats::Drop;
use crate::wire;

impl Server {
    /// RFC 8656 section 12.6.
    pub(super) fn relay_channel(
        &mut self,
        context: Context<'_>,
        client: FiveTuple,
        number: u16,
        payload: Range<usize>,
    ) -> Handled {
        let Some(allocation) = self.table.of_client(client) else { return self.dropped(Drop::NoAllocation) };
        let open = allocation.channels.open(context.now, number);
        let Some(channel) = open.filter(|_| allocation.until > context.now) else {
            return self.dropped(Drop::NoChannel);
        };
        let (peer, own) = (channel.peer, channel.own);
        if own && !self.policy.is_open(peer, context.open) {
            return self.dropped(Drop::Policy);
        }
        let (paces, account) = (&allocation.paces, allocation.account());
        if let Err(reason) = self.gate.admit(context.now, Direction::ToPeers, paces, account, payload.len()) {
            return self.dropped(reason);
        }
        allocation.usage.to_peers.add(payload.len());
        self.stats.to_peers.add(payload.len());
        let relayed = allocation.relayed(Family::of(peer.ip())).unwrap_or(&allocation.first).public;
        Handled::Relay(ToPeer { allocation: allocation.id, relayed, peer, own, dont_fragment: false, payload })
    }

    /// RFC 8656 section 11.2.
    pub(super) fn relay_send(&mut self, context: Context<'_>, client: FiveTuple, bytes: &[u8]) -> Handled {
        let Some(allocation) = self.table.of_client(client) else { return self.dropped(Drop::NoAllocation) };
        let Some(wire::Send { peer, payload, dont_fragment }) = wire::send_indication(bytes) else {
            return self.dropped(Drop::Malformed);
        };
        let peer = PeerAddress::new(peer);
        let permission = allocation.permissions.get(context.now, peer.ip());
        let relayed = allocation.relayed(Family::of(peer.ip())).filter(|_| allocation.until > context.now);
        let relayed = relayed.filter(|_| allocation.streams.is_none());
        let Some((permission, relayed)) = permission.zip(relayed) else { return self.dropped(Drop::NoPermission) };
        // The permission is for an IP: what is written now is checked now.
        let verdict = self.policy.explain(&peer, context.open);
        if !verdict.allowed || verdict.own != permission.own || peer.port() == 0 {
            return self.dropped(Drop::Policy);
        }
        let (relayed, own) = (relayed.public, permission.own);
        let (paces, account) = (&allocation.paces, allocation.account());
        if let Err(reason) = self.gate.admit(context.now, Direction::ToPeers, paces, account, payload.len()) {
            return self.dropped(reason);
        }
        allocation.usage.to_peers.add(payload.len());
        self.stats.to_peers.add(payload.len());
        let peer = peer.socket();
        Handled::Relay(ToPeer { allocation: allocation.id, relayed, peer, own, dont_fragment, payload })
    }

    /// Takes a datagram of `len` bytes that came to a relayed address (RFC 8656 section 11.3).
    ///
    /// # Errors
    /// Why it goes nowhere.
    pub fn handle_peer(
        &mut self,
        context: Context<'_>,
        id: AllocationId,
        from: std::net::SocketAddr,
        len: usize,
        way: Way,
    ) -> Result<ToClient, Drop> {
        let reason = match self.route_to_client(context, id, from, len, way) {
            Ok(to_client) => return Ok(to_client),
            Err(reason) => reason,
        };
        Err(self.stats.drop(reason))
    }

    fn route_to_client(
        &mut self,
        context: Context<'_>,
        id: AllocationId,
        from: std::net::SocketAddr,
        len: usize,
        way: Way,
    ) -> Result<ToClient, Drop> {
        let allocation = self.table.get_mut(id).filter(|allocation| allocation.until > context.now);
        // Nobody is reached while a mobile client's connection is gone: what had its place may be somebody else's.
        let is_detached = |allocation: &Allocation| allocation.mobility.as_ref().is_some_and(|it| it.detached);
        let allocation = allocation.filter(|allocation| !is_detached(allocation)).ok_or(Drop::NoAllocation)?;
        let peer = PeerAddress::new(from).socket();
        // A channel is bound to IP and port: another port of a permitted IP arrives as an indication.
        let channel = allocation.channels.open_for(context.now, peer);
        let (own, number) = match channel {
            Some(channel) => (channel.own, Some(channel.number)),
            None => {
                let permission = allocation.permissions.get(context.now, peer.ip()).ok_or(Drop::NoPermission)?;
                if !permission.own && !self.policy.is_port_allowed(peer.port()) {
                    return Err(Drop::Policy);
                }
                (permission.own, None)
            }
        };
        // Packets between our own addresses are handed over; one that came through the kernel was sent by another
        // program on this host.
        if own != (way == Way::Handover) {
            return Err(Drop::Policy);
        }
        let payload = u16::try_from(len).ok().filter(|_| len <= wire::MAX_PAYLOAD).ok_or(Drop::TooLarge)?;
        self.gate.admit(context.now, Direction::ToClient, &allocation.paces, allocation.account(), len)?;
        let client = allocation.client;
        let head = match number {
            Some(number) => Head::channel(number, payload, client.transport.is_stream()),
            None => Head::data_indication(peer, payload, self.rng.random()),
        };
        allocation.usage.to_client.add(len);
        self.stats.to_clients.add(len);
        Ok(ToClient { client, head })
    }

    /// Packets that were routed to an allocation's client and dropped before they left, because it reads too slowly.
    pub fn handle_unsent(&mut self, id: AllocationId, packets: u64) {
        if let Some(allocation) = self.table.get_mut(id) {
            allocation.unsent += packets;
        }
    }

    /// Packets and bytes that a mirror of the routes carried by itself.
    pub fn handle_usage(&mut self, id: AllocationId, usage: crate::allocation::Usage) {
        if let Some(allocation) = self.table.get_mut(id) {
            allocation.usage.to_peers += usage.to_peers;
            allocation.usage.to_client += usage.to_client;
        }
        // What was carried counts, also where its allocation has ended before that was told.
        self.stats.to_peers += usage.to_peers;
        self.stats.to_clients += usage.to_client;
    }
}
