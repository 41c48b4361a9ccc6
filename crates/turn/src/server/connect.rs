//! TCP relaying (RFC 6062): Connect and ConnectionBind requests, connections of peers, and how each ends.

use std::net::SocketAddr;
use std::time::Instant;

use stun_types::attribute::{AttributeStaticType as _, ErrorCode};
use stun_types::message::{
    Message, MessageClass, MessageType, MessageWrite, MessageWriteExt as _, MessageWriteVec, TransactionId,
};
use turn_types::attribute::{ConnectionId as ConnectionIdAttribute, XorPeerAddress};
use turn_types::message::{CONNECTION_ATTEMPT, CONNECTION_BIND};

use super::allocate::optional;
use super::{Context, Output, Server, User};
use crate::address::{FiveTuple, PeerAddress};
use crate::allocation::{Allocation, AllocationId, Usage};
use crate::limit::{Direction, Meter};
use crate::policy::Listening;
use crate::reply::{self, Refusal};
use crate::stream::{ConnectionId, Join, PATIENCE, Stream, StreamState};

/// RFC 6062 section 6.3.
const CONNECTION_ALREADY_EXISTS: u16 = 446;
/// RFC 6062 section 6.3.
const CONNECTION_TIMEOUT_OR_FAILURE: u16 = 447;

impl Server {
    /// RFC 6062 section 5.2: a connection to a peer is made, which the answer waits for.
    pub(super) fn connect(
        &mut self,
        context: Context<'_>,
        client: FiveTuple,
        request: &Message<'_>,
        user: &User,
    ) -> Result<Option<Vec<u8>>, Refusal> {
        let id = self.owned(client, user)?;
        let peer = optional::<XorPeerAddress>(request)?.ok_or(ErrorCode::BAD_REQUEST)?;
        let peer = PeerAddress::new(peer.addr(request.transaction_id()));
        let allocation = self.table.get(id).expect("owned() found it");
        let streams = allocation.streams.as_ref().ok_or(ErrorCode::ALLOCATION_MISMATCH)?;
        // Of our own addresses only those that listen for peers are reached.
        let verdict = self.policy.explain(&peer, &Listening(context.open));
        let own = super::permit::check_peer(verdict, allocation, &peer, &mut self.outputs)?;
        if peer.port() == 0 {
            return Err(ErrorCode::BAD_REQUEST.into());
        }
        if streams.has_peer(peer.socket()) {
            return Err(CONNECTION_ALREADY_EXISTS.into());
        }
        if !streams.has_room() {
            return Err(ErrorCode::INSUFFICIENT_CAPACITY.into());
        }
        self.check_new_peers(context, id, &[(peer.ip(), own)])?;
        let allocation = self.table.get(id).expect("owned() found it");
        self.outputs.extend(super::permit::report_new(allocation, context.now, peer.ip(), own));
        let state =
            StreamState::Connecting { request: request.as_bytes().to_vec(), signature: user.signature, failed: false };
        let connection = self.add_stream(context.now, id, peer.socket(), state);
        let local = self.table.get(id).expect("owned() found it").first.local;
        self.outputs.push_back(Output::Connect { allocation: id, connection, local, peer: peer.socket(), own });
        Ok(None)
    }

    fn add_stream(&mut self, now: Instant, id: AllocationId, peer: SocketAddr, state: StreamState) -> ConnectionId {
        let connection = ConnectionId::new(self.worker, self.next_connection);
        self.next_connection = self.next_connection.wrapping_add(1);
        if let Some(streams) = self.table.get_mut(id).and_then(|allocation| allocation.streams.as_mut()) {
            streams.add(Stream { id: connection, peer, state, until: now + PATIENCE });
        }
        self.connections.insert(connection, id);
        self.table.reschedule(id);
        connection
    }

    /// The answer to [`Output::Connect`]: whether the peer took the connection.
    pub fn handle_connected(&mut self, now: Instant, connection: ConnectionId, connected: bool) {
        let Some(id) = self.connections.get(&connection).copied() else { return };
        let streams = self.table.get_mut(id).and_then(|allocation| allocation.streams.as_mut());
        let Some(stream) = streams.and_then(|streams| streams.get_mut(connection)) else { return };
        let StreamState::Connecting { request, signature, failed } = &mut stream.state else { return };
        if !connected {
            *failed = true;
            return;
        }
        let (bytes, signature) = (std::mem::take(request), *signature);
        stream.state = StreamState::Waiting;
        stream.until = now + PATIENCE;
        self.table.reschedule(id);
        let Some(client) = self.table.get(id).map(|allocation| allocation.client) else { return };
        if let Ok(request) = Message::from_bytes(&bytes) {
            let attribute = ConnectionIdAttribute::new(connection.to_bits());
            self.transmit(client, reply::success(&request, &[&attribute], &signature));
        }
    }

