//! CreatePermission and ChannelBind: both doors to peers, both through the same policy.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Instant;

use stun_types::attribute::{Attribute as _, AttributeStaticType, ErrorCode};
use stun_types::message::Message;
use turn_types::attribute::{ChannelNumber, XorPeerAddress};

use super::allocate::optional;
use super::{Context, Output, Server, User};
use crate::address::{Family, FiveTuple, PeerAddress};
use crate::allocation::{Allocation, AllocationId};
use crate::channel::{self, Channel};
use crate::policy::{Listening, OpenPorts, Verdict};
use crate::reply::{self, Refusal};
use crate::report::Report;
use crate::route::Route;
use crate::stats::Limit;

impl Server {
    /// RFC 8656 section 10.2: one or more peers, all or nothing.
    pub(super) fn create_permission(
        &mut self,
        context: Context<'_>,
        client: FiveTuple,
        request: &Message<'_>,
        user: &User,
    ) -> Result<Option<Vec<u8>>, Refusal> {
        let id = self.owned(client, user)?;
        let allocation = self.table.get(id).expect("owned() found it");
        let mut granted = Vec::new();
        let named = request.iter_attributes().filter(|(_, raw)| raw.get_type() == XorPeerAddress::TYPE);
        for (_, raw) in named {
            let peer = XorPeerAddress::try_from(&raw).map_err(|_| ErrorCode::BAD_REQUEST)?;
            let peer = PeerAddress::new(peer.addr(request.transaction_id()));
            let listening = Listening(context.open);
            let open: &dyn OpenPorts = if allocation.streams.is_some() { &listening } else { context.open };
            let verdict = self.policy.explain_ip(&peer, open);
            let own = check_peer(verdict, allocation, &peer, &mut self.outputs)?;
            granted.push((peer.ip(), own));
        }
        if granted.is_empty() {
            return Err(ErrorCode::BAD_REQUEST.into());
        }
        // One IP may be named as often as fits: it is one permission, and is refreshed once.
        granted.sort_unstable();
        granted.dedup();
        if !allocation.permissions.has_room(&granted) {
            return Err(ErrorCode::INSUFFICIENT_CAPACITY.into());
        }
        self.check_new_peers(context, id, &granted)?;
        let allocation = self.table.get_mut(id).expect("owned() found it");
        for (ip, own) in granted {
            self.outputs.extend(report_new(allocation, context.now, ip, own));
            let until = allocation.permissions.install(context.now, ip, own);
            allocation.channels.handle_permitted(ip, until);
            // Their routes live longer now.
            let channels = allocation.channels.iter().filter(|channel| channel.peer.ip() == ip);
            self.outputs.extend(channels.map(|channel| Output::RouteInstalled(route(allocation, channel))));
        }
        self.table.reschedule(id);
        Ok(Some(reply::success(request, &[], &user.signature)))
    }

