//! Decisions: who records what. Every function leaves manifests, jobs and the red lights in rooms in step.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rand::RngExt as _;
use sfu::command::Mode;
use signalling::code::{Code, Refusal};
use signalling::link::ToRecorder;
use signalling::message::{RecordingState, RoomRecording};
use signalling::recording::{MANIFEST_VERSION, Manifest};
use signalling::token::{Claims, Grants};
use signalling::{RecordingId, RoomName};

use super::news;
use super::options::Wanted;
use super::state::{Active, State};
use super::writes::Write;
use crate::app::App;
use crate::clock;
use crate::webhooks::Event;

/// How long the red light stays on for a recorder that does not confirm the stop.
const STOP_WITHIN: Duration = Duration::from_secs(5);

/// A recorder has the limit, too, and its clock began a moment later.
const LIMIT_SLACK: Duration = Duration::from_millis(500);

/// How often the manifest is written while recorders only add to their parts.
const WRITE_EVERY: Duration = Duration::from_secs(10);

/// How long an automatic recording that failed is not tried again.
const WAIT: Duration = Duration::from_secs(30);

/// How much longer than the recording its recorder's token is good.
const TOKEN_SLACK_S: u64 = 3600;

/// Life of a recorder's token when the recording has no limit.
const TOKEN_LONGEST_S: u64 = 30 * 24 * 3600;

/// Starts recording a room.
///
/// # Errors
/// [`Code::BadRequest`], [`Code::RoomNotFound`], [`Code::SfuDisabled`], [`Code::AlreadyRecording`], [`Code::NoRecorder`],
/// [`Code::Draining`].
pub(crate) fn start(app: &App, room: &RoomName, wanted: &Wanted) -> Result<Manifest, Refusal> {
    let config = app.config();
    let options = wanted.options(&config.recording)?;
    if app.hub.is_draining() {
        return Err(Code::Draining.into());
    }
    let mut state = app.recordings.state();
    let found = app.hub.directory().rooms.get(room).map(|room| (room.storage_id.clone(), room.settings.mode));
    let (room_id, mode) = found.ok_or_else(|| Refusal::new(Code::RoomNotFound, format!("there is no room {room}")))?;
    if mode == Mode::Mesh {
        return Err(Refusal::new(Code::SfuDisabled, format!("{room} is a mesh room: its media does not pass here")));
    }
    if state.active.values().any(|active| active.room == *room && active.stop_asked.is_none()) {
        return Err(Refusal::new(Code::AlreadyRecording, format!("{room} is being recorded already")));
    }
    let (id, started_ms) = (new_id(), clock::unix_ms());
    let folder = wanted.folder(&config.recording, room, &room_id, &id, started_ms)?;
    if state.choose(Instant::now(), |_| true).is_none() {
        let why = if state.recorders.is_empty() { "no recorder is connected" } else { "all recorders are full" };
        return Err(Refusal { retry_ms: 5000, ..Refusal::new(Code::NoRecorder, why) });
    }
    let manifest = Manifest {
        v: MANIFEST_VERSION,
        id: id.clone(),
        room: room.clone(),
        folder,
        room_id,
        options: options.clone(),
        keep_days: wanted.keep_days,
        state: RecordingState::Starting,
        started_ms,
        ended_ms: None,
        segments: Vec::new(),
        timeline: Vec::new(),
        error: None,
    };
    let active = Active::new(room.clone(), options, Instant::now());
    state.manifests.insert(id.clone(), manifest.clone());
    state.active.insert(id.clone(), active);
    state.write(&id, Write::Manifest);
    app.metrics.recordings_started.inc();
    assign(app, &mut state, &id);
    Ok(manifest)
}

/// Unique for ever: the time, and a random tail for two in one millisecond or on two servers.
fn new_id() -> RecordingId {
    let tail: u32 = rand::rng().random();
    RecordingId::parse(format!("{:011x}{tail:08x}", clock::unix_ms())).expect("hex digits are a recording id")
}

