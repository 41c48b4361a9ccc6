//! The ways inside the process: between relay workers, and between relay and SFU workers.
//!
//! A packet for one of our own addresses never takes the kernel's way: it goes over a bounded [`Lane`] to the worker
//! that owns the address. [`LivePorts`] says which relay worker owns a live relayed port. A full lane drops and counts.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use crossbeam_channel::{Receiver, Sender};

/// Packets that may wait in a lane: about 50 ms of a busy relay, and at most 12 MB.
const LANE_DEPTH: usize = 8192;

/// A datagram that changes hands.
#[derive(Debug)]
pub struct Packet {
    /// Where it seems to come from, to its receiver: a relayed address, or the media address.
    pub from: SocketAddr,
    /// Which of our own addresses it is for.
    pub to: SocketAddr,
    /// The payload.
    pub bytes: Vec<u8>,
}

/// The sending end of a way to one worker.
#[derive(Clone)]
pub struct Lane {
    sender: Sender<Packet>,
    waker: Arc<mio::Waker>,
    dropped: Arc<AtomicU64>,
    handed: Arc<AtomicU64>,
}

/// The receiving end, owned by the worker.
pub struct LaneEnd {
    receiver: Receiver<Packet>,
}

/// Makes a way to the worker that `waker` wakes.
pub fn lane(waker: Arc<mio::Waker>) -> (Lane, LaneEnd) {
    let (sender, receiver) = crossbeam_channel::bounded(LANE_DEPTH);
    (Lane { sender, waker, dropped: Arc::default(), handed: Arc::default() }, LaneEnd { receiver })
}

impl Lane {
    /// Queues a packet; call [`Lane::wake`] once after the last of a batch. Returns whether there was room.
    pub fn send(&self, packet: Packet) -> bool {
        let sent = self.sender.try_send(packet).is_ok();
        let counter = if sent { &self.handed } else { &self.dropped };
        counter.fetch_add(1, Ordering::Relaxed);
        sent
    }

    /// Wakes the receiving worker.
    pub fn wake(&self) {
        // An event fd whose counter is full is awake already.
        let _ = self.waker.wake();
    }

    /// Packets taken and packets dropped so far.
    pub fn counts(&self) -> (u64, u64) {
        (self.handed.load(Ordering::Relaxed), self.dropped.load(Ordering::Relaxed))
    }
}

impl LaneEnd {
    /// Whether no packet waits.
    pub fn is_empty(&self) -> bool {
        self.receiver.is_empty()
    }

    /// The next packet, if one waits.
    pub fn try_recv(&self) -> Option<Packet> {
        self.receiver.try_recv().ok()
    }
}

/// Which relayed ports of our own addresses are live, and on which relay worker: written by the owner, read by all.
pub struct LivePorts {
    v4: Box<[AtomicU8]>,
    v6: Box<[AtomicU8]>,
    /// Ports that listen for connections, one bit each, IPv4 and IPv6.
    listening: [Box<[AtomicU64]>; 2],
}

impl Default for LivePorts {
    fn default() -> Self {
        let ports = || (0..=u16::MAX).map(|_| AtomicU8::new(0)).collect();
        let bits = || (0..1 << 10).map(|_| AtomicU64::new(0)).collect();
        Self { v4: ports(), v6: ports(), listening: [bits(), bits()] }
    }
}

impl LivePorts {
    fn cell(&self, address: SocketAddr) -> &AtomicU8 {
        let table = if matches!(address.ip(), IpAddr::V4(_)) { &self.v4 } else { &self.v6 };
        &table[usize::from(address.port())]
    }

    /// Notes that `worker` owns this relayed address from now on.
    pub fn set(&self, address: SocketAddr, worker: u8) {
        self.cell(address).store(worker + 1, Ordering::Release);
    }

