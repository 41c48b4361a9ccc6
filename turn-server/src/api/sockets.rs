//! The two WebSocket routes. What is refused before the upgrade is a problem over HTTP.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{ConnectInfo, FromRequestParts, State};
use axum::http::header;
use axum::http::request::Parts;
use axum::response::Response;
use signalling::message::MAX_FRAME;
use signalling::{Code, RoomName};

use super::auth;
use super::body::InPath;
use super::problem::Problem;
use crate::app::App;
use crate::recording::link;
use crate::signalling::{ice, socket};

/// Bytes of a recorder's message, at most.
const MAX_REPORT: usize = 64 << 20;

/// A WebSocket handshake, or our problem.
pub(crate) struct Upgrade(WebSocketUpgrade);

impl FromRequestParts<Arc<App>> for Upgrade {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let upgrade: Result<_, WebSocketUpgradeRejection> = WebSocketUpgrade::from_request_parts(parts, app).await;
        let upgrade = upgrade.map_err(|rejection| {
            let problem =
                Problem::new(Code::BadRequest, format!("a WebSocket is spoken here: {}", rejection.body_text()));
            problem.with_status(axum::http::StatusCode::UPGRADE_REQUIRED)
        })?;
        Ok(Self(upgrade.max_message_size(MAX_FRAME).max_frame_size(MAX_FRAME)))
    }
}

/// The host under which the client reached us, without port: HTTP/1 says it in a header, HTTP/2 in the URI.
pub(crate) struct ReachedAt(pub(crate) String);

impl FromRequestParts<Arc<App>> for ReachedAt {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<App>) -> Result<Self, Self::Rejection> {
        let header = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let host = header.or_else(|| parts.uri.authority().map(axum::http::uri::Authority::as_str));
        Ok(Self(ice::host_of(host.unwrap_or("localhost")).to_owned()))
    }
}

/// rooms/1: see docs/signalling.md. The token travels in `join`, never in the URL.
#[utoipa::path(get, path = "/v1/rooms/{room}/ws", params(("room" = String, Path)), responses(
    (status = 101, description = "rooms/1 from here on"), (status = 426, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn rooms(
    State(app): State<Arc<App>>,
    InPath(room): InPath<RoomName>,
    ConnectInfo(address): ConnectInfo<SocketAddr>,
    ReachedAt(host): ReachedAt,
    Upgrade(upgrade): Upgrade,
) -> Result<Response, Problem> {
    if app.metrics.sockets.count() >= i64::from(app.config().api.max_sockets) {
        let mut busy = signalling::code::Refusal::new(Code::RateLimited, "the server has its limit of sockets");
        busy.retry_ms = 5000;
        return Err(Problem::from(busy).with_status(axum::http::StatusCode::SERVICE_UNAVAILABLE));
    }
    Ok(upgrade.on_upgrade(move |ws| socket::serve(app, ws, room, address.ip().to_canonical(), host)))
}

/// A recorder's key.
pub(crate) struct RecorderKey;

impl FromRequestParts<Arc<App>> for RecorderKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let known = auth::bearer(parts).is_some_and(|key| app.secrets.load().is_recorder_key(key));
        if known {
            return Ok(Self);
        }
        if let Some(address) = auth::address(parts) {
            app.limits.load().failure(address)?;
        }
        Err(Problem::new(Code::Unauthorized, "a recorder's key is needed ([recording] keys)"))
    }
}

/// The recorder link: recorders connect here and take jobs.
#[utoipa::path(get, path = "/v1/recorders/ws", security(("bearer" = [])), responses(
    (status = 101, description = "The link from here on"), (status = 401, body = Problem)))]
pub(crate) async fn recorders(
    State(app): State<Arc<App>>,
    _: RecorderKey,
    Upgrade(upgrade): Upgrade,
) -> Result<Response, Problem> {
    // It has a key, and what it says of a long recording with many files is long.
    let upgrade = upgrade.max_message_size(MAX_REPORT).max_frame_size(MAX_REPORT);
    Ok(upgrade.on_upgrade(move |ws| link::serve(app, ws)))
}
