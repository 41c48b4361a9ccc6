//! The Refresh request, and every other way in which an allocation lives on or ends.

use std::time::{Duration, Instant};

use stun_types::attribute::{AttributeWrite, ErrorCode, RawAttribute};
use stun_types::message::Message;
use turn_types::AddressFamily;
use turn_types::attribute::{Lifetime, RequestedAddressFamily};

use super::allocate::{optional, optional_family};
use super::mobility::MOBILITY_TICKET;
use super::{Context, Output, Server, User};
use crate::address::{Family, FiveTuple, PeerAddress};
use crate::allocation::{self, AllocationId, Relayed};
use crate::policy::Listening;
use crate::reply::{self, Refusal};
use crate::report::Report;

impl Server {
    /// RFC 8656 section 8.2.
    pub(super) fn refresh(
        &mut self,
        context: Context<'_>,
        client: FiveTuple,
        request: &Message<'_>,
        user: &User,
    ) -> Result<Option<Vec<u8>>, Refusal> {
        let ticket = request.raw_attribute(MOBILITY_TICKET);
        let asked = optional::<Lifetime>(request)?.map(|lifetime| lifetime.seconds());
        let family = optional_family::<RequestedAddressFamily>(request, RequestedAddressFamily::family)
            .map_err(|refusal| match refusal.code() {
                ErrorCode::ADDRESS_FAMILY_NOT_SUPPORTED => ErrorCode::PEER_ADDRESS_FAMILY_MISMATCH.into(),
                _ => refusal,
            })?
            .map(|family| if family == AddressFamily::IPV4 { Family::V4 } else { Family::V6 });
        let id = match &ticket {
            Some(ticket) => self.follow(client, &ticket.value, user)?,
            None => self.owned(client, user)?,
        };
        let ticket = ticket.and_then(|_| self.ticket(self.table.get(id)?));
        let allocation = self.table.get_mut(id).expect("looked up above");
        if family.is_some_and(|family| allocation.relayed(family).is_none()) {
            return Err(ErrorCode::PEER_ADDRESS_FAMILY_MISMATCH.into());
        }
        let life = if asked == Some(0) { 0 } else { allocation::life(asked) };
        let (lifetime, ticket) = (Lifetime::new(life), ticket.unwrap_or_default());
        let ticket = RawAttribute::new(MOBILITY_TICKET, &ticket);
        let attributes: [&dyn AttributeWrite; 2] = [&lifetime, &ticket];
        let with_ticket = usize::from(!ticket.value.is_empty() && life > 0);
        let answer = reply::success(request, &attributes[..1 + with_ticket], &user.signature);
        if life == 0 {
            match family.filter(|_| allocation.second.is_some()) {
                Some(family) => self.end_family(id, family),
                None => self.end(id),
            }
        } else {
            allocation.until = context.now + Duration::from_secs(life.into());
            self.table.reschedule(id);
        }
        Ok(Some(answer))
    }

    /// The allocation that a request is about: 437 without one, 441 for somebody else's (RFC 8656 section 5).
    pub(super) fn owned(&self, client: FiveTuple, user: &User) -> Result<AllocationId, Refusal> {
        let id = self.table.id_of(client).ok_or(ErrorCode::ALLOCATION_MISMATCH)?;
        let owner = self.table.get(id).map(|allocation| allocation.username.as_str());
        if owner == Some(user.name.as_str()) { Ok(id) } else { Err(ErrorCode::WRONG_CREDENTIALS.into()) }
    }

    /// Ends an allocation and everything of it.
    pub(super) fn end(&mut self, id: AllocationId) {
        self.end_streams(id, |_| true);
        let Some(allocation) = self.table.remove(id) else { return };
        let removed = allocation.channels.iter().map(|channel| Output::RouteRemoved(id, channel.number));
        self.outputs.extend(removed);
        allocation.account().add_ended(&allocation.usage);
        self.outputs.push_back(Output::Report(Report::AllocationEnded {
            client: allocation.client,
            username: allocation.username.clone(),
            user: allocation.first.lease.user.clone(),
            relayed: allocation.first.public,
            since: allocation.since,
            usage: allocation.usage,
        }));
        let client = allocation.client;
        if let Some(mobility) = &allocation.mobility {
            let pending = mobility.pending.map(|pending| pending.to);
            let released = pending.into_iter().chain([client]);
            self.outputs.extend(released.map(|client| Output::Released { client }));
        }
        let second = allocation.second.map(|second| close(id, client, *second, false));
        self.outputs.extend(second.into_iter().chain([close(id, client, allocation.first, true)]));
    }

    /// Ends one of two relayed addresses, with its permissions and channels (RFC 8656 section 8.2).
    fn end_family(&mut self, id: AllocationId, family: Family) {
        let Some(allocation) = self.table.get_mut(id) else { return };
        let Some(relayed) = allocation.remove_relayed(family) else { return };
        allocation.permissions.retain(|ip, _| Family::of(ip) != family);
        allocation.channels.retain(|channel| {
            let stays = Family::of(channel.peer.ip()) != family;
            if !stays {
                self.outputs.push_back(Output::RouteRemoved(id, channel.number));
            }
            stays
        });
        self.outputs.push_back(close(id, allocation.client, relayed, false));
        self.table.reschedule(id);
    }

    /// Something of an allocation is over: drops just that.
    pub(super) fn expire(&mut self, now: Instant, id: AllocationId) {
        let Some(allocation) = self.table.get_mut(id) else { return };
        if allocation.until <= now {
            return self.end(id);
        }
        if allocation.streams.is_some() {
            self.end_streams(id, |stream| !stream.is_bound() && stream.until <= now);
        }
        let Some(allocation) = self.table.get_mut(id) else { return };
        allocation.permissions.retain(|_, permission| permission.until > now);
        allocation.channels.retain(|channel| {
            let alive = channel.until > now;
            if !alive {
                self.outputs.push_back(Output::RouteRemoved(id, channel.number));
            }
            alive
        });
        self.table.reschedule(id);
    }

    /// Removes every permission and channel that the policy denies now.
    pub(super) fn apply_policy(&mut self, context: Context<'_>) {
        let policy = std::sync::Arc::clone(&self.policy);
        let ids: Vec<_> = self.table.iter().map(|allocation| allocation.id).collect();
        for id in ids {
            let Some(allocation) = self.table.get_mut(id) else { continue };
            // An address that is ours now, or no longer, needs a new permission: it travels another way. Which of its
            // ports are open is asked for each packet.
            allocation.permissions.retain(|ip, permission| {
                let peer = PeerAddress::new(std::net::SocketAddr::new(ip, 0));
                let own = policy.is_own(ip);
                own == permission.own && (own || policy.explain_ip(&peer, context.open).allowed)
            });
            allocation.channels.retain(|channel| {
                let verdict = policy.explain(&PeerAddress::new(channel.peer), context.open);
                let keep = verdict.allowed && verdict.own == channel.own;
                if !keep {
                    self.outputs.push_back(Output::RouteRemoved(id, channel.number));
                }
                keep
            });
            let open = Listening(context.open);
            self.end_streams(id, |stream| !policy.explain(&PeerAddress::new(stream.peer), &open).allowed);
            self.table.reschedule(id);
        }
    }
}

fn close(allocation: AllocationId, client: FiveTuple, relayed: Relayed, last: bool) -> Output {
    Output::CloseRelay { allocation, last, client, local: relayed.local, lease: relayed.lease }
}
