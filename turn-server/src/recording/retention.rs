//! Recordings whose time is over are deleted: what was promised to whoever was recorded, and what the disk needs.

use std::ops::Bound;
use std::time::{Duration, Instant};

use service::storage::Error;
use signalling::RecordingId;
use signalling::recording::Manifest;

use super::state::{State, is_over};
use super::writes::Write;
use super::{NotDeleted, remove};
use crate::app::App;
use crate::clock;

const DAY_MS: u64 = 24 * 3600 * 1000;

/// How often we look for recordings whose time is over.
const EVERY: Duration = Duration::from_secs(3600);

/// Recordings deleted one after the other, before others get a chance to use the storage.
const AT_ONCE: usize = 20;

/// A storage that is away so often, one time after the other, stays away for now.
const FAILURES: usize = 3;

/// How long they have for that.
const PAUSE: Duration = Duration::from_secs(1);

/// Deletes what is over for longer than it is kept, until the process ends. What a former run of this server began, and nobody
/// finished within the first hour, is finished without them.
pub(super) async fn run(app: &App) {
    let mut last = None;
    loop {
        sweep(app, &mut last).await;
        tokio::time::sleep(EVERY).await;
        let mut state = app.recordings.state();
        for id in state.left_over(Instant::now()) {
            tracing::info!(recording = %id, "nobody finishes it: it is what storage has of it");
            state.write(&id, Write::Final);
        }
    }
}

/// Deletes what is due behind the one that was looked at last, passing over what cannot be. What is tried is shown to nobody
/// meanwhile, so it ends when storage is away, and goes on there the next time.
async fn sweep(app: &App, last: &mut Option<RecordingId>) {
    let mut failures = 0;
    loop {
        let due = next_due(&app.recordings.state(), last.as_ref(), app.config().recording.keep_days, clock::unix_ms());
        if due.is_empty() {
            *last = None;
            return;
        }
        for id in due {
            match remove(app, &id).await {
                Ok(()) => {
                    tracing::info!(recording = %id, "deleted: its time is over");
                    failures = 0;
                }
                Err(error) => {
                    tracing::warn!(recording = %id, %error, "cannot be deleted; trying again later");
                    // What storage keeps for reasons of its own says nothing of the others.
                    failures += usize::from(matches!(error, NotDeleted::Storage(Error::Unavailable { .. })));
                }
            }
            *last = Some(id);
            if failures == FAILURES {
                return;
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// The next recordings whose time is over, behind the one that was looked at last.
fn next_due(state: &State, last: Option<&RecordingId>, keep_days: u32, now_ms: u64) -> Vec<RecordingId> {
    let behind = last.map_or(Bound::Unbounded, Bound::Excluded);
    let later = state.manifests.range::<RecordingId, _>((behind, Bound::Unbounded));
    let over = later.filter(|(id, _)| !state.active.contains_key(*id));
    let due = over.filter(|(_, manifest)| is_due(manifest, keep_days, now_ms));
    due.take(AT_ONCE).map(|(id, _)| id.clone()).collect()
}

/// Whether a recording is over and was for as long as it is kept.
fn is_due(manifest: &Manifest, keep_days: u32, now_ms: u64) -> bool {
    let over = is_over(manifest.state);
    let days = u64::from(manifest.keep_days.unwrap_or(keep_days));
    let ended = manifest.ended_ms.unwrap_or(manifest.started_ms);
    over && days > 0 && now_ms.saturating_sub(ended) >= days * DAY_MS
}

#[cfg(test)]
mod tests {
    use signalling::RoomName;
    use signalling::message::RecordingState;
    use signalling::recording::RecordingOptions;

    use super::*;

    fn manifest(id: &str, state: RecordingState, keep_days: Option<u32>, ended_ms: Option<u64>) -> Manifest {
        Manifest {
            v: signalling::recording::MANIFEST_VERSION,
            id: RecordingId::parse(id).expect("an id"),
            room: RoomName::parse("demo").expect("a name"),
            room_id: "abc".into(),
            folder: format!("abc/{id}"),
            options: RecordingOptions::default(),
            keep_days,
            state,
            started_ms: 0,
            ended_ms,
            segments: Vec::new(),
            timeline: Vec::new(),
            error: None,
        }
    }

    #[test]
    fn what_is_due_is_taken_some_at_a_time() {
        let mut state = State::default();
        for n in 0..50 {
            let keep_days = Some(if n % 2 == 0 { 1 } else { 0 });
            let one = manifest(&format!("r{n:02}"), RecordingState::Ready, keep_days, Some(0));
            state.manifests.insert(one.id.clone(), one);
        }
        let mut seen = Vec::new();
        let mut parts = Vec::new();
        loop {
            let due = next_due(&state, seen.last(), 0, DAY_MS);
            if due.is_empty() {
                break;
            }
            parts.push(due.len());
            // Some stay, and are passed over.
            due.iter().step_by(2).for_each(|id| drop(state.manifests.remove(id)));
            seen.extend(due);
        }
        assert_eq!((parts, seen.len()), (vec![AT_ONCE, 5], 25));
        assert!(seen.is_sorted());
    }

    #[test]
    fn what_is_over_for_long_enough_is_due() {
        let now = 10 * DAY_MS;
        let (ready, failed) = (RecordingState::Ready, RecordingState::Failed);
        for (state, own, configured, ended, due) in [
            (ready, None, 0, Some(0), false),
            (ready, None, 5, Some(5 * DAY_MS), true),
            (ready, None, 5, Some(5 * DAY_MS + 1), false),
            (ready, Some(0), 5, Some(0), false),
            (ready, Some(3), 0, Some(7 * DAY_MS), true),
            (ready, Some(4), 3, Some(7 * DAY_MS), false),
            (failed, None, 5, None, true),
            (RecordingState::Uploading, None, 5, Some(0), false),
            (RecordingState::Recording, None, 5, None, false),
            (ready, None, u32::MAX, Some(0), false),
        ] {
            assert_eq!(
                is_due(&manifest("r1", state, own, ended), configured, now),
                due,
                "{state:?} {own:?} {configured} {ended:?}"
            );
        }
    }
}
