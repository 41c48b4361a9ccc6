//! How far a file's time is: what comes late still has its place, and what does not come is filled.

use super::{File, duration, samples};
use crate::audio::Filling;

/// Sound that has not come after this is filled: a lost packet is waited for 300 ms and a tick.
const FILL_LAG_US: i64 = 360_000;

/// Filling goes in whole packets of this length. With the lag it is less than [`super::WINDOW`], or it would come too
/// late itself.
const FILL_US: i64 = 120_000;

/// After this without a packet, silence: concealment is for moments.
const CONCEAL_US: i64 = 1_000_000;

/// The file's clock follows the capture of what comes, and is at most so late: after a stall, or behind a long queue,
/// everything is to stand where it was captured. A camera or a screen alone may just stand still.
const STALL_US: i64 = 2_500_000;

/// Pictures that came at most so far apart before are waited for like sound, but less long: a screen that does not
/// change any more is to be on disk within two seconds.
const STEADY_US: i64 = 200_000;
/// See [`STEADY_US`]: so many of them make a moving picture.
const STEADY_PICTURES: u32 = 10;
/// See [`STEADY_US`].
const STILL_US: i64 = 1_900_000;

impl File {
    /// Whether sound has come that waits for a packet in front of it: pictures of the same burst do not overtake it.
    pub fn set_sound_waits(&mut self, waits: bool) {
        self.sound_waits = waits;
    }

    /// A picture stands in the file at `at`.
    pub(super) fn handle_shown(&mut self, at: i64, now: i64) {
        self.last_video = at;
        // The first one of a file goes on from the file before.
        let steady = self.shown.replace(at).is_none_or(|shown| at - shown < STEADY_US);
        self.steady = if steady { self.steady.saturating_add(1) } else { 0 };
        self.seen = now;
    }

    /// Time has passed: fills sound that did not come, and lets the muxer write what is due.
    pub fn handle_timeout(&mut self, now: i64) {
        if self.begun.is_none() {
            return;
        }
        let at = self.clock_at(now).min(self.limit);
        let filled = self.audio.as_ref().map_or(i64::MAX, |(_, audio)| audio.end() * 1000 / 48);
        let missing = (at - FILL_LAG_US).saturating_sub(filled);
        if missing >= FILL_US {
            self.fill(filled + missing / FILL_US * FILL_US);
        }
        self.clock = self.clock.max(at);
        self.muxer.handle_timeout(duration(at));
        self.note_figures(now);
    }

    /// How far the file's time is. While media comes, it is as far as what came was captured, not as arrival says: the
    /// rest of a burst, or of a queue on the way, is older than now and still has its place.
    fn clock_at(&self, now: i64) -> i64 {
        let at = now - self.start;
        let sound = !self.silent && self.expects(true) && now - self.heard < STALL_US;
        let pictures = self.expects(false) && self.steady >= STEADY_PICTURES && now - self.seen < STILL_US;
        let captured = match (sound, pictures) {
            (false, false) => return at,
            (false, true) => self.last_video,
            (true, _) if self.sound_waits => self.last_audio + FILL_LAG_US,
            (true, _) => self.last_video.max(self.last_audio + FILL_LAG_US),
        };
        captured.clamp(at - STALL_US, at)
    }

    /// What stands in for sound that is missing up to `to`.
    pub(super) fn filling(&self, to: i64) -> Filling {
        if self.silent || to - self.last_audio > CONCEAL_US { Filling::Silence } else { Filling::Conceal }
    }

    pub(super) fn fill(&mut self, to: i64) {
        let filling = self.filling(to);
        let mut sounds = Vec::new();
        if let Some((_, audio)) = &mut self.audio {
            audio.fill(samples(to), filling, &mut sounds);
        }
        self.write_sounds(sounds);
    }
}
