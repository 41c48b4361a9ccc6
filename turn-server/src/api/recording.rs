//! `/v1/rooms/{room}/recording`: switch the recording of a room on and off, pause it.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use signalling::recording::Mode;
use signalling::{Code, RoomName};
use utoipa::ToSchema;

use super::auth::Caller;
use super::body::{Body, InPath};
use super::problem::Problem;
use super::recordings::shown;
use crate::app::App;
use crate::recording::{self, RecordingView, Wanted};

/// How to record. What is absent is as configured.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct StartRecording {
    /// What becomes a file: `participant` (microphone and camera in one, each screen in its own), `track` or `audio`.
    mode: Option<Mode>,
    /// Stop by itself after so many seconds; 0: never.
    max_duration_s: Option<u64>,
    /// Stop by itself once it has so many megabytes (10^6 bytes); 0: never.
    max_size_mb: Option<u64>,
    /// Kept in the manifest and, where the storage takes them, on the objects: at most 10, keys of 1 to 128 and values of up to
    /// 256 characters, of letters, digits, spaces and `+ - = . _ : / @`.
    #[serde(default)]
    tags: BTreeMap<String, String>,
    /// Where it lies below the storage's prefix, as `[recording] folder`; the recording's id follows. Needs an API key.
    prefix: Option<String>,
    /// Delete it so many days after its end; 0: keep it for ever. Needs an API key.
    keep_days: Option<u32>,
}

impl From<StartRecording> for Wanted {
    fn from(start: StartRecording) -> Self {
        let StartRecording { mode, max_duration_s, max_size_mb, tags, prefix, keep_days } = start;
        Self { mode, max_duration_s, max_size_mb, tags, prefix, keep_days }
    }
}

/// Starts the recording of a room. Everybody in it is told before anything is written.
#[utoipa::path(post, path = "/v1/rooms/{room}/recording", params(("room" = String, Path)),
    request_body = StartRecording, security(("bearer" = [])), responses((status = 201, body = RecordingView),
    (status = 400, description = "Tags or a prefix that storage would not take", body = Problem),
    (status = 403, description = "This needs the grant `moderate`, and `prefix` and `keep_days` an API key", body = Problem),
    (status = 404, description = "There is no such room", body = Problem),
    (status = 409, description = "It is on already, or this is a mesh room: its media does not pass here", body = Problem),
    (status = 503, description = "No recorder is connected", body = Problem)))]
pub(crate) async fn start(
    State(app): State<Arc<App>>,
    caller: Caller,
    InPath(room): InPath<RoomName>,
    Body(wanted): Body<StartRecording>,
) -> Result<(StatusCode, Json<RecordingView>), Problem> {
    caller.moderator_of(&room)?;
    if wanted.prefix.is_some() || wanted.keep_days.is_some() {
        // Where things lie and for how long is the operator's.
        caller.operator()?;
    }
    let manifest = recording::start(&app, &room, &wanted.into())?;
    Ok((StatusCode::CREATED, Json(recording::view(&app, &manifest))))
}

/// The recording of a room while it is on.
#[utoipa::path(get, path = "/v1/rooms/{room}/recording", params(("room" = String, Path)), security(("bearer" = [])),
    responses((status = 200, body = RecordingView), (status = 409, description = "It is off", body = Problem)))]
pub(crate) async fn read(
    State(app): State<Arc<App>>,
    caller: Caller,
    InPath(room): InPath<RoomName>,
) -> Result<Json<RecordingView>, Problem> {
    caller.member_of(&room)?;
    let manifest = app.recordings.of_room(&room);
    let manifest = manifest.ok_or_else(|| Problem::new(Code::NotRecording, format!("{room} is not being recorded")))?;
    Ok(Json(shown(&caller, recording::view(&app, &manifest))))
}

/// Stops the recording of a room. It is finished and uploaded from here on: see `/v1/recordings/{id}`.
#[utoipa::path(delete, path = "/v1/rooms/{room}/recording", params(("room" = String, Path)), security(("bearer" = [])),
    responses((status = 202, body = RecordingView), (status = 409, description = "It is off", body = Problem)))]
pub(crate) async fn stop(
    State(app): State<Arc<App>>,
    caller: Caller,
    InPath(room): InPath<RoomName>,
) -> Result<(StatusCode, Json<RecordingView>), Problem> {
    caller.moderator_of(&room)?;
    let manifest = recording::stop_by_hand(&app, &room)?;
    Ok((StatusCode::ACCEPTED, Json(recording::view(&app, &manifest))))
}

/// Pauses the recording of a room: nothing is written until it is resumed. Its state is `paused` once the recorder has stopped
/// writing, a moment later; that is also when the room is told.
#[utoipa::path(post, path = "/v1/rooms/{room}/recording/pause", params(("room" = String, Path)), security(("bearer" = [])),
    responses((status = 202, body = RecordingView), (status = 409, description = "It is off", body = Problem)))]
pub(crate) async fn pause(
    State(app): State<Arc<App>>,
    caller: Caller,
    InPath(room): InPath<RoomName>,
) -> Result<(StatusCode, Json<RecordingView>), Problem> {
    set_paused(&app, &caller, &room, true).await
}

/// Goes on with a paused recording. The room is told before anything is written.
#[utoipa::path(post, path = "/v1/rooms/{room}/recording/resume", params(("room" = String, Path)), security(("bearer" = [])),
    responses((status = 202, body = RecordingView), (status = 409, description = "It is off", body = Problem)))]
pub(crate) async fn resume(
    State(app): State<Arc<App>>,
    caller: Caller,
    InPath(room): InPath<RoomName>,
) -> Result<(StatusCode, Json<RecordingView>), Problem> {
    set_paused(&app, &caller, &room, false).await
}

async fn set_paused(
    app: &App,
    caller: &Caller,
    room: &RoomName,
    paused: bool,
) -> Result<(StatusCode, Json<RecordingView>), Problem> {
    caller.moderator_of(room)?;
    let manifest = recording::set_paused(app, room, paused)?;
    Ok((StatusCode::ACCEPTED, Json(recording::view(app, &manifest))))
}
