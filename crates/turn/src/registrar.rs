//! The state that spans 5-tuples and workers: quota per user, ports in use, reserved ports. One for any number of
//! servers, asked on control paths only. It binds nothing: the shell does, and comes back for another port if it fails.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::account::Account;
use crate::address::Family;
use crate::ports::Ports;
use crate::quota::{Quota, QuotaKey, Quotas, Source};

/// A reserved port is kept this long for the allocation that comes for it (RFC 8656 section 7.2: at least 30 s).
const RESERVATION: Duration = Duration::from_secs(30);

/// What a registrar is made with.
#[derive(Debug, Clone)]
pub struct RegistrarConfig {
    /// Relayed ports over IPv4.
    pub ports_v4: RangeInclusive<u16>,
    /// Relayed ports over IPv6.
    pub ports_v6: RangeInclusive<u16>,
    /// Allocations and reservations at once.
    pub quotas: Quotas,
    /// Seed of the random ports and tokens.
    pub seed: [u8; 32],
}

/// Which port an allocation wants (RFC 8656 sections 18.5 and 18.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortWish {
    /// Any.
    Any,
    /// An even one; with `reserve`, the next higher one is kept for a second allocation.
    Even {
        /// EVEN-PORT with its R bit.
        reserve: bool,
    },
    /// The one that was reserved with this token.
    Reserved(u64),
}

/// A port that belongs to one user until it is given back with [`Registrar::handle_release`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Family of the relayed address.
    pub family: Family,
    /// The port.
    pub port: u16,
    /// Who pays.
    pub user: QuotaKey,
    /// What the user's allocations have in common.
    pub account: Account,
    /// Where the client was that asked.
    pub(crate) source: Source,
}

/// The answer to a wish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The port to bind, or that is bound already if it was reserved.
    pub lease: Lease,
    /// The token that the grant used up: the shell holds the bound socket under it.
    pub used_token: Option<u64>,
    /// The port to bind and to keep for later.
    pub reserved: Option<Reserved>,
}

/// A port that waits for the allocation with its token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reserved {
    /// RESERVATION-TOKEN.
    pub token: u64,
    /// The port, paid by the same user.
    pub lease: Lease,
}

/// Why there is no port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// The user holds as many as allowed: 486.
    #[error("allocation quota of the user reached")]
    UserQuota,
    /// The client's address holds as many as allowed: 486.
    #[error("allocation quota of the address reached")]
    AddressQuota,
    /// The server holds as many as allowed: 508.
    #[error("allocation quota of the server reached")]
    TotalQuota,
    /// The server takes nobody new: 508.
    #[error("draining")]
    Draining,
    /// No port fits the wish, or the token is unknown, used or expired: 508.
    #[error("insufficient capacity")]
    Capacity,
}

/// Quota, ports and reservations of a server.
pub struct Registrar {
    quota: Quota,
    draining: bool,
    v4: Ports,
    v6: Ports,
    reserved: BTreeMap<u64, (Instant, Lease)>,
    expiries: BTreeSet<(Instant, u64)>,
    rng: StdRng,
}

impl Registrar {
    /// Nothing is held.
    pub fn new(config: &RegistrarConfig) -> Self {
        Self {
            quota: Quota::new(config.quotas),
            draining: false,
            v4: Ports::new(*config.ports_v4.start(), *config.ports_v4.end()),
            v6: Ports::new(*config.ports_v6.start(), *config.ports_v6.end()),
            reserved: BTreeMap::new(),
            expiries: BTreeSet::new(),
            rng: StdRng::from_seed(config.seed),
        }
    }

    /// Grants nothing from now on; what was granted stays.
    pub fn handle_drain(&mut self) {
        self.draining = true;
    }

    /// Whether nothing is granted any more.
    pub fn is_draining(&self) -> bool {
        self.draining
    }

    /// Changes the limits; who holds more keeps it.
    pub fn handle_quotas(&mut self, quotas: Quotas) {
        self.quota.set_limits(quotas);
    }

