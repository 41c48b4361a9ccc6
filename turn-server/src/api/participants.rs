//! `/v1/rooms/{room}/participants` and `/tracks`: who is there, with what; mute and kick.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use sfu::{Command, Success};
use signalling::code::Refusal;
use signalling::message::Track;
use signalling::{Code, ParticipantId, RoomName, TrackId};
use tokio::sync::oneshot;
use utoipa::ToSchema;

use super::auth::Caller;
use super::body::{Body, InPath};
use super::problem::Problem;
use super::rooms::not_found;
use super::view::ParticipantView;
use crate::app::App;
use crate::signalling::hub::Waiter;
use crate::signalling::translate;

/// The participants of a room.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Participants {
    /// By age.
    participants: Vec<ParticipantView>,
}

/// The tracks of a room.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Tracks {
    /// By publisher.
    tracks: Vec<Track>,
}

/// Which of a participant's tracks to mute or unmute at the server.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MuteParticipant {
    /// The new state.
    muted: bool,
    /// One track; absent: all of them.
    track: Option<TrackId>,
}

async fn snapshot(app: &App, name: &RoomName) -> Result<Vec<sfu::event::Peer>, Problem> {
    let (room, worker) = {
        let directory = app.hub.directory();
        let room = directory.rooms.get(name).ok_or_else(|| not_found(name))?;
        (room.id, room.worker)
    };
    match app.hub.ask_and_wait(worker, |request| Command::Snapshot { request, room }).await? {
        Success::Snapshot { mut peers, .. } => {
            peers.sort_by_key(|peer| peer.id);
            Ok(peers)
        }
        _ => Err(Code::Internal.into()),
    }
}

/// Everybody in a room. Hidden participants and identities are shown to API keys only.
#[utoipa::path(get, path = "/v1/rooms/{room}/participants", params(("room" = String, Path)), security(("bearer" = [])),
    responses((status = 200, body = Participants), (status = 404, body = Problem)))]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    caller: Caller,
    InPath(name): InPath<RoomName>,
) -> Result<Json<Participants>, Problem> {
    caller.member_of(&name)?;
    let all = caller.operator().is_ok();
    let peers = snapshot(&app, &name).await?;
    let directory = app.hub.directory();
    let view = |peer: &sfu::event::Peer| {
        let identity = directory.sessions.get(&peer.id).and_then(|session| session.who.identity.clone());
        ParticipantView::new(translate::peer_to_wire(peer), peer.hidden, identity.filter(|_| all))
    };
    let participants = peers.iter().filter(|peer| all || !peer.hidden).map(view).collect();
    Ok(Json(Participants { participants }))
}

/// Every published track of a room.
#[utoipa::path(get, path = "/v1/rooms/{room}/tracks", params(("room" = String, Path)), security(("bearer" = [])),
    responses((status = 200, body = Tracks), (status = 404, body = Problem)))]
pub(crate) async fn tracks(
    State(app): State<Arc<App>>,
    caller: Caller,
    InPath(name): InPath<RoomName>,
) -> Result<Json<Tracks>, Problem> {
    caller.member_of(&name)?;
    let peers = snapshot(&app, &name).await?;
    let tracks = peers.iter().flat_map(|peer| &peer.tracks).map(translate::track_to_wire).collect();
    Ok(Json(Tracks { tracks }))
}

/// Mutes or unmutes a participant's tracks at the server: muted, their packets go nowhere, whatever the client does.
#[utoipa::path(patch, path = "/v1/rooms/{room}/participants/{id}", params(("room" = String, Path), ("id" = String, Path)),
    request_body = MuteParticipant, security(("bearer" = [])),
    responses((status = 204), (status = 404, body = Problem)))]
pub(crate) async fn mute(
    State(app): State<Arc<App>>,
    caller: Caller,
    InPath((name, id)): InPath<(RoomName, ParticipantId)>,
    Body(wanted): Body<MuteParticipant>,
) -> Result<StatusCode, Problem> {
    caller.moderator_of(&name)?;
    let participant = translate::participant(&id)?;
    let peers = snapshot(&app, &name).await?;
    let peer = peers.iter().find(|peer| peer.id == participant);
    let peer = peer.ok_or_else(|| Problem::new(Code::PeerNotFound, format!("{id} is not in this room")))?;
    let one = wanted.track.as_ref().map(translate::track).transpose()?;
    let tracks: Vec<_> =
        peer.tracks.iter().map(|track| track.id).filter(|id| one.is_none_or(|one| one == *id)).collect();
    if let Some(one) = one.filter(|_| tracks.is_empty()) {
        return Err(Problem::new(Code::TrackNotFound, format!("{id} publishes no track {one}")));
    }
    let (room, worker) = {
        let directory = app.hub.directory();
        let room = directory.rooms.get(&name).ok_or_else(|| not_found(&name))?;
        (room.id, room.worker)
    };
    let muted = wanted.muted;
    for track in tracks {
        let command = |request| Command::ModerateMute { request, by: None, room, track, muted };
        app.hub.ask_and_wait(worker, command).await?;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Puts a participant out and keeps its identity and tokens out.
#[utoipa::path(delete, path = "/v1/rooms/{room}/participants/{id}",
    params(("room" = String, Path), ("id" = String, Path)), security(("bearer" = [])),
    responses((status = 204), (status = 404, body = Problem)))]
pub(crate) async fn kick(
    State(app): State<Arc<App>>,
    caller: Caller,
    InPath((name, id)): InPath<(RoomName, ParticipantId)>,
) -> Result<StatusCode, Problem> {
    caller.moderator_of(&name)?;
    let (sender, receiver) = oneshot::channel();
    app.hub.kick(&name, translate::participant(&id)?, None, Waiter::Api(sender))?;
    receiver.await.unwrap_or_else(|_| Err(Refusal::from(Code::Timeout)))?;
    Ok(StatusCode::NO_CONTENT)
}
