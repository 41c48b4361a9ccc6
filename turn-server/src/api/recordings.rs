//! `/v1/recordings`: what was recorded, and its end.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
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

/// Which recordings.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Wanted {
    /// Those of one room only.
    #[param(value_type = Option<String>)]
    room: Option<RoomName>,
}

/// Recordings.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Recordings {
    /// Latest first.
    recordings: Vec<RecordingView>,
}

/// A recording with links to its files.
pub(super) async fn view(app: &App, manifest: &Manifest) -> RecordingView {
    let mut view = recording::view(app, manifest);
    let ready = manifest.state == RecordingState::Ready;
    for file in view.files.iter_mut().filter(|file| ready && file.size > 0) {
        file.url = link(app, manifest, file).await;
    }
    view
}

/// A link to a file that works for a while, without a header: `<video>` and `<a>` cannot send one.
async fn link(app: &App, manifest: &Manifest, file: &FileView) -> Option<String> {
    let ttl = app.config().storage.link_ttl_s;
    let key = format!("{}/{}", manifest.folder, file.name);
    let saved_as = files::saved_as(manifest, &file.name, &file.participant_name);
    match app.store.presign_get(&key, Duration::from_secs(ttl), &saved_as).await {
        Ok(Some(url)) => Some(url),
        Ok(None) => Some(files::signed_path(app, &manifest.id, &file.name, ttl)),
        Err(error) => {
            tracing::warn!(%error, key, "a link cannot be signed");
            None
        }
    }
}

/// Recordings, latest first. With a room token: those of its room.
#[utoipa::path(get, path = "/v1/recordings", params(Wanted), security(("bearer" = [])),
    responses((status = 200, body = Recordings)))]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    caller: Caller,
    InQuery(wanted): InQuery<Wanted>,
) -> Result<Json<Recordings>, Problem> {
    if let Some(room) = &wanted.room {
        caller.member_of(room)?;
    }
    let room = wanted.room.as_ref().or(caller.only_room());
    let mut recordings = Vec::new();
    for manifest in app.recordings.list(room) {
        recordings.push(view(&app, &manifest).await);
    }
    Ok(Json(Recordings { recordings }))
}

pub(super) fn find(app: &App, caller: &Caller, id: &RecordingId) -> Result<Manifest, Problem> {
    let not_found = || Problem::new(Code::RecordingNotFound, format!("there is no recording {id}"));
    let manifest = app.recordings.get(id).ok_or_else(not_found)?;
    // What a room token may not see does not exist for it.
    caller.member_of(&manifest.room).map_err(|_| not_found())?;
    Ok(manifest)
}

/// One recording.
#[utoipa::path(get, path = "/v1/recordings/{id}", params(("id" = String, Path)), security(("bearer" = [])),
    responses((status = 200, body = RecordingView), (status = 404, body = Problem)))]
pub(crate) async fn read(
    State(app): State<Arc<App>>,
    caller: Caller,
    InPath(id): InPath<RecordingId>,
) -> Result<Json<RecordingView>, Problem> {
    let manifest = find(&app, &caller, &id)?;
    Ok(Json(view(&app, &manifest).await))
}

/// Deletes a recording and all its files, for good.
#[utoipa::path(delete, path = "/v1/recordings/{id}", params(("id" = String, Path)), security(("bearer" = [])),
    responses((status = 204), (status = 404, body = Problem), (status = 409, description = "It is on", body = Problem)))]
pub(crate) async fn remove(
    State(app): State<Arc<App>>,
    caller: Caller,
    InPath(id): InPath<RecordingId>,
) -> Result<StatusCode, Problem> {
    let manifest = find(&app, &caller, &id)?;
    caller.moderator_of(&manifest.room)?;
    recording::remove(&app, &manifest).await?;
    Ok(StatusCode::NO_CONTENT)
}