    /// Grants a port to a user who asks from `client`.
    ///
    /// # Errors
    /// RFC 8656 section 7.2: 486 by user and by address, 508 where nothing fits the wish.
    pub fn handle_wish(
        &mut self,
        now: Instant,
        user: &QuotaKey,
        client: IpAddr,
        family: Family,
        wish: PortWish,
    ) -> Result<Grant, Unavailable> {
        if self.draining {
            return Err(Unavailable::Draining);
        }
        if let PortWish::Reserved(token) = wish {
            return self.redeem(now, user, token);
        }
        let pair = wish == PortWish::Even { reserve: true };
        // A reservation counts: otherwise short allocations could hold any number of ports for 30 s each.
        let count = if pair { 2 } else { 1 };
        let source = Source::of(client);
        let account = self.quota.take(user, source, count)?;
        let (ports, rng) = match family {
            Family::V4 => (&mut self.v4, &mut self.rng),
            Family::V6 => (&mut self.v6, &mut self.rng),
        };
        let port = if wish == PortWish::Any { ports.take(rng) } else { ports.take_even(rng, pair) };
        let Some(port) = port else {
            (0..count).for_each(|_| self.quota.give_back(user, source));
            return Err(Unavailable::Capacity);
        };
        let lease = |port| Lease { family, port, user: user.clone(), account: account.clone(), source };
        let reserved = pair.then(|| self.reserve(now, lease(port + 1)));
        Ok(Grant { lease: lease(port), used_token: None, reserved })
    }

    fn reserve(&mut self, now: Instant, lease: Lease) -> Reserved {
        let token = loop {
            let token = self.rng.random();
            if !self.reserved.contains_key(&token) {
                break token;
            }
        };
        let until = now + RESERVATION;
        self.reserved.insert(token, (until, lease.clone()));
        self.expiries.insert((until, token));
        Reserved { token, lease }
    }

    fn redeem(&mut self, now: Instant, user: &QuotaKey, token: u64) -> Result<Grant, Unavailable> {
        match self.reserved.get(&token) {
            Some((until, lease)) if *until > now && lease.user == *user => {}
            _ => return Err(Unavailable::Capacity),
        }
        let (until, lease) = self.reserved.remove(&token).expect("looked up above");
        self.expiries.remove(&(until, token));
        Ok(Grant { lease, used_token: Some(token), reserved: None })
    }

    /// Takes a port back, whether it was bound or could not be.
    pub fn handle_release(&mut self, lease: &Lease) {
        let ports = match lease.family {
            Family::V4 => &mut self.v4,
            Family::V6 => &mut self.v6,
        };
        ports.give_back(lease.port);
        self.quota.give_back(&lease.user, lease.source);
    }

    /// Drops a reservation whose port could not be bound.
    pub fn handle_unreserve(&mut self, reserved: &Reserved) {
        if let Some((until, lease)) = self.reserved.remove(&reserved.token) {
            self.expiries.remove(&(until, reserved.token));
            self.handle_release(&lease);
        }
    }

