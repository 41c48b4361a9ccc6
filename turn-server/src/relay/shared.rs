//! The little that workers share: the registrar, credentials, and reserved sockets. Asked on control paths only, so a
//! lock is held for a table look-up, never for a packet.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use arc_swap::{ArcSwap, ArcSwapOption};
use mio::net::TcpListener;
use service::udp::{Offload, UdpSocket};
use turn::dtls_hello::Cookies;
use turn::proxy::Proxies;
use turn::{
    BoundRelay, Credentials, Family, Grant, Lease, PortWish, QuotaKey, Registrar, RegistrarConfig, Revocations,
    Unavailable,
};

use super::command::RelayLoad;
use super::credentials;
use super::encryption::Encryption;
use super::hook::Hook;
use super::settings::{RelayAddress, RelayError, Settings};
use super::worker::listen;
use crate::handover::LivePorts;

/// Ports that other programs may have in our range, before we give up.
const BIND_TRIES: u32 = 64;

/// See the module.
pub(super) struct Shared {
    pub(super) credentials: ArcSwap<Credentials>,
    /// Of new connections; `None`: TLS is off.
    pub(super) encryption: ArcSwapOption<Encryption>,
    /// Of the DTLS sessions that may begin.
    pub(super) cookies: Cookies,
    /// Whose connections begin with a PROXY header.
    pub(super) proxies: ArcSwap<Proxies>,
    /// Asked for users that nobody here knows; `None`: nobody else is asked.
    pub(super) hook: ArcSwapOption<Hook>,
    revocations: Mutex<Revocations>,
    settings: Settings,
    offload: Offload,
    live: Arc<LivePorts>,
    held: Mutex<Held>,
}

struct Held {
    registrar: Registrar,
    max_allocations: u32,
    /// By RESERVATION-TOKEN: bound, so that nobody else gets the port.
    reserved: HashMap<u64, UdpSocket>,
}

impl Shared {
    pub(super) fn new(
        settings: &Settings,
        encryption: Option<Encryption>,
        live: Arc<LivePorts>,
    ) -> Result<Self, RelayError> {
        let registrar = Registrar::new(&RegistrarConfig {
            ports_v4: settings.ports(Family::V4),
            ports_v6: settings.ports(Family::V6),
            quotas: settings.quotas,
            seed: rand::random(),
        });
        Ok(Self {
            credentials: ArcSwap::from_pointee(credentials::of(settings)),
            encryption: ArcSwapOption::from_pointee(encryption),
            cookies: Cookies::new(&rand::random(), Instant::now()),
            proxies: ArcSwap::from_pointee(settings.proxies.clone()),
            hook: ArcSwapOption::empty(),
            revocations: Mutex::default(),
            settings: settings.clone(),
            offload: Offload::probe().map_err(RelayError::System)?,
            live,
            held: Mutex::new(Held { registrar, max_allocations: settings.quotas.total, reserved: HashMap::new() }),
        })
    }

    pub(super) fn reload(&self, settings: &Settings, encryption: Option<Encryption>) {
        self.encryption.store(encryption.map(Arc::new));
        self.proxies.store(Arc::new(settings.proxies.clone()));
        self.credentials.store(Arc::new(credentials::of(settings)));
        let mut held = self.held();
        held.registrar.handle_quotas(settings.quotas);
        held.max_allocations = settings.quotas.total;
    }

    /// Where a peer is reached that may have been named by an external address of ours. `None`: an `own` address that nothing
    /// is relayed at, where the kernel would find other programs of this host.
    pub(super) fn reachable(&self, peer: SocketAddr, own: bool) -> Option<SocketAddr> {
        let is_it = |address: &&RelayAddress| address.public == peer.ip() || address.bind == peer.ip();
        match self.settings.relay_addresses.iter().find(is_it) {
            Some(relay) => Some(SocketAddr::new(relay.bind, peer.port())),
            None => (!own).then_some(peer),
        }
    }

    /// How a peer is known that may be a relayed address of ours.
    pub(super) fn known_as(&self, peer: SocketAddr) -> SocketAddr {
        let own = self.settings.relay_addresses.iter().find(|address| address.bind == peer.ip());
        SocketAddr::new(own.map_or(peer.ip(), |address| address.public), peer.port())
    }

