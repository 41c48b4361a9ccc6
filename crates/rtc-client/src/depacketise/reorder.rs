//! Restores the order of one stream's packets and says what is lost for good.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::packet::RtpPacket;

/// Packets that may wait behind a gap: about 4 s of a 5 Mbit/s picture. Beyond, the gap is given up.
const MAX_WAITING: usize = 2048;
/// At the start of a stream the first packet may have been overtaken: so long its place is not settled.
const SETTLE: Duration = Duration::from_millis(60);

/// What comes next in a stream.
#[derive(Debug)]
pub enum Ordered {
    /// The packet that follows the one before.
    Packet(RtpPacket),
    /// So many packets in a row will not come any more.
    Lost(u64),
}

/// The order of one stream (one SSRC, one m-line).
#[derive(Debug)]
pub struct Reorder {
    patience: Duration,
    /// When the first packet's place is settled.
    settled: Option<Instant>,
    next: Option<u64>,
    waiting: BTreeMap<u64, RtpPacket>,
}

impl Reorder {
    /// `patience` is how long a gap is waited for after the first packet behind it came.
    pub fn new(patience: Duration) -> Self {
        Self { patience, settled: None, next: None, waiting: BTreeMap::new() }
    }

    /// Takes a packet in any order; doubles, and what comes after its gap was given up, are dropped.
    pub fn handle_packet(&mut self, packet: RtpPacket) {
        if self.next.is_some_and(|next| packet.sequence < next) {
            return;
        }
        self.settled.get_or_insert(packet.arrived + SETTLE.min(self.patience));
        self.waiting.entry(packet.sequence).or_insert(packet);
    }

    /// The next packet or loss, if it is known.
    pub fn poll(&mut self, now: Instant) -> Option<Ordered> {
        let entry = self.waiting.first_entry()?;
        if self.settled.is_some_and(|at| now < at) && self.patience > Duration::ZERO {
            return None;
        }
        let sequence = *entry.key();
        let next = *self.next.get_or_insert(sequence);
        if sequence == next {
            self.next = next.checked_add(1);
            return Some(Ordered::Packet(entry.remove()));
        }
        let due = entry.get().arrived + self.patience;
        if now < due && self.waiting.len() < MAX_WAITING {
            return None;
        }
        self.next = Some(sequence);
        Some(Ordered::Lost(sequence - next))
    }

    /// Whether no packet waits for those in front of it.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Gives every gap up: what waits comes out of [`Reorder::poll`] without further patience (at the end of a stream).
    pub fn flush(&mut self) {
        self.patience = Duration::ZERO;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::depacketise::assembler::tests::packet;

    fn sequences(reorder: &mut Reorder, now: Instant) -> Vec<i64> {
        let mut seen = Vec::new();
        while let Some(ordered) = reorder.poll(now) {
            seen.push(match ordered {
                Ordered::Packet(packet) => packet.sequence.cast_signed(),
                Ordered::Lost(count) => -count.cast_signed(),
            });
        }
        seen
    }

    #[test]
    fn a_repaired_packet_comes_out_in_its_place() {
        let (mut reorder, mut now) = (Reorder::new(Duration::from_millis(500)), packet(0, 0, &[], false).arrived);
        for sequence in [10, 11, 13, 14, 13] {
            reorder.handle_packet(RtpPacket { arrived: now, ..packet(sequence, 0, &[], false) });
        }
        assert_eq!(sequences(&mut reorder, now), [0_i64; 0]);
        now += SETTLE;
        assert_eq!(sequences(&mut reorder, now), [10, 11]);
        now += Duration::from_millis(400);
        reorder.handle_packet(RtpPacket { arrived: now, ..packet(12, 0, &[], false) });
        assert_eq!(sequences(&mut reorder, now), [12, 13, 14]);
    }

    #[test]
    fn a_gap_is_given_up_when_patience_ends() {
        let (mut reorder, now) = (Reorder::new(Duration::from_millis(500)), packet(0, 0, &[], false).arrived);
        for sequence in [1, 5] {
            reorder.handle_packet(RtpPacket { arrived: now, ..packet(sequence, 0, &[], false) });
        }
        assert_eq!(sequences(&mut reorder, now + SETTLE), [1]);
        let due = now + Duration::from_millis(500);
        assert_eq!(sequences(&mut reorder, due - Duration::from_nanos(1)), [0_i64; 0]);
        assert_eq!(sequences(&mut reorder, due), [-3, 5]);
        assert!(reorder.is_empty());
        reorder.handle_packet(packet(3, 0, &[], false));
        assert!(reorder.is_empty());
    }

    #[test]
    fn the_first_packet_may_be_overtaken() {
        let (mut reorder, now) = (Reorder::new(Duration::from_millis(500)), packet(0, 0, &[], false).arrived);
        for sequence in [3, 1, 2] {
            reorder.handle_packet(RtpPacket { arrived: now, ..packet(sequence, 0, &[], false) });
            assert_eq!(sequences(&mut reorder, now), [0_i64; 0]);
        }
        assert_eq!(sequences(&mut reorder, now + SETTLE), [1, 2, 3]);
    }

    #[test]
    fn an_endless_gap_does_not_eat_memory() {
        let (mut reorder, now) = (Reorder::new(Duration::from_secs(3600)), packet(0, 0, &[], false).arrived);
        reorder.handle_packet(packet(0, 0, &[], false));
        for sequence in 2..10_000 {
            reorder.handle_packet(RtpPacket { arrived: now, ..packet(sequence, 0, &[], false) });
            sequences(&mut reorder, now + SETTLE);
        }
        assert!(reorder.waiting.len() < MAX_WAITING);
    }
}