    /// When the next reservation ends.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.expiries.first().map(|(at, _)| *at)
    }

    /// Ends one reservation that is due; the shell closes its socket. Call until it gives `None`.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<u64> {
        let (at, token) = *self.expiries.first()?;
        if at > now {
            return None;
        }
        self.expiries.remove(&(at, token));
        if let Some((_, lease)) = self.reserved.remove(&token) {
            self.handle_release(&lease);
        }
        Some(token)
    }

    /// Ports of a family: in use or reserved, and all.
    pub fn ports(&self, family: Family) -> (u32, u32) {
        let ports = match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        };
        (ports.used(), ports.size())
    }

    /// Ports in use or reserved.
    pub fn ports_used(&self) -> u32 {
        self.v4.used() + self.v6.used()
    }

    /// Allocations and reservations of all users.
    pub fn held(&self) -> u32 {
        self.quota.total()
    }

    /// Allocations and reservations of one user.
    pub fn held_by(&self, user: &QuotaKey) -> u32 {
        self.quota.held(user)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    fn registrar(per_user: u32) -> Registrar {
        let quotas = Quotas { per_user, ..Quotas::default() };
        let (ports_v4, ports_v6) = (50_000..=50_007, 60_000..=60_007);
        Registrar::new(&RegistrarConfig { ports_v4, ports_v6, quotas, seed: [7; 32] })
    }

    /// Rule: turn-reservation
    #[test]
    fn a_reserved_port_is_given_once_to_the_same_user_and_in_time() {
        let mut registrar = registrar(4);
        let now = crate::some_instant();
        let (alice, bob) = (QuotaKey::new("alice"), QuotaKey::new("bob"));
        let pair = PortWish::Even { reserve: true };
        let grant = registrar.handle_wish(now, &alice, HERE, Family::V4, pair).unwrap();
        let reserved = grant.reserved.unwrap();
        assert_eq!(reserved.lease.port, grant.lease.port + 1);
        assert_eq!(registrar.held_by(&alice), 2);

        let wish = PortWish::Reserved(reserved.token);
        assert_eq!(registrar.handle_wish(now, &bob, HERE, Family::V4, wish), Err(Unavailable::Capacity));
        let late = now + RESERVATION;
        assert_eq!(registrar.handle_wish(late, &alice, HERE, Family::V4, wish), Err(Unavailable::Capacity));
        let second = registrar.handle_wish(now, &alice, HERE, Family::V4, wish).unwrap();
        assert_eq!((second.lease.clone(), second.used_token), (reserved.lease, Some(reserved.token)));
        assert_eq!(registrar.handle_wish(now, &alice, HERE, Family::V4, wish), Err(Unavailable::Capacity));
        assert_eq!(registrar.poll_timeout(), None);

        registrar.handle_release(&grant.lease);
        registrar.handle_release(&second.lease);
        assert_eq!((registrar.ports_used(), registrar.held_by(&alice)), (0, 0));
    }

    #[test]
    fn who_drains_grants_nothing_and_takes_everything_back() {
        let mut registrar = registrar(4);
        let now = crate::some_instant();
        let alice = QuotaKey::new("alice");
        let pair = PortWish::Even { reserve: true };
        let grant = registrar.handle_wish(now, &alice, HERE, Family::V4, pair).unwrap();
        assert_eq!((registrar.ports(Family::V4), registrar.ports(Family::V6)), ((2, 8), (0, 8)));
        registrar.handle_drain();
        let token = PortWish::Reserved(grant.reserved.unwrap().token);
        for wish in [PortWish::Any, pair, token] {
            assert_eq!(registrar.handle_wish(now, &alice, HERE, Family::V4, wish), Err(Unavailable::Draining));
        }
        registrar.handle_release(&grant.lease);
        assert!(registrar.handle_timeout(now + RESERVATION).is_some() && registrar.is_draining());
        assert_eq!((registrar.held(), registrar.ports_used()), (0, 0));
    }

    #[test]
    fn an_unused_reservation_ends_and_gives_everything_back() {
        let mut registrar = registrar(4);
        let now = crate::some_instant();
        let alice = QuotaKey::new("alice");
        let grant = registrar.handle_wish(now, &alice, HERE, Family::V6, PortWish::Even { reserve: true }).unwrap();
        registrar.handle_release(&grant.lease);
        assert_eq!(registrar.handle_timeout(now + Duration::from_secs(29)), None);
        let token = grant.reserved.unwrap().token;
        assert_eq!(registrar.poll_timeout(), Some(now + RESERVATION));
        assert_eq!(registrar.handle_timeout(now + RESERVATION), Some(token));
        assert_eq!(registrar.ports_used(), 0);
    }

    /// Rule: turn-even-port, abuse-29
    #[test]
    fn families_have_ports_of_their_own() {
        let mut registrar = registrar(100);
        let (now, alice) = (crate::some_instant(), QuotaKey::new("alice"));
        let mut all = |family| {
            let mut take = || registrar.handle_wish(now, &alice, HERE, family, PortWish::Any).ok();
            let mut ports: Vec<u16> = std::iter::from_fn(|| take().map(|grant| grant.lease.port)).collect();
            ports.sort_unstable();
            ports
        };
        assert_eq!(all(Family::V6), (60_000..=60_007).collect::<Vec<_>>());
        assert_eq!(all(Family::V4), (50_000..=50_007).collect::<Vec<_>>());
    }

    #[test]
    fn ten_thousand_even_ports_leak_none() {
        let mut registrar = registrar(100);
        let now = crate::some_instant();
        let alice = QuotaKey::new("alice");
        for round in 0..10_000 {
            let wish = PortWish::Even { reserve: round % 2 == 0 };
            let grant = registrar.handle_wish(now, &alice, HERE, Family::V4, wish).unwrap();
            // R = 0 takes one port only.
            assert_eq!(registrar.ports_used(), if round % 2 == 0 { 2 } else { 1 });
            registrar.handle_release(&grant.lease);
            if let Some(reserved) = grant.reserved {
                registrar.handle_unreserve(&reserved);
            }
        }
        assert_eq!((registrar.ports_used(), registrar.held_by(&alice)), (0, 0));
    }

    /// Rule: turn-486, abuse-28
    #[test]
    fn the_quota_is_per_user_and_full_ranges_cost_none() {
        let mut registrar = registrar(5);
        let now = crate::some_instant();
        let (alice, bob) = (QuotaKey::new("alice"), QuotaKey::new("bob"));
        for _ in 0..5 {
            registrar.handle_wish(now, &alice, HERE, Family::V4, PortWish::Any).unwrap();
        }
        assert_eq!(registrar.handle_wish(now, &alice, HERE, Family::V4, PortWish::Any), Err(Unavailable::UserQuota));
        for _ in 0..3 {
            registrar.handle_wish(now, &bob, HERE, Family::V4, PortWish::Any).unwrap();
        }
        assert_eq!(registrar.handle_wish(now, &bob, HERE, Family::V4, PortWish::Any), Err(Unavailable::Capacity));
        assert_eq!(registrar.held_by(&bob), 3);
    }
}