/// Gives a recording to a recorder. The red light is on before the job is sent, so before anything is written.
fn assign(app: &App, state: &mut State, id: &RecordingId) -> bool {
    let Some(active) = state.active.get(id) else { return false };
    let now = Instant::now();
    let Some(recorder) = state.choose(now, |recorder| active.may_ask(recorder, now)) else { return false };
    // Whoever had it before may still write, without a link that would say so.
    put_out(app, state, id);
    let Some(active) = state.active.get_mut(id) else { return false };
    let Some(manifest) = state.manifests.get(id) else { return false };
    active.assignments += 1;
    // Of this assignment only: whoever puts its recorder out does not bar the next one.
    let identity = format!("recorder-{id}-{}", active.assignments);
    let token = match token(app, &identity, active) {
        Ok(token) => token,
        Err(error) => {
            tracing::error!(%error, "a recorder's token cannot be signed");
            return false;
        }
    };
    let job = ToRecorder::Job {
        recording: id.clone(),
        room: manifest.room.clone(),
        room_id: manifest.room_id.clone(),
        folder: manifest.folder.clone(),
        token,
        started_ms: manifest.started_ms,
        age_ms: u64::try_from(active.since.elapsed().as_millis()).ok(),
        again: !(active.unfinished.is_empty() && active.failed.is_empty() && manifest.segments.is_empty()),
        paused: active.paused,
        ends_in_ms: active.left(now).map(|left| u64::try_from(left.as_millis()).unwrap_or(u64::MAX)),
        options: active.options.clone(),
    };
    // A light that says `paused` stays: whoever goes on begins paused.
    let stays = active.paused && manifest.state == RecordingState::Paused;
    show(app, state, id, if stays { RecordingState::Paused } else { RecordingState::Starting });
    if !state.say(&recorder, job) {
        return false;
    }
    let mut link = 0;
    if let Some(recorder) = state.recorders.get_mut(&recorder) {
        recorder.capacity = recorder.capacity.saturating_sub(1);
        recorder.held.insert(id.clone(), now);
        link = recorder.link;
    }
    if let Some(active) = state.active.get_mut(id) {
        tracing::info!(recording = %id, room = %active.room, %recorder, "recording");
        active.link = link;
        active.begin_run(&recorder);
        active.fresh = active.unfinished.insert(recorder.clone());
        active.last = Some(recorder.clone());
        active.recorder = Some(recorder);
        active.lost = None;
        (active.assigned, active.heard) = (now, now);
        active.confirmed = false;
        active.identity = Some(identity);
    }
    true
}

fn token(app: &App, identity: &str, active: &Active) -> Result<String, Refusal> {
    let ttl = match active.options.max_duration_s {
        0 => TOKEN_LONGEST_S,
        limit => limit.saturating_add(TOKEN_SLACK_S).min(TOKEN_LONGEST_S),
    };
    let claims = Claims {
        sub: identity.to_owned(),
        name: None,
        room: active.room.clone(),
        exp: clock::unix_s() + ttl,
        nbf: None,
        jti: crate::secrets::random(),
        grants: Grants { publish: Vec::new(), subscribe: true, moderate: false, hidden: true, recorder: true },
        cnf: None,
        api: false,
        since_ms: None,
    };
    app.secrets.load().rooms.sign(&claims)
}

/// Puts out of the room whoever was given a recording last: without its link nothing else stops it. It delivers what it has.
fn put_out(app: &App, state: &mut State, id: &RecordingId) {
    let Some(active) = state.active.get_mut(id) else { return };
    if let Some(identity) = active.identity.take() {
        app.hub.put_out(&active.room, &identity);
    }
}

