//! What connections and DTLS sessions share: how many of a source have no allocation, and who of these is silent for too
//! long.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// Connections, and sessions, of one address without an allocation; IPv6 by /64, as one host has so many.
const MAX_PER_SOURCE: u32 = 256;
/// What may come before the first message (a proxy's header, a handshake) must be over by then.
pub(super) const OPENING: Duration = Duration::from_secs(10);
/// Silence of somebody without an allocation.
const SILENCE: Duration = Duration::from_secs(30);

/// Those without an allocation, by source.
#[derive(Default)]
struct Idle(HashMap<IpAddr, u32>);

fn source(address: SocketAddr) -> IpAddr {
    match address.ip() {
        IpAddr::V6(ip) => IpAddr::V6((ip.to_bits() >> 64 << 64).into()),
        ip => ip,
    }
}

impl Idle {
    /// Whether one more may come.
    fn has_room(&self, client: SocketAddr) -> bool {
        self.0.get(&source(client)).is_none_or(|count| *count < MAX_PER_SOURCE)
    }

    fn add(&mut self, client: SocketAddr) {
        *self.0.entry(source(client)).or_default() += 1;
    }

    fn remove(&mut self, client: SocketAddr) {
        let source = source(client);
        if let Some(count) = self.0.get_mut(&source) {
            *count -= 1;
            if *count == 0 {
                self.0.remove(&source);
            }
        }
    }
}

/// A moment, and the slot that it is for, if the one with this serial number still has it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Deadline {
    pub(super) at: Instant,
    pub(super) slot: usize,
    pub(super) serial: u64,
}

/// Deadlines that are all set equally far ahead, and so are in order.
#[derive(Default)]
pub(super) struct Deadlines(VecDeque<Deadline>);

impl Deadlines {
    pub(super) fn push(&mut self, deadline: Deadline) {
        self.0.push_back(deadline);
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.0.front().map(|deadline| deadline.at)
    }

    /// The first one that is over.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<Deadline> {
        self.0.pop_front_if(|deadline| deadline.at <= now)
    }
}

/// What is known of one connection or session.
pub(super) struct Watch {
    /// Tells it from others that have had its slot.
    pub(super) serial: u64,
    /// Its client has an allocation.
    pub(super) allocated: bool,
    /// When it was opened, last heard, or lost its allocation.
    pub(super) last_heard: Instant,
    /// It has a place in the list of deadlines.
    listed: bool,
}

/// All connections, or all sessions, of a worker.
#[derive(Default)]
pub(super) struct Watches {
    idle: Idle,
    deadlines: Deadlines,
    /// How many there have been.
    opened: u64,
}

impl Watches {
    /// Whether one more of this source may come.
    pub(super) fn have_room(&self, client: SocketAddr) -> bool {
        self.idle.has_room(client)
    }

    pub(super) fn begin(&mut self, slot: usize, client: SocketAddr, now: Instant) -> Watch {
        self.opened += 1;
        let serial = self.opened;
        self.idle.add(client);
        self.deadlines.push(Deadline { at: now + SILENCE, slot, serial });
        Watch { serial, allocated: false, last_heard: now, listed: true }
    }

    pub(super) fn end(&mut self, watch: &Watch, client: SocketAddr) {
        if !watch.allocated {
            self.idle.remove(client);
        }
    }

    /// It turned out to be another client's; `false`: that one may have no more.
    pub(super) fn rename(&mut self, before: SocketAddr, after: SocketAddr) -> bool {
        self.idle.remove(before);
        let room = self.idle.has_room(after);
        self.idle.add(after);
        room
    }

    /// The client got an allocation, or lost it.
    pub(super) fn set_allocated(
        &mut self,
        watch: &mut Watch,
        slot: usize,
        client: SocketAddr,
        allocated: bool,
        now: Instant,
    ) {
        if watch.allocated == allocated {
            return;
        }
        (watch.allocated, watch.last_heard) = (allocated, now);
        if allocated {
            return self.idle.remove(client);
        }
        self.idle.add(client);
        if !watch.listed {
            watch.listed = true;
            self.deadlines.push(Deadline { at: now + SILENCE, slot, serial: watch.serial });
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    pub(super) fn pop_due(&mut self, now: Instant) -> Option<Deadline> {
        self.deadlines.pop_due(now)
    }

    /// Whether one whose deadline has come is to be ended; else it is looked at again when that may be. `lives`: it may be
    /// silent for as long as it likes.
    pub(super) fn is_silent(&mut self, deadline: Deadline, watch: &mut Watch, lives: bool, now: Instant) -> bool {
        watch.listed = !lives;
        let silent = watch.last_heard + SILENCE;
        if !lives && silent > now {
            self.deadlines.push(Deadline { at: silent, ..deadline });
        }
        !lives && silent <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_an_address_or_a_64() {
        let mut idle = Idle::default();
        let at = |text: &str| -> SocketAddr { text.parse().unwrap() };
        for port in 0..MAX_PER_SOURCE as u16 {
            assert!(idle.has_room(at("[2001:db8::1]:1")) && idle.has_room(at("198.51.100.1:1")));
            idle.add(SocketAddr::new(at("[2001:db8::1]:0").ip(), port));
            idle.add(SocketAddr::new(at("198.51.100.1:0").ip(), port));
        }
        assert!(!idle.has_room(at("[2001:db8::2]:1")) && idle.has_room(at("[2001:db8:0:1::1]:1")));
        assert!(!idle.has_room(at("198.51.100.1:1")) && idle.has_room(at("198.51.100.2:1")));
        idle.remove(at("198.51.100.1:9"));
        assert!(idle.has_room(at("198.51.100.1:1")));
        (0..MAX_PER_SOURCE).for_each(|_| idle.remove(at("[2001:db8::ffff]:1")));
        assert_eq!(idle.0.len(), 1);
    }
}
