//! What recorders say of recordings, and what follows from it.

use std::time::Instant;

use signalling::code::Code;
use signalling::link::ToRecorder;
use signalling::message::RecordingState;
use signalling::recording::{Progress, RecorderSegment};
use signalling::{RecorderId, RecordingId};

use super::jobs::{is_due, over, reconcile_locked, show};
use super::pause;
use super::state::State;
use crate::app::App;

/// A recorder's link is up; `held` is what it says to hold.
pub(super) fn recorder_came(app: &App, state: &mut State, recorder: &RecorderId, held: &[RecordingId]) {
    for id in held {
        let continues = state.active.get_mut(id).filter(|active| {
            // Nobody else has it meanwhile, and it was not put out: the one that had it last goes on.
            let nobody_has_it = active.recorder.is_none() && active.identity.is_some();
            active.recorder.as_ref() == Some(recorder) || nobody_has_it && active.last.as_ref() == Some(recorder)
        });
        let Some(active) = continues else {
            state.say(recorder, ToRecorder::Unknown { recording: id.clone() });
            continue;
        };
        active.recorder = Some(recorder.clone());
        (active.lost, active.heard) = (None, Instant::now());
        if active.stop_asked.is_some() {
            state.say(recorder, ToRecorder::Stop { recording: id.clone() });
        }
    }
    forget_unheld(app, state, recorder, held);
    reconcile_locked(app, state);
}

/// What a recorder does not hold any more it has stored: it ended before it could say so.
fn forget_unheld(app: &App, state: &mut State, recorder: &RecorderId, held: &[RecordingId]) {
    let mut stored = Vec::new();
    for (id, active) in state.active.iter_mut().filter(|(id, _)| !held.contains(id)) {
        // A live recording that it lost is given to somebody again.
        let ended = active.stop_asked.is_some();
        let is_live = !ended && active.recorder.as_ref() == Some(recorder);
        if is_live {
            // The job never reached it, or it has lost it.
            active.lost.get_or_insert_with(Instant::now);
            active.orphan.get_or_insert_with(Instant::now);
        }
        // It has no part to finish, whoever goes on.
        if active.unfinished.remove(recorder) && ended {
            stored.push(id.clone());
        }
    }
    for id in stored {
        has_ended(app, state, &id, recorder);
    }
}

/// A recorder's link is down.
pub(super) fn recorder_went(state: &mut State, recorder: &RecorderId) {
    for active in state.active.values_mut().filter(|active| active.recorder.as_ref() == Some(recorder)) {
        active.lost.get_or_insert_with(Instant::now);
        active.orphan.get_or_insert_with(Instant::now);
    }
}

/// What a recorder says about one recording.
pub(super) struct Report {
    pub(super) recording: RecordingId,
    pub(super) state: RecordingState,
    pub(super) segment: Option<RecorderSegment>,
    pub(super) progress: Option<Progress>,
    /// With `failed`: why, and whether it would fail again.
    pub(super) code: Option<Code>,
    pub(super) why: Option<String>,
}

/// A recorder reported.
pub(super) fn reported(app: &App, state: &mut State, recorder: &RecorderId, report: Report) {
    let Report { recording: id, state: now, segment, progress, code, why } = report;
    let segment = segment.filter(|segment| segment.recording == id && segment.recorder == *recorder);
    let ready = now == RecordingState::Ready;
    let done = ready || now == RecordingState::Failed;
    if let Some(known) = state.recorders.get_mut(recorder) {
        if done {
            known.held.remove(&id);
        } else {
            known.held.insert(id.clone(), Instant::now());
        }
    }
    let is_its_job = state.active.get(&id).is_some_and(|active| active.recorder.as_ref() == Some(recorder));
    if now.is_live() && !is_its_job {
        // Nobody shows that it writes.
        state.say(recorder, ToRecorder::Unknown { recording: id.clone() });
    }
    if !state.active.contains_key(&id) {
        state.follow(&id, recorder, now, progress);
        // A part of what was concluded without it, or before this server started; or that it has none.
        match segment {
            Some(segment) if ready => state.take_late(segment),
            None if ready => state.finish(&id),
            _ => {}
        }
        return;
    }
    if let Some(segment) = segment {
        state.put_segment(segment);
    }
    if now == RecordingState::Failed {
        let why = why.unwrap_or_else(|| "the recorder failed".into());
        tracing::warn!(recording = %id, %recorder, why, "a recorder failed");
        if let Some(manifest) = state.manifests.get_mut(&id) {
            manifest.error = Some(why);
        }
    }
    let Some(active) = state.active.get_mut(&id) else { return };
    if is_its_job {
        active.heard = Instant::now();
    }
    let stopping = active.stop_asked.is_some();
    let unsure = is_its_job && !active.confirmed && !stopping;
    if unsure && !now.is_live() && now != RecordingState::Failed {
        // An earlier run of its own, which it was finishing when it was given the job.
        return;
    }
    if let Some(progress) = progress
        && active.unfinished.contains(recorder)
    {
        active.progress.insert(recorder.clone(), progress);
    }
    if done {
        active.unfinished.remove(recorder);
    }
    if ready {
        active.all_stored(recorder);
    }
    if is_its_job && (stopping || now.is_live()) {
        active.confirm(now);
    }
    let for_now = matches!(code, Some(Code::Draining | Code::NoRecorder | Code::StorageUnavailable));
    if now == RecordingState::Failed && !for_now {
        active.failed.insert(recorder.clone());
    }
    if now == RecordingState::Failed
        && for_now
        && let Some(known) = state.recorders.get_mut(recorder)
    {
        known.refused = Some(Instant::now());
    }
    match now {
        live if live.is_live() && is_its_job && !stopping => pause::confirmed(app, state, &id, recorder, live),
        live if live.is_live() => {}
        _ if stopping => {
            let all_ended = has_ended(app, state, &id, recorder);
            if all_ended && now == RecordingState::Uploading && state.active.contains_key(&id) {
                show(app, state, &id, RecordingState::Uploading);
            }
        }
        _ if is_its_job => ended_unasked(app, state, &id, recorder, code),
        _ => {}
    }
}

/// A recorder of what is being stopped writes no more. `false`: another one still does, and the light stays on.
fn has_ended(app: &App, state: &mut State, id: &RecordingId, recorder: &RecorderId) -> bool {
    let is_its_job = state.active.get(id).is_some_and(|active| active.recorder.as_ref() == Some(recorder));
    let is_lit = state.manifests.get(id).is_some_and(|manifest| manifest.state.is_live());
    let all_ended = is_its_job || !is_lit;
    if all_ended {
        over(app, state, id);
    }
    all_ended
}

/// The recorder's end is not the recording's: it crashed, is about to stop, its disk is full, or it failed. Somebody else
/// goes on, or the same one when it is able again; only when all who are there have failed it is over.
fn ended_unasked(app: &App, state: &mut State, id: &RecordingId, recorder: &RecorderId, code: Option<Code>) {
    let Some(active) = state.active.get_mut(id) else { return };
    let now = Instant::now();
    // A recorder that has no room for it says when it has.
    let link = state.recorders.get(recorder).map(|known| known.link);
    if let Some(link) = link.filter(|_| !matches!(code, Some(Code::NoRecorder | Code::Draining))) {
        active.note_end(recorder, link, now);
    }
    active.take_away(now);
    active.identity = None;
    let hopeless = !active.failed.is_empty() && state.recorders.keys().all(|recorder| active.failed.contains(recorder));
    if hopeless || is_due(app, active) {
        over(app, state, id);
    }
}