    /// Notes whether a relayed address listens for connections (RFC 6062).
    pub fn set_listening(&self, address: SocketAddr, listening: bool) {
        let (word, bit) = self.word(address);
        if listening {
            word.fetch_or(bit, Ordering::Release)
        } else {
            word.fetch_and(!bit, Ordering::Release)
        };
    }

    /// Whether a relayed port listens for connections; whether the IP is ours is for the caller to know.
    pub fn is_listening(&self, address: SocketAddr) -> bool {
        let (word, bit) = self.word(address);
        word.load(Ordering::Acquire) & bit != 0
    }

    fn word(&self, address: SocketAddr) -> (&AtomicU64, u64) {
        let table = &self.listening[usize::from(address.is_ipv6())];
        (&table[usize::from(address.port() >> 6)], 1 << (address.port() & 63))
    }

    /// Notes that the relayed address is gone.
    pub fn clear(&self, address: SocketAddr) {
        self.cell(address).store(0, Ordering::Release);
    }

    /// The worker of a relayed port; whether the IP is ours is for the caller to know.
    pub fn worker(&self, address: SocketAddr) -> Option<u8> {
        self.cell(address).load(Ordering::Acquire).checked_sub(1)
    }
}

/// Everything a worker needs to hand packets over; cheap to clone.
#[derive(Clone)]
pub struct Handover {
    /// Live relayed ports.
    pub live: Arc<LivePorts>,
    /// The relay workers, by index.
    pub relay: Arc<[Lane]>,
    /// The SFU workers with their media port (UDP), by index.
    pub media: Arc<[(u16, Lane)]>,
    /// Our own addresses: of interfaces, advertised and external ones. Canonical (no mapped IPv4).
    pub own: Arc<OwnAddresses>,
}

/// The addresses of this host, as far as a peer could name them.
#[derive(Debug, Default)]
pub struct OwnAddresses(pub std::collections::BTreeSet<IpAddr>);

impl OwnAddresses {
    /// The addresses of this host's interfaces, and `more` (advertised and external ones).
    ///
    /// # Errors
    /// The system does not tell.
    pub fn of_host(more: impl IntoIterator<Item = IpAddr>) -> std::io::Result<Self> {
        let interfaces = if_addrs::get_if_addrs()?.into_iter().map(|interface| interface.ip());
        let all = interfaces.chain(more).map(|ip| ip.to_canonical()).filter(|ip| !ip.is_unspecified());
        Ok(Self(all.collect()))
    }

    /// Whether a packet for this address would arrive at this host.
    pub fn contains(&self, ip: IpAddr) -> bool {
        ip.is_loopback() || ip.is_unspecified() || self.0.contains(&ip.to_canonical())
    }
}

/// Where a packet for an own address goes.
pub enum Destination<'a> {
    /// To the relay worker with this index, which has the live relayed port.
    Relay(u8, &'a Lane),
    /// To the SFU worker with this index, which has the media port.
    Media(usize, &'a Lane),
}

/// A port of ours is open to peers where a packet for it has somebody to take it.
impl turn::OpenPorts for Handover {
    fn is_open(&self, address: SocketAddr) -> bool {
        self.destination(address).is_some()
    }

    fn is_listening(&self, address: SocketAddr) -> bool {
        self.live.is_listening(address)
    }

    fn is_media(&self, address: SocketAddr) -> bool {
        self.media.iter().any(|(port, _)| *port == address.port())
    }
}

impl Handover {
    /// Who takes packets for this own address and port; `None`: nobody, and the packet must not leave either.
    pub fn destination(&self, to: SocketAddr) -> Option<Destination<'_>> {
        let media = self.media.iter().enumerate().find(|(_, (port, _))| *port == to.port());
        if let Some((index, (_, lane))) = media {
            return Some(Destination::Media(index, lane));
        }
        let worker = self.live.worker(to)?;
        self.relay.get(usize::from(worker)).map(|lane| Destination::Relay(worker, lane))
    }
}
