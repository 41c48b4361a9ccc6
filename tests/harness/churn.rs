//! Many allocations at once and many one after the other, against a relay in this process: what of it stays.
//!
//! All clients are one socket that sends from many addresses of loopback, so that what is measured is the relay.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::time::{Duration, Instant};

use service::udp::{RecvBatch, SendQueue, UdpSocket};
use stun_types::attribute::{AttributeWrite, ErrorCode, Nonce, Realm, Username};
use stun_types::message::{
    IntegrityAlgorithm, IntegrityKey, LongTermKeyCredentials, Message, MessageClass, MessageType, MessageWrite,
    MessageWriteExt, MessageWriteVec, Method, TransactionId,
};
use turn_server::relay::Relay;
use turn_types::attribute::{Lifetime, RequestedTransport};
use turn_types::message::{ALLOCATE, REFRESH};

use crate::relay::{USER, start};

/// Requests under way at once: fewer than the relay keeps waiting.
const WINDOW: usize = 200;
/// How long answers may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// What an idle allocation may cost, bytes.
const LIMIT: u64 = 2048;
/// Memory that may stay after everything is gone: what an allocator keeps for the next time.
const SLACK: u64 = 4 << 20;

struct Clients {
    socket: UdpSocket,
    server: SocketAddr,
    queue: SendQueue<()>,
    batch: RecvBatch,
    key: IntegrityKey,
    nonces: Vec<String>,
    /// By client: the transaction that it waits for.
    waiting: Vec<Option<TransactionId>>,
}

fn ip(client: usize) -> IpAddr {
    let number = client as u32;
    Ipv4Addr::from_bits(0x7F0A_0000 + (number / 250) * 256 + number % 250 + 1).into()
}

fn number(ip: Ipv4Addr) -> usize {
    let [_, _, third, fourth] = ip.octets();
    usize::from(third) * 250 + usize::from(fourth) - 1
}

impl Clients {
    fn new(server: SocketAddr, live: usize) -> Self {
        let socket = UdpSocket::bind(SocketAddr::from(([0, 0, 0, 0], 0)), false).expect("a port");
        let key = LongTermKeyCredentials::new(USER.0.into(), USER.1.into(), "tern".into());
        Self {
            socket,
            server,
            queue: SendQueue::default(),
            batch: RecvBatch::default(),
            key: key.make_key(IntegrityAlgorithm::Sha1),
            nonces: vec![String::with_capacity(40); live],
            waiting: vec![None; live],
        }
    }

    fn push(&mut self, client: usize, method: Method, attributes: &[&dyn AttributeWrite]) {
        let transaction = TransactionId::generate();
        let kind = MessageType::from_class_method(MessageClass::Request, method);
        let mut write = Message::builder(kind, transaction, MessageWriteVec::new());
        attributes.iter().for_each(|attribute| write.add_attribute(*attribute).expect("fits"));
        let nonce = &self.nonces[client];
        if !nonce.is_empty() {
            write.add_attribute(&Username::new(USER.0).expect("short")).expect("fits");
            write.add_attribute(&Realm::new("tern").expect("short")).expect("fits");
            write.add_attribute(&Nonce::new(nonce).expect("short")).expect("fits");
            write.add_message_integrity_with_key(&self.key, IntegrityAlgorithm::Sha1).expect("fits");
        }
        self.waiting[client] = Some(transaction);
        self.queue.push((), self.server, Some(ip(client)), &[&write.finish()]);
    }

    /// One request of each of these clients; each answer must have this code. Nothing is lost on loopback while no more
    /// is under way than the sockets hold.
    fn ask(&mut self, clients: Range<usize>, wanted: u16, request: impl Fn(&mut Self, usize)) {
        clients.clone().for_each(|client| request(self, client));
        let socket = &self.socket;
        self.queue.flush(|(), transmit| socket.try_send(transmit));
        let deadline = Instant::now() + PATIENCE;
        while clients.clone().any(|client| self.waiting[client].is_some()) {
            assert!(Instant::now() < deadline, "no answers in {PATIENCE:?}");
            self.receive(wanted);
        }
    }

