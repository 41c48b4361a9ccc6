//! `/v1/admin`: what signals do to the process, for those who cannot send any.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use signalling::Code;
use utoipa::ToSchema;

use super::auth::Caller;
use super::body::Body;
use super::problem::Problem;
use crate::app::App;
use crate::orders::{self, Order};

/// Longest drain: a week.
const MAX_DEADLINE_S: u64 = 7 * 86_400;

/// How to drain.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Drain {
    /// When to stop in any case, seconds from now; absent: an hour.
    deadline_s: Option<u64>,
}

/// What is still there.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Draining {
    /// When the process stops in any case.
    deadline_s: u64,
    /// Live allocations.
    allocations: u32,
    /// Participants.
    participants: usize,
}

/// Takes no new joins and allocations from now on; what is there stays until it ends, or until the deadline. Then the
/// process stops as SIGTERM stops it.
#[utoipa::path(post, path = "/v1/admin/drain", request_body = Drain, security(("bearer" = [])),
    responses((status = 202, body = Draining), (status = 400, body = Problem)))]
pub(crate) async fn drain(
    State(app): State<Arc<App>>,
    caller: Caller,
    Body(drain): Body<Drain>,
) -> Result<(StatusCode, Json<Draining>), Problem> {
    caller.operator()?;
    let deadline_s = drain.deadline_s.unwrap_or(3600);
    if deadline_s > MAX_DEADLINE_S {
        return Err(Problem::new(Code::BadRequest, format!("deadline_s may be {MAX_DEADLINE_S} at most")));
    }
    orders::drain(&app, Duration::from_secs(deadline_s));
    let (allocations, participants) = orders::load(&app);
    Ok((StatusCode::ACCEPTED, Json(Draining { deadline_s, allocations, participants })))
}

/// What a reload did not do.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Reloaded {
    /// Keys (`relay.listen`) that differ and wait for the next start.
    next_start: Vec<String>,
}

/// Reads the configuration again, as SIGHUP does. One that is refused changes nothing.
#[utoipa::path(post, path = "/v1/admin/reload", security(("bearer" = [])), responses(
    (status = 200, body = Reloaded, description = "It is in force"), (status = 400, description = "It is refused", body = Problem),
    (status = 501, description = "Whoever embeds this server does not reload", body = Problem)))]
pub(crate) async fn reload(State(app): State<Arc<App>>, caller: Caller) -> Result<Json<Reloaded>, Problem> {
    caller.operator()?;
    let (reply, outcome) = tokio::sync::oneshot::channel();
    let given = app.orders.give(Order::Reload(reply));
    match (given, outcome.await) {
        (true, Ok(Ok(next_start))) => Ok(Json(Reloaded { next_start })),
        (true, Ok(Err(why))) => Err(Problem::new(Code::BadRequest, why)),
        _ => Err(Problem::new(Code::BadRequest, "nobody reloads the configuration of this server")
            .with_status(StatusCode::NOT_IMPLEMENTED)),
    }
}