    /// RFC 8656 section 12.2.
    pub(super) fn channel_bind(
        &mut self,
        context: Context<'_>,
        client: FiveTuple,
        request: &Message<'_>,
        user: &User,
    ) -> Result<Option<Vec<u8>>, Refusal> {
        let id = self.owned(client, user)?;
        let number = optional::<ChannelNumber>(request)?.ok_or(ErrorCode::BAD_REQUEST)?.channel();
        let peer = optional::<XorPeerAddress>(request)?.ok_or(ErrorCode::BAD_REQUEST)?;
        let peer = PeerAddress::new(peer.addr(request.transaction_id()));
        if !channel::numbers(self.options.rfc5766_channels).contains(&number) {
            return Err(ErrorCode::BAD_REQUEST.into());
        }
        let allocation = self.table.get(id).expect("owned() found it");
        // Channels are for datagrams.
        if allocation.streams.is_some() {
            return Err(ErrorCode::FORBIDDEN.into());
        }
        if !allocation.channels.is_bijective(number, peer.socket()) {
            return Err(ErrorCode::BAD_REQUEST.into());
        }
        let verdict = self.policy.explain(&peer, context.open);
        let own = check_peer(verdict, allocation, &peer, &mut self.outputs)?;
        if peer.port() == 0 {
            return Err(ErrorCode::BAD_REQUEST.into());
        }
        let room = allocation.channels.has_room(number) && allocation.permissions.has_room(&[(peer.ip(), own)]);
        if !room {
            return Err(ErrorCode::INSUFFICIENT_CAPACITY.into());
        }
        self.check_new_peers(context, id, &[(peer.ip(), own)])?;
        let allocation = self.table.get_mut(id).expect("owned() found it");
        self.outputs.extend(report_new(allocation, context.now, peer.ip(), own));
        let permitted_until = allocation.permissions.install(context.now, peer.ip(), own);
        allocation.channels.handle_permitted(peer.ip(), permitted_until);
        allocation.channels.bind(context.now, number, peer.socket(), own, permitted_until);
        let bound = allocation.channels.open(context.now, number);
        let installed = bound.map(|channel| Output::RouteInstalled(route(allocation, channel)));
        self.outputs.extend(installed);
        self.table.reschedule(id);
        Ok(Some(reply::success(request, &[], &user.signature)))
    }

    /// 508 for a user that permits new peers too fast, as one who scans does. Our own addresses are no news.
    pub(super) fn check_new_peers(
        &mut self,
        context: Context<'_>,
        id: AllocationId,
        peers: &[(IpAddr, bool)],
    ) -> Result<(), Refusal> {
        let rate = self.gate.limits.new_peers;
        let allocation = self.table.get(id).expect("owned() found it");
        let known = |ip| allocation.permissions.get(context.now, ip).is_some();
        let mut new = peers.iter().filter(|(ip, own)| !own && !known(*ip)).map(|(ip, _)| *ip).peekable();
        let account = allocation.account();
        if rate == 0 || new.peek().is_none() || account.takes_peers(&self.gate.trunk, context.now, new, rate) {
            return Ok(());
        }
        self.stats.limited(Limit::NewPeers);
        Err(ErrorCode::INSUFFICIENT_CAPACITY.into())
    }
}

/// The one check of a peer: 403 by policy, 443 by family. Says whether the peer is an address of ours.
pub(super) fn check_peer(
    verdict: Verdict<'_>,
    allocation: &Allocation,
    peer: &PeerAddress,
    outputs: &mut VecDeque<Output>,
) -> Result<bool, Refusal> {
    if !verdict.allowed {
        let (client, username, rule) = (allocation.client, allocation.username.clone(), verdict.rule.to_owned());
        outputs.push_back(Output::Report(Report::PeerDenied { client, username, peer: peer.socket(), rule }));
        return Err(ErrorCode::FORBIDDEN.into());
    }
    if allocation.relayed(Family::of(peer.ip())).is_none() {
        return Err(ErrorCode::PEER_ADDRESS_FAMILY_MISMATCH.into());
    }
    Ok(verdict.own)
}

/// What is said of a peer that is about to be permitted: nothing if it is already, or is one of our own addresses.
pub(super) fn report_new(allocation: &Allocation, now: Instant, peer: IpAddr, own: bool) -> Option<Output> {
    if own || allocation.permissions.get(now, peer).is_some() {
        return None;
    }
    let relayed = allocation.relayed(Family::of(peer)).unwrap_or(&allocation.first).public;
    let (client, username) = (allocation.client, allocation.username.clone());
    Some(Output::Report(Report::PeerPermitted { client, username, relayed, peer }))
}

/// A channel as somebody who mirrors the routes needs it.
pub(super) fn route(allocation: &Allocation, channel: &Channel) -> Route {
    Route {
        allocation: allocation.id,
        client: allocation.client,
        number: channel.number,
        relayed: allocation.relayed(Family::of(channel.peer.ip())).unwrap_or(&allocation.first).local,
        peer: channel.peer,
        until: channel.until.min(channel.permitted_until),
    }
}
