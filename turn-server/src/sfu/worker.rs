//! One media thread: a loop in a fixed order around a [`sfu::Worker`]. It knows no protocol.
//!
//! 1 wait · 2 commands · 3 handed over · 4 UDP · 5 TCP · 6 timers · 7 outputs · 8 send. Each step has a budget, so that
//! none starves another; what is left over is taken in the next round without waiting.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, TryRecvError};
use mio::{Events, Interest, Poll, Token, Waker};
use service::udp::{RecvBatch, SendQueue, UdpSocket};
use sfu::{Command, ParticipantId, Path, Protocol};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use crate::handover::{Handover, LaneEnd, Packet};
use crate::sfu::tcp::Tcp;
use crate::sfu::{Output, Stats};

pub(super) const WAKER: Token = Token(0);
const SOCKET: Token = Token(1);
/// The listener; connections have the tokens after it.
pub(super) const LISTENER: Token = Token(2);

/// Commands a round.
const COMMANDS: usize = 64;
/// Packets from the lane a round.
const LANE: usize = 512;
/// Receive calls a round; each brings up to [`RecvBatch::SIZE`] runs.
const RECEIVES: usize = 4;
/// Bytes that wait to be sent before they are.
const SEND_BYTES: usize = 512 * 1024;
/// What the shell did not take yet; beyond, somebody is put out.
const BACKLOG: usize = 16 * 1024;
/// How often the numbers for metrics are copied.
const STATS: Duration = Duration::from_millis(200);
/// The longest wait: the backlog may have to be tried again.
const LONGEST: Duration = Duration::from_millis(500);

/// What is bound before the thread starts.
pub(super) struct Port {
    pub(super) core: sfu::Worker,
    pub(super) socket: UdpSocket,
    pub(super) listener: TcpListener,
    pub(super) poll: Poll,
    pub(super) waker: Arc<Waker>,
    pub(super) lane: LaneEnd,
}

/// The thread's belongings.
pub(super) struct Thread {
    core: sfu::Worker,
    socket: UdpSocket,
    readable: bool,
    poll: Poll,
    lane: LaneEnd,
    tcp: Tcp,
    handover: Handover,
    commands: Receiver<Command>,
    outputs: mpsc::Sender<Output>,
    backlog: VecDeque<Output>,
    batch: RecvBatch,
    queue: SendQueue<()>,
    numbers: Stats,
    shared: Arc<Mutex<Stats>>,
    published: Instant,
}

