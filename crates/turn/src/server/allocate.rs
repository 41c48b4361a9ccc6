//! The Allocate request, in the order of RFC 8656 section 7.2, and the allocation that the shell's socket makes.

use stun_types::attribute::{
    AttributeFromRaw, AttributeStaticType, AttributeWrite, ErrorCode, RawAttribute, XorMappedAddress,
};
use stun_types::message::Message;
use turn_types::AddressFamily;
use turn_types::attribute::{
    AdditionalAddressFamily, AddressErrorCode, DontFragment, EvenPort, Lifetime, RequestedAddressFamily,
    RequestedTransport, ReservationToken, XorRelayedAddress,
};

use super::mobility::MOBILITY_TICKET;
use super::pending::{Stage, Wanted};
use super::{BoundRelay, BoundRelays, Context, Output, Relaying, RequestId, Server, User};
use crate::address::{Family, FiveTuple};
use crate::allocation::{self, Allocation, AllocationId, Relayed, Usage};
use crate::integrity::Signature;
use crate::registrar::{PortWish, Unavailable};
use crate::reply::{self, Refusal};
use crate::stats::Limit;

/// What an Allocate request asks for.
struct Asked {
    family: Family,
    additional: Option<Family>,
    /// A family that was asked for and that this server does not have.
    missing: Option<Family>,
    wish: PortWish,
    life: u32,
    mobile: bool,
    protocol: Relaying,
}

/// REQUESTED-TRANSPORT of RFC 6062 section 5.1: the protocol number of TCP.
const TCP: u8 = 6;

impl Server {
    pub(super) fn allocate(
        &mut self,
        context: Context<'_>,
        client: FiveTuple,
        request: &Message<'_>,
        user: User,
    ) -> Result<Option<Vec<u8>>, Refusal> {
        if let Some(id) = self.table.id_of(client) {
            let allocation = self.table.get(id).expect("the client table names living allocations");
            // RFC 8489 section 6.3.1: a retransmission gets the same answer.
            let again = allocation.made_by == request.transaction_id() && allocation.username == user.name;
            return if again {
                Ok(Some(answer(request, allocation, self.ticket(allocation), &user.signature)))
            } else {
                Err(ErrorCode::ALLOCATION_MISMATCH.into())
            };
        }
        let asked = self.read_allocate(client, request)?;
        // A user without an allocation has just been looked up.
        let quota = user.quota.clone().ok_or(ErrorCode::SERVER_ERROR)?;
        let missing = asked.missing.map(|family| (family, ErrorCode::ADDRESS_FAMILY_NOT_SUPPORTED));
        let wanted = Wanted { user, life: asked.life, missing, mobile: asked.mobile, protocol: asked.protocol };
        let stage = Stage::Relay(wanted);
        if let Some(id) = self.pending.add(context.now, client, request.as_bytes(), stage) {
            let Asked { family, additional, protocol, wish, .. } = asked;
            let bind = Output::BindRelay { request: id, client, user: quota, family, protocol, additional, wish };
            self.outputs.push_back(bind);
        }
        Ok(None)
    }

