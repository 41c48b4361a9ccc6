//! Which peers may be reached: the one check behind every door (CreatePermission, ChannelBind, Send, reload).
//!
//! Order: own addresses (only their open ports), metadata services, then the narrowest of the operator's ranges (deny
//! wins a tie), then the built-in deny list, then allowed. An IPv6 address that holds an IPv4 address must pass for both.

mod builtin;
mod range;

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use crate::address::PeerAddress;
pub(crate) use range::Range;

/// Why a list is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// Not an address, `address/bits` or `first-last`.
    #[error("`{0}` is not an address, a range like 10.0.0.0/8, or two addresses like 10.0.0.1-10.0.0.9")]
    NotARange(String),
}

/// Which ports of our own addresses a peer may name: media ports and live relayed ports.
pub trait OpenPorts {
    /// Whether `address`, one of our own, may be reached through the relay at this moment.
    fn is_open(&self, address: SocketAddr) -> bool;
}

/// No port of ours is open.
impl OpenPorts for () {
    fn is_open(&self, _: SocketAddr) -> bool {
        false
    }
}

/// What the policy says of one peer, and which rule said so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict<'a> {
    /// May be reached.
    pub allowed: bool,
    /// One of our own addresses: allowed for open ports only, checked again for every packet.
    pub own: bool,
    /// The rule that decided, for people.
    pub rule: &'a str,
}

/// An operator's range.
#[derive(Debug, Clone)]
struct Rule {
    range: Range,
    allow: bool,
    name: String,
}

/// The peer policy of a server. Replace it as a whole to change it.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    own: BTreeSet<IpAddr>,
    /// Narrowest first; of equal ranges, deny first.
    rules: Vec<Rule>,
}

impl Policy {
    /// A policy for a host with these own addresses (interfaces, advertised, external; loopback is implied).
    ///
    /// # Errors
    /// A range that cannot be read: refuse to start rather than to guess.
    pub fn new(own: impl IntoIterator<Item = IpAddr>, allow: &[String], deny: &[String]) -> Result<Self, PolicyError> {
        let mut rules = Vec::new();
        for (list, allow) in [(deny, false), (allow, true)] {
            for text in list {
                let name = format!("{} {text}", if allow { "allow_peers" } else { "deny_peers" });
                rules.push(Rule { range: Range::parse(text)?, allow, name });
            }
        }
        rules.sort_by_key(|rule| (rule.range.size(), rule.allow));
        let own = own.into_iter().map(|ip| ip.to_canonical()).filter(|ip| !ip.is_unspecified()).collect();
        Ok(Self { own, rules })
    }

    /// Whether a packet for this address would arrive at this host.
    pub fn is_own(&self, ip: IpAddr) -> bool {
        ip.is_loopback() || self.own.contains(&ip)
    }

    /// Decides on a peer, and says by which rule.
    pub fn explain(&self, peer: &PeerAddress, open: &dyn OpenPorts) -> Verdict<'_> {
        let verdict = self.decide(peer.ip(), peer.port(), open);
        if !verdict.allowed {
            return verdict;
        }
        if peer.is_mapped() {
            return denied(builtin::MAPPED);
        }
        match peer.embedded_ipv4() {
            Some(inside) if self.is_own(inside.into()) => denied(builtin::OWN_INSIDE),
            Some(inside) => {
                let inner = self.decide(inside.into(), peer.port(), open);
                if inner.allowed { verdict } else { inner }
            }
            None => verdict,
        }
    }

    fn decide(&self, ip: IpAddr, port: u16, open: &dyn OpenPorts) -> Verdict<'_> {
        if ip.is_unspecified() {
            return denied(builtin::UNSPECIFIED);
        }
        if self.is_own(ip) {
            let allowed = open.is_open(SocketAddr::new(ip, port));
            let rule = if allowed { builtin::OWN_OPEN } else { builtin::OWN_CLOSED };
            return Verdict { allowed, own: true, rule };
        }
        let by_operator = self.rules.iter().find(|rule| rule.range.contains(ip));
        if let Some(rule) = builtin::metadata(ip) {
            // A wide allow range does not mean the host's credentials; naming the address does.
            let named = by_operator.filter(|rule| rule.allow && rule.range.size() == 0);
            return named.map_or(denied(rule), Rule::verdict);
        }
        if let Some(rule) = by_operator {
            return rule.verdict();
        }
        match builtin::denied(ip) {
            Some(rule) => denied(rule),
            None => Verdict { allowed: true, own: false, rule: builtin::DEFAULT },
        }
    }
}

impl Rule {
    fn verdict(&self) -> Verdict<'_> {
        Verdict { allowed: self.allow, own: false, rule: &self.name }
    }
}

fn denied(rule: &str) -> Verdict<'_> {
    Verdict { allowed: false, own: false, rule }
}

#[cfg(test)]
mod tests;
