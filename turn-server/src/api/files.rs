//! `GET /v1/recordings/{id}/files/{name}`: from S3 by redirect, with ranges (RFC 9110 section 14) from local disk and from an S3
//! that browsers would not follow a link to.
//!
//! The caller shows a bearer, or a link that [`signed_path`] made.

use std::ops::Range;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{FromRequestParts as _, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Redirect, Response};
use serde::Deserialize;
use service::storage::Error;
use signalling::{Code, RecordingId, RoomName};
use std::time::Duration;
use time::OffsetDateTime;
use tokio_util::io::ReaderStream;
use utoipa::IntoParams;

use super::auth::Caller;
use super::body::{InPath, InQuery};
use super::problem::Problem;
use super::recordings::find;
use crate::app::App;
use crate::clock;
use crate::config::TlsMode;
use crate::recording::{self, safe_name};

/// The two halves of a signed link, and how it is answered.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Asked {
    /// When the link expires, seconds since 1970.
    exp: Option<u64>,
    /// Our signature.
    sig: Option<String>,
    /// Whether a browser saves the file instead of playing it; any value, or none. S3's own links always save.
    download: Option<String>,
}

/// The name under which a browser saves a file: what people call room and participant, and what cannot be mistaken.
pub(super) fn saved_as(room: &RoomName, started_ms: u64, name: &str, participant: &str) -> String {
    let seconds = i64::try_from(started_ms / 1000).unwrap_or(0);
    let day = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH).date();
    let parts = [safe_name(room.as_str()), day.to_string(), safe_name(participant), name.to_owned()];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-")
}

fn path(id: &RecordingId, name: &str) -> String {
    format!("/v1/recordings/{id}/files/{name}")
}

/// The storage's own link to a file, if it has one that browsers follow: on a page of ours that came over HTTPS they neither
/// play nor save what lies behind HTTP. Then the file goes through here.
pub(super) async fn direct_link(app: &App, key: &str, saved_as: &str) -> Result<Option<String>, Error> {
    let config = app.config();
    let storage = &config.storage;
    let public = if storage.public_endpoint.is_empty() { &storage.endpoint } else { &storage.public_endpoint };
    if config.api.tls != TlsMode::Off && public.to_lowercase().starts_with("http://") {
        return Ok(None);
    }
    app.store.presign_get(key, Duration::from_secs(storage.link_ttl_s), saved_as).await
}

/// A link to a file that needs no bearer for a while.
pub(super) fn signed_path(app: &App, id: &RecordingId, name: &str) -> String {
    let path = path(id, name);
    let expires = clock::unix_s() + app.config().storage.link_ttl_s;
    let signature = app.secrets.load().sign_link(&path, expires);
    format!("{path}?exp={expires}&sig={signature}")
}

/// A file of a recording. 206 for a single range, 416 for one outside the file, 307 to the storage if that is S3.
#[utoipa::path(get, path = "/v1/recordings/{id}/files/{name}", params(("id" = String, Path), ("name" = String, Path), Asked),
    security(("bearer" = []), ()), responses(
    (status = 200, description = "The file", content_type = "video/webm"),
    (status = 206, description = "The range", content_type = "video/webm"),
    (status = 307, description = "A presigned link"), (status = 404, body = Problem), (status = 416, body = Problem)))]
pub(crate) async fn download(
    State(app): State<Arc<App>>,
    InPath((id, name)): InPath<(RecordingId, String)>,
    InQuery(asked): InQuery<Asked>,
    request: Request,
) -> Result<Response, Problem> {
    let (mut parts, _) = request.into_parts();
    let caller = match (asked.exp, &asked.sig) {
        (Some(expires), Some(signature)) => {
            check_link(&app, &path(&id, &name), expires, signature)?;
            Caller::Operator
        }
        _ => Caller::from_request_parts(&mut parts, &app).await?,
    };
    let manifest = find(&app, &caller, &id)?;
    let file = manifest.files().find(|file| file.name == name);
    let file =
        file.ok_or_else(|| Problem::new(Code::RecordingNotFound, format!("recording {id} has no file {name}")))?;
    let key = format!("{}/{name}", manifest.folder);
    let saved_as = saved_as(&manifest.room, manifest.started_ms, &name, &file.participant_name);
    if let Some(url) = direct_link(&app, &key, &saved_as).await.map_err(|error| storage_problem(&error))? {
        // The link is good for a while only, so nobody may keep the redirect.
        return Ok(([(header::CACHE_CONTROL, "no-store")], Redirect::temporary(&url)).into_response());
    }
    let kind = if file.container == "webm" { "video/webm" } else { "video/x-matroska" };
    let how = if asked.download.is_some() { "attachment" } else { "inline" };
    serve(&app, &key, kind, &format!("{how}; filename=\"{saved_as}\""), &parts.headers).await
}

