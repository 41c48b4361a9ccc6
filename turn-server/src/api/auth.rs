//! Who calls: the holder of an API key, who may everything, or a participant, who may what its grants say in its room.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::header;
use axum::http::request::Parts;
use signalling::RoomName;
use signalling::code::{Code, Refusal};
use signalling::recording::Manifest;
use signalling::token::Claims;

use super::problem::Problem;
use crate::app::App;
use crate::clock;
use crate::signalling::directory::Ban;

/// The caller of a route that needs one.
pub(crate) enum Caller {
    /// With an API key.
    Operator,
    /// With a room token.
    Participant(Box<Claims>),
}

impl Caller {
    /// Lets the operator pass.
    pub(crate) fn operator(&self) -> Result<(), Refusal> {
        match self {
            Self::Operator => Ok(()),
            Self::Participant(_) => Err(Refusal::new(Code::Forbidden, "this needs an API key")),
        }
    }

    /// Lets pass who may see the room.
    pub(crate) fn member_of(&self, room: &RoomName) -> Result<(), Refusal> {
        match self {
            Self::Participant(claims) if claims.room != *room => {
                Err(Refusal::new(Code::Forbidden, "the token is for another room"))
            }
            _ => Ok(()),
        }
    }

    /// Whether this caller may know of a recording.
    pub(crate) fn may_see(&self, recording: &Manifest) -> bool {
        let Self::Participant(claims) = self else { return true };
        let ended_ms = if recording.state.is_live() { None } else { recording.ended_ms.or(Some(recording.started_ms)) };
        let is_earlier = claims.since_ms.is_some_and(|since_ms| ended_ms.is_some_and(|ended_ms| ended_ms < since_ms));
        claims.room == recording.room && !is_earlier
    }

    /// Lets pass who may moderate the room.
    pub(crate) fn moderator_of(&self, room: &RoomName) -> Result<(), Refusal> {
        self.member_of(room)?;
        match self {
            Self::Participant(claims) if !claims.grants.moderate => {
                Err(Refusal::new(Code::Forbidden, "this needs the grant `moderate`"))
            }
            _ => Ok(()),
        }
    }
}

/// The token of an `Authorization: Bearer` header.
pub(crate) fn bearer(parts: &Parts) -> Option<&str> {
    let value = parts.headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

impl FromRequestParts<Arc<App>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let token =
            bearer(parts).ok_or_else(|| Problem::new(Code::Unauthorized, "an Authorization: Bearer is needed"))?;
        authenticate(app, token).map_err(|refusal| {
            let limited = address(parts).and_then(|address| app.limits.load().failure(address).err());
            limited.unwrap_or(refusal).into()
        })
    }
}

fn authenticate(app: &App, token: &str) -> Result<Caller, Refusal> {
    let secrets = app.secrets.load();
    if secrets.is_api_key(token) {
        return Ok(Caller::Operator);
    }
    if token.matches('.').count() != 2 {
        return Err(Refusal::new(Code::Unauthorized, "the bearer is neither an API key nor a room token"));
    }
    let claims = secrets.rooms.verify_any_room(token, clock::unix_s())?;
    if claims.cnf.is_some() {
        let message = "a device-bound token works for joining only; use the `api_token` of its `ok`";
        return Err(Refusal::new(Code::DeviceMismatch, message));
    }
    let now = Instant::now();
    let directory = app.hub.directory();
    let banned = |ban| directory.is_banned(&claims.room, ban, now);
    if banned(Ban::Identity(claims.sub.clone())) || banned(Ban::Token(claims.jti.clone())) {
        return Err(Refusal::new(Code::TokenRevoked, "a moderator put you out of this room"));
    }
    if claims.since_ms.is_some() && !directory.has_api_token(&claims.room, &claims.jti) {
        return Err(Refusal::new(Code::SessionGone, "a guest's token is good while the guest is in the room"));
    }
    drop(directory);
    Ok(Caller::Participant(Box::new(claims)))
}

/// The address at the other end of the connection.
pub(crate) fn address(parts: &Parts) -> Option<IpAddr> {
    parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip().to_canonical())
}
