//! The sound of one file without a hole: packets where there are some, filling where there are none.
//!
//! Players believe timestamps, converters count samples. So that both agree, every stretch without a packet is filled with
//! packets: with concealment (the last packet's TOC and empty frames, RFC 6716 section 3.2.5) for loss and DTX, with digital
//! silence for a mute, a pause and the time before the first packet. Positions are samples at 48 kHz in the file.

use rtc_client::depacketise::opus;

/// CELT, full band, 20 ms, mono.
const SILENCE_TOC: u8 = 0xf8;
/// A CELT frame that says "silence".
const SILENT_FRAME: [u8; 2] = [0xff, 0xfe];
/// A packet holds at most 120 ms (RFC 6716 section 3.2.5).
const MAX_PACKET: i64 = 5760;
/// Samples of 20 ms: blocks stand at their true time, but the count of samples stays as close to it as this.
const STEP: i64 = 960;

/// Two packets are heard at least 2 ms apart, also where a clock that goes back would bring them together: decoders round to
/// milliseconds, some twice, and complain of two frames at one time. No packet is shorter.
const APART: i64 = 96;

/// What stands in for missing sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filling {
    /// Let the decoder conceal.
    Conceal,
    /// Digital silence.
    Silence,
}

/// A packet for the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sound {
    /// When it is heard, in samples of the file's clock.
    pub at: i64,
    /// An Opus packet.
    pub data: Vec<u8>,
}

/// One audio track of a file, from its start.
#[derive(Debug, Default)]
pub struct Audio {
    next: i64,
    /// The newest packet: whether it belongs into the file is known when the next one comes, or the end.
    held: Option<Sound>,
    /// How much later than the count of samples says the last packet is heard. Less than [`STEP`], or than a longer
    /// packet, either way.
    phase: i64,
    /// Before this nothing more is heard.
    free: i64,
    toc: Option<u8>,
    /// Samples that were filled.
    pub filled: u64,
    /// Packets dropped because their place was taken: a burst after a stall, or a clock that is slow.
    pub dropped: u64,
}

impl Audio {
    /// Where the sound so far ends.
    pub fn end(&self) -> i64 {
        self.next
    }

    /// Puts a packet to `at`, and fills up to it. The sound ends at `limit`, and may be longer by 20 ms at most.
    pub fn handle_packet(&mut self, at: i64, data: Vec<u8>, filling: Filling, limit: i64, out: &mut Vec<Sound>) {
        let Some(samples) = opus::duration(&data).map(i64::from) else {
            self.dropped += 1;
            return;
        };
        if at.max(self.next) + samples > limit.saturating_add(STEP) {
            return;
        }
        if at - self.next >= STEP {
            self.fill(at, filling, out);
        }
        if self.next - at >= samples.max(STEP) {
            self.dropped += 1;
            return;
        }
        self.toc = data.first().copied();
        let at = self.place(at);
        self.phase = at - self.next;
        out.extend(self.held.replace(Sound { at, data }));
        self.next += samples;
    }

    /// Where what should be heard at `at` is: apart from what is heard before it.
    fn place(&mut self, at: i64) -> i64 {
        let at = at.max(self.free);
        self.free = at + APART;
        at
    }

    /// The file should end at `end`: takes the newest packet back if it lasts longer than that by more than 20 ms.
    /// Where the file ends: later, if silence was written before its end was known, as that cannot be taken out again.
    pub fn end_at(&mut self, end: i64) -> i64 {
        let beyond = self.next - end.saturating_add(STEP);
        if let Some(held) = self.held.take_if(|_| beyond > 0) {
            self.next -= opus::duration(&held.data).map_or(0, i64::from);
        }
        if self.next > end.saturating_add(STEP) { self.next } else { end }
    }

    /// Fills up to `to`, less than one frame short of it.
    pub fn fill(&mut self, to: i64, filling: Filling, out: &mut Vec<Sound>) {
        out.extend(self.held.take());
        // Frames longer than the step would leave more than the step unfilled.
        let conceal = self.toc.filter(|toc| filling == Filling::Conceal && frame_samples(*toc) <= STEP);
        let (toc, frame) = conceal.map_or((SILENCE_TOC, STEP), |toc| (toc, frame_samples(toc)));
        loop {
            let frames = (to - self.next).min(MAX_PACKET) / frame;
            if frames <= 0 {
                return;
            }
            // Code 3, constant bit rate, no padding: a count of frames follows (RFC 6716 section 3.2.5).
            let mut data = vec![toc | 3, frames as u8];
            if conceal.is_none() {
                (0..frames).for_each(|_| data.extend(SILENT_FRAME));
            }
            // In the middle where the last packet was late: the next one is not, or there would be nothing to fill.
            let at = self.place(self.next + self.phase.clamp(0, STEP / 2));
            out.push(Sound { at, data });
            self.next += frames * frame;
            self.filled += (frames * frame).cast_unsigned();
        }
    }
}

