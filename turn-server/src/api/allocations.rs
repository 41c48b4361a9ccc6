//! `/v1/allocations`: what the relay carries now.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use signalling::Code;
use utoipa::ToSchema;

use super::auth::Caller;
use super::problem::Problem;
use crate::app::App;

/// All allocations.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Allocations {
    allocations: Vec<AllocationView>,
}

/// An allocation.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AllocationView {
    /// Its name.
    id: String,
    /// Who made it.
    username: String,
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

/// What the relay carries now.
#[utoipa::path(get, path = "/v1/allocations", security(("bearer" = [])), responses(
    (status = 200, body = Allocations), (status = 404, description = "This server has no relay", body = Problem)))]
pub(crate) async fn list(State(app): State<Arc<App>>, caller: Caller) -> Result<Json<Allocations>, Problem> {
    caller.operator()?;
    let none = || Problem::new(Code::BadRequest, "[relay] is not enabled on this server");
    let none = || none().with_status(axum::http::StatusCode::NOT_FOUND);
    let relay = app.relay.load_full().ok_or_else(none)?;
    // The relay's threads answer within milliseconds, but they are waited for.
    let asked = tokio::task::spawn_blocking(move || relay.allocations()).await;
    let allocations = asked.map_err(|error| Problem::new(Code::Internal, error.to_string()))?;
    let view = |info: crate::relay::AllocationInfo| {
        let snapshot = info.snapshot;
        AllocationView {
            id: info.name,
            username: snapshot.username,
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
    };
    Ok(Json(Allocations { allocations: allocations.into_iter().map(view).collect() }))
}
