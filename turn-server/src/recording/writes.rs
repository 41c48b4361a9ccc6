//! What the keeper has to write: a recording's writes one after the other, what is final first, and what failed not again for a
//! while. Nothing waits for another recording. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use signalling::RecordingId;

/// How long a write that failed waits.
const RETRY: Duration = Duration::from_secs(5);

/// What to write of a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Write {
    /// The manifest as it is.
    Manifest,
    /// The last one, composed of the segments in storage.
    Final,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Writes {
    /// With the time before which it is not tried, if it failed.
    noted: BTreeMap<RecordingId, (Write, Option<Instant>)>,
    under_way: BTreeSet<RecordingId>,
}

impl Writes {
    /// Notes a write; the larger one wins.
    pub(super) fn note(&mut self, id: &RecordingId, write: Write) {
        let (noted, _) = self.noted.entry(id.clone()).or_insert((write, None));
        *noted = write.max(*noted);
    }

    /// Forgets what was noted, and says what.
    pub(super) fn forget(&mut self, id: &RecordingId) -> Option<Write> {
        self.noted.remove(id).map(|(write, _)| write)
    }

    /// A write that is due, which [`Writes::handle_ended`] has to follow.
    pub(super) fn poll(&mut self, now: Instant) -> Option<(RecordingId, Write)> {
        let free = self.noted.iter().filter(|(id, _)| !self.under_way.contains(*id));
        let due = free.filter(|(_, (_, not_before))| not_before.is_none_or(|at| at <= now));
        let (id, (write, _)) = due.max_by_key(|(_, (write, _))| *write)?;
        let (id, write) = (id.clone(), *write);
        self.noted.remove(&id);
        self.under_way.insert(id.clone());
        Some((id, write))
    }

    /// When one that failed is due again.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let free = self.noted.iter().filter(|(id, _)| !self.under_way.contains(*id));
        free.filter_map(|(_, (_, not_before))| *not_before).min()
    }

    /// A write ended; `failed` is what has to be tried again.
    pub(super) fn handle_ended(&mut self, id: &RecordingId, failed: Option<Write>, now: Instant) {
        self.under_way.remove(id);
        if let Some(write) = failed {
            self.note(id, write);
            if let Some((_, not_before)) = self.noted.get_mut(id) {
                *not_before = Some(now + RETRY);
            }
        }
    }

    /// Whether there is nothing to write, and nothing is being written.
    pub(super) fn is_empty(&self) -> bool {
        self.noted.is_empty() && self.under_way.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_hangs_or_fails_delays_no_other() {
        let id = |text: &str| RecordingId::parse(text).expect("an id");
        let (mut writes, now) = (Writes::default(), Instant::now());
        writes.note(&id("a"), Write::Manifest);
        writes.note(&id("b"), Write::Manifest);
        writes.note(&id("b"), Write::Final);
        writes.note(&id("b"), Write::Manifest);
        assert_eq!(writes.poll(now), Some((id("b"), Write::Final)), "what is final comes first");
        // It hangs. What is noted of it meanwhile waits for it, others do not.
        writes.note(&id("b"), Write::Manifest);
        assert_eq!(writes.poll(now), Some((id("a"), Write::Manifest)));
        assert_eq!(writes.poll(now), None);
        writes.handle_ended(&id("a"), None, now);
        writes.handle_ended(&id("b"), Some(Write::Final), now);
        writes.note(&id("a"), Write::Manifest);
        assert_eq!(writes.poll(now), Some((id("a"), Write::Manifest)));
        writes.handle_ended(&id("a"), None, now);
        assert_eq!(writes.poll_timeout(), Some(now + RETRY));
        // However often it is noted, it is not tried before its time.
        writes.note(&id("b"), Write::Final);
        assert_eq!(writes.poll(now + RETRY - Duration::from_millis(1)), None);
        assert_eq!(writes.poll(now + RETRY), Some((id("b"), Write::Final)));
        assert_eq!(writes.poll_timeout(), None);
        assert!(!writes.is_empty());
        writes.handle_ended(&id("b"), None, now);
        writes.note(&id("b"), Write::Final);
        writes.forget(&id("b"));
        assert!(writes.is_empty());
    }
}