/// Samples of one frame of a packet with this TOC.
fn frame_samples(toc: u8) -> i64 {
    opus::duration(&[toc & 0xfc]).map_or(STEP, i64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CELT_20: u8 = 0xfc;

    fn packet() -> Vec<u8> {
        vec![CELT_20, 1, 2, 3]
    }

    /// Every sample has one packet, each packet holds as much as it claims and is heard when it should be.
    fn check(sounds: &[Sound], start: i64, end: i64) {
        let mut next = start;
        for sound in sounds {
            assert!((sound.at - next).abs() < STEP, "{} {next}", sound.at);
            next += i64::from(opus::duration(&sound.data).expect("a packet"));
        }
        assert!(sounds.windows(2).all(|pair| pair[0].at + APART <= pair[1].at));
        assert_eq!(next, end);
    }

    #[test]
    fn a_clock_that_goes_back_brings_no_two_packets_together() {
        let (mut audio, mut out) = (Audio::default(), Vec::new());
        // Almost a packet late, then almost one early; then one is lost in between.
        for at in [900, 960, 1_920, 2_880 + 959, 5 * 960 - 959, 5 * 960] {
            audio.handle_packet(at, packet(), Filling::Conceal, i64::MAX, &mut out);
        }
        audio.fill(6 * 960, Filling::Conceal, &mut out);
        check(&out, 0, 6 * 960);
    }

    #[test]
    fn loss_mute_and_a_late_start_leave_no_hole() {
        let (mut audio, mut out) = (Audio::default(), Vec::new());
        audio.handle_packet(48_000, packet(), Filling::Silence, i64::MAX, &mut out);
        audio.handle_packet(48_960, packet(), Filling::Conceal, i64::MAX, &mut out);
        audio.handle_packet(48_960 + 3 * 960, packet(), Filling::Conceal, i64::MAX, &mut out);
        audio.fill(480_000, Filling::Silence, &mut out);
        check(&out, 0, 480_000);
        let filled = 480_000 - 3 * 960;
        assert_eq!((audio.filled, audio.dropped), (filled, 0));
        // The two lost packets: concealed with the TOC of the sender, two frames of nothing.
        assert!(out.contains(&Sound { at: 49_920, data: vec![CELT_20 | 3, 2] }), "{out:?}");
        // Six frames of silence in 14 bytes.
        assert!(out.contains(&Sound { at: 0, data: [&[0xfb, 6][..], &[0xff, 0xfe].repeat(6)].concat() }));
    }

    #[test]
    fn jitter_of_the_clock_is_no_gap() {
        let (mut audio, mut out) = (Audio::default(), Vec::new());
        for n in 0..100 {
            let jitter = if n % 2 == 0 { 400 } else { -400 };
            audio.handle_packet(n * 960 + jitter, packet(), Filling::Conceal, i64::MAX, &mut out);
        }
        assert_eq!((audio.filled, audio.dropped), (0, 0));
        audio.fill(96_000, Filling::Conceal, &mut out);
        check(&out, 0, 96_000);
    }

    #[test]
    fn a_drifting_clock_costs_one_frame_now_and_then() {
        for drift in [-1_i64, 1] {
            let (mut audio, mut out) = (Audio::default(), Vec::new());
            for n in 0..5000 {
                let at = n * 960 + drift * n;
                audio.handle_packet(at, packet(), Filling::Conceal, i64::MAX, &mut out);
                assert!((audio.end() - 960 - at).abs() <= 960, "{n}");
                assert!(audio.held.as_ref().is_some_and(|sound| sound.at == at || audio.dropped > 0), "{n}");
            }
            let corrections = audio.filled / 960 + audio.dropped;
            assert!((4..=6).contains(&corrections), "{corrections}");
            audio.fill(audio.end(), Filling::Conceal, &mut out);
            check(&out, 0, audio.end());
        }
    }

    #[test]
    fn a_burst_after_its_time_was_filled_is_dropped() {
        let (mut audio, mut out) = (Audio::default(), Vec::new());
        audio.handle_packet(0, packet(), Filling::Conceal, i64::MAX, &mut out);
        audio.fill(96_000, Filling::Conceal, &mut out);
        for n in 1..110 {
            audio.handle_packet(n * 960, packet(), Filling::Conceal, i64::MAX, &mut out);
        }
        audio.fill(110 * 960, Filling::Conceal, &mut out);
        check(&out, 0, 110 * 960);
        assert_eq!(audio.dropped, 99);
    }

    #[test]
    fn the_end_is_met_within_a_step_wherever_it_lies() {
        // 20 ms, with the last packets heard up to 950 samples earlier or later than counting says; 60 ms.
        for (toc, phase) in [(CELT_20, 0), (CELT_20, -950), (CELT_20, 950), (0x18, 0), (0x18, -950)] {
            for (end, known) in (48_000..48_000 + 2 * 2_880).flat_map(|end| [(end, true), (end, false)]) {
                let (mut audio, mut out) = (Audio::default(), Vec::new());
                let samples = opus::duration(&[toc]).map_or(0, i64::from);
                // The end may be known before the last packets come, or not before all came that were captured until then.
                let limit = if known { end } else { i64::MAX };
                for n in 0..60 {
                    let at = n * samples + if n < 5 { 0 } else { phase };
                    if at < end {
                        audio.handle_packet(at, vec![toc, 1], Filling::Conceal, limit, &mut out);
                    }
                }
                audio.end_at(end);
                audio.fill(end, Filling::Conceal, &mut out);
                assert!((audio.end() - end).abs() <= STEP, "{toc:x} {phase} {end}: {}", audio.end());
                check(&out, 0, audio.end());
            }
        }
    }

    #[test]
    fn nonsense_is_dropped() {
        let (mut audio, mut out) = (Audio::default(), Vec::new());
        audio.handle_packet(0, vec![], Filling::Conceal, i64::MAX, &mut out);
        audio.handle_packet(0, vec![0xff, 0], Filling::Conceal, i64::MAX, &mut out);
        assert_eq!((out.len(), audio.held, audio.dropped), (0, None, 2));
    }

    #[test]
    fn long_frames_are_filled_with_short_silence() {
        let (mut audio, mut out) = (Audio::default(), Vec::new());
        audio.handle_packet(0, vec![0x18, 1], Filling::Conceal, i64::MAX, &mut out);
        audio.fill(2880 + 2 * 960, Filling::Conceal, &mut out);
        assert_eq!(out[1].data, [SILENCE_TOC | 3, 2, 0xff, 0xfe, 0xff, 0xfe]);
        check(&out, 0, 2880 + 2 * 960);
    }
}
