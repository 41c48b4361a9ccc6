//! Starting and ending a whole server: the order in which its parts are bound, connected and taken down.
//!
//! ```text
//! bind everything -> connect relay and SFU -> tasks of the control plane -> HTTP last, so that who is heard can be served
//! ```

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum_server::Handle;
use axum_server::tls_rustls::RustlsConfig;
use service::config::{ConfigError, Origin};
use service::storage::Store;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{JoinHandle, JoinSet};

use crate::app::App;
use crate::clock;
use crate::config::{Config, RelayConfig, TlsMode};
use crate::handover::{Handover, OwnAddresses};
use crate::http::Limits;
use crate::orders::{self, Order};
use crate::relay::{self, Relay};
use crate::rooms::Rooms;
use crate::secrets::Secrets;
use crate::sfu::{self, Output, Sfu};
use crate::signalling::ice::RelayUrls;
use crate::{api, http, recording, tls, webhooks};

/// Replies and events of the SFU that may wait for the control plane.
const OUTPUTS: usize = 8192;

/// How often rooms are swept.
const SWEEP: Duration = Duration::from_secs(1);

/// How often the memory of limits is cleaned.
const SHRINK: Duration = Duration::from_secs(60);

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration cannot work.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A listener, a certificate or the storage; a sentence for people.
    #[error("{0}")]
    Bind(String),
}

/// Where a running server is reached. Ports are the real ones, also where the configuration says 0.
#[derive(Debug, Clone, Default)]
pub struct Addresses {
    /// HTTP and WebSocket.
    pub http: Option<SocketAddr>,
    /// HTTPS and WebSocket over TLS.
    pub https: Option<SocketAddr>,
    /// STUN and TURN, UDP and TCP, from `listen`.
    pub relay: Vec<SocketAddr>,
    /// The same from `tls_listen`; none without TLS.
    pub relay_tls: Vec<SocketAddr>,
    /// Media of the rooms, UDP and TCP, one address a worker.
    pub media: Vec<SocketAddr>,
}

/// A running server. Dropping it ends its tasks.
pub struct Running {
    app: Arc<App>,
    addresses: Addresses,
    handles: Vec<Handle<SocketAddr>>,
    tls: Option<RustlsConfig>,
    servers: JoinSet<std::io::Result<()>>,
    tasks: Vec<JoinHandle<()>>,
}

/// Starts a server; must run inside a multi-threaded tokio runtime.
///
/// # Errors
/// [`StartError`]; nothing is left running.
pub async fn start(config: Config) -> Result<Running, StartError> {
    config.check(&Origin::default())?;
    let secrets = Secrets::collect(&config, &Origin::default(), None)?;
    let store = Store::open(&config.storage).map_err(|error| StartError::Bind(error.to_string()))?;
    let api_wanted = config.api.enabled;
    let plain =
        api_wanted.then(|| http::bind("api.listen", config.api.listen)).transpose().map_err(StartError::Bind)?;
    let tls = if api_wanted { tls::server_config(&config.api).map_err(StartError::Bind)? } else { None };
    let secure = match &tls {
        Some(_) => Some(http::bind("api.tls_listen", config.api.tls_listen).map_err(StartError::Bind)?),
        None => None,
    };
    let relay = match config.relay.enabled.then(|| relay_section(&config, &secrets)).transpose()? {
        Some(section) => Some(relay::bind(&section).map_err(|error| StartError::Bind(error.to_string()))?),
        None => None,
    };
    let media = config.rooms.enabled.then(|| sfu::bind(&config.rooms)).transpose();
    let media = media.map_err(|error| StartError::Bind(error.to_string()))?;
    let addresses = Addresses {
        http: plain.as_ref().and_then(|listener| listener.local_addr().ok()),
        https: secure.as_ref().and_then(|listener| listener.local_addr().ok()),
        relay: relay.as_ref().map(|relay| relay.addresses().to_vec()).unwrap_or_default(),
        relay_tls: relay.as_ref().map(|relay| relay.tls_addresses().to_vec()).unwrap_or_default(),
        media: media.as_ref().map(sfu::Bound::addresses).unwrap_or_default(),
    };
    let handover = hand_over(&config, relay.as_ref(), media.as_ref())?;
    let connections = Semaphore::new(usize::try_from(config.api.max_connections).unwrap_or(usize::MAX));
    let limits = Limits { connections: Arc::new(connections), idle: Duration::from_secs(config.api.idle_timeout_s) };
    let app = App::new(config, secrets, store);
    let mut tasks = vec![
        tokio::spawn(recording::run(app.clone())),
        tokio::spawn(webhooks::run(app.clone())),
        tokio::spawn(sweep(app.clone())),
    ];
    connect_relay(&app, relay, &handover)?;
    tasks.extend(connect_media(&app, media, &handover)?);
    if let Some(https) = addresses.https {
        // Nobody else sets it.
        let _ = app.https_port.set(https.port());
    }
    let mut running = Running {
        app: app.clone(),
        addresses,
        handles: Vec::new(),
        tls: tls.map(RustlsConfig::from_config),
        servers: JoinSet::new(),
        tasks,
    };
    let router = api::router(app);
    if let Some(plain) = plain {
        let handle = running.handle();
        running.servers.spawn(http::serve_plain(plain, router.clone(), limits.clone(), handle));
    }
    if let Some((listener, tls)) = secure.zip(running.tls.clone()) {
        let handle = running.handle();
        running.servers.spawn(http::serve_tls(listener, tls, router, limits, handle));
    }
    Ok(running)
}

