//! The relay's shell: threads, sockets and time around `turn`'s core.
//!
//! [`bind`] takes the sockets, [`Bound::start`] the threads. A worker owns one core, its share of the client sockets
//! (SO_REUSEPORT), its connections, and the relayed sockets of its allocations; nothing of it is shared but `shared`.
//! Protocol rules do not belong here: the core has them.

mod command;
mod credentials;
mod dtls;
mod encryption;
mod hook;
mod listen;
mod settings;
mod shared;
mod steering;
mod worker;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use crossbeam_channel::{Receiver, Sender};
use turn::{AllocationId, Minted, PeerAddress, Policy, Snapshot};

use crate::config::{RelayConfig, TlsMode};
use crate::handover::{Handover, Lane, OwnAddresses};
use command::{Command, Rules};
pub use command::{RelayLoad, RelayStats};
use encryption::Encryption;
use hook::{Answers, Hook, HookSettings};
use listen::{Place, WorkerSockets};
pub use settings::RelayError;
use settings::Settings;
use shared::Shared;
use steering::Ways;

/// How long a worker may take to answer a question of the API.
const PATIENCE: Duration = Duration::from_secs(1);

/// Sockets that are bound, workers that do not run yet.
pub struct Bound {
    settings: Settings,
    encryption: Option<Encryption>,
    sockets: Vec<WorkerSockets>,
    addresses: Vec<SocketAddr>,
    /// How many of the addresses come from `listen`; the others are those of `tls_listen`.
    plain: usize,
}

/// Takes the sockets of all workers. Port 0 means any port; UDP and TCP get the same one.
///
/// # Errors
/// One sentence: which key of the configuration is wrong, or which address is taken.
pub fn bind(config: &RelayConfig) -> Result<Bound, RelayError> {
    let settings = Settings::read(config)?;
    let encryption = Encryption::read(config)?;
    let more = if encryption.is_some() { &config.tls_listen[..] } else { &[] };
    let plain = settings.listen.iter().map(|address| Place { address: *address, tcp: config.listen_tcp });
    let places: Vec<_> = plain.chain(more.iter().map(|address| Place { address: *address, tcp: true })).collect();
    let (addresses, sockets) = listen::bind(&places, settings.workers)?;
    let plain = settings.listen.len();
    Ok(Bound { settings, encryption, sockets, addresses, plain })
}

/// Says what is wrong with a configuration, as far as that can be known without binding a socket.
///
/// # Errors
/// As [`start`], but for what only the system knows.
pub(crate) fn check(config: &RelayConfig) -> Result<(), RelayError> {
    // Where nothing is named to relay from, that is for the host to say on which it will run.
    let foreign = config.relay_addresses.is_empty();
    let external_addresses = if foreign { Vec::new() } else { config.external_addresses.clone() };
    let settings = Settings::read(&RelayConfig { external_addresses, ..config.clone() })?;
    settings.policy([])?;
    // A certificate of our own is made at the start.
    if config.tls == TlsMode::Files {
        Encryption::read(config)?;
    }
    Ok(())
}

/// Starts a relay alone: for programs that have no rooms. It ends when the handle is dropped.
///
/// # Errors
/// One sentence: which key of the configuration is wrong, which address is taken, or what the system refuses.
pub fn start(config: &RelayConfig) -> Result<Relay, RelayError> {
    let bound = bind(config)?;
    let own = OwnAddresses::of_host(bound.external_addresses()).map_err(RelayError::System)?;
    let handover = Handover { live: Arc::default(), relay: bound.lanes().into(), media: [].into(), own: Arc::new(own) };
    bound.start(handover)
}

