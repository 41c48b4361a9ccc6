//! Pause and resume: what a moderator wants is kept with the recording, and whoever records it is brought in step.
//!
//! The light never promises too much: `paused` is shown once the recorder says that it writes nothing, `recording` before
//! it is told to write again.

use signalling::code::{Code, Refusal};
use signalling::link::ToRecorder;
use signalling::message::RecordingState;
use signalling::recording::Manifest;
use signalling::{RecorderId, RecordingId, RoomName};

use super::jobs::show;
use super::state::State;
use crate::app::App;

/// Pauses the recording of a room, or lets it go on. What is so already stays so.
///
/// # Errors
/// [`Code::NotRecording`].
pub(crate) fn set_paused(app: &App, room: &RoomName, paused: bool) -> Result<Manifest, Refusal> {
    let mut state = app.recordings.state();
    let id = state.live_in(room)?;
    if let Some(active) = state.active.get_mut(&id).filter(|active| active.paused != paused) {
        active.paused = paused;
        let recorder = active.recorder.clone();
        tracing::info!(recording = %id, paused, "pause asked for");
        let is_paused = state.manifests.get(&id).is_some_and(|manifest| manifest.state == RecordingState::Paused);
        if !paused && is_paused {
            show(app, &mut state, &id, RecordingState::Recording);
        }
        // A recorder that is not there says how it stands when it comes back, and another one begins as it should.
        if let Some(recorder) = recorder {
            state.say(&recorder, order(&id, paused));
        }
    }
    state.manifests.get(&id).cloned().ok_or_else(|| Code::Internal.into())
}

fn order(id: &RecordingId, paused: bool) -> ToRecorder {
    let recording = id.clone();
    if paused { ToRecorder::Pause { recording } } else { ToRecorder::Resume { recording } }
}

/// Whoever records says that it does, or that it is paused. If that is not what is wanted, it missed an order.
pub(super) fn confirmed(app: &App, state: &mut State, id: &RecordingId, recorder: &RecorderId, now: RecordingState) {
    let Some(wanted) = state.active.get(id).map(|active| active.paused) else { return };
    let shown = state.manifests.get(id).map(|manifest| manifest.state);
    match now {
        // Said before it heard of the resume, after which everybody was told that it records.
        RecordingState::Paused if !wanted => {
            state.say(recorder, order(id, wanted));
        }
        RecordingState::Recording if wanted => {
            show(app, state, id, now);
            state.say(recorder, order(id, wanted));
        }
        RecordingState::Starting if wanted && shown == Some(RecordingState::Paused) => {}
        _ => show(app, state, id, now),
    }
}
