//! The page: the files of `web/`, inside the program. Nothing from elsewhere is ever loaded.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use rust_embed::RustEmbed;
use signalling::Code;

use crate::api::Problem;

#[derive(RustEmbed)]
#[folder = "../web/"]
struct Files;

/// Scripts, styles, pictures and connections of our own only. Media elements play downloads, which may come from the
/// storage; its address is whatever the operator configured, so any is allowed for those.
const POLICY: &str = "default-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data: blob:; \
     media-src 'self' blob: http: https:; style-src 'self' 'unsafe-inline'; object-src 'none'; base-uri 'none'; \
     form-action 'self'; frame-ancestors 'self'";

/// Answers what no route of the API took.
pub(crate) async fn serve(method: Method, uri: Uri, headers: HeaderMap) -> Response {
    let path = uri.path().trim_start_matches('/');
    let path = if path.is_empty() { "index.html" } else { path };
    let Some(file) = Files::get(path) else {
        let problem = Problem::new(Code::BadRequest, format!("there is nothing at {}", uri.path()));
        return problem.with_status(StatusCode::NOT_FOUND).into_response();
    };
    if method != Method::GET && method != Method::HEAD {
        let problem = Problem::new(Code::BadRequest, "files are only read");
        return problem.with_status(StatusCode::METHOD_NOT_ALLOWED).into_response();
    }
    let tag = format!("\"{}\"", &service::storage::hex(&file.metadata.sha256_hash())[..24]);
    let known = headers.get(header::IF_NONE_MATCH).and_then(|tags| tags.to_str().ok());
    let fresh = known.is_some_and(|tags| tags.split(',').any(|known| known.trim().trim_start_matches("W/") == tag));
    let mut response = if fresh {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        Body::from(file.data.into_owned()).into_response()
    };
    let out = response.headers_mut();
    let value = |text: &str| HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""));
    out.insert(header::CONTENT_TYPE, value(&content_type(file.metadata.mimetype())));
    out.insert(header::ETAG, value(&tag));
    // Asked for again each time, answered with 304: a new version of the program is a new page at once.
    out.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    out.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    response
}

fn content_type(mime: &str) -> String {
    if mime.starts_with("text/") { format!("{mime}; charset=utf-8") } else { mime.to_owned() }
}
