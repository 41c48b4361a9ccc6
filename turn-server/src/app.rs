//! What every handler of the control plane shares. One per process, behind an `Arc`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::{ArcSwap, ArcSwapOption};
use service::storage::Store;
use signalling::code::Refusal;
use signalling::message::IceServer;
use signalling::token::Claims;

use crate::clock;
use crate::config::Config;
use crate::metrics::Metrics;
use crate::orders::Orders;
use crate::recording::Recordings;
use crate::relay::Relay;
use crate::secrets::Secrets;
use crate::sfu::Sfu;
use crate::signalling::hub::Hub;
use crate::signalling::ice::{self, RelayUrls};
use crate::signalling::limits::AddressLimits;
use crate::signalling::session::Session;
use crate::webhooks::Webhooks;

/// How long the API token of a participant is good.
const API_TOKEN_TTL_S: u64 = 12 * 3600;

/// See the module.
pub(crate) struct App {
    /// Changes with a reload: look at it anew each time.
    config: ArcSwap<Config>,
    /// The longest life of credentials, in seconds, that this process has made.
    longest_ttl: AtomicU64,
    pub(crate) secrets: ArcSwap<Secrets>,
    pub(crate) hub: Hub,
    pub(crate) limits: ArcSwap<AddressLimits>,
    pub(crate) store: Store,
    pub(crate) recordings: Recordings,
    pub(crate) webhooks: Webhooks,
    pub(crate) metrics: Metrics,
    /// The running relay, until the end.
    pub(crate) relay: ArcSwapOption<Relay>,
    /// The running SFU, until the end.
    pub(crate) sfu: ArcSwapOption<Sfu>,
    /// Where the relay is reached; unset without a relay.
    pub(crate) relay_urls: ArcSwapOption<RelayUrls>,
    /// What the API wants of whoever runs the server.
    pub(crate) orders: Orders,
    /// The port of the HTTPS listener, if there is one.
    pub(crate) https_port: OnceLock<u16>,
}

impl App {
    pub(crate) fn new(config: Config, secrets: Secrets, store: Store) -> Arc<Self> {
        let metrics = Metrics::new();
        Arc::new(Self {
            limits: ArcSwap::from_pointee(AddressLimits::new(config.rooms.joins_per_second)),
            recordings: Recordings::open(&config.api.state_dir),
            webhooks: Webhooks::default(),
            secrets: ArcSwap::from_pointee(secrets),
            hub: Hub::new(metrics.joins.clone()),
            store,
            metrics,
            relay: ArcSwapOption::empty(),
            sfu: ArcSwapOption::empty(),
            relay_urls: ArcSwapOption::empty(),
            orders: Orders::default(),
            https_port: OnceLock::new(),
            longest_ttl: AtomicU64::new(config.relay.credential_ttl_s),
            config: ArcSwap::from_pointee(config),
        })
    }

    /// The configuration that is in force.
    pub(crate) fn config(&self) -> arc_swap::Guard<Arc<Config>> {
        self.config.load()
    }

    /// As long as credentials of ours live at most, in seconds: what was taken back is remembered for this time.
    pub(crate) fn longest_ttl(&self) -> u64 {
        self.longest_ttl.load(Ordering::Relaxed)
    }

    /// Puts a new configuration in force.
    pub(crate) fn follow(&self, config: Config) {
        if config.rooms.joins_per_second != self.config().rooms.joins_per_second {
            self.limits.store(Arc::new(AddressLimits::new(config.rooms.joins_per_second)));
        }
        if let Some(urls) = self.relay_urls.load_full() {
            let advertised = config.relay.advertise_urls.clone();
            self.relay_urls.store(Some(Arc::new(RelayUrls { advertised, ..(*urls).clone() })));
        }
        self.longest_ttl.fetch_max(config.relay.credential_ttl_s, Ordering::Relaxed);
        self.config.store(Arc::new(config));
    }

    /// What this server can do beyond the protocol's version.
    pub(crate) fn features(&self) -> Vec<String> {
        let mut features = vec!["sdpz", "mesh", "sfu"];
        if self.relay_urls.load().is_some() {
            features.push("turn");
        }
        if self.config().rooms.relay_only {
            features.push("relay_only");
        }
        if self.may_record() {
            features.push("recording");
        }
        features.into_iter().map(str::to_owned).collect()
    }

    /// Whether a recorder could connect.
    pub(crate) fn may_record(&self) -> bool {
        let recording = &self.config().recording;
        !recording.keys.is_empty() || recording.keys_file.is_some()
    }

    /// `iceServers` for a participant that reached us under `host`.
    pub(crate) fn ice_servers(&self, host: &str, user: &str) -> Vec<IceServer> {
        let urls = self.relay_urls.load();
        let Some(urls) = &*urls else { return Vec::new() };
        match self.credentials(user) {
            Some((credentials, _)) => urls.ice_servers(host, credentials),
            None => Vec::new(),
        }
    }

    /// Relay credentials and their life in seconds.
    pub(crate) fn credentials(&self, user: &str) -> Option<(ice::Credentials, u64)> {
        let ttl = self.config().relay.credential_ttl_s;
        let secrets = self.secrets.load();
        Some((ice::mint(secrets.relay.first()?, user, clock::unix_s() + ttl)?, ttl))
    }

    /// The bearer with which a participant reaches the REST API.
    pub(crate) fn api_token(&self, session: &Session) -> Result<String, Refusal> {
        let is_guest = session.who.identity.is_none();
        let claims = Claims {
            sub: session.who.identity.clone().unwrap_or_else(|| session.participant.to_string()),
            name: None,
            room: session.room.clone(),
            exp: clock::unix_s() + API_TOKEN_TTL_S,
            nbf: None,
            jti: session.api_token_id.clone(),
            grants: session.who.grants.clone(),
            cnf: None,
            api: true,
            // Whoever learns a room's name is a guest of it: what comes after is not theirs, nor what went on before, unless
            // guests moderate.
            since_ms: is_guest.then(|| if session.who.grants.moderate { 0 } else { clock::unix_ms() }),
        };
        self.secrets.load().rooms.sign(&claims)
    }
}
