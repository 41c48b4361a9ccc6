//! A receiving m-line: the order of its packets, its pictures, its clock, and when a key frame is to be asked for.

use std::time::{Duration, Instant};

use rtc_client::Codec;
use rtc_client::depacketise::{Assembler, Reorder};
use signalling::id::TrackId;
use signalling::message::Source;

use crate::clock::StreamClock;
use crate::fit::Fit;

/// How long a lost packet of sound is waited for: some round trips for NACK and resend.
const SOUND_PATIENCE: Duration = Duration::from_millis(300);

/// The same for pictures. One that is missing costs all up to the next key frame. The muxer's window is longer.
pub(crate) const PICTURE_PATIENCE: Duration = Duration::from_millis(550);

/// The first packets of a stream wait this long, until it is known which way is the shortest: the first of all may be an
/// old picture from a cache.
pub(crate) const HOLD: Duration = Duration::from_millis(250);

/// A key frame is asked for at most this often, then ever less.
const MIN_PLI: Duration = Duration::from_secs(1);
/// And at least this often while one is needed.
const MAX_PLI: Duration = Duration::from_secs(5);

/// Senders make key frames only when they are asked. A file is sought in by its key frames: they lie hardly farther apart.
const KEY_EVERY: Duration = Duration::from_secs(10);

/// After so many key frames that no file can hold, one after the other, the track is given up.
const MOST_REFUSALS: u32 = 3;

/// A receiving m-line.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) track: Option<TrackId>,
    /// The source that it feeds; none: it has no track, or a newer one is taken.
    pub(crate) feeds: Option<Source>,
    audio: bool,
    /// Packets are to be expected.
    pub(crate) expects: bool,
    pub(crate) reorder: Reorder,
    pub(crate) clock: StreamClock,
    pub(crate) fit: Fit,
    pub(crate) assembler: Assembler,
    pub(crate) ssrc: Option<u32>,
    /// The track cannot be recorded.
    pub(crate) refused: bool,
    /// Until then, packets only collect.
    pub(crate) hold: Option<Instant>,
    /// How many key frames in a row no file could hold.
    refusals: u32,
    /// When the last key frame was taken.
    key: Option<Instant>,
    /// Whether other pictures were taken since then, and since the last request: one that stands still needs no key frame.
    moves: bool,
    /// When a key frame was last asked for, and how long to wait for it; nothing: it came.
    asked: Option<Instant>,
    wait: Option<Duration>,
}

impl Line {
    pub(crate) fn new(audio: bool) -> Self {
        let rate = if audio { Codec::Opus } else { Codec::Vp8 }.clock_rate();
        Self {
            track: None,
            feeds: None,
            audio,
            expects: false,
            reorder: Reorder::new(patience(audio)),
            clock: StreamClock::new(rate),
            fit: Fit::new(rate),
            assembler: Assembler::default(),
            ssrc: None,
            refused: false,
            hold: None,
            refusals: 0,
            key: None,
            moves: false,
            asked: None,
            wait: None,
        }
    }

    /// Another source of packets counts from elsewhere.
    pub(crate) fn restart(&mut self) {
        self.reorder = Reorder::new(patience(self.audio));
        self.assembler.restart();
        self.clock.restart();
        self.fit.restart();
        self.patience_back();
        (self.refused, self.refusals) = (false, 0);
        (self.key, self.moves) = (None, false);
        self.hold = None;
    }

    pub(crate) fn holds(&self, now: Instant) -> bool {
        self.hold.is_some_and(|until| now < until)
    }

    /// There is hope again: the next request for a key frame need not wait long.
    pub(crate) fn patience_back(&mut self) {
        self.wait = None;
    }

    /// The track was unmuted, after a mute since `muted`: what was predicted from pictures before it must not be written. The
    /// first key frame after it may be heard before this.
    pub(crate) fn unmute(&mut self, muted: Instant) {
        if self.key.is_none_or(|key| key < muted) {
            self.assembler.require_key_frame();
        }
        self.patience_back();
    }

    /// A picture is in a file.
    pub(crate) fn handle_taken(&mut self, key: bool, now: Instant) {
        self.moves = !key;
        if key {
            self.key = Some(now);
            self.refusals = 0;
            self.patience_back();
        }
    }

    /// No file can hold a key frame: whether that is so for good.
    pub(crate) fn handle_refused(&mut self) -> bool {
        self.refusals += 1;
        self.refused = self.refusals >= MOST_REFUSALS;
        self.refused
    }

    /// Whether to ask for a key frame now: at once when a picture is damaged, then with growing patience (a storm of
    /// requests is worse than a second); and now and then while the picture moves.
    pub(crate) fn asks(&mut self, now: Instant) -> bool {
        let since = |at: Instant| now.saturating_duration_since(at);
        let old = self.moves && self.key.is_some_and(|key| since(key) >= KEY_EVERY);
        let soon = self.asked.is_some_and(|asked| since(asked) < self.wait.unwrap_or(MIN_PLI));
        if !self.expects || self.refused || soon || self.holds(now) || !(old || self.assembler.needs_key_frame()) {
            return false;
        }
        self.asked = Some(now);
        self.moves = false;
        self.wait = Some(self.wait.map_or(MIN_PLI, |wait| (wait * 2).min(MAX_PLI)));
        true
    }
}

fn patience(audio: bool) -> Duration {
    if audio { SOUND_PATIENCE } else { PICTURE_PATIENCE }
}