    /// RFC 8656 section 7.2, items 3 to 11.
    fn read_allocate(&self, client: FiveTuple, request: &Message<'_>) -> Result<Asked, Refusal> {
        let bad = ErrorCode::BAD_REQUEST;
        match optional::<RequestedTransport>(request)?.map(|transport| transport.protocol()) {
            Some(RequestedTransport::UDP) => {}
            Some(TCP) if self.options.tcp_relay => return read_tcp(client, request, &self.families),
            Some(_) => return Err(ErrorCode::UNSUPPORTED_TRANSPORT_PROTOCOL.into()),
            None => return Err(bad.into()),
        }
        let mobile = self.wants_ticket(request)?;
        let token = optional::<ReservationToken>(request)?.map(|token| token.token());
        let even = optional::<EvenPort>(request)?.map(|even| even.requested());
        let family = optional_family::<RequestedAddressFamily>(request, RequestedAddressFamily::family)?;
        let additional = request.raw_attribute(AdditionalAddressFamily::TYPE);
        if token.is_some() && (even.is_some() || family.is_some() || additional.is_some()) {
            return Err(bad.into());
        }
        const IPV4: u8 = 1;
        if additional.is_some_and(|raw| family.is_some() || even == Some(true) || raw.value.first() == Some(&IPV4)) {
            return Err(bad.into());
        }
        let additional = optional_family::<AdditionalAddressFamily>(request, AdditionalAddressFamily::family)?;
        let family = match family {
            // RFC 8656 section 7.2 item 8: IPv4 unless asked otherwise. Clients that never heard of the attribute and
            // have IPv6 only are better served by what they use themselves.
            None if self.options.keep_family && additional.is_none() => Family::of(client.server.ip()),
            None | Some(AddressFamily::IPV4) => Family::V4,
            Some(AddressFamily::IPV6) => Family::V6,
        };
        let has = |family| self.families.contains(&family);
        let (family, additional, missing) = match (has(family), additional) {
            (true, None) => (family, None, None),
            (true, Some(_)) if has(Family::V6) => (family, Some(Family::V6), None),
            (true, Some(_)) => (family, None, Some(Family::V6)),
            (false, Some(_)) if has(Family::V6) => (Family::V6, None, Some(family)),
            (false, _) => return Err(ErrorCode::ADDRESS_FAMILY_NOT_SUPPORTED.into()),
        };
        let wish = match (token, even) {
            (Some(token), _) => PortWish::Reserved(token),
            (None, Some(reserve)) => PortWish::Even { reserve },
            (None, None) => PortWish::Any,
        };
        let life = allocation::life(optional::<Lifetime>(request)?.map(|lifetime| lifetime.seconds()));
        Ok(Asked { family, additional, missing, wish, life, mobile, protocol: Relaying::Udp })
    }

    /// The answer to [`Output::BindRelay`]. `None`: there is no allocation, and sockets and ports go back.
    pub fn handle_bound(&mut self, context: Context<'_>, id: RequestId, bound: BoundRelays) -> Option<AllocationId> {
        let pending = self.pending.take(id)?;
        let Stage::Relay(wanted) = pending.stage else { return None };
        let request = Message::from_bytes(&pending.bytes).ok()?;
        let Wanted { user, life, missing, mobile, protocol } = wanted;
        let (bound, second, failed) = match (bound.first, bound.additional) {
            (Ok(first), None) => (first, None, None),
            (Ok(first), Some(Ok(second))) => (first, Some(second), None),
            (Ok(first), Some(Err(why))) => (first, None, Some((Family::V6, code(why)))),
            // RFC 8656 section 7.2: half of what was asked for is a success.
            (Err(why @ Unavailable::Capacity), Some(Ok(second))) => (second, None, Some((Family::V4, code(why)))),
            (Err(why), _) => {
                self.stats.limited(limit(why));
                self.refuse(pending.client, &request, &Refusal::Code(code(why)), Some(&user.signature));
                return None;
            }
        };
        let until = context.now + std::time::Duration::from_secs(life.into());
        let id = self.table.next_id();
        let allocation = Allocation {
            id,
            client: pending.client,
            username: user.name,
            key: user.signature.key,
            origin: user.origin,
            expires: user.expires,
            made_by: request.transaction_id(),
            granted: life,
            token: bound.token,
            missing: missing.or(failed),
            first: bound.into(),
            second: second.map(|second| Box::new(second.into())),
            since: context.now,
            until,
            permissions: Default::default(),
            channels: Default::default(),
            streams: (protocol == Relaying::Tcp).then(Default::default),
            mobility: mobile.then(|| self.new_mobility()),
            usage: Usage::default(),
            unsent: 0,
            paces: Default::default(),
            timer: until,
        };
        let answer = answer(&request, &allocation, self.ticket(&allocation), &user.signature);
        self.transmit(pending.client, answer);
        self.table.insert(allocation);
        self.stats.allocations_made += 1;
        Some(id)
    }
}

