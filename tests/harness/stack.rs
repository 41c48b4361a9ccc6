//! The product, running in the test process on free ports of loopback: turn-server with relay, rooms, API and page; on
//! request a recorder, and a real S3 server for its recordings.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;
use turn_server::config::{Config, Guests, RoomMode};

use crate::s3::S3Server;

/// A key of the REST API, that may do everything.
pub const API_KEY: &str = "key of the tests";
const RECORDER_KEY: &str = "key of the recorder";
const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// A running product. Everything ends with it.
pub struct Stack {
    recorder: Option<recorder::Running>,
    server: turn_server::Running,
    s3: S3Server,
    folder: TempDir,
}

impl Stack {
    /// Starts turn-server.
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// Starts turn-server with a changed configuration.
    pub async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let folder = TempDir::with_prefix("tern-stack-").expect("a folder");
        let s3 = S3Server::start(&folder.path().join("s3")).await.expect("s3s-fs starts");
        let mut config = config(folder.path().join("server"));
        config.storage = s3.config("test");
        change(&mut config);
        let server = turn_server::start(config).await.expect("turn-server starts");
        Self { recorder: None, server, s3, folder }
    }

    /// Starts turn-server and a recorder, and waits until the server knows the recorder.
    pub async fn start_recording() -> Self {
        let mut stack = Self::start().await;
        let mut config = recorder::Config::default();
        config.server.url = stack.origin();
        config.server.key = RECORDER_KEY.into();
        config.recorder.spool = stack.folder.path().join("spool");
        config.recorder.listen = LOOPBACK;
        config.storage = stack.s3.config("test");
        stack.recorder = Some(recorder::start(config).await.expect("the recorder starts"));
        stack.metric_reaches("tern_recorders", 1.0).await;
        stack
    }

    /// The page's origin, without a slash at its end.
    pub fn origin(&self) -> String {
        format!("http://{}", self.server.addresses().http.expect("the API listens"))
    }

    /// Makes a room by the API.
    pub async fn create_room(&self, body: &str) {
        let response = self.api(reqwest::Method::POST, "/v1/rooms", body).await;
        assert!(response.status().is_success(), "{}", response.text().await.unwrap_or_default());
    }

    /// Asks the API with the key.
    pub async fn api(&self, method: reqwest::Method, path: &str, body: &str) -> reqwest::Response {
        let request = reqwest::Client::new().request(method, format!("{}{path}", self.origin())).bearer_auth(API_KEY);
        let request = request.header("content-type", "application/json").body(body.to_owned());
        request.send().await.expect("the API answers")
    }

    /// The sum of a metric over its labels; 0 if there is none of that name.
    pub async fn metric(&self, name: &str) -> f64 {
        let url = format!("{}/metrics", self.origin());
        let text = reqwest::get(url).await.expect("metrics").text().await.expect("text");
        let of_name = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{']));
        text.lines().filter(of_name).filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
    }

    /// Waits until a metric has at least this value.
    pub async fn metric_reaches(&self, name: &str, value: f64) {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        let mut tick = tokio::time::interval(Duration::from_millis(20));
        while self.metric(name).await < value {
            assert!(tokio::time::Instant::now() < deadline, "{name} stays below {value}");
            tick.tick().await;
        }
    }
}

/// What all tests run with: everything on loopback and on free ports, guests that may do anything.
fn config(state_dir: PathBuf) -> Config {
    let mut config = Config::default();
    config.api.listen = LOOPBACK;
    config.api.keys = vec![API_KEY.into()];
    config.api.state_dir = state_dir;
    config.relay.listen = vec![LOOPBACK];
    config.relay.relay_addresses = vec![LOOPBACK.ip()];
    config.relay.secrets = vec!["secret of the tests".into()];
    config.rooms.listen = LOOPBACK;
    config.rooms.guests = Guests::Moderate;
    config.rooms.mode = RoomMode::Sfu;
    config.rooms.token_keys = vec!["test:signs the tokens of the tests".into()];
    config.recording.keys = vec![RECORDER_KEY.into()];
    config
}
