//! One continuous stream for a receiver out of many sources: sequence numbers, timestamps and picture counters go on
//! over layer switches, slot changes, mutes and new publishers.

use std::time::Instant;

use crate::codec::Field;
use crate::engine::{Format, Packet, Rewrite};

/// The first sequence number of a slot: the engine's rollover counter must start at 0.
const FIRST_SEQUENCE: u64 = 1;

/// A publisher that leaps farther is taken for a new source, and one packet for lost. Receivers guess how often 16 bits
/// have wrapped (RFC 3711, 3.3.1): if half of all numbers lie between two packets that arrive, nothing on the slot can be
/// decrypted any more, whoever is on it later. Half of them are 32 leaps: 31 packets in a row would have to be lost.
const MAX_LEAP: i64 = 0x400;

/// How the current source maps onto the outgoing stream.
#[derive(Debug, Clone, Copy)]
struct Source {
    /// The packet that it began with; what is older belongs to what was there before.
    first: u64,
    sequence: i64,
    timestamp: u32,
    picture_id: u16,
    tl0_pic_idx: u8,
}

/// The newest that went out.
#[derive(Debug, Clone, Copy)]
struct Last {
    sequence: u64,
    timestamp: u32,
    captured: Instant,
    picture_id: u16,
    tl0_pic_idx: u8,
    marker: bool,
}

/// The outgoing stream of one slot.
#[derive(Debug, Default)]
pub(crate) struct Rewriter {
    source: Option<Source>,
    last: Option<Last>,
}

impl Rewriter {
    /// Begins with a new source at this packet, which must be one that a receiver can start with.
    pub(crate) fn switch(&mut self, packet: &Packet) {
        // A picture cut off leaves a hole, so that no receiver takes its beginning for the whole.
        let cut = self.last.is_some_and(|last| !last.marker);
        self.begin(packet, packet.format != Format::Opus && cut);
    }

    fn begin(&mut self, packet: &Packet, hole: bool) {
        let Some(last) = self.last else {
            let sequence = FIRST_SEQUENCE.cast_signed() - packet.sequence.cast_signed();
            self.source =
                Some(Source { first: packet.sequence, sequence, timestamp: 0, picture_id: 0, tl0_pic_idx: 0 });
            return;
        };
        let sequence = last.sequence.cast_signed() + 1 + i64::from(hole) - packet.sequence.cast_signed();
        let rate = f64::from(packet.format.clock_rate());
        let passed = packet.captured.saturating_duration_since(last.captured).as_secs_f64();
        // Never the same timestamp for two sources, and no step back: 10 ms at least.
        let step = (passed * rate).max(rate / 100.0) as u64 as u32;
        let timestamp = last.timestamp.wrapping_add(step).wrapping_sub(packet.timestamp as u32);
        let picture_id = match packet.picture.picture_id {
            Some(field) => last.picture_id.wrapping_add(1).wrapping_sub(field.value) & 0x7fff,
            None => 0,
        };
        let tl0_pic_idx = match packet.picture.tl0_pic_idx {
            Some(field) => last.tl0_pic_idx.wrapping_add(1).wrapping_sub(field.value as u8),
            None => 0,
        };
        self.source = Some(Source { first: packet.sequence, sequence, timestamp, picture_id, tl0_pic_idx });
    }

    /// What this packet of the current source becomes; `None`: it is older than the source.
    pub(crate) fn rewrite(&mut self, packet: &Packet) -> Option<Rewrite> {
        let source = self.source?;
        if packet.sequence < source.first {
            return None;
        }
        let sequence = packet.sequence.cast_signed().checked_add(source.sequence)?;
        if self.last.is_some_and(|last| sequence > last.sequence.cast_signed() + MAX_LEAP) {
            self.begin(packet, true);
            return self.rewrite(packet);
        }
        let rewrite = Rewrite {
            sequence: u64::try_from(sequence).ok()?,
            timestamp: (packet.timestamp as u32).wrapping_add(source.timestamp),
            picture_id: packet.picture.picture_id.map(|field| shift(field, source.picture_id)),
            tl0_pic_idx: packet.picture.tl0_pic_idx.map(|field| (field.value as u8).wrapping_add(source.tl0_pic_idx)),
        };
        if self.last.is_none_or(|last| last.sequence < rewrite.sequence) {
            let before = self.last.map_or((0, 0), |last| (last.picture_id, last.tl0_pic_idx));
            self.last = Some(Last {
                sequence: rewrite.sequence,
                timestamp: rewrite.timestamp,
                captured: packet.captured,
                picture_id: rewrite.picture_id.unwrap_or(before.0),
                tl0_pic_idx: rewrite.tl0_pic_idx.unwrap_or(before.1),
                marker: packet.marker,
            });
        }
        Some(rewrite)
    }
}

