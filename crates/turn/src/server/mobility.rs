//! Allocations that follow their client (RFC 8016): the ticket in an Allocate request, the ticket in a Refresh request
//! from elsewhere, and the moment at which the old 5-tuple is let go.

use rand::RngExt as _;
use stun_types::attribute::{AttributeType, ErrorCode};
use stun_types::message::Message;
use turn_types::message::REFRESH;

use super::{Output, Server, User};
use crate::address::FiveTuple;
use crate::allocation::{Allocation, AllocationId};
use crate::mobility::{Mobility, Ticket};
use crate::reply::Refusal;

/// MOBILITY-TICKET (RFC 8016 section 3.1); the codec has no name for it.
pub(super) const MOBILITY_TICKET: AttributeType = AttributeType::new(0x8030);
/// RFC 8016 section 3.1: mobility is not for this server, or not for this client.
const MOBILITY_FORBIDDEN: u16 = 405;

impl Server {
    /// Whether an Allocate request asks for a ticket.
    pub(super) fn wants_ticket(&self, request: &Message<'_>) -> Result<bool, Refusal> {
        match request.raw_attribute(MOBILITY_TICKET) {
            None => Ok(false),
            Some(_) if !self.options.mobility => Err(MOBILITY_FORBIDDEN.into()),
            Some(ticket) if ticket.value.is_empty() => Ok(true),
            Some(_) => Err(ErrorCode::BAD_REQUEST.into()),
        }
    }

    pub(super) fn new_mobility(&mut self) -> Box<Mobility> {
        Box::new(Mobility::new(self.rng.random()))
    }

    /// The ticket that a client is told.
    pub(super) fn ticket(&self, allocation: &Allocation) -> Option<Vec<u8>> {
        let mobility = allocation.mobility.as_ref()?;
        let ticket = Ticket { worker: self.worker, allocation: allocation.id, secret: mobility.secret };
        Some(ticket.text().into_bytes())
    }

    /// The worker that has the allocation of a moving client, if it is another one.
    pub(super) fn elsewhere(&self, client: FiveTuple, request: &Message<'_>) -> Option<u8> {
        let moves = self.options.mobility && request.method() == REFRESH && self.table.id_of(client).is_none();
        let ticket = request.raw_attribute(MOBILITY_TICKET).filter(|_| moves)?;
        Ticket::read(&ticket.value).map(|ticket| ticket.worker).filter(|worker| *worker != self.worker)
    }

    /// The allocation that a ticket in a request names: its user needs no other proof of being known than the MAC.
    pub(super) fn named_by_ticket(&self, client: FiveTuple, request: &Message<'_>) -> Option<&Allocation> {
        let ticket =
            request.raw_attribute(MOBILITY_TICKET).filter(|_| self.options.mobility && request.method() == REFRESH)?;
        self.of_ticket(client, &Ticket::read(&ticket.value)?)
    }

    fn of_ticket(&self, client: FiveTuple, ticket: &Ticket) -> Option<&Allocation> {
        let allocation = self.table.get(ticket.allocation).filter(|_| ticket.worker == self.worker)?;
        allocation.mobility.as_ref().filter(|mobility| mobility.accepts(ticket, client)).map(|_| allocation)
    }

    /// RFC 8016 section 3.2.2: a Refresh request with a ticket begins a move, or asks for a new ticket.
    pub(super) fn follow(&mut self, client: FiveTuple, value: &[u8], user: &User) -> Result<AllocationId, Refusal> {
        if !self.options.mobility {
            return Err(MOBILITY_FORBIDDEN.into());
        }
        if value.is_empty() {
            return Err(ErrorCode::BAD_REQUEST.into());
        }
        let mismatch = Refusal::Code(ErrorCode::ALLOCATION_MISMATCH);
        let ticket = Ticket::read(value).ok_or_else(|| mismatch.clone())?;
        let allocation = self.of_ticket(client, &ticket).ok_or_else(|| mismatch.clone())?;
        if allocation.username != user.name {
            return Err(ErrorCode::WRONG_CREDENTIALS.into());
        }
        let id = allocation.id;
        // A 5-tuple has one allocation at most.
        if self.table.id_of(client).is_some_and(|own| own != id) {
            return Err(mismatch);
        }
        let secret = self.rng.random();
        let allocation = self.table.get_mut(id).expect("looked up above");
        let old = allocation.client;
        let mobility = allocation.mobility.as_mut().expect("it accepted the ticket");
        if old == client && !mobility.detached {
            // The request that brought it here may come twice, and the answer to the first one may be what is heard.
            if !mobility.has_seen(&ticket, client) {
                mobility.secret = secret;
            }
            return Ok(id);
        }
        let before = mobility.pending.map(|pending| pending.to).filter(|to| *to != client);
        mobility.begin(client, &ticket, secret);
        let detached = mobility.detached;
        if let Some(before) = before {
            self.table.unalias(before, id);
            self.outputs.push_back(Output::Released { client: before });
        }
        self.table.alias(client, id);
        if detached {
            // There is no old 5-tuple that could be served.
            self.complete_move(id, client);
        }
        Ok(id)
    }

    /// A client was heard with something else than a ticket: it is served where it is now.
    pub(super) fn hear(&mut self, client: FiveTuple) {
        if let Some(allocation) = self.table.of_client(client)
            && allocation.client != client
        {
            let id = allocation.id;
            self.complete_move(id, client);
        }
    }

    /// A client was heard on the 5-tuple that it moves to: from now on it is served there (RFC 8016 section 3.2.2).
    pub(super) fn complete_move(&mut self, id: AllocationId, to: FiveTuple) {
        let Some(allocation) = self.table.get_mut(id) else { return };
        let Some(mobility) = allocation.mobility.as_mut() else { return };
        let Some(over) = mobility.pending.take_if(|pending| pending.to == to) else { return };
        let was_detached = std::mem::take(&mut mobility.detached);
        // Who is heard with another request has had its answer; who came back from a broken connection, perhaps not.
        mobility.over = was_detached.then_some(over);
        let from = std::mem::replace(&mut allocation.client, to);
        if !was_detached && from != to {
            self.table.unalias(from, id);
        }
        self.table.alias(to, id);
        self.outputs.push_back(Output::Moved { allocation: id, from, to });
        if !was_detached && from != to {
            self.outputs.push_back(Output::Released { client: from });
        }
        let allocation = self.table.get(id).expect("it was there above");
        let routes = allocation.channels.iter().map(|channel| super::permit::route(allocation, channel));
        self.outputs.extend(routes.map(Output::RouteInstalled));
    }

    /// A connection is gone. `true`: its allocation waits for the client to come back, as long as it lives.
    pub(super) fn survives(&mut self, id: AllocationId, client: FiveTuple) -> bool {
        let Some(allocation) = self.table.get_mut(id) else { return false };
        let current = allocation.client == client;
        let Some(mobility) = allocation.mobility.as_mut() else { return false };
        if current && let Some(pending) = mobility.pending {
            self.complete_move(id, pending.to);
            return true;
        }
        if current {
            mobility.detached = true;
        } else {
            mobility.pending = None;
        }
        self.table.unalias(client, id);
        self.outputs.push_back(Output::Released { client });
        true
    }
}
