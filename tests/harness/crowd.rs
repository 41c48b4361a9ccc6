//! Many participants that publish, at little cost: one thread sends for all of them, in turns of some milliseconds.
//!
//! A [`crate::bot::Bot`] each would take more of the machine than the server that is measured.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use service::udp::{RecvBatch, SendQueue, UdpSocket};
use tokio::net::TcpStream;

use crate::bot::{Entered, Feed, Sender};

/// How often everybody sends what is due.
const TURN: Duration = Duration::from_millis(10);
/// How often everybody looks for reports and requests: one in so many turns.
const LISTEN: usize = 4;
/// How long media may take to flow.
const PATIENCE: Duration = Duration::from_secs(10);
/// How far behind others its thread stands.
const NICE: i32 = 10;
/// Bytes that wait before they are sent.
const FLUSH: usize = 1 << 18;

/// The participants. They go on until this is dropped.
pub struct Crowd {
    /// Ends the thread when it is dropped.
    members: std::sync::mpsc::Sender<Member>,
    connected: Arc<AtomicUsize>,
    joined: usize,
}

struct Member {
    sender: Sender,
    udp: UdpSocket,
}

impl Crowd {
    /// Nobody yet.
    pub fn new() -> Self {
        let (members, newcomers) = channel();
        let connected = Arc::new(AtomicUsize::new(0));
        let count = connected.clone();
        std::thread::Builder::new().name("crowd".into()).spawn(move || run(&newcomers, &count)).expect("a thread");
        Self { members, connected, joined: 0 }
    }

    /// One more, in this room; returns when its media flows.
    ///
    /// # Errors
    /// Whatever the server or the network says.
    pub async fn join(&mut self, server: SocketAddr, room: &str, feeds: Vec<Feed>) -> io::Result<()> {
        let tcp = TcpStream::connect(server).await?;
        let udp = UdpSocket::bind(SocketAddr::new(tcp.local_addr()?.ip(), 0), false)?;
        let Entered { sender, mut socket, .. } = Entered::through(tcp, room, None, feeds, udp.local_addr()).await?;
        // Only pings matter here, and the library answers them.
        tokio::spawn(async move { while let Some(Ok(_)) = socket.next().await {} });
        self.members.send(Member { sender, udp }).map_err(|_| io::Error::other("the crowd has ended"))?;
        self.joined += 1;
        let deadline = Instant::now() + PATIENCE;
        while self.connected.load(Ordering::Relaxed) < self.joined {
            if Instant::now() > deadline {
                return Err(io::Error::other(format!("no media in {room}")));
            }
            tokio::time::sleep(TURN).await;
        }
        Ok(())
    }
}

impl Default for Crowd {
    fn default() -> Self {
        Self::new()
    }
}

fn run(newcomers: &Receiver<Member>, connected: &AtomicUsize) {
    let mut members: Vec<Member> = Vec::new();
    let (mut queue, mut batch) = (SendQueue::default(), RecvBatch::default());
    // Whoever serves the crowd comes first: late media is borne with, dropped media is not.
    let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICE);
    let mut next = Instant::now();
    for turn in 0_usize.. {
        match newcomers.try_recv() {
            Ok(member) => members.push(member),
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => return,
        }
        let now = Instant::now();
        for place in 0..members.len() {
            let Member { sender, udp } = &mut members[place];
            // Each in its turn, but a new one has a handshake to do.
            if (turn + place).is_multiple_of(LISTEN) || connected.load(Ordering::Relaxed) <= place {
                while udp.recv(&mut batch).is_ok_and(|count| count > 0) {
                    batch.datagrams().for_each(|datagram| sender.receive(datagram.from, datagram.bytes));
                }
            }
            if sender.turn(now, |to, bytes| queue.push(place, to, None, &[bytes])) {
                connected.fetch_add(1, Ordering::Relaxed);
            }
            if queue.len_bytes() > FLUSH {
                queue.flush(|place, transmit| members[place].udp.try_send(transmit));
            }
        }
        queue.flush(|place, transmit| members[place].udp.try_send(transmit));
        // A turn that took too long is not made up for.
        next = (next + TURN).max(Instant::now());
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}
