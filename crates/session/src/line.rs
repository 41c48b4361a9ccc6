//! A receiving m-line: the order of its packets, its pictures, its clock, and when a key frame is to be asked for.

use std::time::{Duration, Instant};

use rtc_client::depacketise::{Assembler, Reorder};
use signalling::id::TrackId;

use crate::clock::StreamClock;
use crate::fit::Fit;

/// How long a lost packet is waited for: some round trips for NACK and resend. The muxer's window is longer.
pub(crate) const PATIENCE: Duration = Duration::from_millis(300);

/// The first packets of a stream wait this long, until it is known which way is the shortest: the first of all may be an
/// old picture from a cache.
pub(crate) const HOLD: Duration = Duration::from_millis(250);

/// A key frame is asked for at most this often, then ever less.
const MIN_PLI: Duration = Duration::from_secs(1);
/// And at least this often while one is needed.
const MAX_PLI: Duration = Duration::from_secs(5);

/// A receiving m-line.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) track: Option<TrackId>,
    pub(crate) on: bool,
    pub(crate) reorder: Reorder,
    pub(crate) clock: StreamClock,
    pub(crate) fit: Fit,
    pub(crate) assembler: Assembler,
    pub(crate) ssrc: Option<u32>,
    /// The track cannot be recorded.
    pub(crate) refused: bool,
    /// Until then, packets only collect.
    pub(crate) hold: Option<Instant>,
    /// When a key frame was last asked for, and how long to wait before the next time.
    asked: Option<Instant>,
    wait: Duration,
}

impl Line {
    pub(crate) fn new(rate: u32) -> Self {
        Self {
            track: None,
            on: false,
            reorder: Reorder::new(PATIENCE),
            clock: StreamClock::new(rate),
            fit: Fit::new(rate),
            assembler: Assembler::default(),
            ssrc: None,
            refused: false,
            hold: None,
            asked: None,
            wait: MIN_PLI,
        }
    }

    /// Another source of packets counts from elsewhere.
    pub(crate) fn restart(&mut self) {
        self.reorder = Reorder::new(PATIENCE);
        self.assembler.restart();
        self.clock.restart();
        self.fit.restart();
        self.patience_back();
        self.refused = false;
        self.hold = None;
    }

    pub(crate) fn holds(&self, now: Instant) -> bool {
        self.hold.is_some_and(|until| now < until)
    }

    /// There is hope again: the next request for a key frame need not wait long.
    pub(crate) fn patience_back(&mut self) {
        self.wait = MIN_PLI;
    }

    /// Whether to ask for a key frame now: at once when a picture is damaged, then with growing patience (a storm of
    /// requests is worse than a second).
    pub(crate) fn asks(&mut self, now: Instant) -> bool {
        let soon = self.asked.is_some_and(|asked| now.saturating_duration_since(asked) < self.wait);
        if !self.on || self.refused || !self.assembler.needs_key_frame() || soon || self.holds(now) {
            return false;
        }
        if self.asked.replace(now).is_some() {
            self.wait = (self.wait * 2).min(MAX_PLI);
        }
        true
    }
}
