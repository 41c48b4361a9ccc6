//! `GET /v1/info`: what a page needs to know before it may ask anything else.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::config::Guests;

/// About this server.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Info {
    /// Version of the program.
    version: &'static str,
    /// As in `hello`.
    features: Vec<String>,
    /// The port of HTTPS, without which browsers give no camera beyond localhost.
    https_port: Option<u16>,
    /// What may be done without a token.
    guests: Guests,
    /// Whether clients should set `iceTransportPolicy: "relay"`.
    relay_only: bool,
}

/// About this server; needs no bearer.
#[utoipa::path(get, path = "/v1/info", responses((status = 200, body = Info)))]
pub(crate) async fn info(State(app): State<Arc<App>>) -> Json<Info> {
    Json(Info {
        version: env!("CARGO_PKG_VERSION"),
        features: app.features(),
        https_port: app.https_port.get().copied(),
        guests: app.config().rooms.guests,
        relay_only: app.config().rooms.relay_only,
    })
}
