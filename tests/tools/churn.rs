//! `churn`: 10,000 allocations at once, then 200,000 one after the other, against a relay in this process. Descriptors,
//! ports and memory must return to where they were, and an idle allocation may cost 2 KiB of ours at most.
//!
//! All clients are one socket that sends from many addresses of loopback, so that what is measured is the relay.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use service::udp::{RecvBatch, SendQueue, UdpSocket};
use stun_types::attribute::{AttributeWrite, ErrorCode, Nonce, Realm, Username};
use stun_types::message::{
    IntegrityAlgorithm, IntegrityKey, LongTermKeyCredentials, Message, MessageClass, MessageType, MessageWrite,
    MessageWriteExt, MessageWriteVec, Method, TransactionId,
};
use tests::relay::{USER, start};
use turn_server::relay::Relay;
use turn_types::attribute::{Lifetime, RequestedTransport};
use turn_types::message::{ALLOCATE, REFRESH};

const LIVE: usize = 10_000;
const CYCLES: usize = 200_000;
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
    fn new(server: SocketAddr) -> Self {
        let socket = UdpSocket::bind(SocketAddr::from(([0, 0, 0, 0], 0)), false).expect("a port");
        let key = LongTermKeyCredentials::new(USER.0.into(), USER.1.into(), "tern".into());
        Self {
            socket,
            server,
            queue: SendQueue::default(),
            batch: RecvBatch::default(),
            key: key.make_key(IntegrityAlgorithm::Sha1),
            nonces: vec![String::with_capacity(40); LIVE],
            waiting: vec![None; LIVE],
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
    fn ask(&mut self, clients: std::ops::Range<usize>, wanted: u16, request: impl Fn(&mut Self, usize)) {
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

    fn greet(&mut self, clients: std::ops::Range<usize>) {
        self.nonces[clients.clone()].iter_mut().for_each(String::clear);
        self.ask(clients, 401, |all, client| all.push(client, ALLOCATE, &[]));
    }

    fn allocate(&mut self, clients: std::ops::Range<usize>) {
        self.ask(clients, 0, |all, client| all.push(client, ALLOCATE, &[&RequestedTransport::new(17)]));
    }

    fn release(&mut self, clients: std::ops::Range<usize>) {
        self.ask(clients, 0, |all, client| all.push(client, REFRESH, &[&Lifetime::new(0)]));
    }
}

/// What the process holds: resident bytes, descriptors, relayed ports.
#[derive(Debug, Clone, Copy)]
struct Held {
    resident: u64,
    descriptors: usize,
    ports: u64,
}

fn held(relay: &Relay) -> Held {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages: u64 = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("a number");
    let descriptors = std::fs::read_dir("/proc/self/fd").expect("Linux").count();
    Held { resident: pages * 4096, descriptors, ports: relay.stats().ports_used }
}

fn windows(total: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
    (0..total).step_by(WINDOW).map(move |first| first..(first + WINDOW).min(total))
}

fn main() -> ExitCode {
    let (relay, server) = start(|config| {
        config.unproven_replies = 0;
        config.allocations_per_user = u32::MAX;
        config.allocations_per_address = 0;
        config.allocations_total = 0;
    });
    let mut clients = Clients::new(server);
    // What is made once is not an allocation's: buffers, thread-local caches, the first tables.
    for window in windows(LIVE) {
        clients.greet(window);
    }
    clients.allocate(0..WINDOW);
    clients.release(0..WINDOW);
    let start = held(&relay);
    println!("at the start     {start:?}");

    for window in windows(LIVE) {
        clients.allocate(window);
    }
    let full = held(&relay);
    let each = full.resident.saturating_sub(start.resident) / LIVE as u64;
    println!("{LIVE} live       {full:?}: {each} bytes each");
    for window in windows(LIVE) {
        clients.release(window);
    }
    let empty = held(&relay);
    println!("all given back   {empty:?}");

    let begun = Instant::now();
    for round in 0..CYCLES / WINDOW {
        let first = round * WINDOW % LIVE;
        clients.allocate(first..first + WINDOW);
        clients.release(first..first + WINDOW);
    }
    let seconds = begun.elapsed().as_secs_f64();
    let end = held(&relay);
    println!("{CYCLES} cycles    {end:?}: {:.0} a second", CYCLES as f64 / seconds);

    let back = |held: Held| held.descriptors == start.descriptors && held.ports == start.ports;
    let grown = end.resident.saturating_sub(empty.resident.max(start.resident));
    let good = each <= LIMIT && full.ports == LIVE as u64 && back(empty) && back(end) && grown <= SLACK;
    println!("{}", if good { "churn: everything came back" } else { "churn: FAILED" });
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
