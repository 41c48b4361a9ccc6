//! The REST API, the WebSockets' front door and the page: routes, their order of checks and what all answers share.
//!
//! Handlers translate only; what a room or a recording does is decided in `signalling` and `recording`.

mod admin;
mod allocations;
mod auth;
mod body;
mod files;
mod health;
mod info;
mod participants;
mod problem;
mod recording;
mod recordings;
mod rooms;
mod sockets;
mod tokens;
mod turn;
mod users;
mod view;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use tower_http::cors::{Any, CorsLayer};
use tower_http::timeout::RequestBodyTimeoutLayer;
use utoipa::OpenApi;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::metrics::RouteLabel;
pub(crate) use problem::Problem;

/// The largest request body: everything that we accept is a small JSON object.
const MAX_BODY: usize = 64 * 1024;

/// How long a body may pause.
const BODY_WITHIN: Duration = Duration::from_secs(10);

#[derive(OpenApi)]
#[openapi(
    info(title = "Tern", description = "Rooms, recordings and relay credentials. Errors are RFC 9457 problems with our `code`."),
    modifiers(&Bearer)
)]
struct Document;

struct Bearer;

impl utoipa::Modify for Bearer {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("bearer", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
    }
}

/// Everything that is served over HTTP, and the document that describes it.
fn documented() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(rooms::create, rooms::list))
        .routes(routes!(rooms::read, rooms::update, rooms::remove))
        .routes(routes!(tokens::create))
        .routes(routes!(participants::list))
        .routes(routes!(participants::mute, participants::kick))
        .routes(routes!(participants::tracks))
        .routes(routes!(recording::start, recording::read, recording::stop))
        .routes(routes!(recording::pause))
        .routes(routes!(recording::resume))
        .routes(routes!(recordings::list))
        .routes(routes!(recordings::read, recordings::remove))
        .routes(routes!(files::download))
        .routes(routes!(turn::credentials))
        .routes(routes!(users::list))
        .routes(routes!(users::revoke))
        .routes(routes!(allocations::list))
        .routes(routes!(allocations::end))
        .routes(routes!(admin::drain))
        .routes(routes!(admin::reload))
        .routes(routes!(info::info))
        .routes(routes!(sockets::rooms))
        .routes(routes!(sockets::recorders))
        .routes(routes!(health::live))
        .routes(routes!(health::ready))
        .routes(routes!(health::metrics))
}

/// The OpenAPI document.
pub fn openapi() -> utoipa::openapi::OpenApi {
    documented().into_openapi()
}

/// The whole HTTP service.
pub(crate) fn router(app: Arc<App>) -> Router {
    let (router, document) = documented().split_for_parts();
    let document = serde_json::to_string(&document).unwrap_or_default();
    let json = HeaderValue::from_static("application/json");
    router
        .route("/openapi.json", get(move || async move { ([(header::CONTENT_TYPE, json)], document) }))
        .method_not_allowed_fallback(|| async {
            Problem::new(signalling::Code::BadRequest, "this route does not know the method")
                .with_status(StatusCode::METHOD_NOT_ALLOWED)
        })
        .fallback(crate::web::serve)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(RequestBodyTimeoutLayer::new(BODY_WITHIN))
        .layer(cors())
        .layer(middleware::from_fn_with_state(app.clone(), count))
        .layer(middleware::from_fn(secure))
        .with_state(app)
}

/// The API is for pages of other origins too: the bearer, not the origin, says who may.
fn cors() -> CorsLayer {
    CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
        .allow_headers([header::AUTHORIZATION, header::CONTENT_TYPE, header::RANGE])
        .expose_headers([header::CONTENT_RANGE, header::ACCEPT_RANGES, header::ETAG, header::RETRY_AFTER])
}

async fn count(State(app): State<Arc<App>>, path: Option<MatchedPath>, request: Request, next: Next) -> Response {
    let route = path.map_or_else(|| "page".to_owned(), |path| path.as_str().to_owned());
    let method = match *request.method() {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        _ => "other",
    };
    let response = next.run(request).await;
    let label = RouteLabel { method, route, status: response.status().as_u16() };
    app.metrics.http.get_or_create(&label).inc();
    response
}

async fn secure(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await.into_response();
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(HeaderName::from_static("x-frame-options"), HeaderValue::from_static("SAMEORIGIN"));
    response
}
