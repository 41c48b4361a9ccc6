//! The SFU's threads: each owns a [`sfu::Worker`], a media port (UDP, and TCP under the same number) and a lane for what
//! the relay hands over. Here they are bound, started, spoken to and stopped; what one does is `worker`.

mod advertise;
mod stats;
mod tcp;
mod worker;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Instant;

use crossbeam_channel::{Sender, TrySendError};
use service::udp::UdpSocket;
use sfu::{Command, Error, Event, ParticipantId, Protocol, RequestId, Success};
use tokio::sync::mpsc;

use crate::config::RoomsConfig;
use crate::handover::{Handover, Lane, LaneEnd, lane};
pub use stats::Stats;
use worker::{Port, WAKER};

/// Commands that may wait for one worker; beyond, clients are told to come back.
const COMMANDS: usize = 1024;
/// How often another port is tried when UDP got one that TCP cannot have.
const ATTEMPTS: usize = 16;

/// What the workers say to the rooms' shell, in the order in which each worker said it.
#[derive(Debug)]
pub enum Output {
    /// The one reply to a command.
    Reply {
        /// Which command.
        request: RequestId,
        /// What it achieved, or why it was refused.
        result: Result<Success, Error>,
    },
    /// Something that a participant must hear of.
    Event {
        /// Who.
        participant: ParticipantId,
        /// What.
        event: Event,
    },
    /// A text from a participant's data channel: a rooms/1 frame, not checked yet.
    Text {
        /// Who.
        participant: ParticipantId,
        /// The text.
        text: String,
    },
}

/// Why the SFU cannot be bound.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// An entry of `[rooms] advertise` is no address.
    #[error("[rooms] advertise: {entry:?} is neither an IP address nor ip:port")]
    Advertise {
        /// The entry.
        entry: String,
    },
    /// The port of a worker is taken or not allowed.
    #[error("[rooms] listen: {protocol} {address}: {why}")]
    Port {
        /// `udp` or `tcp`.
        protocol: &'static str,
        /// Which.
        address: SocketAddr,
        /// What the system says.
        why: io::Error,
    },
    /// The system refuses threads' furniture (epoll, event fd, interface list), or crypto.
    #[error("the SFU cannot start: {0}")]
    System(#[from] io::Error),
    /// There are more workers than ports.
    #[error("[rooms] workers: at least 1, and listen's port + workers may not exceed 65535")]
    Workers,
}

/// A worker is not able to take a command now: it has too many, or is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the media worker has too much to do")]
pub struct Busy;

/// Bound workers that do not run yet.
pub struct Bound {
    ports: Vec<(Port, Lane)>,
}

/// The running workers.
pub struct Sfu {
    workers: Vec<Handle>,
}

struct Handle {
    commands: Sender<Command>,
    waker: Arc<mio::Waker>,
    stats: Arc<Mutex<Stats>>,
    thread: JoinHandle<()>,
}

/// Binds the media ports. Port 0 takes free ones (then each worker has its own).
///
/// # Errors
/// See [`BindError`].
pub fn bind(config: &RoomsConfig) -> Result<Bound, BindError> {
    let workers = config.workers;
    let last = config.listen.port().checked_add(u16::from(workers).saturating_sub(1));
    if workers == 0 || last.is_none() {
        return Err(BindError::Workers);
    }
    let advertised = advertise::parse(&config.advertise)?;
    let interfaces: Vec<_> = if_addrs::get_if_addrs()?.into_iter().map(|interface| interface.ip()).collect();
    let mut ports = Vec::new();
    for index in 0..workers {
        let mut listen = config.listen;
        if listen.port() != 0 {
            listen.set_port(listen.port() + u16::from(index));
        }
        let (socket, listener) = bind_both(listen)?;
        let bound = SocketAddr::new(listen.ip(), socket.local_addr().port());
        let addresses = advertise::candidates(&advertised, &interfaces, bound, u16::from(index));
        let udp = addresses.iter().map(|address| (Protocol::Udp, *address));
        let tcp = addresses.iter().map(|address| (Protocol::Tcp, *address));
        let core = sfu::Config { candidates: udp.chain(tcp).collect(), worker: index, workers };
        let poll = mio::Poll::new()?;
        let waker = Arc::new(mio::Waker::new(poll.registry(), WAKER)?);
        let (lane, end): (Lane, LaneEnd) = lane(waker.clone());
        let core = sfu::Worker::new(core, Instant::now()).ok_or_else(|| io::Error::other("no certificate"))?;
        ports.push((Port { core, socket, listener, poll, waker, lane: end }, lane));
    }
    Ok(Bound { ports })
}