/// RFC 6062 section 5.1: only over a stream, and without what is for datagrams.
fn read_tcp(client: FiveTuple, request: &Message<'_>, families: &[Family]) -> Result<Asked, Refusal> {
    let datagrams =
        [EvenPort::TYPE, ReservationToken::TYPE, DontFragment::TYPE, AdditionalAddressFamily::TYPE, MOBILITY_TICKET];
    if !client.transport.is_stream() || datagrams.into_iter().any(|kind| request.has_attribute(kind)) {
        return Err(ErrorCode::BAD_REQUEST.into());
    }
    let family = match optional_family::<RequestedAddressFamily>(request, RequestedAddressFamily::family)? {
        None | Some(AddressFamily::IPV4) => Family::V4,
        Some(AddressFamily::IPV6) => Family::V6,
    };
    if !families.contains(&family) {
        return Err(ErrorCode::ADDRESS_FAMILY_NOT_SUPPORTED.into());
    }
    let life = allocation::life(optional::<Lifetime>(request)?.map(|lifetime| lifetime.seconds()));
    let (wish, protocol) = (PortWish::Any, Relaying::Tcp);
    Ok(Asked { family, additional: None, missing: None, wish, life, mobile: false, protocol })
}

impl From<BoundRelay> for Relayed {
    fn from(bound: BoundRelay) -> Self {
        Self { public: bound.relayed, local: bound.local, lease: bound.lease }
    }
}

fn code(why: Unavailable) -> u16 {
    match why {
        Unavailable::UserQuota | Unavailable::AddressQuota => ErrorCode::ALLOCATION_QUOTA_REACHED,
        Unavailable::TotalQuota | Unavailable::Capacity | Unavailable::Draining => ErrorCode::INSUFFICIENT_CAPACITY,
    }
}

fn limit(why: Unavailable) -> Limit {
    match why {
        Unavailable::UserQuota => Limit::User,
        Unavailable::AddressQuota => Limit::Address,
        Unavailable::TotalQuota => Limit::Total,
        Unavailable::Capacity => Limit::Ports,
        Unavailable::Draining => Limit::Draining,
    }
}

/// RFC 8656 section 7.2: the success response.
fn answer(request: &Message<'_>, allocation: &Allocation, ticket: Option<Vec<u8>>, signature: &Signature) -> Vec<u8> {
    let transaction = request.transaction_id();
    let relayed: Vec<_> =
        allocation.all_relayed().map(|relayed| XorRelayedAddress::new(relayed.public, transaction)).collect();
    let lifetime = Lifetime::new(allocation.granted);
    let mapped = XorMappedAddress::new(allocation.client.client, transaction);
    let token = allocation.token.map(ReservationToken::new);
    let missing = allocation.missing.and_then(|(family, code)| {
        let family = if family == Family::V4 { AddressFamily::IPV4 } else { AddressFamily::IPV6 };
        Some(AddressErrorCode::new(family, ErrorCode::new(code, "").ok()?))
    });
    let mut attributes: Vec<&dyn AttributeWrite> =
        relayed.iter().map(|relayed| relayed as &dyn AttributeWrite).collect();
    attributes.extend([&lifetime as &dyn AttributeWrite, &mapped]);
    attributes.extend(missing.as_ref().map(|missing| missing as &dyn AttributeWrite));
    let ticket = ticket.as_ref().map(|ticket| RawAttribute::new(MOBILITY_TICKET, ticket));
    attributes.extend(ticket.as_ref().map(|ticket| ticket as &dyn AttributeWrite));
    attributes.extend(token.as_ref().map(|token| token as &dyn AttributeWrite));
    reply::success(request, &attributes, signature)
}

/// An attribute that may be absent but not malformed: 400.
pub(super) fn optional<'a, A: AttributeFromRaw<'a> + AttributeStaticType>(
    request: &'a Message<'a>,
) -> Result<Option<A>, Refusal> {
    if !request.has_attribute(A::TYPE) {
        return Ok(None);
    }
    request.attribute::<A>().map(Some).map_err(|_| ErrorCode::BAD_REQUEST.into())
}

/// An address family that may be absent; one that nobody knows is 440 (RFC 8656 section 7.2 item 8).
pub(super) fn optional_family<'a, A: AttributeFromRaw<'a> + AttributeStaticType>(
    request: &'a Message<'a>,
    family: fn(&A) -> AddressFamily,
) -> Result<Option<AddressFamily>, Refusal> {
    match request.raw_attribute(A::TYPE) {
        None => Ok(None),
        Some(raw) if raw.value.len() != 4 => Err(ErrorCode::BAD_REQUEST.into()),
        Some(_) => match request.attribute::<A>() {
            Ok(attribute) => Ok(Some(family(&attribute))),
            Err(_) => Err(ErrorCode::ADDRESS_FAMILY_NOT_SUPPORTED.into()),
        },
    }
}
