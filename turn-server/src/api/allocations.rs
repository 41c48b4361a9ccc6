//! `/v1/allocations`: what the relay carries now.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use signalling::Code;
use utoipa::{IntoParams, ToSchema};

use super::auth::Caller;
use super::body::{InPath, InQuery};
use super::problem::Problem;
use crate::app::App;
use crate::relay::{AllocationInfo, Relay};

/// Which allocations.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Wanted {
    /// Only those that this user pays for: a user name, or the id of time-limited names.
    user: Option<String>,
    /// Allocations after this id; absent: from the first one on.
    after: Option<String>,
    /// Allocations at most, 1 to 10000; absent: 1000.
    limit: Option<usize>,
}

/// Allocations.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Allocations {
    /// By id.
    allocations: Vec<AllocationView>,
    /// The `after` of the next part; absent: this is the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// An allocation.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AllocationView {
    /// Its name.
    id: String,
    /// Who made it.
    username: String,
    /// Who pays for it: the user name, or the id of a time-limited one.
    user: String,
    /// Which secret its credentials were signed with; absent: none of ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
    /// The client's address.
    #[schema(value_type = String)]
    client: SocketAddr,
    /// How the client reaches us: `udp`, `tcp`, `tls`, `dtls`.
    transport: String,
    /// The relayed address, or both of them: IPv4 and IPv6.
    #[schema(value_type = Vec<String>)]
    relayed: Vec<SocketAddr>,
    /// Life left, seconds.
    expires_s: u64,
    /// Peers with a permission.
    permissions: usize,
    /// Bound channels.
    channels: usize,
    /// Payload bytes from the client to peers.
    bytes_to_peers: u64,
    /// Payload bytes from peers to the client.
    bytes_to_client: u64,
    /// Packets among those that were dropped because the client reads too slowly.
    dropped_to_client: u64,
}

impl From<AllocationInfo> for AllocationView {
    fn from(info: AllocationInfo) -> Self {
        let snapshot = info.snapshot;
        Self {
            id: info.name,
            username: snapshot.username,
            user: snapshot.quota_key,
            secret: match snapshot.origin {
                turn::Origin::Secret(id) => Some(id.as_ref().to_owned()),
                turn::Origin::User | turn::Origin::Elsewhere => None,
            },
            client: snapshot.client.client,
            transport: snapshot.client.transport.label().into(),
            relayed: snapshot.relayed,
            expires_s: snapshot.remaining.as_secs(),
            permissions: snapshot.permissions,
            channels: snapshot.channels,
            bytes_to_peers: snapshot.usage.to_peers.bytes,
            bytes_to_client: snapshot.usage.to_client.bytes,
            dropped_to_client: snapshot.unsent,
        }
    }
}

/// The running relay.
pub(super) fn relay(app: &App) -> Result<Arc<Relay>, Problem> {
    let none = || Problem::new(Code::BadRequest, "[relay] is not enabled on this server");
    app.relay.load_full().ok_or_else(|| none().with_status(StatusCode::NOT_FOUND))
}

/// Asks the relay's threads: they answer within milliseconds, but they are waited for.
pub(super) async fn ask<T: Send + 'static>(question: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    let asked = tokio::task::spawn_blocking(question).await;
    asked.map_err(|error| Problem::new(Code::Internal, error.to_string()))
}

/// What the relay carries now.
#[utoipa::path(get, path = "/v1/allocations", params(Wanted), security(("bearer" = [])), responses(
    (status = 200, body = Allocations), (status = 404, description = "This server has no relay", body = Problem)))]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    caller: Caller,
    InQuery(wanted): InQuery<Wanted>,
) -> Result<Json<Allocations>, Problem> {
    caller.operator()?;
    let limit = wanted.limit.unwrap_or(1000);
    if !(1..=10_000).contains(&limit) {
        return Err(Problem::new(Code::BadRequest, "limit must be 1 to 10000"));
    }
    let relay = relay(&app)?;
    let mut all = ask(move || relay.allocations()).await?;
    let is_wanted = |info: &AllocationInfo| {
        let of_user = wanted.user.as_ref().is_none_or(|user| info.snapshot.quota_key == *user);
        of_user && wanted.after.as_ref().is_none_or(|after| info.name > *after)
    };
    all.retain(is_wanted);
    all.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    let more = all.len() > limit;
    all.truncate(limit);
    let next = all.last().filter(|_| more).map(|last| last.name.clone());
    Ok(Json(Allocations { allocations: all.into_iter().map(AllocationView::from).collect(), next }))
}

/// Ends an allocation. Its user may make another one.
#[utoipa::path(delete, path = "/v1/allocations/{id}", params(("id" = String, Path)), security(("bearer" = [])),
    responses((status = 204, description = "It has ended"), (status = 404, body = Problem)))]
pub(crate) async fn end(
    State(app): State<Arc<App>>,
    caller: Caller,
    InPath(id): InPath<String>,
) -> Result<StatusCode, Problem> {
    caller.operator()?;
    let relay = relay(&app)?;
    let name = id.clone();
    if ask(move || relay.end_allocation(&name)).await? {
        tracing::info!(id, "allocation ended by the API");
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(Problem::new(Code::BadRequest, "there is no such allocation").with_status(StatusCode::NOT_FOUND))
    }
}
