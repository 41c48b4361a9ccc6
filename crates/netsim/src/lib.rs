//! A seeded network in virtual time: loss, delay, jitter (and with it reordering), duplicates, dead addresses.
//!
//! For tests only. It moves datagrams between socket addresses and knows nothing of what is in them. Time is whatever
//! the test says it is; the same seed gives the same run.

mod link;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Instant;

pub use link::Link;
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

/// A datagram on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Datagram {
    /// Who sent it.
    pub from: SocketAddr,
    /// For whom it is.
    pub to: SocketAddr,
    /// The payload.
    pub bytes: Vec<u8>,
}

/// What became of the datagrams so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Sent.
    pub sent: u64,
    /// Lost on a link or to a dead address.
    pub lost: u64,
    /// Delivered, doubles too.
    pub delivered: u64,
}

/// The network.
#[derive(Debug)]
pub struct Network {
    rng: SmallRng,
    default: Link,
    links: BTreeMap<(SocketAddr, SocketAddr), Link>,
    dead: BTreeSet<SocketAddr>,
    queue: BTreeMap<(Instant, u64), Datagram>,
    counters: Counters,
}

impl Network {
    /// A network in which every link is perfect.
    pub fn new(seed: u64) -> Self {
        Self {
            rng: SmallRng::seed_from_u64(seed),
            default: Link::default(),
            links: BTreeMap::new(),
            dead: BTreeSet::new(),
            queue: BTreeMap::new(),
            counters: Counters::default(),
        }
    }

    /// How links are that nothing else was said about.
    pub fn set_default(&mut self, link: Link) {
        self.default = link;
    }

    /// How the link from one address to another is, in this direction.
    pub fn set_link(&mut self, from: SocketAddr, to: SocketAddr, link: Link) {
        self.links.insert((from, to), link);
    }

    /// Nothing reaches or leaves this address any more, or again.
    pub fn set_dead(&mut self, address: SocketAddr, dead: bool) {
        if dead {
            self.dead.insert(address);
        } else {
            self.dead.remove(&address);
        }
    }

    /// Takes a datagram.
    pub fn send(&mut self, datagram: Datagram, now: Instant) {
        self.counters.sent += 1;
        let ends = (datagram.from, datagram.to);
        let link = self.links.get(&ends).copied().unwrap_or(self.default);
        let dead = self.dead.contains(&ends.0) || self.dead.contains(&ends.1);
        if dead || self.rng.random_bool(link.loss) {
            self.counters.lost += 1;
            return;
        }
        let copies = 1 + u64::from(self.rng.random_bool(link.duplicate));
        for copy in 0..copies {
            let jitter = link.jitter.mul_f64(self.rng.random_range(0.0..=1.0));
            // The number keeps what arrives at one moment in the order in which it was sent.
            let number = self.counters.sent * 2 + copy;
            self.queue.insert((now + link.delay + jitter, number), datagram.clone());
        }
    }

    /// When the next datagram arrives.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.queue.first_key_value().map(|((at, _), _)| *at)
    }

    /// The next datagram that has arrived by `now`.
    pub fn poll_output(&mut self, now: Instant) -> Option<Datagram> {
        let first = self.queue.first_entry()?;
        if first.key().0 > now {
            return None;
        }
        self.counters.delivered += 1;
        Some(first.remove())
    }

    /// What became of the datagrams so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn addresses() -> (SocketAddr, SocketAddr) {
        (SocketAddr::from(([10, 0, 0, 1], 1)), SocketAddr::from(([10, 0, 0, 2], 2)))
    }

    /// Sends 1000 datagrams, 1 ms apart, and gives the numbers in the order of their arrival.
    fn run(link: Link, seed: u64) -> Vec<u16> {
        let (from, to) = addresses();
        #[expect(clippy::disallowed_methods, reason = "a test needs some instant to start from")]
        let start = Instant::now();
        let mut network = Network::new(seed);
        network.set_link(from, to, link);
        for number in 0..1000u16 {
            let now = start + Duration::from_millis(number.into());
            network.send(Datagram { from, to, bytes: number.to_be_bytes().to_vec() }, now);
        }
        let mut arrived = Vec::new();
        while let Some(at) = network.poll_timeout() {
            while let Some(datagram) = network.poll_output(at) {
                arrived.push(u16::from_be_bytes([datagram.bytes[0], datagram.bytes[1]]));
            }
        }
        arrived
    }

    #[test]
    fn a_perfect_link_changes_nothing() {
        assert_eq!(run(Link::default(), 1), (0..1000).collect::<Vec<_>>());
    }

    #[test]
    fn loss_and_jitter_do_what_they_say_and_repeat_with_the_seed() {
        let link = Link { loss: 0.1, jitter: Duration::from_millis(20), ..Link::default() };
        let arrived = run(link, 7);
        assert!((850..950).contains(&arrived.len()), "{}", arrived.len());
        assert!(arrived.windows(2).any(|pair| pair[0] > pair[1]), "jitter reorders");
        assert_eq!(arrived, run(link, 7));
        assert_ne!(arrived, run(link, 8));
    }

    #[test]
    fn duplicates_arrive_twice() {
        assert_eq!(run(Link { duplicate: 1.0, delay: Duration::from_millis(5), ..Link::default() }, 1).len(), 1000 * 2);
    }
}
