//! Channels of one allocation: a number for a peer, so that data needs 4 bytes of header (RFC 8656 section 12).

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

/// RFC 8656 section 12: a binding lasts 600 s unless refreshed.
pub(crate) const LIFE: Duration = Duration::from_secs(600);
/// Channels at once; more is 508.
pub(crate) const MAX: usize = 256;
/// RFC 8656 section 12: numbers of channels.
const NUMBERS: RangeInclusive<u16> = 0x4000..=0x4FFF;
/// RFC 5766 section 11: clients of that time (coturn's up to 4.6 among them) choose among more. Its section 11.2 ends them at
/// 0x7FFE, section 11 at 0x7FFF, as coturn's and pion's clients do: refused, it is one bind of coturn's in 16,384.
const RFC5766_NUMBERS: RangeInclusive<u16> = 0x4000..=0x7FFF;

/// The numbers that may be bound.
pub(crate) fn numbers(rfc5766: bool) -> RangeInclusive<u16> {
    if rfc5766 { RFC5766_NUMBERS } else { NUMBERS }
}

/// A bound channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Channel {
    pub(crate) number: u16,
    pub(crate) peer: SocketAddr,
    /// The peer is an address of ours.
    pub(crate) own: bool,
    /// The binding ends.
    pub(crate) until: Instant,
    /// The permission for the peer ends: data needs both, and looks here for both.
    pub(crate) permitted_until: Instant,
}

impl Channel {
    /// Whether data may pass.
    pub(crate) fn is_open(&self, now: Instant) -> bool {
        now < self.until && now < self.permitted_until
    }
}

/// The channels of an allocation: a bijection between numbers and peers (RFC 8656 section 12.2).
#[derive(Debug, Default)]
pub(crate) struct Channels {
    /// By number, ascending: few enough that a search in a row of memory beats a hash.
    bound: Vec<Channel>,
    by_peer: BTreeMap<SocketAddr, u16>,
}

impl Channels {
    fn position(&self, number: u16) -> Result<usize, usize> {
        self.bound.binary_search_by_key(&number, |channel| channel.number)
    }

    /// The channel with this number, if data may pass it.
    pub(crate) fn open(&self, now: Instant, number: u16) -> Option<&Channel> {
        let channel = &self.bound[self.position(number).ok()?];
        channel.is_open(now).then_some(channel)
    }

    /// The channel of this peer, if data may pass it.
    pub(crate) fn open_for(&self, now: Instant, peer: SocketAddr) -> Option<&Channel> {
        self.open(now, *self.by_peer.get(&peer)?)
    }

    /// Whether `number` and `peer` may be bound to each other: both new, or bound to each other already.
    pub(crate) fn is_bijective(&self, number: u16, peer: SocketAddr) -> bool {
        let same_peer = self.position(number).ok().is_none_or(|at| self.bound[at].peer == peer);
        let same_number = self.by_peer.get(&peer).is_none_or(|bound| *bound == number);
        same_peer && same_number
    }

    /// Whether another one fits.
    pub(crate) fn has_room(&self, number: u16) -> bool {
        self.bound.len() < MAX || self.position(number).is_ok()
    }

    /// Binds or refreshes; the caller has asked [`Channels::is_bijective`] and installed the permission.
    pub(crate) fn bind(&mut self, now: Instant, number: u16, peer: SocketAddr, own: bool, permitted_until: Instant) {
        let channel = Channel { number, peer, own, until: now + LIFE, permitted_until };
        match self.position(number) {
            Ok(at) => self.bound[at] = channel,
            Err(at) => self.bound.insert(at, channel),
        }
        self.by_peer.insert(peer, number);
    }

    /// The permission for this IP lasts longer now.
    pub(crate) fn handle_permitted(&mut self, ip: IpAddr, until: Instant) {
        for channel in self.bound.iter_mut().filter(|channel| channel.peer.ip() == ip) {
            channel.permitted_until = until;
        }
    }

    /// Removes what `keep` does not want.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&Channel) -> bool) {
        let by_peer = &mut self.by_peer;
        self.bound.retain(|channel| {
            let kept = keep(channel);
            if !kept {
                by_peer.remove(&channel.peer);
            }
            kept
        });
    }

    /// When the first binding ends.
    pub(crate) fn next_end(&self) -> Option<Instant> {
        self.bound.iter().map(|channel| channel.until).min()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Channel> {
        self.bound.iter()
    }

    pub(crate) fn len(&self) -> usize {
        self.bound.len()
    }
}