fn check_link(app: &App, path: &str, expires: u64, signature: &str) -> Result<(), Problem> {
    if !app.secrets.load().is_link(path, expires, signature) {
        return Err(Problem::new(Code::Forbidden, "the link is not signed by this server"));
    }
    if clock::unix_s() >= expires {
        return Err(Problem::new(Code::TokenExpired, "the link is expired; ask for the recording again"));
    }
    Ok(())
}

pub(super) fn storage_problem(error: &Error) -> Problem {
    match error {
        Error::NotFound(_) => Problem::new(Code::RecordingNotFound, "the file is not in storage"),
        _ => {
            // Guests ask, too: the story names hosts and paths.
            tracing::warn!(%error, "storage does not give a file");
            Problem::new(Code::StorageUnavailable, recording::health_word(error))
        }
    }
}

async fn serve(
    app: &App,
    key: &str,
    kind: &'static str,
    disposition: &str,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let object = app.store.head(key).await.map_err(|error| storage_problem(&error))?;
    let size = object.ok_or_else(|| Problem::new(Code::RecordingNotFound, "the file is not in storage"))?.size;
    let range = headers.get(header::RANGE).and_then(|range| range.to_str().ok());
    let range = match range.map(|text| parse_range(text, size)) {
        None | Some(Wanted::Ignored) => None,
        Some(Wanted::Bytes(range)) => Some(range),
        Some(Wanted::Unsatisfiable) => return Ok(unsatisfiable(size)),
    };
    let download = app.store.read(key, range.clone()).await.map_err(|error| storage_problem(&error))?;
    let length = download.range.end - download.range.start;
    let mut response = Response::new(Body::from_stream(ReaderStream::with_capacity(download.body, 64 * 1024)));
    let value = |text: &str| HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""));
    let out = response.headers_mut();
    out.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    out.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    out.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    out.insert(header::CONTENT_DISPOSITION, value(disposition));
    out.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, max-age=3600"));
    if range.is_some() {
        let last = download.range.end - 1;
        out.insert(header::CONTENT_RANGE, value(&format!("bytes {}-{last}/{size}", download.range.start)));
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    Ok(response)
}

fn unsatisfiable(size: u64) -> Response {
    let problem = Problem::new(Code::BadRequest, format!("the file has {size} bytes"));
    let mut response = problem.with_status(StatusCode::RANGE_NOT_SATISFIABLE).into_response();
    if let Ok(range) = HeaderValue::from_str(&format!("bytes */{size}")) {
        response.headers_mut().insert(header::CONTENT_RANGE, range);
    }
    response
}

#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    /// These.
    Bytes(Range<u64>),
    /// Nothing of the file.
    Unsatisfiable,
    /// Another unit, several ranges or not a range at all: the whole file is a correct answer (RFC 9110 section 14.2).
    Ignored,
}

fn parse_range(text: &str, size: u64) -> Wanted {
    let Some((first, last)) = text.strip_prefix("bytes=").and_then(|range| range.split_once('-')) else {
        return Wanted::Ignored;
    };
    let number = |text: &str| text.trim().parse::<u64>().ok();
    let (start, end) = match (first.trim(), last.trim()) {
        ("", last) => match number(last) {
            // RFC 9110 section 14.1.2: a suffix longer than the file is the whole file.
            Some(suffix) => (if suffix == 0 { size } else { size.saturating_sub(suffix) }, size),
            None => return Wanted::Ignored,
        },
        (first, "") => match number(first) {
            Some(first) => (first, size),
            None => return Wanted::Ignored,
        },
        (first, last) => match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last => (first, size.min(last.saturating_add(1))),
            _ => return Wanted::Ignored,
        },
    };
    if start >= size { Wanted::Unsatisfiable } else { Wanted::Bytes(start..end) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_those_of_rfc_9110() {
        for (text, expected) in [
            ("bytes=0-0", Wanted::Bytes(0..1)),
            ("bytes=0-", Wanted::Bytes(0..100)),
            ("bytes=90-200", Wanted::Bytes(90..100)),
            ("bytes=-10", Wanted::Bytes(90..100)),
            ("bytes=-1000", Wanted::Bytes(0..100)),
            ("bytes=100-", Wanted::Unsatisfiable),
            ("bytes=-0", Wanted::Unsatisfiable),
            ("bytes=5-4", Wanted::Ignored),
            ("bytes=0-1,5-6", Wanted::Ignored),
            ("lines=0-1", Wanted::Ignored),
            ("bytes=-", Wanted::Ignored),
            ("bytes=0-18446744073709551615", Wanted::Bytes(0..100)),
        ] {
            assert_eq!(parse_range(text, 100), expected, "{text}");
        }
    }
}