/// Sets a recording's state in its manifest and in the room.
pub(super) fn show(app: &App, state: &mut State, id: &RecordingId, now: RecordingState) {
    let Some(manifest) = state.manifests.get_mut(id) else { return };
    let light = RoomRecording { id: id.clone(), state: now, started_ms: manifest.started_ms, age_ms: 0 };
    let room = manifest.room.clone();
    if manifest.state != now {
        manifest.state = now;
        state.write(id, Write::Manifest);
        news::state_changed(app, state, id, now);
    }
    // A new recording of the same room may be on, or stopping, while the last one is being finished.
    let others = state.active.iter().filter(|(other, active)| *other != id && active.room == room);
    let mut others = others.filter_map(|(other, _)| state.manifests.get(other));
    if now.is_live() || !others.any(|other| other.state.is_live()) {
        app.hub.show_recording(&room, now.is_live().then_some(light));
    }
}

/// Stops what a person wants stopped; an automatic recording does not start again by itself while anybody is there.
///
/// # Errors
/// [`Code::NotRecording`].
pub(crate) fn stop_by_hand(app: &App, room: &RoomName) -> Result<Manifest, Refusal> {
    let mut state = app.recordings.state();
    let id = state.live_in(room)?;
    if let Some(room) = app.hub.directory().rooms.get_mut(room) {
        room.stopped = true;
    }
    stop(app, &mut state, &id);
    state.manifests.get(&id).cloned().ok_or_else(|| Code::Internal.into())
}

/// Stops every recording: the server ends.
pub(super) fn stop_all(app: &App) {
    let mut state = app.recordings.state();
    let ids: Vec<_> = state.active.keys().cloned().collect();
    for id in ids {
        stop(app, &mut state, &id);
    }
}

fn stop(app: &App, state: &mut State, id: &RecordingId) {
    let Some(active) = state.active.get_mut(id) else { return };
    if active.stop_asked.is_some() {
        return;
    }
    active.stop_asked = Some(Instant::now());
    let recorder = active.recorder.clone();
    if let Some(manifest) = state.manifests.get_mut(id) {
        manifest.ended_ms = Some(clock::unix_ms());
    }
    tracing::info!(recording = %id, "stopping");
    state.write(id, Write::Manifest);
    let told = recorder.is_some_and(|recorder| state.say(&recorder, ToRecorder::Stop { recording: id.clone() }));
    if !told {
        put_out(app, state, id);
        over(app, state, id);
    }
}

/// Nothing is written any more. It is final once every recorder that had the job has finished its part.
pub(super) fn over(app: &App, state: &mut State, id: &RecordingId) {
    if let Some(manifest) = state.manifests.get_mut(id) {
        manifest.ended_ms.get_or_insert_with(clock::unix_ms);
        if manifest.state.is_live() {
            show(app, state, id, RecordingState::Finalising);
        }
    }
    let Some(active) = state.active.get_mut(id) else { return };
    active.stop_asked.get_or_insert_with(Instant::now);
    let finished = active.unfinished.is_empty();
    if finished {
        conclude(app, state, id);
    }
}

fn conclude(app: &App, state: &mut State, id: &RecordingId) {
    let Some(active) = state.active.remove(id) else { return };
    let Some(manifest) = state.manifests.get(id) else { return };
    let (nobody_wrote, no_file) = (manifest.segments.is_empty(), manifest.files().next().is_none());
    let now = Instant::now();
    // Where nobody published anything, nothing failed.
    let somebody_failed = manifest.error.is_some() || !active.early.is_empty() || active.is_orphaned(now);
    if no_file && somebody_failed {
        state.wait.insert(active.room, now + WAIT);
    }
    // Nobody has to wait for storage to learn this; what it holds all the same is found below.
    if nobody_wrote {
        fail(app, state, id, "no recorder wrote anything");
    }
    state.write(id, Write::Final);
}

fn fail(app: &App, state: &mut State, id: &RecordingId, why: &str) {
    tracing::warn!(recording = %id, why, "a recording failed");
    app.metrics.recordings_failed.inc();
    show(app, state, id, RecordingState::Failed);
    if let Some(manifest) = state.manifests.get_mut(id) {
        manifest.error.get_or_insert_with(|| why.to_owned());
    }
    news::say(app, state, id, Event::Failed);
}

