//! `/healthz`, `/readyz`, `/metrics`: for machines that watch this one. They need no bearer and say nothing of users.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::metrics::Threads;
use crate::relay::RelayLoad;

/// Alive.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Live {
    /// Always `ok`: whoever can answer is alive.
    status: &'static str,
}

/// Ready for work, and for how much.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Ready {
    /// `ok`, `degraded` (something optional is missing); with 503 `full` (the relay takes no more), `broken` or `draining`.
    status: &'static str,
    /// The relay.
    relay: RelayReady,
    /// The rooms.
    rooms: RoomsReady,
    /// Recording.
    recording: RecordingReady,
    /// The storage of recordings.
    storage: Role,
}

/// One part of the server.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Role {
    /// Whether it is switched on.
    enabled: bool,
    /// Whether it works.
    ok: bool,
    /// What is wrong, in a word: the log has the story.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
}

/// How full the relay is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RelayReady {
    /// Whether it is switched on.
    enabled: bool,
    /// Whether it works.
    ok: bool,
    /// Allocations now, with ports that are reserved.
    allocations: u32,
    /// Allocations at most; 0: no limit.
    max_allocations: u32,
    /// Relayed ports in use.
    ports_used: u32,
    /// Relayed ports that there are.
    ports: u32,
}

/// Rooms and participants now.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RoomsReady {
    enabled: bool,
    ok: bool,
    rooms: usize,
    participants: usize,
    sockets: i64,
    max_sockets: u32,
}

/// Recorders now.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RecordingReady {
    /// Whether recorders may connect.
    enabled: bool,
    /// Whether a recorder is connected.
    ok: bool,
    /// Connected recorders.
    recorders: usize,
    /// Rooms that they would take now.
    capacity: u32,
}

/// Whether the process runs.
#[utoipa::path(get, path = "/healthz", responses((status = 200, body = Live)))]
pub(crate) async fn live() -> Json<Live> {
    Json(Live { status: "ok" })
}

/// Whether it takes work, and how much.
#[utoipa::path(get, path = "/readyz", responses((status = 200, body = Ready), (status = 503, body = Ready)))]
pub(crate) async fn ready(State(app): State<Arc<App>>) -> (StatusCode, Json<Ready>) {
    let (rooms, participants) = {
        let directory = app.hub.directory();
        (directory.rooms.len(), directory.sessions.len())
    };
    let load = app.relay.load().as_ref().map(|relay| relay.load());
    let full = load.is_some_and(|load| !load.has_room());
    let RelayLoad { allocations, max_allocations, ports_used, ports, draining } = load.unwrap_or_default();
    let (enabled, ok) = (app.config().relay.enabled, load.is_some());
    let relay = RelayReady { enabled, ok, allocations, max_allocations, ports_used, ports };
    let rooms = RoomsReady {
        enabled: app.config().rooms.enabled,
        ok: app.hub.is_connected(),
        rooms,
        participants,
        sockets: app.metrics.sockets.count(),
        max_sockets: app.config().api.max_sockets,
    };
    let (recorders, capacity) = app.recordings.capacity();
    let recording = RecordingReady { enabled: app.may_record(), ok: recorders > 0, recorders, capacity };
    let error = app.recordings.storage_error(&app.store).await;
    let storage = Role { enabled: app.may_record(), ok: error.is_none(), error };
    let broken = (relay.enabled && !relay.ok) || (rooms.enabled && !rooms.ok);
    let degraded = recording.enabled && !(recording.ok && storage.ok);
    let (code, status) = if app.hub.is_draining() || draining {
        (StatusCode::SERVICE_UNAVAILABLE, "draining")
    } else if broken {
        (StatusCode::SERVICE_UNAVAILABLE, "broken")
    } else if full {
        (StatusCode::SERVICE_UNAVAILABLE, "full")
    } else if degraded {
        (StatusCode::OK, "degraded")
    } else {
        (StatusCode::OK, "ok")
    };
    (code, Json(Ready { status, relay, rooms, recording, storage }))
}

/// Numbers for Prometheus.
#[utoipa::path(get, path = "/metrics", responses((status = 200, content_type = "application/openmetrics-text", body = String)))]
pub(crate) async fn metrics(State(app): State<Arc<App>>) -> impl IntoResponse {
    let gauge = |value: usize| i64::try_from(value).unwrap_or(i64::MAX);
    {
        let directory = app.hub.directory();
        app.metrics.rooms.set(gauge(directory.rooms.len()));
        app.metrics.participants.set(gauge(directory.sessions.len()));
    }
    app.metrics.recorders.set(gauge(app.recordings.capacity().0));
    app.metrics.recordings_live.set(gauge(app.recordings.live()));
    let (relay, sfu) = (app.relay.load_full(), app.sfu.load_full());
    // The relay's threads answer within milliseconds, but they are waited for.
    let asked = tokio::task::spawn_blocking(move || Threads {
        relay: relay.map(|relay| relay.stats()),
        media: sfu.map(|sfu| sfu.stats()).unwrap_or_default(),
    });
    let threads = asked.await.unwrap_or(Threads { relay: None, media: Vec::new() });
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], app.metrics.text(threads))
}
