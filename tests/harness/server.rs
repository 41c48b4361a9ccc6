//! A turn-server inside the test's process: free ports, a folder of its own, known secrets.

use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::Value;
use sha2::Sha256;
use turn_server::config::{Config, Guests};
use turn_server::{Running, start};

/// The API key of every test server.
pub const API_KEY: &str = "test-api-key";

/// The recorder key of every test server.
pub const RECORDER_KEY: &str = "test-recorder-key";

/// The signing key of room tokens, as configured.
pub const TOKEN_KEY: &str = "test:a-secret-that-signs-room-tokens";

/// A running server and its folder, both gone when dropped.
pub struct Server {
    /// The server.
    pub running: Running,
    /// The folder that it keeps its things in.
    pub folder: tempfile::TempDir,
    client: reqwest::Client,
}

/// An answer of the API.
#[derive(Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// `Content-Type`.
    pub kind: String,
    /// The JSON body; null if there is none.
    pub body: Value,
}

impl Answer {
    /// The `code` of a problem.
    pub fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }
}

/// The configuration of a test server: loopback, port 0 everywhere, guests may join.
pub fn config(folder: &std::path::Path) -> Config {
    let mut config = Config::default();
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    config.api.listen = any;
    config.api.tls_listen = any;
    config.api.keys = vec![API_KEY.into()];
    config.api.state_dir = folder.join("state");
    config.relay.listen = vec![any];
    config.relay.relay_addresses = vec![any.ip()];
    config.relay.workers = 2;
    config.rooms.listen = any;
    config.rooms.guests = Guests::Join;
    config.rooms.token_keys = vec![TOKEN_KEY.into()];
    config.rooms.joins_per_second = 1000;
    config.recording.keys = vec![RECORDER_KEY.into()];
    config.storage.path = folder.join("recordings");
    config
}

/// Signs claims with [`TOKEN_KEY`], as an application's own code would.
pub fn sign(claims: &Value) -> String {
    let (kid, secret) = TOKEN_KEY.split_once(':').expect("kid:secret");
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let head = part(&serde_json::json!({ "alg": "HS256", "typ": "JWT", "kid": kid }));
    let text = format!("{head}.{}", part(claims));
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("a key of any length");
    mac.update(text.as_bytes());
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
}

impl Server {
    /// Starts one with [`config`].
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// Starts one with [`config`] as `edit` changed it.
    pub async fn start_with(edit: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        Self::start_in(folder, edit).await
    }

    /// Starts one in a folder that may hold the things of an earlier one.
    pub async fn start_in(folder: tempfile::TempDir, edit: impl FnOnce(&mut Config)) -> Self {
        let mut config = config(folder.path());
        edit(&mut config);
        let running = start(config).await.expect("the server starts");
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().expect("a client");
        Self { running, folder, client }
    }

    /// Where HTTP is served.
    pub fn http(&self) -> SocketAddr {
        self.running.addresses().http.expect("HTTP is served")
    }

    /// An URL of this server.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.http())
    }

    /// A request, to be completed and sent.
    pub fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let method = reqwest::Method::from_bytes(method.as_bytes()).expect("a method");
        self.client.request(method, self.url(path))
    }

    /// Asks the API with a bearer (none if it is empty).
    pub async fn ask_as(&self, bearer: &str, method: &str, path: &str, body: Option<Value>) -> Answer {
        let mut request = self.request(method, path);
        if !bearer.is_empty() {
            request = request.bearer_auth(bearer);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.expect("an answer");
        let status = response.status().as_u16();
        let kind =
            response.headers().get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or_default().into();
        let text = response.text().await.expect("a body");
        Answer { status, kind, body: serde_json::from_str(&text).unwrap_or(Value::Null) }
    }

    /// Asks the API with the API key.
    pub async fn ask(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        self.ask_as(API_KEY, method, path, body).await
    }

    /// A token for a room; `body` as in `POST /v1/rooms/{room}/tokens`.
    pub async fn token(&self, room: &str, body: Value) -> String {
        let answer = self.ask("POST", &format!("/v1/rooms/{room}/tokens"), Some(body)).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.body["token"].as_str().expect("a token").to_owned()
    }
}