impl Bound {
    /// Where clients are served: those of `listen`, in its order.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses[..self.plain]
    }

    /// Those of `tls_listen`; none without TLS.
    pub fn tls_addresses(&self) -> &[SocketAddr] {
        &self.addresses[self.plain..]
    }

    /// The ways to the workers, for [`Handover::relay`].
    pub fn lanes(&self) -> Vec<Lane> {
        self.sockets.iter().map(|sockets| sockets.lane.clone()).collect()
    }

    /// Addresses that are ours although no interface has them: put them into [`Handover::own`].
    pub fn external_addresses(&self) -> Vec<IpAddr> {
        self.settings.relay_addresses.iter().map(|address| address.public).collect()
    }

    /// Starts the workers. `handover` has the lanes of these workers, the media ports and the own addresses.
    ///
    /// # Errors
    /// A thread or a system object cannot be made.
    pub fn start(self, handover: Handover) -> Result<Relay, RelayError> {
        let Self { settings, encryption, sockets, addresses, plain } = self;
        match service::open_files::raise_limit() {
            Ok(limit) => tracing::debug!(limit, "open files"),
            Err(error) => tracing::warn!(%error, "the limit on open files stays as it is"),
        }
        let own = handover.own.0.iter().copied().chain(settings.own_addresses()).chain(
            // Clients can name the address that they reach us at, whichever way it is known to us.
            addresses.iter().map(SocketAddr::ip),
        );
        let own: Vec<IpAddr> = own.collect();
        let policy = Arc::new(settings.policy(own.iter().copied())?);
        let shared = Arc::new(Shared::new(&settings, encryption, Arc::clone(&handover.live))?);
        let nonces = turn::Nonces::new(&rand::random(), Instant::now(), turn::Nonces::LIFE);
        let trunk = Arc::new(turn::Trunk::new(Instant::now(), rand::random()));
        let inboxes: Vec<_> = sockets.iter().map(|_| crossbeam_channel::unbounded()).collect();
        let answers =
            inboxes.iter().zip(&sockets).map(|((commands, _), sockets)| (commands.clone(), sockets.lane.clone()));
        shared.hook.store(start_hook(settings.hook.clone(), answers.collect())?);
        let mut workers = Vec::new();
        let (ways, ends) = Ways::new(sockets.iter().map(|sockets| sockets.lane.clone()));
        for (index, ((sockets, steered), (commands, inbox))) in sockets.into_iter().zip(ends).zip(inboxes).enumerate() {
            let server = turn::Server::new(turn::ServerConfig {
                worker: index as u8,
                options: settings.options(&shared.credentials.load()),
                realm: settings.realm.clone(),
                nonces: nonces.clone(),
                policy: Arc::clone(&policy),
                families: settings.families(),
                alternate: settings.alternate,
                unproven_replies: settings.unproven_replies,
                limits: settings.limits,
                trunk: Arc::clone(&trunk),
                seed: rand::random(),
            });
            let lane = sockets.lane.clone();
            let steering = worker::Steering::new(ways.clone(), steered);
            let shared = Arc::clone(&shared);
            let worker = worker::Worker::new(index as u8, server, sockets, inbox, shared, steering, handover.clone());
            let thread = std::thread::Builder::new().name(format!("relay-{index}")).spawn(move || worker.run());
            let thread = thread.map_err(RelayError::System)?;
            workers.push(WorkerHandle { commands, lane, thread: Some(thread) });
        }
        tracing::info!(addresses = ?addresses, workers = workers.len(), "relay started");
        let policy = ArcSwap::from(policy);
        Ok(Relay { workers, shared, policy, handover, own, addresses, plain })
    }
}

struct WorkerHandle {
    commands: Sender<Command>,
    lane: Lane,
    thread: Option<JoinHandle<()>>,
}

impl WorkerHandle {
    fn tell(&self, command: Command) {
        // Orders are few, and none may be lost. A worker that is gone takes none.
        let _ = self.commands.send(command);
        self.lane.wake();
    }
}

/// A running relay. Its questions wait for the workers (milliseconds, one second at most): not for async tasks.
pub struct Relay {
    workers: Vec<WorkerHandle>,
    shared: Arc<Shared>,
    policy: ArcSwap<Policy>,
    handover: Handover,
    own: Vec<IpAddr>,
    addresses: Vec<SocketAddr>,
    plain: usize,
}

