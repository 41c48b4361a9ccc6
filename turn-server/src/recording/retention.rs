//! Recordings whose time is over are deleted: what was promised to whoever was recorded, and what the disk needs.

use std::time::Duration;

use signalling::recording::Manifest;

use super::remove;
use super::state::is_over;
use super::writes::Write;
use crate::app::App;
use crate::clock;

const DAY_MS: u64 = 24 * 3600 * 1000;

/// How often we look for recordings whose time is over.
const EVERY: Duration = Duration::from_secs(3600);

/// Recordings deleted one after the other, before others get a chance to use the storage.
const AT_ONCE: usize = 20;

/// How long they have for that.
const PAUSE: Duration = Duration::from_secs(1);

/// Deletes what is over for longer than it is kept, until the process ends. What a former run of this server began, and nobody
/// finished within the first hour, is finished without them.
pub(super) async fn run(app: &App) {
    loop {
        while sweep(app).await {
            tokio::time::sleep(PAUSE).await;
        }
        tokio::time::sleep(EVERY).await;
        let mut state = app.recordings.state();
        for id in state.left_over() {
            tracing::info!(recording = %id, "nobody finishes it: it is what storage has of it");
            state.write(&id, Write::Final);
        }
    }
}

/// Deletes some that are due, passing over those that cannot be. `true`: there are more.
async fn sweep(app: &App) -> bool {
    let keep_days = app.config().recording.keep_days;
    let due: Vec<Manifest> = {
        let state = app.recordings.state();
        let over = state.manifests.values().filter(|manifest| !state.active.contains_key(&manifest.id));
        over.filter(|manifest| is_due(manifest, keep_days, clock::unix_ms())).cloned().collect()
    };
    let mut deleted = 0;
    for manifest in &due {
        if deleted == AT_ONCE {
            return true;
        }
        match remove(app, manifest).await {
            Ok(()) => {
                tracing::info!(recording = %manifest.id, room = %manifest.room, "deleted: its time is over");
                deleted += 1;
            }
            Err(error) => tracing::warn!(recording = %manifest.id, %error, "cannot be deleted; trying again later"),
        }
    }
    false
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
    use signalling::message::RecordingState;
    use signalling::recording::RecordingOptions;
    use signalling::{RecordingId, RoomName};

    use super::*;

    #[test]
    fn what_is_over_for_long_enough_is_due() {
        let of = |state, keep_days, ended_ms| Manifest {
            v: signalling::recording::MANIFEST_VERSION,
            id: RecordingId::parse("r1").expect("an id"),
            room: RoomName::parse("demo").expect("a name"),
            room_id: "abc".into(),
            folder: "abc/r1".into(),
            options: RecordingOptions::default(),
            keep_days,
            state,
            started_ms: 0,
            ended_ms,
            segments: Vec::new(),
            timeline: Vec::new(),
            error: None,
        };
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
                is_due(&of(state, own, ended), configured, now),
                due,
                "{state:?} {own:?} {configured} {ended:?}"
            );
        }
    }
}