/// Compares what is with what should be: lost recorders, limits, empty rooms, automatic recordings.
pub(super) fn reconcile(app: &App) {
    let mut state = app.recordings.state();
    reconcile_locked(app, &mut state);
    state.finish_left(Instant::now());
    let wanted = wanted_rooms(app, &mut state);
    drop(state);
    for room in wanted {
        // Without a recorder it is tried again when one comes.
        if let Err(refusal) = start(app, &room, &Wanted::default()) {
            tracing::debug!(%room, %refusal, "an automatic recording cannot start");
        }
    }
}

fn wanted_rooms(app: &App, state: &mut State) -> Vec<RoomName> {
    let now = Instant::now();
    state.wait.retain(|_, until| *until > now);
    if state.recorders.is_empty() {
        return Vec::new();
    }
    let directory = app.hub.directory();
    let recorded: BTreeSet<_> =
        state.active.values().filter(|active| active.stop_asked.is_none()).map(|active| &active.room).collect();
    let wanted = directory.rooms.values().filter(|room| {
        let can = room.settings.mode == Mode::Sfu && room.visible() > 0 && !state.wait.contains_key(&room.name);
        can && room.record && !room.stopped && !recorded.contains(&room.name)
    });
    wanted.map(|room| room.name.clone()).collect()
}

pub(super) fn reconcile_locked(app: &App, state: &mut State) {
    let ids: Vec<_> = state.active.keys().cloned().collect();
    for id in ids {
        reconcile_one(app, state, &id);
    }
}

/// Whether a recording is over by itself: its time is, or its room, or it is as large as it may be (a recorder knows of its own
/// bytes only), or its media does not pass here any more.
pub(super) fn is_due(app: &App, active: &Active) -> bool {
    let max_bytes = active.options.max_size_mb.saturating_mul(1_000_000);
    if max_bytes > 0 && active.progress().bytes >= max_bytes {
        return true;
    }
    let too_long = active.left(Instant::now()).is_some_and(|left| left <= LIMIT_SLACK);
    let empty_timeout = Duration::from_secs(app.config().rooms.empty_timeout_s);
    too_long
        || app.hub.directory().rooms.get(&active.room).is_none_or(|room| {
            // Who switches it on before anybody comes has that long, too.
            let vacant_since = room.vacant_since.map_or(active.since, |since| since.max(active.since));
            let empty = room.visible() == 0 && vacant_since.elapsed() >= empty_timeout;
            empty || room.settings.mode == Mode::Mesh
        })
}

fn reconcile_one(app: &App, state: &mut State, id: &RecordingId) {
    let Some(active) = state.active.get_mut(id) else { return };
    if active.written.elapsed() >= WRITE_EVERY {
        active.written = Instant::now();
        state.write(id, Write::Manifest);
    }
    let Some(active) = state.active.get_mut(id) else { return };
    if let Some(asked) = active.stop_asked {
        let live = state.manifests.get(id).is_some_and(|manifest| manifest.state.is_live());
        let now = Instant::now();
        if active.forget_unheard(id, &mut state.recorders, now) && active.unfinished.is_empty() {
            over(app, state, id);
            return;
        }
        let abandoned = active.is_abandoned(id, &state.recorders, now);
        if live && asked.elapsed() > STOP_WITHIN {
            put_out(app, state, id);
            show(app, state, id, RecordingState::Finalising);
        }
        // What comes later is taken then.
        if abandoned {
            conclude(app, state, id);
        }
        return;
    }
    if is_due(app, active) {
        stop(app, state, id);
        return;
    }
    let now = Instant::now();
    if active.is_orphaned(now) {
        stop(app, state, id);
        return;
    }
    active.forget_unheard(id, &mut state.recorders, now);
    let hangs = active.take_from_lost(now);
    // Each recording is not to find that out for itself.
    if let Some(known) = hangs.and_then(|recorder| state.recorders.get_mut(&recorder)) {
        known.refused = Some(now);
    }
    if active.recorder.is_none() {
        active.lost.get_or_insert_with(Instant::now);
        assign(app, state, id);
    }
}