/// One port number for UDP and TCP.
fn bind_both(listen: SocketAddr) -> Result<(UdpSocket, TcpListener), BindError> {
    let mut last = None;
    for _ in 0..if listen.port() == 0 { ATTEMPTS } else { 1 } {
        let failed = |protocol| move |why| BindError::Port { protocol, address: listen, why };
        let socket = UdpSocket::bind(listen, false).map_err(failed("udp"))?;
        let same = SocketAddr::new(listen.ip(), socket.local_addr().port());
        match TcpListener::bind(same).and_then(|l| l.set_nonblocking(true).map(|()| l)) {
            Ok(listener) => return Ok((socket, listener)),
            Err(why) => last = Some(BindError::Port { protocol: "tcp", address: same, why }),
        }
    }
    Err(last.unwrap_or(BindError::Workers))
}

impl Bound {
    /// The media address of each worker, as bound.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.ports.iter().map(|(port, _)| port.socket.local_addr()).collect()
    }

    /// What the relay needs to hand packets over: each worker's media port and the way to it.
    pub fn media(&self) -> Vec<(u16, Lane)> {
        self.ports.iter().map(|(port, lane)| (port.socket.local_addr().port(), lane.clone())).collect()
    }

    /// Starts the threads. What they say goes to `outputs`.
    ///
    /// # Errors
    /// The system gives no thread or no epoll registration.
    pub fn start(self, handover: &Handover, outputs: &mpsc::Sender<Output>) -> io::Result<Sfu> {
        let mut workers = Vec::new();
        for (index, (port, _)) in self.ports.into_iter().enumerate() {
            let (commands, receiver) = crossbeam_channel::bounded(COMMANDS);
            let stats = Arc::new(Mutex::new(Stats::default()));
            let waker = port.waker.clone();
            let thread = worker::Thread::new(port, handover.clone(), receiver, outputs.clone(), stats.clone())?;
            let thread = std::thread::Builder::new().name(format!("sfu-{index}")).spawn(move || thread.run())?;
            workers.push(Handle { commands, waker, stats, thread });
        }
        Ok(Sfu { workers })
    }
}

impl Sfu {
    /// How many workers there are. A room stays on one.
    pub fn workers(&self) -> usize {
        self.workers.len()
    }

    /// Gives a command to a worker.
    ///
    /// # Errors
    /// [`Busy`] if it has too many already; nothing was done.
    pub fn send(&self, worker: usize, command: Command) -> Result<(), Busy> {
        let handle = self.workers.get(worker).ok_or(Busy)?;
        match handle.commands.try_send(command) {
            Ok(()) => {
                // A full event fd is awake already.
                let _ = handle.waker.wake();
                Ok(())
            }
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => Err(Busy),
        }
    }

    /// What each worker did and has.
    pub fn stats(&self) -> Vec<Stats> {
        let read = |handle: &Handle| handle.stats.lock().map(|stats| *stats).unwrap_or_default();
        self.workers.iter().map(read).collect()
    }

    /// Ends the threads and waits for them. Rooms that are still open are closed: their clients are told.
    pub fn stop(self) {
        let (threads, senders): (Vec<_>, Vec<_>) =
            self.workers.into_iter().map(|h| (h.thread, (h.commands, h.waker))).unzip();
        for (commands, waker) in senders {
            drop(commands);
            let _ = waker.wake();
        }
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a media worker had panicked");
            }
        }
    }
}

#[cfg(test)]
mod tests;