/// A counter keeps the width that it has in the payload.
fn shift(field: Field, by: u16) -> u16 {
    field.value.wrapping_add(by) & if field.wide { 0x7fff } else { 0x7f }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::engine::Format;
    use crate::testing::{epoch, packet};

    /// A one-packet VP8 frame.
    fn frame(sequence: u64, timestamp: u64, id: u16, captured_ms: u64) -> Packet {
        let mut packet = packet(Format::Vp8, sequence, timestamp);
        packet.picture.picture_id = Some(Field { value: id, offset: 2, wide: true });
        packet.picture.tl0_pic_idx = Some(Field { value: id & 0xff, offset: 4, wide: false });
        packet.captured = epoch() + Duration::from_millis(captured_ms);
        packet.marker = true;
        packet
    }

    fn all(rewriter: &mut Rewriter, packets: &[Packet]) -> Vec<(u64, u32, u16, u8)> {
        let of = |r: Rewrite| (r.sequence, r.timestamp, r.picture_id.unwrap_or(0), r.tl0_pic_idx.unwrap_or(0));
        packets.iter().filter_map(|p| rewriter.rewrite(p)).map(of).collect()
    }

    #[test]
    fn a_stream_goes_on_over_a_switch_to_another_source() {
        let mut rewriter = Rewriter::default();
        let (a, b) = (frame(65_530, 1000, 0x7fff, 0), frame(7, 900_000, 3, 100));
        rewriter.switch(&a);
        assert_eq!(all(&mut rewriter, &[a]), [(1, 1000, 0x7fff, 255)]);
        rewriter.switch(&b);
        let next = frame(8, 903_000, 4, 133);
        assert_eq!(all(&mut rewriter, &[b, next]), [(2, 10_000, 0, 0), (3, 13_000, 1, 1)]);
    }

    #[test]
    fn loss_stays_visible_and_a_repaired_packet_finds_its_place() {
        let mut rewriter = Rewriter::default();
        let packets = [frame(100, 0, 1, 0), frame(102, 6000, 3, 66), frame(101, 3000, 2, 33)];
        rewriter.switch(&packets[0]);
        let sequences: Vec<_> = all(&mut rewriter, &packets).iter().map(|r| r.0).collect();
        assert_eq!(sequences, [1, 3, 2]);
    }

    #[test]
    fn a_jump_is_a_loss_of_one() {
        let mut rewriter = Rewriter::default();
        let first = frame(100, 0, 1, 0);
        rewriter.switch(&first);
        // Receivers that see half of all numbers missing take the next ones for older ones.
        let jumps =
            [first, frame(100 + 40_000, 3000, 2, 33), frame(100 + 80_000, 6000, 3, 66), frame(80_101, 9000, 4, 99)];
        assert_eq!(all(&mut rewriter, &jumps), [(1, 0, 1, 1), (3, 2970, 2, 2), (5, 5940, 3, 3), (6, 8940, 4, 4)]);
        // What was sent before a jump belongs to nothing any more.
        assert!(rewriter.rewrite(&frame(101, 0, 0, 0)).is_none());
    }

    #[test]
    fn leaps_of_which_most_are_lost_do_not_confuse_a_receiver() {
        let mut rewriter = Rewriter::default();
        rewriter.switch(&frame(100, 0, 1, 0));
        let mut known = FIRST_SEQUENCE;
        for n in 0..310 {
            let sent = rewriter.rewrite(&frame(100 + n * MAX_LEAP.unsigned_abs(), n * 3000, 1, n * 33));
            let sent = sent.expect("goes on").sequence;
            // Thirty in a row are lost; the number is guessed from its low 16 bits.
            if n % 31 == 0 {
                known = known.wrapping_add_signed((sent as u16).wrapping_sub(known as u16).cast_signed().into());
                assert_eq!(known, sent);
            }
        }
    }

    #[test]
    fn packets_from_before_the_switch_are_dropped() {
        let mut rewriter = Rewriter::default();
        let first = frame(100, 0, 1, 0);
        rewriter.switch(&first);
        assert!(rewriter.rewrite(&frame(99, 0, 0, 0)).is_none());
    }

    #[test]
    fn a_picture_cut_off_by_a_switch_leaves_a_hole() {
        let mut rewriter = Rewriter::default();
        let mut cut = frame(100, 0, 1, 0);
        cut.marker = false;
        let key = frame(9, 0, 1, 40);
        rewriter.switch(&cut);
        all(&mut rewriter, &[cut]);
        rewriter.switch(&key);
        assert_eq!(all(&mut rewriter, &[key]), [(3, 3600, 2, 2)]);
    }
}
