//! The reorder window: frames of all tracks, sorted by time, held until nothing earlier is expected any more.
//!
//! The rule is one line: a frame leaves once the file's clock is a window later than it. Frames do not move that clock: of a
//! burst, the newest may come first. A silent track never holds back the others, and one that starts late is not waited for.

use std::collections::VecDeque;

use crate::track::TrackNumber;

/// A frame that waits; times are milliseconds on the file's clock.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) track: TrackNumber,
    pub(crate) at: u64,
    pub(crate) key: bool,
    pub(crate) data: Vec<u8>,
}

/// The window.
#[derive(Debug)]
pub(crate) struct Reorder {
    window: u64,
    max_bytes: usize,
    frames: VecDeque<Waiting>,
    bytes: usize,
    /// The file's clock.
    now: u64,
}

impl Reorder {
    pub(crate) fn new(window: u64, max_bytes: usize) -> Self {
        Self { window, max_bytes, frames: VecDeque::new(), bytes: 0, now: 0 }
    }

    /// Takes a frame; those of equal time keep their order.
    pub(crate) fn push(&mut self, frame: Waiting) {
        self.bytes += frame.data.len();
        // Nearly every frame belongs at or near the end, so looking from there is faster than any tree.
        let place = self.frames.iter().rposition(|other| other.at <= frame.at).map_or(0, |before| before + 1);
        self.frames.insert(place, frame);
    }

    /// Lets time pass.
    pub(crate) fn advance(&mut self, at: u64) {
        self.now = self.now.max(at);
    }

    /// The next frame whose turn has come; the oldest at once when too many bytes wait.
    pub(crate) fn pop(&mut self) -> Option<Waiting> {
        let due = self.frames.front()?.at + self.window <= self.now || self.bytes > self.max_bytes;
        if due { self.pop_any() } else { None }
    }

    /// The next frame, due or not.
    pub(crate) fn pop_any(&mut self) -> Option<Waiting> {
        let frame = self.frames.pop_front()?;
        self.bytes -= frame.data.len();
        Some(frame)
    }

    /// The window's length in milliseconds.
    pub(crate) fn window(&self) -> u64 {
        self.window
    }

    /// The clock, less the window: what is due by now.
    pub(crate) fn horizon(&self) -> u64 {
        self.now.saturating_sub(self.window)
    }
}
