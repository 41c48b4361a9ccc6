//! `GET /v1/turn`: relay credentials for applications with their own signalling (draft-uberti-behave-turn-rest-00).

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use signalling::Code;
use utoipa::{IntoParams, ToSchema};

use super::auth::Caller;
use super::body::InQuery;
use super::problem::Problem;
use super::sockets::ReachedAt;
use crate::app::App;

/// The longest user name, in bytes: it becomes a STUN attribute together with the expiry.
const MAX_USER: usize = 256;

/// For whom.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Wanted {
    /// Must be `turn` if it is there.
    service: Option<String>,
    /// Who it is for; absent with a room token: its subject.
    username: Option<String>,
}

/// Credentials and where they work.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Credentials {
    /// Expiry and user.
    username: String,
    /// Password.
    password: String,
    /// Life in seconds.
    ttl: u64,
    /// TURN URLs, best first.
    uris: Vec<String>,
}

/// Relay credentials that work for a while.
#[utoipa::path(get, path = "/v1/turn", params(Wanted), security(("bearer" = [])), responses(
    (status = 200, body = Credentials), (status = 404, description = "This server has no relay", body = Problem)))]
pub(crate) async fn credentials(
    State(app): State<Arc<App>>,
    caller: Caller,
    ReachedAt(host): ReachedAt,
    InQuery(wanted): InQuery<Wanted>,
) -> Result<Json<Credentials>, Problem> {
    if wanted.service.as_deref().is_some_and(|service| service != "turn") {
        return Err(Problem::new(Code::BadRequest, "service must be turn"));
    }
    let user = match (&caller, wanted.username) {
        // A participant cannot spend another user's quota.
        (Caller::Participant(claims), _) => claims.sub.clone(),
        (Caller::Operator, user) => user.unwrap_or_else(|| "api".into()),
    };
    if user.len() > MAX_USER {
        return Err(Problem::new(Code::BadRequest, format!("username may have {MAX_USER} bytes")));
    }
    let none = || {
        Problem::new(Code::BadRequest, "[relay] is not enabled on this server")
            .with_status(axum::http::StatusCode::NOT_FOUND)
    };
    let urls = app.relay_urls.load_full().ok_or_else(none)?;
    let (credentials, ttl) = app.credentials(&user).ok_or_else(none)?;
    let uris = urls.turn(&host);
    Ok(Json(Credentials { username: credentials.username, password: credentials.password, ttl, uris }))
}
