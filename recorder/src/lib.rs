//! Joins rooms as a silent participant, writes WebM and stores it.
//!
//! ```text
//! link ──► manager ──► recording (a task each) ──► participant (a task each) ──► session::Session ──► spool
//!                          └──────────────────────────────────────────────────────────► upload ──► storage
//! ```
//! A program that embeds the recorder calls [`start`]; the binary is [`cli`].

pub mod cli;
pub mod config;
mod dial;
mod http;
mod link;
mod load;
mod manager;
pub mod metrics;
mod participant;
mod pulse;
mod recording;
mod room;
pub mod spool;
pub mod upload;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use service::storage::Store;
use signalling::id::RecorderId;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use config::Config;

use dial::Target;
use manager::Manager;
use metrics::Metrics;
use recording::Context;
use spool::Spool;

/// Messages that may wait for the link: a status of each recording, some times over.
const LINK_DEPTH: usize = 4096;

/// How long the last messages may take to the server.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Why the recorder does not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The spool, or the HTTP listener.
    #[error("{what}: {why}")]
    Io {
        /// What was tried.
        what: String,
        /// What the system says.
        why: io::Error,
    },
    /// The section `[storage]`.
    #[error(transparent)]
    Storage(#[from] service::storage::Error),
    /// The section `[server]`.
    #[error("[server] {0}")]
    Server(String),
    /// A task that everything else needs is gone; what was recorded is in the spool.
    #[error("the {0}'s task broke down; the next start goes on with what is in the spool")]
    BrokeDown(&'static str),
    /// Recordings whose journal cannot be read; they stay in the spool.
    #[error("{0} recordings in the spool cannot be read; they stay there")]
    Unreadable(usize),
    /// Recordings that could not be stored; they stay in the spool.
    #[error("{0} recordings could not be stored; they stay in the spool")]
    Unstored(usize),
    /// Recordings of which files are missing in storage.
    #[error("of {0} recordings not every file could be stored")]
    Incomplete(usize),
}

/// A running recorder.
pub struct Running {
    address: SocketAddr,
    id: RecorderId,
    shutdown: CancellationToken,
    task: JoinHandle<Result<(), Error>>,
}

impl Running {
    /// Where `/healthz` is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Who it is.
    pub fn id(&self) -> &RecorderId {
        &self.id
    }

    /// Ends all recordings, stores them, ends.
    pub fn stop(&self) {
        self.shutdown.cancel();
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// [`Error::BrokeDown`]: it ended by itself.
    pub async fn wait(self) -> Result<(), Error> {
        // A panic of the task has been printed by then.
        self.task.await.unwrap_or(Err(Error::BrokeDown("manager")))
    }
}

fn io_error(what: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
    let what = what.into();
    move |why| Error::Io { what, why }
}

fn context(config: &Config) -> Result<Context, Error> {
    let path = &config.recorder.spool;
    let spool = Spool::open(path).map_err(io_error(format!("spool {}", path.display())))?;
    let recorder = spool.id(rand::random()).map_err(io_error("recorder id"))?;
    let target = Target::parse(&config.server).map_err(Error::Server)?;
    let (store, metrics) = (Store::open(&config.storage)?, Metrics::default());
    let lanes = Arc::default();
    let pulse = pulse::Pulse::start().map_err(io_error("a thread for the heartbeat"))?;
    Ok(Context { recorder, spool, store, target, metrics, lanes, pulse })
}

/// Starts the recorder: takes up what a crash left, then works for the server.
///
/// # Errors
/// [`Error`].
pub async fn start(config: Config) -> Result<Running, Error> {
    // A participant needs a socket and a file or two; the usual soft limit is 1024.
    match service::open_files::raise_limit() {
        Ok(limit) => tracing::debug!(limit, "open files"),
        Err(error) => tracing::warn!(%error, "the limit on open files stays as it is"),
    }
    let context = context(&config)?;
    let listen = config.recorder.listen;
    let listener = TcpListener::bind(listen).await.map_err(io_error(format!("recorder.listen {listen}")))?;
    let address = listener.local_addr().map_err(io_error("recorder.listen"))?;
    let (id, target, metrics) = (context.recorder.clone(), context.target.clone(), context.metrics.clone());
    let (say, says) = mpsc::channel(LINK_DEPTH);
    let (tell, link) = mpsc::channel(LINK_DEPTH);
    let mut manager = Manager::new(context, config.recorder, say);
    // What cannot be read has been logged; the rest goes on.
    manager.recover().map_err(io_error("spool"))?;
    let shutdown = CancellationToken::new();
    let stop = shutdown.clone();
    let links = link::start(target, tell, says).map_err(io_error("the link's thread"))?;
    let task = tokio::spawn(async move {
        let http = tokio::spawn(async move { axum::serve(listener, http::router(metrics)).await });
        let done = manager.run(link, stop).await;
        // What was said last, that everything is stored, must still leave.
        let _ = tokio::time::timeout(LAST_WORDS, links).await;
        http.abort();
        done
    });
    tracing::info!(recorder = %id, %address, "the recorder runs");
    Ok(Running { address, id, shutdown, task })
}

/// Stores everything that lies in the spool; returns the recordings.
///
/// # Errors
/// [`Error`]; [`Error::Unreadable`] and [`Error::Unstored`] after everything else was stored.
pub async fn recover(config: Config) -> Result<Vec<signalling::recording::RecorderSegment>, Error> {
    let (say, _nobody) = mpsc::channel(1);
    let mut manager = Manager::new(context(&config)?, config.recorder, say);
    let (_, unreadable) = manager.recover().map_err(io_error("spool"))?;
    let (stored, failed): (Vec<_>, Vec<_>) =
        manager.finish().await.into_iter().partition(|status| status.failure.is_none());
    match (unreadable, failed.len()) {
        (0, 0) => Ok(stored.into_iter().filter_map(|status| status.segment).collect()),
        (0, unstored) => Err(Error::Unstored(unstored)),
        (unreadable, _) => Err(Error::Unreadable(unreadable)),
    }
}
