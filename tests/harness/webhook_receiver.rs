//! A service that takes webhooks, as an operator would write it: checks each signature by the recipe of Standard Webhooks and
//! answers what the test wants.
// A helper of tests fails the test that calls it.
#![allow(clippy::panic)]

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::Value;
use sha2::Sha256;
use tokio::sync::mpsc;

/// What it shares with the server.
pub const SECRET: &str = "whsec_c2VjcmV0IG9mIHRoZSB0ZXN0cywgbG9uZyBlbm91Z2g=";

/// How long a webhook may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A webhook whose signature was right.
#[derive(Debug, Clone)]
pub struct Received {
    /// Its id.
    pub id: String,
    /// Its body.
    pub body: Value,
}

impl Received {
    /// What happened.
    pub fn kind(&self) -> &str {
        self.body["type"].as_str().unwrap_or_default()
    }
}

struct Desk {
    answers: Mutex<VecDeque<u16>>,
    told: mpsc::UnboundedSender<Result<Received, String>>,
}

/// The running service.
pub struct Receiver {
    address: SocketAddr,
    desk: Arc<Desk>,
    heard: mpsc::UnboundedReceiver<Result<Received, String>>,
    task: tokio::task::JoinHandle<()>,
}

impl Receiver {
    /// Starts it; it takes everything.
    pub async fn start() -> Self {
        let (told, heard) = mpsc::unbounded_channel();
        let desk = Arc::new(Desk { answers: Mutex::default(), told });
        let router = axum::Router::new().fallback(take).with_state(desk.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let task = tokio::spawn(async move { axum::serve(listener, router).await.expect("it serves") });
        Self { address, desk, heard, task }
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("http://{}/hook?of=tests", self.address)
    }

    /// What it answers next; after these, 200.
    pub fn answer(&self, statuses: &[u16]) {
        self.desk.answers.lock().unwrap_or_else(PoisonError::into_inner).extend(statuses);
    }

    /// The next webhook, whatever it was answered.
    pub async fn next(&mut self) -> Received {
        let next = tokio::time::timeout(PATIENCE, self.heard.recv()).await.expect("a webhook in time");
        next.expect("it runs").unwrap_or_else(|wrong| panic!("{wrong}"))
    }

    /// Whether nothing is there to be read.
    pub fn is_quiet(&mut self) -> bool {
        self.heard.try_recv().is_err()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn take(State(desk): State<Arc<Desk>>, headers: HeaderMap, body: Bytes) -> Response {
    let _ = desk.told.send(check(&headers, &body));
    let status = desk.answers.lock().unwrap_or_else(PoisonError::into_inner).pop_front().unwrap_or(200);
    let status = StatusCode::from_u16(status).expect("a status");
    // Where a redirect would lead: here, to be noticed.
    if status.is_redirection() {
        (status, [(header::LOCATION, "/elsewhere")]).into_response()
    } else {
        status.into_response()
    }
}

/// The recipe: <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>.
fn check(headers: &HeaderMap, body: &[u8]) -> Result<Received, String> {
    let header = |name: &str| {
        let value = headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        value.ok_or_else(|| format!("no {name}: {headers:?}"))
    };
    let (id, timestamp, signatures) =
        (header("webhook-id")?, header("webhook-timestamp")?, header("webhook-signature")?);
    let sent: u64 = timestamp.parse().map_err(|_| format!("webhook-timestamp {timestamp}"))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs());
    if now.abs_diff(sent) > 300 {
        return Err(format!("sent at {sent}, now it is {now}"));
    }
    let key = STANDARD.decode(SECRET.trim_start_matches("whsec_")).expect("base64");
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("a key of any length");
    mac.update(format!("{id}.{timestamp}.").as_bytes());
    mac.update(body);
    let expected = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
    if !signatures.split(' ').any(|signature| signature == expected) {
        return Err(format!("{signatures} is not {expected}"));
    }
    let body = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    Ok(Received { id, body })
}
