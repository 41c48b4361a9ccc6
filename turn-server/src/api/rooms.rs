//! `/v1/rooms`: make, list, read, change, close.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use sfu::command::RoomSettings;
use signalling::message::Mode;
use signalling::{Code, RoomName};
use utoipa::ToSchema;

use super::auth::Caller;
use super::body::{Body, InPath};
use super::problem::Problem;
use super::view::RoomView;
use crate::app::App;
use crate::config::Guests;
use crate::signalling::directory::NewRoom;

/// A room to make. What is absent is as configured.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateRoom {
    /// Its name; absent: one is made up.
    name: Option<RoomName>,
    /// `sfu` or `mesh`.
    mode: Option<Mode>,
    /// Visible participants at most.
    max_participants: Option<u32>,
    /// What guests may do.
    guests: Option<Guests>,
    /// Record it from its first participant on.
    recording: Option<bool>,
}

/// All rooms.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Rooms {
    /// By name.
    rooms: Vec<RoomView>,
}

/// What to change; what is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UpdateRoom {
    /// Whether nobody new may join.
    locked: Option<bool>,
    /// Visible participants at most; nobody is put out.
    max_participants: Option<u32>,
    /// What guests may do who join from now on. Needs an API key.
    guests: Option<Guests>,
    /// Record it whenever somebody is in it. Needs an API key.
    recording: Option<bool>,
}

const LARGEST: u32 = 10_000;

fn check_size(size: u32) -> Result<u32, Problem> {
    if (1..=LARGEST).contains(&size) {
        return Ok(size);
    }
    Err(Problem::new(Code::BadRequest, format!("max_participants must be 1 to {LARGEST}")))
}

/// Makes a room that stays until it is deleted.
#[utoipa::path(post, path = "/v1/rooms", request_body = CreateRoom, security(("bearer" = [])), responses(
    (status = 201, body = RoomView), (status = 409, description = "The name is taken", body = Problem)))]
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    caller: Caller,
    Body(wanted): Body<CreateRoom>,
) -> Result<(StatusCode, Json<RoomView>), Problem> {
    caller.operator()?;
    let rooms = &app.config().rooms;
    let mut new = NewRoom::by_joining(&app.config());
    new.permanent = true;
    new.max_participants = check_size(wanted.max_participants.unwrap_or(rooms.max_participants))?;
    new.guests = wanted.guests.unwrap_or(rooms.guests);
    new.record = wanted.recording.unwrap_or(new.record);
    match wanted.mode {
        None => {}
        Some(Mode::Sfu) => new.mode = sfu::command::Mode::Sfu,
        Some(Mode::Mesh) => new.mode = sfu::command::Mode::Mesh,
        Some(Mode::Switching) => return Err(Problem::new(Code::BadRequest, "mode must be sfu or mesh")),
    }
    let name = wanted.name.unwrap_or_else(made_up);
    let mut directory = app.hub.directory();
    if directory.rooms.contains_key(&name) {
        let taken = Problem::new(Code::BadRequest, format!("there is a room {name} already"));
        return Err(taken.with_status(StatusCode::CONFLICT));
    }
    let room = app.hub.open(&mut directory, &name, new)?;
    Ok((StatusCode::CREATED, Json(RoomView::from(&*room))))
}

fn made_up() -> RoomName {
    RoomName::parse(&crate::secrets::random()[..12]).expect("hex digits are a room name")
}

/// All rooms.
#[utoipa::path(get, path = "/v1/rooms", security(("bearer" = [])), responses((status = 200, body = Rooms)))]
pub(crate) async fn list(State(app): State<Arc<App>>, caller: Caller) -> Result<Json<Rooms>, Problem> {
    caller.operator()?;
    let rooms = app.hub.directory().rooms.values().map(RoomView::from).collect();
    Ok(Json(Rooms { rooms }))
}

pub(crate) fn not_found(name: &RoomName) -> Problem {
    Problem::new(Code::RoomNotFound, format!("there is no room {name}"))
}

/// One room.
#[utoipa::path(get, path = "/v1/rooms/{room}", params(("room" = String, Path)), security(("bearer" = [])), responses(
    (status = 200, body = RoomView), (status = 404, body = Problem)))]
pub(crate) async fn read(
    State(app): State<Arc<App>>,
    caller: Caller,
    InPath(name): InPath<RoomName>,
) -> Result<Json<RoomView>, Problem> {
    caller.member_of(&name)?;
    let directory = app.hub.directory();
    let room = directory.rooms.get(&name).ok_or_else(|| not_found(&name))?;
    Ok(Json(room.into()))
}

/// Changes a room.
#[utoipa::path(patch, path = "/v1/rooms/{room}", params(("room" = String, Path)), request_body = UpdateRoom,
    security(("bearer" = [])), responses((status = 200, body = RoomView), (status = 404, body = Problem)))]
pub(crate) async fn update(
    State(app): State<Arc<App>>,
    caller: Caller,
    InPath(name): InPath<RoomName>,
    Body(wanted): Body<UpdateRoom>,
) -> Result<Json<RoomView>, Problem> {
    caller.moderator_of(&name)?;
    if wanted.guests.is_some() || wanted.recording.is_some() {
        caller.operator()?;
    }
    let mut directory = app.hub.directory();
    let room = directory.rooms.get_mut(&name).ok_or_else(|| not_found(&name))?;
    let max_participants = check_size(wanted.max_participants.unwrap_or(room.settings.max_participants))?;
    let locked = wanted.locked.unwrap_or(room.settings.locked);
    room.guests = wanted.guests.unwrap_or(room.guests);
    if let Some(record) = wanted.recording {
        (room.record, room.stopped) = (record, false);
    }
    let settings = RoomSettings { locked, max_participants, ..room.settings.clone() };
    if settings != room.settings {
        app.hub.update(room, settings);
    }
    let view = RoomView::from(&*room);
    drop(directory);
    app.hub.changed.notify_one();
    Ok(Json(view))
}

/// Closes a room: everybody is put out, its recording is finished, kicks are forgotten.
#[utoipa::path(delete, path = "/v1/rooms/{room}", params(("room" = String, Path)), security(("bearer" = [])), responses(
    (status = 204), (status = 404, body = Problem)))]
pub(crate) async fn remove(
    State(app): State<Arc<App>>,
    caller: Caller,
    InPath(name): InPath<RoomName>,
) -> Result<StatusCode, Problem> {
    caller.operator()?;
    let mut directory = app.hub.directory();
    if !app.hub.close(&mut directory, &name) {
        return Err(not_found(&name));
    }
    directory.lift_bans(&name);
    Ok(StatusCode::NO_CONTENT)
}
