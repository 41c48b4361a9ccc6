//! `POST /v1/rooms/{room}/tokens`: what an application's server asks for before it sends a user to a room.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use signalling::token::{Claims, Confirmation, Grants};
use signalling::{Code, RoomName};
use utoipa::ToSchema;

use super::auth::Caller;
use super::body::{Body, InPath};
use super::problem::Problem;
use crate::app::App;
use crate::clock;

/// The longest life of a token: a week.
const MAX_TTL_S: u64 = 7 * 24 * 3600;

/// The longest identity, in bytes.
const MAX_IDENTITY: usize = 256;

/// A token to sign.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateToken {
    /// Who the holder is to the application; not shown to others.
    identity: String,
    /// The name to show.
    name: Option<String>,
    /// How long it may be used to join, in seconds.
    #[serde(default = "one_hour")]
    ttl_s: u64,
    /// What it allows; absent: everything but moderating.
    #[serde(default)]
    grants: Grants,
    /// RFC 7638 thumbprint of the device's key, to bind the token to it.
    device: Option<String>,
}

fn one_hour() -> u64 {
    3600
}

/// A signed token.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Token {
    /// For the `token` of `join`.
    token: String,
    /// Its id: a kick revokes it.
    id: String,
    /// When it expires, seconds since 1970.
    expires: u64,
}

/// Signs a room token.
#[utoipa::path(post, path = "/v1/rooms/{room}/tokens", params(("room" = String, Path)), request_body = CreateToken,
    security(("bearer" = [])), responses((status = 201, body = Token), (status = 400, body = Problem)))]
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    caller: Caller,
    InPath(room): InPath<RoomName>,
    Body(wanted): Body<CreateToken>,
) -> Result<(StatusCode, Json<Token>), Problem> {
    caller.operator()?;
    let bad = |why: String| Problem::new(Code::BadRequest, why);
    if wanted.identity.is_empty() || wanted.identity.len() > MAX_IDENTITY {
        return Err(bad(format!("identity must have 1 to {MAX_IDENTITY} bytes")));
    }
    if !(1..=MAX_TTL_S).contains(&wanted.ttl_s) {
        return Err(bad(format!("ttl_s must be 1 to {MAX_TTL_S}")));
    }
    let claims = Claims {
        sub: wanted.identity,
        name: wanted.name,
        room,
        exp: clock::unix_s() + wanted.ttl_s,
        nbf: None,
        jti: crate::secrets::random(),
        grants: wanted.grants,
        cnf: wanted.device.map(|jkt| Confirmation { jkt }),
        api: false,
        since_ms: None,
    };
    let token = app.secrets.load().rooms.sign(&claims)?;
    Ok((StatusCode::CREATED, Json(Token { token, id: claims.jti, expires: claims.exp })))
}
