//! A web server for one file that answers `Range` requests and counts them: what a player costs that reads a recording.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use tokio::net::TcpListener;

/// A running server; it ends with this value.
pub struct RangeServer {
    address: SocketAddr,
    served: Arc<Served>,
    task: tokio::task::JoinHandle<io::Result<()>>,
}

struct Served {
    file: Bytes,
    requests: AtomicUsize,
}

impl RangeServer {
    /// Serves `file` on a free port of 127.0.0.1, beside an empty page for a player.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start(file: Vec<u8>) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let served = Arc::new(Served { file: file.into(), requests: AtomicUsize::new(0) });
        let app = Router::new()
            .route("/recording.webm", get(answer))
            .route("/", get(Html("<!doctype html><link rel=icon href=data:,><title>Player</title>")))
            .with_state(Arc::clone(&served));
        let task = tokio::spawn(async move { axum::serve(listener, app).await });
        Ok(Self { address, served, task })
    }

    /// Where the empty page is.
    pub fn page(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Where the file is.
    pub fn url(&self) -> String {
        format!("http://{}/recording.webm", self.address)
    }

    /// Requests for the file so far.
    pub fn requests(&self) -> usize {
        self.served.requests.load(Ordering::Relaxed)
    }
}

impl Drop for RangeServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(State(served): State<Arc<Served>>, headers: HeaderMap) -> Response {
    served.requests.fetch_add(1, Ordering::Relaxed);
    let len = served.file.len();
    let kind = [(header::CONTENT_TYPE, "video/webm"), (header::ACCEPT_RANGES, "bytes")];
    let Some(range) = headers.get(header::RANGE) else {
        return (kind, Body::from(served.file.clone())).into_response();
    };
    let Some((first, last)) = range.to_str().ok().and_then(|range| parse_range(range, len)) else {
        return StatusCode::RANGE_NOT_SATISFIABLE.into_response();
    };
    let place = [(header::CONTENT_RANGE, format!("bytes {first}-{last}/{len}"))];
    (StatusCode::PARTIAL_CONTENT, kind, place, Body::from(served.file.slice(first..=last))).into_response()
}

/// First and last byte of `bytes=A-B` or `bytes=A-`, the two forms that players send.
fn parse_range(range: &str, len: usize) -> Option<(usize, usize)> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let first = first.parse().ok().filter(|first| *first < len)?;
    let last = if last.is_empty() { len - 1 } else { last.parse::<usize>().ok()?.min(len - 1) };
    (first <= last).then_some((first, last))
}
