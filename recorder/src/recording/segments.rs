//! Who writes which segment: two runs of one recording may end together, and each reads, extends and writes the same object.
//! Recordings do not wait for each other: the storage of one may take a minute to answer.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use signalling::id::RecordingId;
use tokio::sync::OwnedMutexGuard;

/// A lock for each recording whose segment is being written; cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Segments(Arc<Mutex<BTreeMap<RecordingId, Arc<tokio::sync::Mutex<()>>>>>);

impl Segments {
    /// Waits until nobody else writes the segment of this recording.
    pub(super) async fn lock(&self, recording: &RecordingId) -> OwnedMutexGuard<()> {
        let lock = {
            let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            // What only this list holds nobody waits for.
            locks.retain(|_, lock| Arc::strong_count(lock) > 1);
            locks.entry(recording.clone()).or_default().clone()
        };
        lock.lock_owned().await
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn only_runs_of_one_recording_wait_for_each_other() {
        let segments = Segments::default();
        let [one, two] = ["one", "two"].map(|id| RecordingId::parse(id).expect("an id"));
        let held = segments.lock(&one).await;
        assert!(segments.lock(&two).now_or_never().is_some());
        assert!(segments.lock(&one).now_or_never().is_none());
        drop(held);
        assert!(segments.lock(&one).now_or_never().is_some());
        segments.lock(&two).await;
        assert_eq!(segments.0.lock().expect("nobody panicked").len(), 1, "nothing piles up");
    }
}
