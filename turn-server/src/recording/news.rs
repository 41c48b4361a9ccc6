//! What others are told of a recording by webhooks, and the recording as they see it.

use signalling::message::RecordingState;
use signalling::recording::{Manifest, Progress};
use signalling::{ParticipantId, RecordingId, RoomName};

use super::state::State;
use super::view::{PersonView, RecordingView};
use crate::app::App;
use crate::clock;
use crate::signalling::session::Stage;
use crate::webhooks::Event;

/// A recording as it is shown now.
pub(super) fn view(app: &App, state: &State, manifest: &Manifest) -> RecordingView {
    view_with(app, manifest, state.progress(&manifest.id))
}

/// The same, with what its recorders said last.
pub(super) fn view_with(app: &App, manifest: &Manifest, progress: Option<Progress>) -> RecordingView {
    let present = if manifest.state.is_live() { present(app, &manifest.room) } else { Vec::new() };
    RecordingView::new(manifest, progress, present, clock::unix_ms())
}

/// Who is in a room and seen by others.
fn present(app: &App, room: &RoomName) -> Vec<PersonView> {
    let directory = app.hub.directory();
    let members = directory.rooms.get(room).map(|room| room.members.values()).into_iter().flatten();
    let visible = members.filter(|session| session.is_visible() && session.stage() == Stage::In);
    let person = visible.filter_map(|session| {
        let id = ParticipantId::parse(session.participant.to_string()).ok()?;
        Some(PersonView { id, name: session.who.name.clone() })
    });
    person.collect()
}

/// Tells of something that happened to a recording.
pub(super) fn say(app: &App, state: &State, id: &RecordingId, event: Event) {
    // Most servers tell nobody, and the view costs something.
    if app.config().webhooks.urls.is_empty() {
        return;
    }
    if let Some(manifest) = state.manifests.get(id) {
        app.webhooks.say(app, event, &view(app, state, manifest));
    }
}

/// Tells of a state that the room is shown from now on, if it means something to others.
pub(super) fn state_changed(app: &App, state: &mut State, id: &RecordingId, now: RecordingState) {
    let Some(active) = state.active.get_mut(id) else { return };
    let told = active.told;
    if matches!(now, RecordingState::Recording | RecordingState::Paused) {
        active.told = Some(now);
    }
    // A recorder that is replaced is nobody's business: then it goes on as it was.
    let events: &[Event] = match (told, now) {
        (None, RecordingState::Recording) => &[Event::Started],
        (None, RecordingState::Paused) => &[Event::Started, Event::Paused],
        (Some(RecordingState::Paused), RecordingState::Recording) => &[Event::Resumed],
        (Some(RecordingState::Recording), RecordingState::Paused) => &[Event::Paused],
        (_, RecordingState::Finalising) => &[Event::Stopped],
        _ => &[],
    };
    for event in events {
        say(app, state, id, *event);
    }
}
