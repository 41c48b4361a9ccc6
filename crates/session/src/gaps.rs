//! What a file's list of gaps holds, and what of it is noted. Times here are milliseconds on the recording's clock.

use signalling::message::Source;
use signalling::recording::Gap;

/// Gaps of one source and cause this close together are told as one.
const MERGE_MS: u64 = 1_000;

/// So many stand in a list at most; then the newest one is extended, and nothing is noted any more: a bad link for days is
/// to end neither memory nor disk.
const MOST: usize = 10_000;

/// Why media is missing, worst last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// Packets never came.
    Loss,
    /// The connection was down.
    Link,
    /// The codec cannot be recorded.
    Codec,
    /// Somebody muted the track, or it was not published.
    Mute,
    /// The recording was paused.
    Pause,
}

impl Cause {
    fn name(self) -> &'static str {
        match self {
            Self::Loss => "loss",
            Self::Link => "link",
            Self::Codec => "codec",
            Self::Mute => "mute",
            Self::Pause => "pause",
        }
    }

    /// Whether it may last, so that a crash in it is to find it.
    pub(crate) fn lasts(self) -> bool {
        matches!(self, Self::Codec | Self::Mute | Self::Pause)
    }
}

/// So many notes are written of one file.
const MOST_NOTES: usize = 4 * MOST;

/// The gaps of a file.
#[derive(Debug, Default)]
pub(crate) struct Gaps {
    list: Vec<Gap>,
    notes: usize,
}

impl Gaps {
    pub(crate) fn list(&self) -> &[Gap] {
        &self.list
    }

    /// A gap begins; what is to be noted: it has no length yet.
    pub(crate) fn begin(&mut self, source: Source, cause: Cause, t: u64) -> Option<Gap> {
        // Under the name that its end will have.
        let t = self.joins(source, cause, t).map_or(t, |at| self.list[at].t);
        self.noted(gap(source, cause, t, 0))
    }

    /// A gap is over; what is to be noted of it. A later note of the same beginning replaces the earlier one.
    pub(crate) fn end(&mut self, source: Source, cause: Cause, t: u64, end: u64) -> Option<Gap> {
        let full = self.list.len() >= MOST;
        let place = self.joins(source, cause, t).or_else(|| self.list.len().checked_sub(1).filter(|_| full));
        if full {
            self.notes = MOST_NOTES;
        }
        let Some(at) = place else {
            let told = gap(source, cause, t, end - t);
            self.list.push(told.clone());
            return self.noted(told);
        };
        let told = &mut self.list[at];
        let before = (told.t + told.ms) / MERGE_MS;
        told.ms = told.ms.max(end.saturating_sub(told.t));
        // A loss that goes on and on is noted every second.
        let worth = cause.lasts() || (told.t + told.ms) / MERGE_MS > before;
        let told = told.clone();
        if worth { self.noted(told) } else { None }
    }

    fn noted(&mut self, gap: Gap) -> Option<Gap> {
        self.notes += 1;
        (self.notes <= MOST_NOTES).then_some(gap)
    }

    /// The gap that one beginning at `t` would only prolong.
    fn joins(&self, source: Source, cause: Cause, t: u64) -> Option<usize> {
        let at = self.list.iter().rposition(|gap| gap.source == Some(source))?;
        let last = &self.list[at];
        (last.cause == cause.name() && last.t <= t && t <= last.t + last.ms + MERGE_MS).then_some(at)
    }
}

fn gap(source: Source, cause: Cause, t: u64, ms: u64) -> Gap {
    Gap { t, ms, cause: cause.name().to_owned(), source: Some(source) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_merged_only_forwards_and_within_a_source_and_cause() {
        let mut gaps = Gaps::default();
        for (source, cause, t, end) in [
            (Source::Mic, Cause::Loss, 5_000, 5_100),
            (Source::Camera, Cause::Loss, 5_200, 5_300),
            (Source::Mic, Cause::Loss, 5_500, 5_600),
            (Source::Mic, Cause::Loss, 4_000, 4_900),
            (Source::Camera, Cause::Mute, 5_300, 5_400),
        ] {
            gaps.end(source, cause, t, end);
        }
        let told: Vec<_> = gaps.list().iter().map(|gap| (gap.source, gap.cause.as_str(), gap.t, gap.ms)).collect();
        assert_eq!(
            told,
            [
                (Some(Source::Mic), "loss", 5_000, 600),
                (Some(Source::Camera), "loss", 5_200, 100),
                (Some(Source::Mic), "loss", 4_000, 900),
                (Some(Source::Camera), "mute", 5_300, 100),
            ]
        );
    }

    #[test]
    fn a_flood_of_gaps_is_bounded() {
        let mut gaps = Gaps::default();
        let noted =
            (0..30_000_u64).filter_map(|n| gaps.end(Source::Mic, Cause::Loss, n * 2_000, n * 2_000 + 10)).count();
        assert_eq!((gaps.list().len(), noted), (MOST, MOST));
        let last = gaps.list().last().expect("a gap");
        assert_eq!(last.t + last.ms, 29_999 * 2_000 + 10);
        // One that goes on for ever is noted every second.
        let mut gaps = Gaps::default();
        let noted = (0..100_000_u64).filter_map(|n| gaps.end(Source::Mic, Cause::Loss, n * 100, n * 100 + 50)).count();
        assert_eq!((gaps.list().len(), noted), (1, 10_000));
    }

    #[test]
    fn a_beginning_is_noted_under_the_name_of_its_end() {
        let mut gaps = Gaps::default();
        gaps.end(Source::Mic, Cause::Mute, 1_000, 2_000);
        let begun = gaps.begin(Source::Mic, Cause::Mute, 2_500).expect("noted");
        assert_eq!((begun.t, begun.ms), (1_000, 0));
        let ended = gaps.end(Source::Mic, Cause::Mute, 2_500, 4_000).expect("noted");
        assert_eq!((ended.t, ended.ms), (1_000, 3_000));
        assert_eq!(gaps.begin(Source::Camera, Cause::Mute, 2_500).map(|gap| gap.t), Some(2_500));
    }
}