/// The relay's section, with what lies elsewhere: secrets, and the files of the certificate that we made ourselves.
fn relay_section(config: &Config, secrets: &Secrets) -> Result<RelayConfig, StartError> {
    let mut section = RelayConfig { secrets: secrets.relay.clone(), secrets_file: None, ..config.relay.clone() };
    if section.tls == TlsMode::SelfSigned {
        let (cert, key) = tls::kept(&config.api.state_dir).map_err(StartError::Bind)?;
        (section.tls, section.tls_cert, section.tls_key) = (TlsMode::Files, Some(cert), Some(key));
    }
    Ok(section)
}

fn hand_over(
    config: &Config,
    relay: Option<&relay::Bound>,
    media: Option<&sfu::Bound>,
) -> Result<Handover, StartError> {
    let external = relay.map(relay::Bound::external_addresses).unwrap_or_default();
    let own = OwnAddresses::of_host(config.public_ips().chain(external))
        .map_err(|error| StartError::Bind(format!("the addresses of this machine cannot be listed: {error}")))?;
    Ok(Handover {
        live: Arc::default(),
        relay: relay.map(relay::Bound::lanes).unwrap_or_default().into(),
        media: media.map(sfu::Bound::media).unwrap_or_default().into(),
        own: Arc::new(own),
    })
}

fn connect_relay(app: &Arc<App>, relay: Option<relay::Bound>, handover: &Handover) -> Result<(), StartError> {
    let Some(bound) = relay else { return Ok(()) };
    let relay: Relay = bound.start(handover.clone()).map_err(|error| StartError::Bind(error.to_string()))?;
    let config = app.config();
    let section = &config.relay;
    let secure = match section.tls {
        // No browser takes it for `turns:`; who has other clients says so in advertise_urls.
        TlsMode::Off | TlsMode::SelfSigned => &[],
        // Every listener takes TLS, but these are the ones that were meant for it.
        TlsMode::Files if relay.tls_addresses().is_empty() && section.listen_tcp => relay.addresses(),
        TlsMode::Files => relay.tls_addresses(),
    };
    let urls = RelayUrls {
        advertised: section.advertise_urls.clone(),
        listeners: relay.addresses().to_vec(),
        tcp: section.listen_tcp,
        secure: secure.to_vec(),
    };
    app.relay_urls.store(Some(Arc::new(urls)));
    app.relay.store(Some(Arc::new(relay)));
    let for_leaving = Arc::downgrade(app);
    app.hub.directory().on_leave(Box::new(move |id| {
        let Some(app) = for_leaving.upgrade() else { return };
        if let Some(relay) = &*app.relay.load() {
            // Nobody waits for the workers here.
            drop(relay.revoke(id, app.longest_ttl(), clock::unix_s()));
        }
    }));
    Ok(())
}

fn connect_media(
    app: &Arc<App>,
    media: Option<sfu::Bound>,
    handover: &Handover,
) -> Result<Option<JoinHandle<()>>, StartError> {
    let Some(bound) = media else { return Ok(None) };
    let (sender, receiver) = mpsc::channel(OUTPUTS);
    let sfu: Sfu = bound.start(handover, &sender).map_err(|error| StartError::Bind(error.to_string()))?;
    let workers = sfu.workers();
    app.sfu.store(Some(Arc::new(sfu)));
    let for_commands = Arc::downgrade(app);
    app.hub.connect(
        workers,
        Box::new(move |worker, command| {
            let app = for_commands.upgrade();
            app.is_some_and(|app| app.sfu.load().as_ref().is_some_and(|sfu| sfu.send(worker, command).is_ok()))
        }),
    );
    Ok(Some(tokio::spawn(listen(app.clone(), receiver))))
}

/// Hands what the SFU says to the hub, in the order in which it was said.
async fn listen(app: Arc<App>, mut outputs: mpsc::Receiver<Output>) {
    while let Some(output) = outputs.recv().await {
        match output {
            Output::Reply { request, result } => app.hub.handle_reply(request, result),
            Output::Event { participant, event } => app.hub.handle_event(participant, event),
            Output::Text { participant, text } => app.hub.handle_text(participant, &text),
        }
    }
}