impl Relay {
    /// Where clients are served: those of `listen`, in its order. TLS too, on the same ports, where it is configured.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses[..self.plain]
    }

    /// Those of `tls_listen`; none without TLS.
    pub fn tls_addresses(&self) -> &[SocketAddr] {
        &self.addresses[self.plain..]
    }

    /// Counters of all workers, added up.
    pub fn stats(&self) -> RelayStats {
        let mut sum = RelayStats::default();
        for stats in self.ask(Command::Stats) {
            sum += &stats;
        }
        sum
    }

    /// How full it is, at once.
    pub fn load(&self) -> RelayLoad {
        self.shared.load()
    }

    /// Makes no new allocations from now on; what is there stays until it ends.
    pub fn drain(&self) {
        self.shared.drain();
    }

    /// All allocations, with the worker in the name.
    pub fn allocations(&self) -> Vec<AllocationInfo> {
        let name = |(worker, snapshots): (usize, Vec<Snapshot>)| {
            snapshots
                .into_iter()
                .map(move |snapshot| AllocationInfo { name: format!("{worker}-{:x}", snapshot.id.to_bits()), snapshot })
        };
        self.ask(Command::Snapshots).into_iter().enumerate().flat_map(name).collect()
    }

    /// Ends an allocation by its name; `false`: there is none.
    pub fn end_allocation(&self, name: &str) -> bool {
        let parts = name.split_once('-');
        let parsed = parts.and_then(|(worker, id)| {
            Some((worker.parse::<usize>().ok()?, AllocationId::from_bits(u64::from_str_radix(id, 16).ok()?)))
        });
        let Some((worker, id)) = parsed else { return false };
        let Some(worker) = self.workers.get(worker) else { return false };
        let (reply, answer) = crossbeam_channel::bounded(1);
        worker.tell(Command::End(id, reply));
        answer.recv_timeout(PATIENCE).unwrap_or(false)
    }

    /// What the peer policy says of an address, and by which rule.
    pub fn check_peer(&self, address: SocketAddr) -> PeerVerdict {
        let policy = self.policy.load();
        verdict(&policy, address, &self.handover)
    }

    /// Time-limited credentials for `user`; `None`: no secret is configured. `now` is Unix time in seconds.
    pub fn credentials(&self, user: &str, ttl: u64, now: u64) -> Option<Minted> {
        self.shared.credentials.load().mint(user, ttl, now)
    }

    /// Takes over users, secrets, limits, peer rules and certificates; sockets and ports stay. What is denied now has
    /// ended when this returns; connections keep the certificate that they began with.
    ///
    /// # Errors
    /// One sentence naming the key that is wrong; nothing is changed then.
    pub fn reload(&self, config: &RelayConfig) -> Result<(), RelayError> {
        let settings = Settings::read(config)?;
        // Addresses may have come since the start.
        let own = OwnAddresses::of_host(self.own.iter().copied()).map_err(RelayError::System)?;
        let policy = Arc::new(settings.policy(own.0)?);
        let encryption = Encryption::read(config)?;
        if settings.realm != self.shared.realm() {
            return Err(settings::wrong("realm", "changing it needs a restart"));
        }
        if encryption.is_some() != self.shared.encryption.load().is_some() {
            return Err(settings::wrong("tls", "turning it on or off needs a restart"));
        }
        let same_hook = self.shared.hook.load().as_ref().map(|hook| &hook.settings) == settings.hook.as_ref();
        if !same_hook {
            let answers = self.workers.iter().map(|worker| (worker.commands.clone(), worker.lane.clone())).collect();
            self.shared.hook.store(start_hook(settings.hook.clone(), answers)?);
        }
        self.shared.reload(&settings, encryption);
        self.policy.store(Arc::clone(&policy));
        let rules = Rules {
            policy,
            limits: settings.limits,
            unproven_replies: settings.unproven_replies,
            options: settings.options(&self.shared.credentials.load()),
            credentials: self.shared.credentials.load_full(),
        };
        let answers = self.ask(|reply| Command::Rules(rules.clone(), reply));
        if answers.len() < self.workers.len() {
            tracing::error!("a relay worker does not answer, and may go by the old rules");
        }
        Ok(())
    }

    /// Takes back the time-limited credentials that were made for `user` (a quota key) until now with a life of at most
    /// `ttl` seconds, and ends its allocations on all workers. `now` is Unix time in seconds. Does not wait for the
    /// workers; gives what [`Revoking::ended`] waits for.
    ///
    /// Passwords of long-term users are not taken back: remove those by a reload.
    pub fn revoke(&self, user: &str, ttl: u64, now: u64) -> Revoking {
        // The list comes first: whoever is let in before it is ended after it.
        self.shared.revocations().revoke(user, ttl, now);
        if let Some(hook) = &*self.shared.hook.load() {
            hook.forget(user);
        }
        let end = |worker: &WorkerHandle| {
            let (reply, answer) = crossbeam_channel::bounded(1);
            worker.tell(Command::EndUser(user.to_owned(), reply));
            answer
        };
        Revoking(self.workers.iter().map(end).collect())
    }

    /// Ends all allocations and threads.
    pub fn stop(mut self) {
        self.halt();
    }

    fn halt(&mut self) {
        for worker in &self.workers {
            worker.tell(Command::Stop);
        }
        for thread in self.workers.iter_mut().filter_map(|worker| worker.thread.take()) {
            if thread.join().is_err() {
                tracing::error!("a relay worker had panicked");
            }
        }
    }

    fn ask<T>(&self, question: impl Fn(Sender<T>) -> Command) -> Vec<T> {
        let ask = |worker: &WorkerHandle| {
            let (reply, answer) = crossbeam_channel::bounded(1);
            worker.tell(question(reply));
            answer
        };
        let answers: Vec<_> = self.workers.iter().map(ask).collect();
        answers.into_iter().filter_map(|answer| answer.recv_timeout(PATIENCE).ok()).collect()
    }
}

