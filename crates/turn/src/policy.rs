//! Which peers may be reached: the one check behind every door (CreatePermission, ChannelBind, Send, reload).
//!
//! Order: own addresses (only their open ports), nobody else if only media is served, metadata services, then the narrowest of the operator's ranges (deny
//! wins a tie), then the built-in deny list, then the port, then allowed. An IPv6 address that holds an IPv4 address must pass for both.

mod builtin;
mod ports;
mod range;

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use crate::address::PeerAddress;
#[cfg(test)]
pub(crate) use builtin::DENIED;
use ports::PeerPorts;
pub use range::AddressRange;

/// Why a list is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// Not an address, `address/bits` or `first-last`.
    #[error("`{0}` is not an address, a range like 10.0.0.0/8, or two addresses like 10.0.0.1-10.0.0.9")]
    NotARange(String),
    /// Neither a port nor `first-last`.
    #[error("`{0}` is not a port from 1 to 65535, nor two like 1024-65535")]
    NotAPort(String),
}

/// Which ports of our own addresses a peer may name: media ports and live relayed ports.
pub trait OpenPorts {
    /// Whether `address`, one of our own, may be reached through the relay at this moment.
    fn is_open(&self, address: SocketAddr) -> bool;

    /// Whether `address`, one of our own, is a media port.
    fn is_media(&self, address: SocketAddr) -> bool;

    /// Whether `address`, one of our own, is the relayed address of a TCP allocation that lives.
    fn is_listening(&self, _: SocketAddr) -> bool {
        false
    }
}

/// The ports that are open for connections, where the others are for datagrams.
pub(crate) struct Listening<'a>(pub(crate) &'a dyn OpenPorts);

impl OpenPorts for Listening<'_> {
    fn is_open(&self, address: SocketAddr) -> bool {
        self.0.is_listening(address)
    }

    fn is_media(&self, _: SocketAddr) -> bool {
        false
    }
}

/// No port of ours is open.
impl OpenPorts for () {
    fn is_open(&self, _: SocketAddr) -> bool {
        false
    }

    fn is_media(&self, _: SocketAddr) -> bool {
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
    range: AddressRange,
    allow: bool,
    name: String,
}

/// The peer policy of a server. Replace it as a whole to change it.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    own: BTreeSet<IpAddr>,
    /// Narrowest first; of equal ranges, deny first.
    rules: Vec<Rule>,
    ports: PeerPorts,
    media_only: bool,
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
                rules.push(Rule { range: AddressRange::parse(text)?, allow, name });
            }
        }
        rules.sort_by_key(|rule| (rule.range.size(), rule.allow));
        let own = own.into_iter().map(|ip| ip.to_canonical()).filter(|ip| !ip.is_unspecified()).collect();
        Ok(Self { own, rules, ..Self::default() })
    }

    /// Peers that are not ours may be sent to at these ports only, each `port` or `first-last`.
    ///
    /// # Errors
    /// An entry that cannot be read.
    pub fn with_ports(mut self, ports: &[String]) -> Result<Self, PolicyError> {
        self.ports = PeerPorts::parse(ports)?;
        Ok(self)
    }

    /// No peer may be reached but our own media ports.
    pub fn media_only(mut self) -> Self {
        self.media_only = true;
        self
    }

    /// Whether a packet for this address would arrive at this host.
    pub fn is_own(&self, ip: IpAddr) -> bool {
        ip.is_loopback() || self.own.contains(&ip)
    }

    /// Whether the port `address` of our own may be reached now.
    pub(crate) fn is_open(&self, address: SocketAddr, open: &dyn OpenPorts) -> bool {
        if self.media_only { open.is_media(address) } else { open.is_open(address) }
    }

    /// Whether packets may come from this port of a peer that is not ours.
    pub(crate) fn is_port_allowed(&self, port: u16) -> bool {
        self.ports.contains(port)
    }

    /// Decides on a peer, and says by which rule.
    pub fn explain(&self, peer: &PeerAddress, open: &dyn OpenPorts) -> Verdict<'_> {
        let verdict = self.explain_address(peer, open);
        if verdict.allowed && !verdict.own && !self.ports.contains(peer.port()) {
            return denied(&self.ports.rule);
        }
        verdict
    }

    /// Decides on a peer's IP: a permission is for any port of it (RFC 8656 section 9), which each packet is checked for.
    /// Where the IP is ours, a port that is named must be open; clients that name none write 0.
    pub fn explain_ip(&self, peer: &PeerAddress, open: &dyn OpenPorts) -> Verdict<'_> {
        if peer.port() == 0 && !peer.is_mapped() && self.is_own(peer.ip()) {
            return Verdict { allowed: true, own: true, rule: builtin::OWN_ANY };
        }
        self.explain_address(peer, open)
    }

    fn explain_address(&self, peer: &PeerAddress, open: &dyn OpenPorts) -> Verdict<'_> {
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
            let allowed = self.is_open(SocketAddr::new(ip, port), open);
            let rule = match (allowed, self.media_only) {
                (true, _) => builtin::OWN_OPEN,
                (false, false) => builtin::OWN_CLOSED,
                (false, true) => builtin::OWN_NOT_MEDIA,
            };
            return Verdict { allowed, own: true, rule };
        }
        if self.media_only {
            return denied(builtin::MEDIA_ONLY);
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
pub(crate) mod tests;
