//! The Binding request: where do I come from (RFC 8489 section 6), and what does my NAT do (RFC 5780, where the operator
//! wants it: it needs two addresses, and tells more than a relay has to).

use std::net::SocketAddr;

use stun_types::attribute::{AttributeType, AttributeWrite, ErrorCode, RawAttribute, XorMappedAddress};
use stun_types::message::Message;

use super::{Context, Output, Server};
use crate::address::{FiveTuple, Transport};
use crate::reply::{self, Refusal};
use crate::route::Handled;
use crate::stats::Drop;

/// RFC 5780 section 7.
const CHANGE_REQUEST: AttributeType = AttributeType::new(0x0003);
const PADDING: AttributeType = AttributeType::new(0x0026);
const RESPONSE_PORT: AttributeType = AttributeType::new(0x0027);
const RESPONSE_ORIGIN: AttributeType = AttributeType::new(0x802B);
const OTHER_ADDRESS: AttributeType = AttributeType::new(0x802C);
/// RFC 5780 section 7.2: bits of CHANGE-REQUEST.
const CHANGE_IP: u32 = 4;
const CHANGE_PORT: u32 = 2;
/// RFC 5780 section 7.6 wants a packet that needs fragments; more than the client paid for itself is never sent.
const MAX_PADDING: usize = 1500;

/// The two addresses of a server that discovers the behaviour of NATs: with each other's ports they make four.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Alternate {
    /// The address that clients are given.
    pub primary: SocketAddr,
    /// Another IP of the same family, another port.
    pub other: SocketAddr,
}

impl Alternate {
    /// All four.
    pub fn addresses(&self) -> [SocketAddr; 4] {
        let (first, second) = (self.primary, self.other);
        let cross = |ip: SocketAddr, port: SocketAddr| SocketAddr::new(ip.ip(), port.port());
        [first, cross(first, second), cross(second, first), second]
    }

    /// The address that differs from `from` as asked; `None`: `from` is none of ours.
    fn changed(&self, from: SocketAddr, ip: bool, port: bool) -> Option<SocketAddr> {
        if !self.addresses().contains(&from) {
            return None;
        }
        let pick = |is_first: bool, change: bool| if is_first == change { self.other } else { self.primary };
        let ip = pick(from.ip() == self.primary.ip(), ip).ip();
        Some(SocketAddr::new(ip, pick(from.port() == self.primary.port(), port).port()))
    }
}

/// What a Binding request may ask for beside its answer.
struct Asked {
    /// The answer leaves from here.
    origin: SocketAddr,
    /// And goes there.
    to: SocketAddr,
    other: SocketAddr,
    padding: usize,
}

impl Server {
    pub(super) fn binding(&mut self, context: Context<'_>, client: FiveTuple, request: &Message<'_>) -> Handled {
        if !self.may_answer(context.now, client) {
            return self.dropped(Drop::RateLimited);
        }
        match self.read_binding(client, request) {
            Err(refusal) => self.refuse(client, request, &refusal, None),
            Ok(None) => {
                self.stats.bindings += 1;
                self.transmit(client, reply::binding(request, client.client));
            }
            Ok(Some(asked)) => {
                self.stats.bindings += 1;
                let mapped = XorMappedAddress::new(client.client, request.transaction_id());
                let padding = vec![0; asked.padding];
                let (origin, other) = (address(asked.origin), address(asked.other));
                let padding = RawAttribute::new(PADDING, &padding);
                let (origin, other) =
                    (RawAttribute::new(RESPONSE_ORIGIN, &origin), RawAttribute::new(OTHER_ADDRESS, &other));
                let mut attributes: Vec<&dyn AttributeWrite> = vec![&mapped, &origin, &other];
                if asked.padding > 0 {
                    attributes.push(&padding);
                }
                let bytes = reply::plain(request, &attributes);
                let client = FiveTuple { client: asked.to, server: asked.origin, ..client };
                self.outputs.push_back(Output::Transmit { client, bytes });
            }
        }
        Handled::Control
    }

    /// `Ok(None)`: a plain one.
    fn read_binding(&self, client: FiveTuple, request: &Message<'_>) -> Result<Option<Asked>, Refusal> {
        let other = self.alternate.and_then(|alternate| alternate.changed(client.server, true, true));
        let discovers = other.is_some() && client.transport == Transport::Udp;
        let mut unknown = super::unknown_attributes(request);
        unknown.retain(|kind| !(discovers && [CHANGE_REQUEST, PADDING, RESPONSE_PORT].contains(kind)));
        if !unknown.is_empty() {
            return Err(Refusal::Unknown(unknown));
        }
        let Some((other, alternate)) = other.zip(self.alternate) else { return Ok(None) };
        let number = |kind| request.raw_attribute(kind).map(|raw| <[u8; 4]>::try_from(&raw.value[..]));
        let number = |kind| number(kind).transpose().map_err(|_| Refusal::Code(ErrorCode::BAD_REQUEST));
        let change = number(CHANGE_REQUEST)?.map_or(0, u32::from_be_bytes);
        let port = number(RESPONSE_PORT)?.map(|value| u16::from_be_bytes([value[0], value[1]]));
        let padding = request.raw_attribute(PADDING).map(|raw| raw.value.len());
        // RFC 5780 section 7.5: both together would be a cannon.
        if port == Some(0) || port.is_some() && padding.is_some() {
            return Err(ErrorCode::BAD_REQUEST.into());
        }
        let origin = alternate.changed(client.server, change & CHANGE_IP != 0, change & CHANGE_PORT != 0);
        let to = SocketAddr::new(client.client.ip(), port.unwrap_or(client.client.port()));
        let padding = padding.unwrap_or(0).min(MAX_PADDING) & !3;
        Ok(Some(Asked { origin: origin.unwrap_or(client.server), to, other, padding }))
    }
}

/// An address as MAPPED-ADDRESS writes it (RFC 8489 section 14.1).
fn address(address: SocketAddr) -> Vec<u8> {
    let mut bytes = vec![0, if address.is_ipv4() { 1 } else { 2 }];
    bytes.extend(address.port().to_be_bytes());
    match address.ip() {
        std::net::IpAddr::V4(ip) => bytes.extend(ip.octets()),
        std::net::IpAddr::V6(ip) => bytes.extend(ip.octets()),
    }
    bytes
}
