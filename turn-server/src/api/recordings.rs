//! `/v1/recordings`: what was recorded, and its end.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use signalling::code::Refusal;
use signalling::message::RecordingState;
use signalling::recording::Manifest;
use signalling::{Code, RecordingId, RoomName};
use utoipa::{IntoParams, ToSchema};

use super::auth::Caller;
use super::body::{InPath, InQuery};
use super::files;
use super::problem::Problem;
use crate::app::App;
use crate::recording::{self, FileView, RecordingView};

/// Recordings that are listed when nothing is said about it.
fn default_limit() -> usize {
    100
}

/// Recordings that are listed at once, at most.
const MAX_LIMIT: usize = 1000;

/// Which recordings.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Wanted {
    /// Those of one room only.
    #[param(value_type = Option<String>)]
    room: Option<RoomName>,
    /// At most so many.
    #[serde(default = "default_limit")]
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: usize,
    /// Older ones than this: the id of the last one that is known.
    #[param(value_type = Option<String>)]
    before: Option<RecordingId>,
}

/// Recordings.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Recordings {
    /// Latest first, without links to files.
    recordings: Vec<RecordingView>,
}

/// A recording as this caller sees it.
pub(super) fn shown(caller: &Caller, view: RecordingView) -> RecordingView {
    if caller.moderator_of(&view.room).is_ok() {
        return view;
    }
    let error = view.error.as_deref().map(|error| recording::code_of(error).to_string());
    RecordingView { error, ..view }
}

/// Lays links to its files into a recording.
async fn with_links(app: &App, mut view: RecordingView) -> RecordingView {
    let ready = view.state == RecordingState::Ready;
    let mut files = std::mem::take(&mut view.files);
    for file in files.iter_mut().filter(|file| ready && file.size > 0) {
        file.url = link(app, &view, file).await;
    }
    RecordingView { files, ..view }
}

/// A link to a file that works for a while, without a header: `<video>` and `<a>` cannot send one.
async fn link(app: &App, recording: &RecordingView, file: &FileView) -> Option<String> {
    let key = format!("{}/{}", recording.folder, file.name);
    let saved_as = files::saved_as(&recording.room, recording.started_ms, &file.name, &file.participant_name);
    match files::direct_link(app, &key, &saved_as).await {
        Ok(Some(url)) => Some(url),
        Ok(None) => Some(files::signed_path(app, &recording.id, &file.name)),
        Err(error) => {
            tracing::warn!(%error, key, "a link cannot be signed");
            None
        }
    }
}

/// Recordings, latest first; links to their files are in each of them by itself. With a room token: those of its room; guests
/// who do not moderate see what was on at some time since they joined, as long as they are there.
#[utoipa::path(get, path = "/v1/recordings", params(Wanted), security(("bearer" = [])),
    responses((status = 200, body = Recordings), (status = 400, body = Problem)))]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    caller: Caller,
    InQuery(wanted): InQuery<Wanted>,
) -> Result<Json<Recordings>, Problem> {
    if let Some(room) = &wanted.room {
        caller.member_of(room)?;
    }
    if !(1..=MAX_LIMIT).contains(&wanted.limit) {
        return Err(Problem::new(Code::BadRequest, format!("limit must be 1 to {MAX_LIMIT}")));
    }
    let is_wanted = |recording: &Manifest| {
        caller.may_see(recording) && wanted.room.as_ref().is_none_or(|room| recording.room == *room)
    };
    let recordings = recording::list(&app, is_wanted, wanted.before.as_ref(), wanted.limit);
    let recordings = recordings.into_iter().map(|view| shown(&caller, view)).collect();
    Ok(Json(Recordings { recordings }))
}

pub(super) fn find(app: &App, caller: &Caller, id: &RecordingId) -> Result<Manifest, Problem> {
    let not_found = || Problem::new(Code::RecordingNotFound, format!("there is no recording {id}"));
    let manifest = app.recordings.get(id).ok_or_else(not_found)?;
    // What a room token may not see does not exist for it.
    if caller.may_see(&manifest) { Ok(manifest) } else { Err(not_found()) }
}

/// One recording, with links to its files.
#[utoipa::path(get, path = "/v1/recordings/{id}", params(("id" = String, Path)), security(("bearer" = [])),
    responses((status = 200, body = RecordingView), (status = 404, body = Problem)))]
pub(crate) async fn read(
    State(app): State<Arc<App>>,
    caller: Caller,
    InPath(id): InPath<RecordingId>,
) -> Result<Json<RecordingView>, Problem> {
    let manifest = find(&app, &caller, &id)?;
    Ok(Json(with_links(&app, shown(&caller, recording::view(&app, &manifest))).await))
}

/// Deletes a recording and all its files, for good.
#[utoipa::path(delete, path = "/v1/recordings/{id}", params(("id" = String, Path)), security(("bearer" = [])),
    responses((status = 204), (status = 403, description = "This needs the grant `moderate`", body = Problem),
    (status = 404, body = Problem), (status = 409, description = "It is on or being finished", body = Problem),
    (status = 503, description = "The storage does not answer or refuses", body = Problem)))]
pub(crate) async fn remove(
    State(app): State<Arc<App>>,
    caller: Caller,
    InPath(id): InPath<RecordingId>,
) -> Result<StatusCode, Problem> {
    let manifest = find(&app, &caller, &id)?;
    caller.moderator_of(&manifest.room)?;
    recording::remove(&app, &id).await.map_err(Refusal::from)?;
    Ok(StatusCode::NO_CONTENT)
}