async fn sweep(app: Arc<App>) {
    let mut tick = tokio::time::interval(SWEEP);
    let mut shrink = tokio::time::interval(SHRINK);
    loop {
        tokio::select! {
            _ = tick.tick() => app.hub.sweep(Duration::from_secs(app.config().rooms.empty_timeout_s)),
            _ = shrink.tick() => app.limits.load().shrink(),
        }
    }
}

impl Running {
    fn handle(&mut self) -> Handle<SocketAddr> {
        let handle = Handle::new();
        self.handles.push(handle.clone());
        handle
    }

    /// Where it is reached.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// The relay, if it is enabled. Keep the handle no longer than needed: the relay ends with the last one.
    pub fn relay(&self) -> Option<Arc<Relay>> {
        self.app.relay.load_full()
    }

    /// The rooms.
    pub fn rooms(&self) -> Rooms {
        Rooms(self.app.clone())
    }

    /// Takes a new configuration, and reads certificates and secrets again. Gives the keys (`relay.listen`) that differ and
    /// wait for the next start.
    ///
    /// # Errors
    /// What is wrong with the new configuration; then everything stays as it was.
    pub fn reload(&self, config: &Config, origin: &Origin) -> Result<Vec<String>, StartError> {
        config.check(origin)?;
        let (config, waiting) = self.app.config().followed_by(config);
        let config = &config;
        let secrets = Secrets::collect(config, origin, Some(&self.app.secrets.load()))?;
        let https = tls::server_config(&config.api).map_err(StartError::Bind)?;
        if let Some(relay) = &*self.app.relay.load() {
            let new = relay_section(config, &secrets)?;
            relay.reload(&new).map_err(|error| StartError::Bind(error.to_string()))?;
        }
        // Nothing is refused from here on.
        if let Some((running, new)) = self.tls.as_ref().zip(https) {
            running.reload_from_config(new);
        }
        self.app.secrets.store(Arc::new(secrets));
        self.app.follow(config.clone());
        Ok(waiting)
    }

    /// Takes nobody new, tells everybody to come back later, and ends after `deadline` at the latest.
    pub async fn drain(mut self, deadline: Duration) {
        let end = tokio::time::Instant::now() + deadline;
        orders::close(&self.app);
        recording::drain(&self.app, deadline / 2).await;
        // What is on disk is delivered by the next start.
        let _ = tokio::time::timeout(deadline / 8, self.app.webhooks.flush()).await;
        self.app.hub.dismiss();
        // Calls of others go on while they can; the API says meanwhile that this server drains.
        let _ = tokio::time::timeout_at(end - deadline / 4, self.relay_is_empty()).await;
        for handle in &self.handles {
            handle.graceful_shutdown(Some(deadline / 4));
        }
        let ended = async { while self.servers.join_next().await.is_some() {} };
        // Whoever does not hang up by then is cut off when the tasks end with `self`.
        let _ = tokio::time::timeout(deadline / 4, ended).await;
        let (sfu, relay) = (self.app.sfu.swap(None), self.app.relay.swap(None));
        // Both wait for their threads, which is nothing for a task.
        let stopped = tokio::task::spawn_blocking(move || {
            if let Some(sfu) = sfu.and_then(Arc::into_inner) {
                sfu.stop();
            }
            if let Some(relay) = relay.and_then(Arc::into_inner) {
                relay.stop();
            }
        });
        let _ = stopped.await;
    }

    async fn relay_is_empty(&self) {
        let mut tick = tokio::time::interval(SWEEP / 10);
        while orders::load(&self.app).0 > 0 {
            tick.tick().await;
        }
    }

    /// What the API wants of whoever runs this server, once; whoever takes it answers. `None` from the second time on.
    pub fn orders(&self) -> Option<mpsc::Receiver<Order>> {
        self.app.orders.take()
    }

    /// Waits until a listener fails; a healthy server never returns from here.
    pub async fn wait(&mut self) -> String {
        if self.servers.is_empty() {
            // No listener, none that could fail.
            std::future::pending::<()>().await;
        }
        match self.servers.join_next().await {
            Some(Ok(Err(error))) => error.to_string(),
            Some(Err(error)) => error.to_string(),
            Some(Ok(Ok(()))) | None => "the HTTP listener ended".into(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        for handle in &self.handles {
            handle.shutdown();
        }
        for task in &self.tasks {
            task.abort();
        }
        // Threads of relay and SFU end when the last one who asks them is gone.
        self.app.sfu.store(None);
        self.app.relay.store(None);
    }
}