    fn receive(&mut self, wanted: u16) {
        if self.socket.recv(&mut self.batch).is_err() {
            std::thread::yield_now();
            return;
        }
        for datagram in self.batch.datagrams() {
            let Some(IpAddr::V4(to)) = datagram.local else { continue };
            let message = Message::from_bytes(datagram.bytes).expect("a STUN message");
            let client = number(to);
            if self.waiting[client] != Some(message.transaction_id()) {
                continue;
            }
            self.waiting[client] = None;
            let code = message.attribute::<ErrorCode>().map_or(0, |error| error.code());
            assert_eq!(code, wanted, "client {client}");
            if let Ok(nonce) = message.attribute::<Nonce>() {
                self.nonces[client] = nonce.nonce().into();
            }
        }
    }

    fn greet(&mut self, clients: Range<usize>) {
        self.nonces[clients.clone()].iter_mut().for_each(String::clear);
        self.ask(clients, 401, |all, client| all.push(client, ALLOCATE, &[]));
    }

    fn allocate(&mut self, clients: Range<usize>) {
        self.ask(clients, 0, |all, client| all.push(client, ALLOCATE, &[&RequestedTransport::new(17)]));
    }

    fn release(&mut self, clients: Range<usize>) {
        self.ask(clients, 0, |all, client| all.push(client, REFRESH, &[&Lifetime::new(0)]));
    }
}

/// What the process holds.
#[derive(Debug, Clone, Copy)]
pub struct Held {
    /// Resident memory, bytes.
    pub resident: u64,
    /// Open descriptors.
    pub descriptors: usize,
    /// Relayed ports.
    pub ports: u64,
}

fn held(relay: &Relay) -> Held {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages: u64 = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("a number");
    let descriptors = std::fs::read_dir("/proc/self/fd").expect("Linux").count();
    Held { resident: pages * 4096, descriptors, ports: relay.stats().ports_used }
}

fn windows(total: usize) -> impl Iterator<Item = Range<usize>> {
    (0..total).step_by(WINDOW).map(move |first| first..(first + WINDOW).min(total))
}

/// What was held when, and how fast it went.
pub struct Outcome {
    live: usize,
    cycles: usize,
    start: Held,
    full: Held,
    empty: Held,
    end: Held,
    seconds: f64,
}

impl Outcome {
    /// What an idle allocation costs, bytes of resident memory.
    pub fn each(&self) -> u64 {
        self.full.resident.saturating_sub(self.start.resident) / self.live as u64
    }

    /// Whether everything came back, and nothing cost too much.
    pub fn is_good(&self) -> bool {
        let back = |held: Held| held.descriptors == self.start.descriptors && held.ports == self.start.ports;
        let grown = self.end.resident.saturating_sub(self.empty.resident.max(self.start.resident));
        self.each() <= LIMIT
            && self.full.ports == self.live as u64
            && back(self.empty)
            && back(self.end)
            && grown <= SLACK
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "at the start     {:?}", self.start)?;
        writeln!(f, "{} live       {:?}: {} bytes each", self.live, self.full, self.each())?;
        writeln!(f, "all given back   {:?}", self.empty)?;
        writeln!(f, "{} cycles    {:?}: {:.0} a second", self.cycles, self.end, self.cycles as f64 / self.seconds)
    }
}

/// Makes `live` allocations and gives them back, then `cycles` more by as many clients. Both are multiples of 200.
pub fn churn(live: usize, cycles: usize) -> Outcome {
    let (relay, server) = start(|config| {
        config.unproven_replies = 0;
        config.allocations_per_user = u32::MAX;
        config.allocations_per_address = 0;
        config.allocations_total = 0;
    });
    let mut clients = Clients::new(server, live);
    // What is made once is not an allocation's: buffers, thread-local caches, the first tables.
    windows(live).for_each(|window| clients.greet(window));
    clients.allocate(0..WINDOW);
    clients.release(0..WINDOW);
    let start = held(&relay);
    windows(live).for_each(|window| clients.allocate(window));
    let full = held(&relay);
    windows(live).for_each(|window| clients.release(window));
    let empty = held(&relay);
    let begun = Instant::now();
    for round in 0..cycles / WINDOW {
        let first = round * WINDOW % live;
        clients.allocate(first..first + WINDOW);
        clients.release(first..first + WINDOW);
    }
    let seconds = begun.elapsed().as_secs_f64();
    Outcome { live, cycles, start, full, empty, end: held(&relay), seconds }
}
