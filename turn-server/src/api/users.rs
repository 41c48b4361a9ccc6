//! `/v1/turn/users`: who uses the relay and how much, and taking credentials back.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use signalling::Code;
use utoipa::{IntoParams, ToSchema};

use super::allocations::{ask, relay};
use super::auth::Caller;
use super::body::{InPath, InQuery};
use super::problem::Problem;
use crate::app::App;
use crate::clock;
use crate::relay::AllocationInfo;

/// The longest life of credentials that may be named: a year.
const MAX_TTL: u64 = 366 * 86_400;

/// Which part of the list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Page {
    /// Users after this id; absent: from the first one on.
    after: Option<String>,
    /// Users at most, 1 to 1000; absent: 100.
    limit: Option<usize>,
}

/// Users that have allocations.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Users {
    /// By id.
    users: Vec<UserView>,
    /// The `after` of the next part; absent: this is the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// A user that has allocations, and what it carried since its first one: allocations that have ended meanwhile count.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct UserView {
    /// A user name, or the id of time-limited names.
    id: String,
    /// Allocations now.
    allocations: usize,
    /// Payload bytes from its clients to peers.
    bytes_to_peers: u64,
    /// Packets from its clients to peers.
    packets_to_peers: u64,
    /// Payload bytes from peers to its clients.
    bytes_to_client: u64,
    /// Packets from peers to its clients.
    packets_to_client: u64,
}

impl UserView {
    fn add(&mut self, usage: &turn::Usage) {
        self.bytes_to_peers += usage.to_peers.bytes;
        self.packets_to_peers += usage.to_peers.packets;
        self.bytes_to_client += usage.to_client.bytes;
        self.packets_to_client += usage.to_client.packets;
    }
}

/// How credentials are taken back.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Back {
    /// The longest life, in seconds, of credentials that were made for this user: ours have `credential_ttl_s`, which it is
    /// if absent. Only an application that mints longer ones by itself needs it.
    ttl_s: Option<u64>,
}

/// What was ended.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Revoked {
    /// Allocations that have ended.
    allocations: usize,
}

/// Who uses the relay now, and how much.
#[utoipa::path(get, path = "/v1/turn/users", params(Page), security(("bearer" = [])), responses(
    (status = 200, body = Users), (status = 404, description = "This server has no relay", body = Problem)))]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    caller: Caller,
    InQuery(page): InQuery<Page>,
) -> Result<Json<Users>, Problem> {
    caller.operator()?;
    let limit = page.limit.unwrap_or(100);
    if !(1..=1000).contains(&limit) {
        return Err(Problem::new(Code::BadRequest, "limit must be 1 to 1000"));
    }
    let relay = relay(&app)?;
    let allocations = ask(move || relay.allocations()).await?;
    let mut users = sums(allocations).into_values().filter(|user| page.after.as_ref().is_none_or(|id| user.id > *id));
    let part: Vec<_> = users.by_ref().take(limit).collect();
    let next = users.next().and(part.last()).map(|last| last.id.clone());
    Ok(Json(Users { users: part, next }))
}

fn sums(allocations: Vec<AllocationInfo>) -> BTreeMap<String, UserView> {
    let mut users = BTreeMap::<String, UserView>::new();
    for AllocationInfo { snapshot, .. } in allocations {
        let user = users.entry(snapshot.quota_key.clone()).or_default();
        if user.allocations == 0 {
            user.id = snapshot.quota_key;
            // The same in all allocations of a user.
            user.add(&snapshot.ended);
        }
        user.allocations += 1;
        user.add(&snapshot.usage);
    }
    users
}

/// Takes back what was minted for a user until now, and ends its allocations. Passwords of long-term users stay: remove
/// those from the configuration.
#[utoipa::path(delete, path = "/v1/turn/users/{id}", params(("id" = String, Path), Back), security(("bearer" = [])),
    responses((status = 200, body = Revoked), (status = 404, description = "This server has no relay", body = Problem)))]
pub(crate) async fn revoke(
    State(app): State<Arc<App>>,
    caller: Caller,
    InPath(id): InPath<String>,
    InQuery(back): InQuery<Back>,
) -> Result<Json<Revoked>, Problem> {
    caller.operator()?;
    let ttl = back.ttl_s.unwrap_or_else(|| app.longest_ttl());
    if !(1..=MAX_TTL).contains(&ttl) {
        return Err(Problem::new(Code::BadRequest, format!("ttl_s must be 1 to {MAX_TTL}")));
    }
    let revoking = relay(&app)?.revoke(&id, ttl, clock::unix_s());
    let allocations = ask(move || revoking.ended()).await?;
    tracing::info!(user = id.as_str(), allocations, "credentials taken back");
    Ok(Json(Revoked { allocations }))
}