impl Thread {
    pub(super) fn new(
        port: Port,
        handover: Handover,
        commands: Receiver<Command>,
        outputs: mpsc::Sender<Output>,
        shared: Arc<Mutex<Stats>>,
    ) -> io::Result<Self> {
        let Port { core, mut socket, listener, poll, waker: _, lane } = port;
        poll.registry().register(&mut socket, SOCKET, Interest::READABLE)?;
        let tcp = Tcp::new(listener, poll.registry().try_clone()?)?;
        Ok(Self {
            core,
            socket,
            readable: true,
            poll,
            lane,
            tcp,
            handover,
            commands,
            outputs,
            backlog: VecDeque::new(),
            batch: RecvBatch::default(),
            queue: SendQueue::default(),
            numbers: Stats::default(),
            shared,
            published: Instant::now(),
        })
    }

    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(256);
        let mut busy = true;
        loop {
            self.wait(&mut events, busy);
            let Some(more_commands) = self.take_commands() else { break };
            let more_lane = self.take_lane();
            let more_udp = self.receive();
            let more_tcp = self.take_tcp();
            let now = Instant::now();
            if self.core.poll_timeout().is_some_and(|due| due <= now) {
                self.core.handle_timeout(now);
            }
            self.take_outputs();
            self.flush();
            self.publish(now);
            busy = more_commands || more_lane || more_udp || more_tcp;
        }
        self.core.close(Instant::now());
        self.take_outputs();
        self.flush();
        self.numbers.ended = true;
        self.publish(self.published + STATS);
    }

    fn wait(&mut self, events: &mut Events, busy: bool) {
        let due = self.core.poll_timeout().map_or(LONGEST, |due| due.saturating_duration_since(Instant::now()));
        let longest = if self.backlog.is_empty() { LONGEST } else { Duration::from_millis(5) };
        let timeout = if busy { Duration::ZERO } else { due.min(longest) };
        if let Err(error) = self.poll.poll(events, Some(timeout))
            && error.kind() != io::ErrorKind::Interrupted
        {
            tracing::error!(%error, "the media thread cannot wait");
            std::thread::sleep(Duration::from_millis(10));
        }
        for event in &*events {
            match event.token() {
                WAKER => {}
                SOCKET => self.readable = true,
                token => self.tcp.handle_event(token, event),
            }
        }
    }

    /// `None`: the shell is gone, or wants us to be.
    fn take_commands(&mut self) -> Option<bool> {
        for _ in 0..COMMANDS {
            match self.commands.try_recv() {
                Ok(command) => self.core.handle_command(command, Instant::now()),
                Err(TryRecvError::Empty) => return Some(false),
                Err(TryRecvError::Disconnected) => return None,
            }
        }
        Some(true)
    }

    fn take_lane(&mut self) -> bool {
        for _ in 0..LANE {
            let Some(Packet { from, to, bytes }) = self.lane.try_recv() else { return false };
            self.numbers.datagrams_in += 1;
            let path = Path { protocol: Protocol::Udp, local: to, remote: from };
            self.core.handle_datagram(path, &bytes, Instant::now());
        }
        true
    }

    fn receive(&mut self) -> bool {
        for _ in 0..RECEIVES {
            if !self.readable {
                return false;
            }
            match self.socket.recv(&mut self.batch) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.readable = false,
                // An ICMP error of somebody who went away; the next call brings the next datagram.
                Err(_) => continue,
            }
            if !self.readable {
                return false;
            }
            let now = Instant::now();
            let bound = self.socket.local_addr();
            for datagram in self.batch.datagrams() {
                self.numbers.datagrams_in += 1;
                let local = SocketAddr::new(datagram.local.unwrap_or_else(|| concrete(bound.ip())), bound.port());
                let path = Path { protocol: Protocol::Udp, local, remote: datagram.from };
                self.core.handle_datagram(path, datagram.bytes, now);
            }
        }
        true
    }

    fn take_tcp(&mut self) -> bool {
        let (core, numbers, now) = (&mut self.core, &mut self.numbers, Instant::now());
        self.tcp.receive(now, |path, frame| {
            numbers.datagrams_in += 1;
            core.handle_datagram(path, frame, now);
        })
    }

    fn take_outputs(&mut self) {
        while let Some(waiting) = self.backlog.pop_front() {
            if let Some(waiting) = self.try_say(waiting) {
                self.backlog.push_front(waiting);
                break;
            }
        }
        while let Some(output) = self.core.poll_output() {
            match output {
                sfu::Output::Transmit { path, bytes } => self.transmit(path, bytes),
                sfu::Output::Reply { request, result } => self.say(Output::Reply { request, result }),
                sfu::Output::Event { participant, event } => self.say(Output::Event { participant, event }),
                sfu::Output::Text { participant, text } => self.say(Output::Text { participant, text }),
            }
        }
    }

    fn transmit(&mut self, path: Path, bytes: Vec<u8>) {
        if path.protocol == Protocol::Tcp {
            let taken = self.tcp.send(path, &bytes);
            *if taken { &mut self.numbers.datagrams_out } else { &mut self.numbers.datagrams_dropped } += 1;
            return;
        }
        let to = path.remote;
        if self.handover.own.contains(to.ip())
            && let Some(worker) = self.handover.live.worker(to)
            && let Some(lane) = self.handover.relay.get(usize::from(worker))
        {
            let taken = lane.send(Packet { from: path.local, to, bytes });
            lane.wake();
            *if taken { &mut self.numbers.datagrams_out } else { &mut self.numbers.datagrams_dropped } += 1;
            return;
        }
        let source = self.socket.local_addr().ip().is_unspecified().then_some(path.local.ip());
        self.queue.push((), to, source, &[&bytes]);
        if self.queue.len_bytes() > SEND_BYTES {
            self.flush();
        }
    }

    fn flush(&mut self) {
        if !self.queue.is_empty() {
            let sent = self.queue.flush(|(), transmit| self.socket.try_send(transmit));
            self.numbers.datagrams_out += sent.datagrams;
            self.numbers.datagrams_dropped += sent.dropped;
        }
        self.tcp.flush();
    }

    /// The shell's channel is bounded and the media thread never waits for it.
    fn say(&mut self, output: Output) {
        let left = if self.backlog.is_empty() { self.try_say(output) } else { Some(output) };
        let Some(output) = left else { return };
        let participant = addressee(&output);
        self.backlog.push_back(output);
        if let Some(participant) = participant.filter(|_| self.backlog.len() > BACKLOG) {
            self.put_out(participant);
        }
    }

    /// Gives back what the channel has no room for.
    fn try_say(&mut self, output: Output) -> Option<Output> {
        match self.outputs.try_send(output) {
            Err(TrySendError::Full(output)) => Some(output),
            // Nobody listens any more; the command channel will say so too.
            Ok(()) | Err(TrySendError::Closed(_)) => None,
        }
    }

    /// Somebody's events pile up: it leaves, and hears only that.
    fn put_out(&mut self, participant: ParticipantId) {
        tracing::warn!(%participant, "put out: its events are not taken");
        self.numbers.participants_dropped += 1;
        self.backlog.retain(|output| addressee(output) != Some(participant));
        let event = sfu::Event::Left(sfu::event::LeftWhy::Kicked);
        self.backlog.push_back(Output::Event { participant, event });
        self.core.handle_command(Command::Leave { participant }, Instant::now());
    }

    fn publish(&mut self, now: Instant) {
        if now.saturating_duration_since(self.published) < STATS {
            return;
        }
        self.published = now;
        self.numbers.counters = self.core.counters();
        self.numbers.load = self.core.load();
        self.numbers.connections = self.tcp.connections();
        if let Ok(mut shared) = self.shared.lock() {
            *shared = self.numbers;
        }
    }
}

fn addressee(output: &Output) -> Option<ParticipantId> {
    match output {
        Output::Event { participant, .. } | Output::Text { participant, .. } => Some(*participant),
        Output::Reply { .. } => None,
    }
}

/// The kernel did not say where a datagram arrived: then it is the bound address, or this machine.
fn concrete(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(v4) if v4.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(v6) if v6.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    }
}
