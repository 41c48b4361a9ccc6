//! What every row starts from: a server, a peer elsewhere, and a user of its own for each row.

use std::net::{Ipv4Addr, SocketAddr};

use super::probe::{Answer, Attr, Probe};

/// See the module.
pub(crate) struct World {
    pub(crate) server: SocketAddr,
    /// Our end of the way to the peer: relayed addresses are here.
    pub(crate) here: Ipv4Addr,
    /// Sends everything back.
    pub(crate) echo: SocketAddr,
    /// Users that no row has used yet.
    next: usize,
}

/// How many users a configuration needs.
pub(crate) const USERS: usize = 300;
/// What they all have.
pub(crate) const PASSWORD: &str = "opensesame";
/// Allocations at once for each of them.
pub(crate) const QUOTA: usize = 10;

impl World {
    pub(crate) fn new(server: SocketAddr, here: Ipv4Addr, echo: SocketAddr) -> Self {
        Self { server, here, echo, next: 0 }
    }

    /// A client of a new user.
    pub(crate) fn user(&mut self) -> Probe {
        self.next += 1;
        Probe::new(self.server, &format!("user{}", self.next), PASSWORD)
    }

    /// Another 5-tuple of the same user.
    pub(crate) fn again(&self, probe: &Probe) -> Probe {
        Probe::new(self.server, &probe.user, &probe.password)
    }

    /// A client that knows realm and nonce.
    pub(crate) fn greeted(&mut self) -> Probe {
        let mut probe = self.user();
        probe.greet();
        probe
    }

    /// A client with an IPv4 allocation.
    pub(crate) fn allocated(&mut self) -> Probe {
        self.allocated_with(&[])
    }

    /// A client with an allocation that was asked for with more attributes.
    pub(crate) fn allocated_with(&mut self, more: &[Attr]) -> Probe {
        let mut probe = self.user();
        probe.allocate(more);
        probe
    }

    /// The code of an Allocate with these attributes and no others.
    pub(crate) fn allocate_code(&mut self, attributes: &[Attr]) -> String {
        self.greeted().code(super::probe::ALLOCATE, attributes)
    }

    /// An Allocate's answer.
    pub(crate) fn allocate(&mut self, more: &[Attr]) -> Option<Answer> {
        self.user().allocate(more)
    }
}