/// A revocation on its way to the workers.
pub struct Revoking(Vec<Receiver<usize>>);

impl Revoking {
    /// Waits for the workers; says how many allocations have ended. Not for async tasks.
    pub fn ended(self) -> usize {
        self.0.into_iter().filter_map(|answer| answer.recv_timeout(PATIENCE).ok()).sum()
    }
}

fn start_hook(settings: Option<HookSettings>, answers: Answers) -> Result<Option<Arc<Hook>>, RelayError> {
    let hook = settings.map(|settings| Hook::start(settings, answers)).transpose();
    hook.map(|hook| hook.map(Arc::new)).map_err(RelayError::System)
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.halt();
    }
}

/// An allocation of a running relay.
#[derive(Debug, Clone)]
pub struct AllocationInfo {
    /// For [`Relay::end_allocation`].
    pub name: String,
    /// What it is.
    pub snapshot: Snapshot,
}

/// What the peer policy says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerVerdict {
    /// May be reached through the relay.
    pub allowed: bool,
    /// The rule that decided.
    pub rule: String,
}

/// What a policy says of an address; port 0: of a permission for it, which is for any port.
fn verdict(policy: &Policy, address: SocketAddr, open: &dyn turn::OpenPorts) -> PeerVerdict {
    let peer = PeerAddress::new(address);
    let any_port = address.port() == 0 && !policy.is_own(peer.ip());
    let verdict = if any_port { policy.explain_ip(&peer, open) } else { policy.explain(&peer, open) };
    PeerVerdict { allowed: verdict.allowed, rule: verdict.rule.into() }
}

/// What the peer policy of a configuration says of an address, without a running relay: live relayed ports are unknown
/// then, the media port is open.
///
/// # Errors
/// One sentence naming the key that is wrong.
pub fn check_peer(
    config: &RelayConfig,
    own: impl IntoIterator<Item = IpAddr>,
    media_ports: &[u16],
    address: SocketAddr,
) -> Result<PeerVerdict, RelayError> {
    struct MediaPorts<'a>(&'a [u16]);
    impl turn::OpenPorts for MediaPorts<'_> {
        fn is_open(&self, address: SocketAddr) -> bool {
            self.is_media(address)
        }

        fn is_media(&self, address: SocketAddr) -> bool {
            self.0.contains(&address.port())
        }
    }
    let settings = Settings::read(config)?;
    let policy = settings.policy(own.into_iter().chain(settings.own_addresses()))?;
    Ok(verdict(&policy, address, &MediaPorts(media_ports)))
}

pub use credentials::mint;
