//! What the network says of packets that did not arrive (RFC 8656 section 11.5).

use std::net::SocketAddr;

use stun_types::message::{Message, MessageWrite, MessageWriteExt as _, MessageWriteVec, TransactionId};
use turn_types::attribute::{Icmp, XorPeerAddress};
use turn_types::message::DATA;

use super::{Context, Output, Server};
use crate::address::PeerAddress;
use crate::allocation::AllocationId;
use crate::stats::Drop;

/// An ICMP message about a packet that a relayed socket had sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IcmpError {
    /// Where the packet was to go: the destination inside the ICMP message, not who sent it.
    pub peer: SocketAddr,
    /// Type, of ICMP or ICMPv6 as `peer` is.
    pub kind: u8,
    /// Code.
    pub code: u8,
    /// The MTU of the next hop where the packet was too big; else 0.
    pub data: u32,
}

impl IcmpError {
    /// RFC 8656 section 11.5: unreachable and time exceeded, with "too big" among the former or beside them.
    fn is_for_clients(&self) -> bool {
        if self.peer.is_ipv4() { matches!(self.kind, 3 | 11) } else { matches!(self.kind, 1..=3) }
    }
}

impl Server {
    /// Tells the client of an allocation what became of its packet.
    ///
    /// # Errors
    /// Why it is not told.
    pub fn handle_icmp(&mut self, context: Context<'_>, id: AllocationId, error: IcmpError) -> Result<(), Drop> {
        let told = self.tell(context, id, error);
        told.map_err(|reason| self.stats.drop(reason))
    }

    fn tell(&mut self, context: Context<'_>, id: AllocationId, error: IcmpError) -> Result<(), Drop> {
        if !error.is_for_clients() {
            return Err(Drop::Malformed);
        }
        let allocation = self.table.get(id).filter(|allocation| allocation.until > context.now);
        let allocation = allocation.ok_or(Drop::NoAllocation)?;
        let peer = PeerAddress::new(error.peer);
        // Whoever has no permission for a peer must not learn about it either.
        allocation.permissions.get(context.now, peer.ip()).ok_or(Drop::NoPermission)?;
        let client = allocation.client;
        let transaction = TransactionId::from(rand::RngExt::random::<u128>(&mut self.rng));
        let kind =
            stun_types::message::MessageType::from_class_method(stun_types::message::MessageClass::Indication, DATA);
        let mut write = Message::builder(kind, transaction, MessageWriteVec::with_capacity(64));
        // Only too large a message fails, and this one is small.
        let _ = write.add_attribute(&XorPeerAddress::new(peer.socket(), transaction));
        let _ = write.add_attribute(&Icmp::new(error.kind, error.code, error.data));
        self.outputs.push_back(Output::Transmit { client, bytes: write.finish() });
        self.stats.icmp += 1;
        Ok(())
    }
}