    /// Ids whose credentials were taken back.
    pub(super) fn revocations(&self) -> MutexGuard<'_, Revocations> {
        // Sound at every step.
        self.revocations.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        // The tables are sound at every await-free step; a panicked worker does not spoil them.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leases a port and binds it for `worker`.
    pub(super) fn bind_relay(
        &self,
        worker: u8,
        user: &QuotaKey,
        client: IpAddr,
        family: Family,
        wish: PortWish,
    ) -> Result<(UdpSocket, BoundRelay), Unavailable> {
        let mut held = self.held();
        for _ in 0..BIND_TRIES {
            let grant = held.registrar.handle_wish(Instant::now(), user, client, family, wish)?;
            match self.bind_grant(&mut held, &grant) {
                Ok((socket, bound)) => {
                    self.live.set(bound.relayed, worker);
                    return Ok((socket, bound));
                }
                Err(error) => {
                    held.registrar.handle_release(&grant.lease);
                    if let Some(reserved) = &grant.reserved {
                        held.registrar.handle_unreserve(reserved);
                    }
                    // The port belongs to another program: the next one is as good.
                    if error.kind() != io::ErrorKind::AddrInUse {
                        tracing::warn!(%error, "no relayed socket");
                        return Err(Unavailable::Capacity);
                    }
                }
            }
        }
        Err(Unavailable::Capacity)
    }

    /// Leases a port and listens there for peers (RFC 6062). Nobody else's packets are handed over to such a port.
    pub(super) fn bind_listener(
        &self,
        user: &QuotaKey,
        client: IpAddr,
        family: Family,
    ) -> Result<(TcpListener, BoundRelay), Unavailable> {
        let address = self.settings.relay_address(family).ok_or(Unavailable::Capacity)?;
        let mut held = self.held();
        for _ in 0..BIND_TRIES {
            let lease = held.registrar.handle_wish(Instant::now(), user, client, family, PortWish::Any)?.lease;
            let local = SocketAddr::new(address.bind, lease.port);
            match listen(local) {
                Ok(listener) => {
                    let relayed = SocketAddr::new(address.public, lease.port);
                    self.live.set_listening(relayed, true);
                    return Ok((listener, BoundRelay { relayed, local, lease, token: None }));
                }
                Err(error) => {
                    held.registrar.handle_release(&lease);
                    if error.kind() != io::ErrorKind::AddrInUse {
                        tracing::warn!(%error, "no relayed listener");
                        return Err(Unavailable::Capacity);
                    }
                }
            }
        }
        Err(Unavailable::Capacity)
    }

    fn bind_grant(&self, held: &mut Held, grant: &Grant) -> io::Result<(UdpSocket, BoundRelay)> {
        let family = grant.lease.family;
        let address = self.settings.relay_address(family).ok_or(io::ErrorKind::AddrNotAvailable)?;
        let bind = |port| UdpSocket::bind_small(SocketAddr::new(address.bind, port), &self.offload);
        let reserved = grant.used_token.and_then(|token| held.reserved.remove(&token));
        let socket = reserved.map_or_else(|| bind(grant.lease.port), Ok)?;
        if let Some(reserved) = &grant.reserved {
            let second = bind(reserved.lease.port)?;
            held.reserved.insert(reserved.token, second);
        }
        let bound = BoundRelay {
            relayed: SocketAddr::new(address.public, grant.lease.port),
            local: socket.local_addr(),
            lease: grant.lease.clone(),
            token: grant.reserved.as_ref().map(|reserved| reserved.token),
        };
        Ok((socket, bound))
    }

    /// Gives a port back; its socket is closed already.
    pub(super) fn release(&self, lease: &Lease) {
        if let Some(address) = self.settings.relay_address(lease.family) {
            let relayed = SocketAddr::new(address.public, lease.port);
            self.live.clear(relayed);
            self.live.set_listening(relayed, false);
        }
        self.held().registrar.handle_release(lease);
    }

    /// Ends reservations that are due; says when the next one is.
    pub(super) fn expire_reservations(&self, now: Instant) -> Option<Instant> {
        let mut held = self.held();
        while let Some(token) = held.registrar.handle_timeout(now) {
            held.reserved.remove(&token);
        }
        held.registrar.poll_timeout()
    }

    /// Grants nothing from now on.
    pub(super) fn drain(&self) {
        self.held().registrar.handle_drain();
    }

    /// What is held, and what there is.
    pub(super) fn load(&self) -> RelayLoad {
        let held = self.held();
        let ports = self.settings.families().into_iter().map(|family| held.registrar.ports(family));
        let (used, all) = ports.fold((0, 0), |sum, (used, all)| (sum.0 + used, sum.1 + all));
        RelayLoad {
            allocations: held.registrar.held(),
            max_allocations: held.max_allocations,
            ports_used: used,
            ports: all,
            draining: held.registrar.is_draining(),
        }
    }

    /// The realm that keys are made for.
    pub(super) fn realm(&self) -> &str {
        &self.settings.realm
    }

    /// Ports in use or reserved.
    pub(super) fn ports_used(&self) -> u32 {
        self.held().registrar.ports_used()
    }
}
