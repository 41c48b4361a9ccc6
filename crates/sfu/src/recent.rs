//! The packets of one encoding since its newest key frame began, while that is young: who comes now starts there instead
//! of asking for another, and a key frame whose packets overtook each other on their way is still whole.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::engine::Packet;

/// Older than this a beginning is not shown any more: it would be seen as a jump back in time.
const YOUNG: Duration = Duration::from_secs(1);
/// Packets that are kept: a burst that any receiver takes.
const MAX_PACKETS: usize = 128;
/// Packets that are kept without a key frame: what may have overtaken its first packet.
const OVERTAKEN: usize = 32;

/// The newest packets, in order of arrival.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    packets: VecDeque<Packet>,
    /// Sequence number and arrival of the key frame's first packet.
    key: Option<(u64, Instant)>,
}

impl Recent {
    pub(crate) fn push(&mut self, packet: &Packet, now: Instant) {
        if packet.picture.starts_key && self.key.is_none_or(|(sequence, _)| sequence < packet.sequence) {
            self.key = Some((packet.sequence, now));
            self.packets.retain(|p| p.sequence > packet.sequence);
        }
        self.packets.push_back(packet.clone());
        let old = self.key.is_some_and(|(_, at)| now.saturating_duration_since(at) > YOUNG);
        if old || self.packets.len() > MAX_PACKETS {
            self.key = None;
        }
        let keep = if self.key.is_some() { MAX_PACKETS } else { OVERTAKEN };
        while self.packets.len() > keep {
            self.packets.pop_front();
        }
    }

    /// Forgets everything: what comes next does not continue it.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Everything from the key frame's first packet on, in order; empty if there is no young one.
    pub(crate) fn since_key(&self, now: Instant) -> Vec<&Packet> {
        match self.key {
            Some((sequence, at)) if now.saturating_duration_since(at) <= YOUNG => {
                self.those(|packet| packet.sequence >= sequence)
            }
            _ => Vec::new(),
        }
    }

    /// What came before its time: packets behind this one, in order.
    pub(crate) fn after(&self, sequence: u64) -> Vec<&Packet> {
        self.those(|packet| packet.sequence > sequence)
    }

    fn those(&self, which: impl Fn(&Packet) -> bool) -> Vec<&Packet> {
        let mut found: Vec<&Packet> = self.packets.iter().filter(|packet| which(packet)).collect();
        found.sort_by_key(|packet| packet.sequence);
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Format;
    use crate::testing::{epoch, packet};

    fn filled(packets: &[(u64, bool)]) -> Recent {
        let mut recent = Recent::default();
        for &(sequence, starts_key) in packets {
            let mut packet = packet(Format::Vp8, sequence, 0);
            packet.picture.starts_key = starts_key;
            recent.push(&packet, epoch());
        }
        recent
    }

    fn sequences(packets: &[&Packet]) -> Vec<u64> {
        packets.iter().map(|packet| packet.sequence).collect()
    }

    #[test]
    fn a_key_frame_that_was_overtaken_is_whole() {
        let recent = filled(&[(1, true), (2, false), (5, false), (4, true), (3, false), (6, false)]);
        assert_eq!(sequences(&recent.since_key(epoch())), [4, 5, 6]);
        assert_eq!(sequences(&recent.after(4)), [5, 6]);
    }

    #[test]
    fn nothing_follows_the_last_number() {
        assert_eq!(sequences(&filled(&[(u64::MAX, true)]).after(u64::MAX)), []);
    }

    #[test]
    fn an_old_or_long_beginning_is_none() {
        let recent = filled(&[(1, true), (2, false)]);
        assert_eq!(sequences(&recent.since_key(epoch() + YOUNG * 2)), []);
        let long: Vec<_> = (1..300).map(|sequence| (sequence, sequence == 1)).collect();
        let recent = filled(&long);
        assert_eq!(sequences(&recent.since_key(epoch())), []);
        assert!(recent.packets.len() <= MAX_PACKETS);
    }
}