    /// A peer has connected to a relayed address. `None`: it may not, and its connection is closed (RFC 6062 section 5.3).
    pub fn handle_incoming(
        &mut self,
        context: Context<'_>,
        id: AllocationId,
        from: SocketAddr,
    ) -> Option<ConnectionId> {
        let peer = PeerAddress::new(from);
        let allocation = self.table.get(id).filter(|allocation| allocation.until > context.now)?;
        let streams = allocation.streams.as_ref()?;
        let permission = allocation.permissions.get(context.now, peer.ip())?;
        // Another program of this host is no peer; another allocation is.
        let stranger = if permission.own {
            !context.open.is_listening(peer.socket())
        } else {
            !self.policy.is_port_allowed(peer.port())
        };
        if stranger || !streams.has_room() || streams.has_peer(peer.socket()) {
            return None;
        }
        let client = allocation.client;
        let connection = self.add_stream(context.now, id, peer.socket(), StreamState::Waiting);
        let transaction = TransactionId::from(rand::RngExt::random::<u128>(&mut self.rng));
        let kind = MessageType::from_class_method(MessageClass::Indication, CONNECTION_ATTEMPT);
        let mut write = Message::builder(kind, transaction, MessageWriteVec::with_capacity(64));
        // Only too large a message fails, and this one is small.
        let _ = write.add_attribute(&XorPeerAddress::new(peer.socket(), transaction));
        let _ = write.add_attribute(&ConnectionIdAttribute::new(connection.to_bits()));
        self.transmit(client, write.finish());
        Some(connection)
    }

    /// The connection that a ConnectionBind request is about.
    fn named_connection(request: &Message<'_>) -> Option<ConnectionId> {
        let wanted = request.method() == CONNECTION_BIND && request.has_attribute(ConnectionIdAttribute::TYPE);
        let attribute = request.attribute::<ConnectionIdAttribute>().ok().filter(|_| wanted)?;
        Some(ConnectionId::from_bits(attribute.id()))
    }

    /// The worker that has a connection, if it is another one.
    pub(super) fn connected_elsewhere(&self, client: FiveTuple, request: &Message<'_>) -> Option<u8> {
        let worker = Self::named_connection(request)?.worker();
        // Who has an allocation is refused, which only we know.
        let may_bind = self.options.tcp_relay && self.table.id_of(client).is_none();
        (may_bind && worker != self.worker).then_some(worker)
    }

    /// The allocation whose connection a request names.
    pub(super) fn named_by_connection(&self, request: &Message<'_>) -> Option<&Allocation> {
        self.table.get(*self.connections.get(&Self::named_connection(request)?)?)
    }

    /// RFC 6062 section 5.4: the client's second connection becomes the way to a peer.
    pub(super) fn connection_bind(
        &mut self,
        client: FiveTuple,
        request: &Message<'_>,
        user: &User,
    ) -> Result<Option<Vec<u8>>, Refusal> {
        let bad = Refusal::Code(ErrorCode::BAD_REQUEST);
        if !client.transport.is_stream() || self.table.id_of(client).is_some() {
            return Err(bad);
        }
        let connection = Self::named_connection(request).ok_or_else(|| bad.clone())?;
        let id = self.connections.get(&connection).copied().ok_or_else(|| bad.clone())?;
        let allocation = self.table.get_mut(id).ok_or_else(|| bad.clone())?;
        if allocation.username != user.name {
            return Err(ErrorCode::WRONG_CREDENTIALS.into());
        }
        let streams = allocation.streams.as_mut().ok_or_else(|| bad.clone())?;
        let stream = streams.get_mut(connection).ok_or_else(|| bad.clone())?;
        if !matches!(stream.state, StreamState::Waiting) {
            return Err(bad);
        }
        stream.state = StreamState::Bound { client };
        let meter = streams.meter(allocation.first.lease.account.clone());
        self.table.reschedule(id);
        let answer = reply::success(request, &[], &user.signature);
        self.outputs.push_back(Output::Join { connection, join: Join { client, answer, meter } });
        Ok(None)
    }

    /// A peer connection is over, or its client's is.
    pub fn handle_stream_closed(&mut self, connection: ConnectionId) {
        let Some(id) = self.connections.remove(&connection) else { return };
        let streams = self.table.get_mut(id).and_then(|allocation| allocation.streams.as_mut());
        if let Some(streams) = streams {
            streams.take(|stream| stream.id == connection);
            self.table.reschedule(id);
        }
    }

    /// Whether bytes of a connection may be read now; if not, they wait where they are.
    pub fn may_flow(&self, now: Instant, direction: Direction, meter: &Meter) -> bool {
        self.gate.is_open(now, direction, meter)
    }

    /// Bytes of a connection were read, and are charged.
    pub fn handle_flow(&mut self, now: Instant, direction: Direction, meter: &Meter, bytes: usize) {
        self.gate.take(now, direction, meter, bytes);
    }

    /// What a peer connection carried since the last time.
    pub fn handle_stream_usage(&mut self, connection: ConnectionId, usage: Usage) {
        match self.connections.get(&connection).copied() {
            Some(id) => self.handle_usage(id, usage),
            // Its allocation ended before the last word came.
            None => {
                self.stats.to_peers += usage.to_peers;
                self.stats.to_clients += usage.to_client;
            }
        }
    }

    /// Ends the peer connections for which `over` says so.
    pub(super) fn end_streams(&mut self, id: AllocationId, over: impl FnMut(&mut Stream) -> bool) {
        let streams = self.table.get_mut(id).and_then(|allocation| allocation.streams.as_mut());
        let Some(ended) = streams.map(|streams| streams.take(over)) else { return };
        let client = self.table.get(id).map(|allocation| allocation.client);
        for stream in ended {
            self.connections.remove(&stream.id);
            let bound = if let StreamState::Bound { client } = stream.state { Some(client) } else { None };
            self.outputs.push_back(Output::CloseStream { connection: stream.id, client: bound });
            let StreamState::Connecting { request, signature, .. } = stream.state else { continue };
            let Some((client, request)) = client.zip(Message::from_bytes(&request).ok()) else { continue };
            self.refuse(client, &request, &Refusal::Code(CONNECTION_TIMEOUT_OR_FAILURE), Some(&signature));
        }
    }
}
