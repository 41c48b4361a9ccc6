//! Stretches without media: from when to when a source of a file was missing, and why.

use super::{Cause, File, Note, Say, millis};

/// A start or a reconnection that takes less is no gap worth telling.
const LINK_US: i64 = 1_000_000;

/// The word of a mute and the last media before it come on two ways: what was captured right after the word is from
/// before it, unless an unmute was heard of. An unmute that is heard of late itself comes later than this.
const MUTE_US: i64 = 250_000;

/// A stretch without media that is not over yet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Missing {
    pub(super) since: i64,
    pub(super) cause: Cause,
}

impl Missing {
    /// Whether media captured at `at` ends it, of a source that is `expected` or not. A loss begins with the last media
    /// before it.
    fn ends_with(&self, at: i64, expected: bool) -> bool {
        let slack = if self.cause == Cause::Mute && !expected { MUTE_US } else { 0 };
        self.cause == Cause::Loss || at >= self.since + slack
    }
}

impl File {
    /// Something is missing from `now` on, until the next packet or picture.
    pub fn handle_missing(&mut self, audio: bool, cause: Cause, now: i64) {
        if !self.published.iter().any(|source| source.is_audio() == audio) {
            return;
        }
        let at = (now - self.start).max(0);
        let last = if audio { self.last_audio } else { self.last_video };
        let since = if cause == Cause::Loss { last } else { at };
        match *self.missing(audio) {
            Some(open) if open.cause >= cause => {}
            // Each cause has its own stretch.
            Some(open) => self.replace_missing(audio, open, Missing { since: at, cause }),
            None => {
                *self.missing(audio) = Some(Missing { since, cause });
                self.note_beginning(audio);
            }
        }
        if audio && matches!(cause, Cause::Mute | Cause::Pause | Cause::Codec) {
            self.silent = true;
        }
    }

    /// A pause is over; what is muted is still missing.
    pub fn handle_resume(&mut self, now: i64) {
        let at = (now - self.start).max(0);
        for audio in [true, false] {
            let muted = !self.expects(audio);
            if let Some(open) = self.missing(audio).filter(|open| muted && open.cause == Cause::Pause) {
                self.replace_missing(audio, open, Missing { since: at, cause: Cause::Mute });
            }
        }
    }

    /// Media came, captured at `at`: ends what was missing until then.
    pub(super) fn handle_found(&mut self, audio: bool, at: i64) {
        let expected = self.expects(audio);
        if let Some(missing) = self.missing(audio).take_if(|missing| missing.ends_with(at, expected)) {
            self.note_gap(audio, missing, at);
        }
    }

    pub(super) fn missing(&mut self, audio: bool) -> &mut Option<Missing> {
        if audio { &mut self.missing_audio } else { &mut self.missing_video }
    }

    fn replace_missing(&mut self, audio: bool, open: Missing, next: Missing) {
        self.note_gap(audio, open, next.since);
        *self.missing(audio) = Some(next);
        self.note_beginning(audio);
    }

    /// A crash in what may last is to find it.
    pub(super) fn note_beginning(&mut self, audio: bool) {
        let Some(missing) = self.missing(audio).filter(|missing| missing.cause.lasts()) else { return };
        let Some(source) = self.kind.source(audio) else { return };
        let gap = self.gaps.begin(source, missing.cause, millis(self.start + missing.since));
        self.says.extend(gap.map(|gap| Say::Note(Note::Gap(gap))));
    }

    pub(super) fn note_gap(&mut self, audio: bool, missing: Missing, until: i64) {
        let Some(source) = self.kind.source(audio) else { return };
        let (t, end) = (millis(self.start + missing.since), millis(self.start + until));
        // What was noted when it began is ended, too.
        let end = if missing.cause.lasts() { end.max(t + 1) } else { end };
        if end <= t || (missing.cause == Cause::Link && until - missing.since < LINK_US) {
            return;
        }
        let gap = self.gaps.end(source, missing.cause, t, end);
        self.says.extend(gap.map(|gap| Say::Note(Note::Gap(gap))));
    }
}
