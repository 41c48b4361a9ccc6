//! A turn-server in this process, storage beside it, and its API as the tests of recordings use it.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use service::storage::{StorageConfig, StorageKind, Store};
use signalling::recording::Manifest;
use tempfile::TempDir;

use crate::fault_proxy::FaultProxy;
use crate::garage::Garage;
use crate::s3::S3Server;

const API_KEY: &str = "an api key of the tests";
const RECORDER_KEY: &str = "a recorder key of the tests";
/// How long a recording may take to become what it should.
const PATIENCE: Duration = Duration::from_secs(40);
const POLL: Duration = Duration::from_millis(20);

/// Where recordings go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Storage {
    Disk,
    S3,
    /// S3 by a server of its own, which `scripts/install-garage.sh` builds: for long tests.
    Garage,
}

/// An S3 server that goes and comes back.
enum Bucket {
    S3s { folder: PathBuf, address: SocketAddr, server: Option<S3Server> },
    Garage(Garage),
}

impl Bucket {
    fn address(&self) -> SocketAddr {
        match self {
            Self::S3s { address, .. } => *address,
            Self::Garage(garage) => garage.address(),
        }
    }

    fn stop(&mut self) {
        match self {
            Self::S3s { server, .. } => *server = None,
            Self::Garage(garage) => garage.kill(),
        }
    }

    async fn start(&mut self) -> io::Result<()> {
        match self {
            Self::S3s { folder, address, server } => {
                // The old listener closes when its task has ended, a moment after it was told to.
                let deadline = Instant::now() + PATIENCE;
                *server = Some(loop {
                    match S3Server::start_at(folder, *address).await {
                        Ok(started) => break started,
                        Err(error) if Instant::now() > deadline => return Err(error),
                        Err(_) => tokio::time::sleep(POLL).await,
                    }
                });
                Ok(())
            }
            Self::Garage(garage) => garage.run().await,
        }
    }
}

/// The server and its storage.
pub struct Stand {
    folder: TempDir,
    storage: StorageConfig,
    bucket: Option<Bucket>,
    proxy: Option<FaultProxy>,
    server: turn_server::Running,
    http: reqwest::Client,
    address: SocketAddr,
}

impl Stand {
    /// Starts everything but a recorder.
    ///
    /// # Errors
    /// What did not start.
    pub async fn start(storage: Storage) -> io::Result<Self> {
        Self::start_with(storage, |_| {}).await
    }

    /// The same with a changed configuration of the server.
    ///
    /// # Errors
    /// What did not start.
    pub async fn start_with(
        storage: Storage,
        change: impl FnOnce(&mut turn_server::config::Config),
    ) -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("s3");
        let (bucket, storage) = match storage {
            Storage::Disk => {
                let path = folder.path().join("recordings");
                (None, StorageConfig { kind: StorageKind::Disk, path, ..StorageConfig::default() })
            }
            Storage::S3 => {
                let server = S3Server::start(&path).await?;
                let (address, config) = (server.address(), server.config("tests"));
                (Some(Bucket::S3s { folder: path, address, server: Some(server) }), config)
            }
            Storage::Garage => {
                let garage = Garage::start(&path).await?;
                let config = garage.config("tests");
                (Some(Bucket::Garage(garage)), config)
            }
        };
        let mut config = turn_server::config::Config { storage: storage.clone(), ..Default::default() };
        config.api.listen = SocketAddr::from(([127, 0, 0, 1], 0));
        config.api.keys = vec![API_KEY.into()];
        config.api.state_dir = folder.path().join("state");
        config.relay.enabled = false;
        config.rooms.listen = SocketAddr::from(([127, 0, 0, 1], 0));
        config.rooms.guests = turn_server::config::Guests::Join;
        config.rooms.token_keys = vec!["test:a token key of the tests, long enough".into()];
        config.recording.keys = vec![RECORDER_KEY.into()];
        change(&mut config);
        let server = turn_server::start(config).await.map_err(io::Error::other)?;
        let address = server.addresses().http.ok_or_else(|| io::Error::other("no HTTP listener"))?;
        let proxy = match &bucket {
            Some(bucket) => Some(FaultProxy::start(bucket.address()).await?),
            None => None,
        };
        Ok(Self { folder, storage, bucket, proxy, server, http: reqwest::Client::new(), address })
    }

    /// Where HTTP and rooms are.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where media of rooms comes from.
    ///
    /// # Panics
    /// Never: rooms are enabled here.
    pub fn media(&self) -> SocketAddr {
        *self.server.addresses().media.first().expect("rooms are enabled")
    }

    /// The spool of the recorder with this name.
    pub fn spool(&self, name: &str) -> PathBuf {
        self.folder.path().join("spool").join(name)
    }

    /// What stands between recorders and S3; the server has a way of its own.
    ///
    /// # Panics
    /// Without S3.
    pub fn proxy(&mut self) -> &mut FaultProxy {
        self.proxy.as_mut().expect("this stand has S3")
    }

    /// The storage, without anything between.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn store(&self) -> io::Result<Store> {
        Store::open(&self.storage).map_err(io::Error::other)
    }

    /// The configuration of a recorder that works for this server.
    pub fn recorder_config(&self, name: &str) -> recorder::Config {
        let mut config = recorder::Config { storage: self.storage.clone(), ..Default::default() };
        config.server.url = format!("http://{}", self.address);
        config.server.key = RECORDER_KEY.into();
        config.recorder.spool = self.spool(name);
        config.recorder.listen = SocketAddr::from(([127, 0, 0, 1], 0));
        // The disk that the tests run on is not theirs to judge.
        config.recorder.min_free_mb = 16;
        // Neither is how much of it the tests use at once.
        config.recorder.capacity = 1000;
        if let Some(proxy) = &self.proxy {
            config.storage.endpoint = format!("http://{}", proxy.address());
            config.storage.request_timeout_s = 5;
        }
        config
    }

    /// The same as a file, for the binary.
    ///
    /// # Errors
    /// What the disk says.
    pub fn recorder_file(&self, name: &str) -> io::Result<PathBuf> {
        self.recorder_file_with(name, |_| {})
    }

    /// The same, changed.
    ///
    /// # Errors
    /// What the disk says.
    pub fn recorder_file_with(&self, name: &str, change: impl FnOnce(&mut recorder::Config)) -> io::Result<PathBuf> {
        let path = self.folder.path().join(format!("{name}.toml"));
        let mut config = self.recorder_config(name);
        change(&mut config);
        let text = toml::to_string(&config).map_err(io::Error::other)?;
        std::fs::write(&path, text)?;
        Ok(path)
    }

    /// Takes the S3 server away.
    pub fn stop_s3(&mut self) {
        if let Some(bucket) = &mut self.bucket {
            bucket.stop();
        }
    }

    /// Brings it back.
    ///
    /// # Errors
    /// What did not start.
    pub async fn start_s3(&mut self) -> io::Result<()> {
        let bucket = self.bucket.as_mut().ok_or_else(|| io::Error::other("this stand has no S3"))?;
        bucket.start().await
    }

    async fn call(&self, method: reqwest::Method, path: &str, body: Option<Value>) -> io::Result<(u16, Value)> {
        let request = self.http.request(method, format!("http://{}{path}", self.address)).bearer_auth(API_KEY);
        let request = match body {
            Some(body) => request.json(&body),
            None => request,
        };
        let response = request.send().await.map_err(io::Error::other)?;
        let status = response.status().as_u16();
        let text = response.text().await.map_err(io::Error::other)?;
        Ok((status, serde_json::from_str(&text).unwrap_or(Value::String(text))))
    }

    /// Waits until what `/readyz` says of recorders, `recorders` and `capacity`, is right.
    ///
    /// # Errors
    /// If it never is.
    pub async fn wait_for_recorders(&self, is_right: impl Fn(&Value) -> bool) -> io::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (_, ready) = self.call(reqwest::Method::GET, "/readyz", None).await?;
            if is_right(&ready["recording"]) {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(io::Error::other(format!("never right: {ready}")));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Asks once for a recording; the status and the answer.
    ///
    /// # Errors
    /// If there is no answer.
    pub async fn ask_to_record(&self, room: &str, body: &Value) -> io::Result<(u16, Value)> {
        self.call(reqwest::Method::POST, &format!("/v1/rooms/{room}/recording"), Some(body.clone())).await
    }

    /// Switches recording on, once a recorder is there; returns the recording's id.
    ///
    /// # Errors
    /// What the API says in the end.
    pub async fn record(&self, room: &str) -> io::Result<String> {
        self.record_with(room, json!({})).await
    }

    /// The same with options, as in the request's body.
    ///
    /// # Errors
    /// What the API says in the end.
    pub async fn record_with(&self, room: &str, body: Value) -> io::Result<String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (status, answer) = self.ask_to_record(room, &body).await?;
            match answer["id"].as_str() {
                Some(id) if status < 300 => return Ok(id.to_owned()),
                _ if Instant::now() < deadline && answer["code"] == "no_recorder" => tokio::time::sleep(POLL).await,
                _ => return Err(io::Error::other(format!("{status} {answer}"))),
            }
        }
    }

    /// Switches recording off.
    ///
    /// # Errors
    /// What the API says.
    pub async fn stop(&self, room: &str) -> io::Result<()> {
        self.order(reqwest::Method::DELETE, room, "").await
    }

    /// Pauses a recording.
    ///
    /// # Errors
    /// What the API says.
    pub async fn pause(&self, room: &str) -> io::Result<()> {
        self.order(reqwest::Method::POST, room, "/pause").await
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// What the API says.
    pub async fn resume(&self, room: &str) -> io::Result<()> {
        self.order(reqwest::Method::POST, room, "/resume").await
    }

    async fn order(&self, method: reqwest::Method, room: &str, verb: &str) -> io::Result<()> {
        match self.call(method, &format!("/v1/rooms/{room}/recording{verb}"), None).await? {
            (status, _) if status < 300 => Ok(()),
            (status, answer) => Err(io::Error::other(format!("{status} {answer}"))),
        }
    }

    /// Waits until a recording has one of these states; returns it as the API shows it.
    ///
    /// # Errors
    /// If it never has.
    pub async fn wait(&self, id: &str, states: &[&str]) -> io::Result<Value> {
        let is_in = |recording: &Value| recording["state"].as_str().is_some_and(|state| states.contains(&state));
        self.wait_until(id, &format!("{states:?}"), is_in).await
    }

    /// Waits until a recording is as it should be, which is `what`; returns it.
    ///
    /// # Errors
    /// If it takes too long.
    pub async fn wait_until(&self, id: &str, what: &str, check: impl Fn(&Value) -> bool) -> io::Result<Value> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (_, recording) = self.call(reqwest::Method::GET, &format!("/v1/recordings/{id}"), None).await?;
            if check(&recording) {
                return Ok(recording);
            }
            if Instant::now() > deadline {
                return Err(io::Error::other(format!("never {what}: {recording}")));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// What storage holds of a recording, which is more than the API tells.
    ///
    /// # Errors
    /// If it is not there, or is no manifest.
    pub async fn manifest(&self, recording: &Value) -> io::Result<Manifest> {
        let key = format!("{}/recording.json", recording["folder"].as_str().unwrap_or_default());
        let bytes = self.store().map_err(io::Error::other)?.get(&key).await.map_err(io::Error::other)?;
        serde_json::from_slice(&bytes).map_err(io::Error::other)
    }

    /// Downloads a file by the link that the API gives, without any key, to a path of the test's.
    ///
    /// # Errors
    /// If there is no link, or it does not work.
    pub async fn download(&self, file: &Value) -> io::Result<PathBuf> {
        let url = file["url"].as_str().ok_or_else(|| io::Error::other(format!("no url: {file}")))?;
        let url = if url.starts_with('/') { format!("http://{}{url}", self.address) } else { url.to_owned() };
        let response = self.http.get(url).send().await.map_err(io::Error::other)?;
        let response = response.error_for_status().map_err(io::Error::other)?;
        let bytes = response.bytes().await.map_err(io::Error::other)?;
        let name = file["name"].as_str().unwrap_or_default();
        let folder = tempfile::tempdir_in(self.folder.path())?.keep();
        let path = folder.join(name);
        std::fs::write(&path, bytes)?;
        Ok(path)
    }

    /// Waits until a recorder's spool holds no recording.
    ///
    /// # Errors
    /// If it always does.
    pub async fn wait_for_empty_spool(&self, name: &str) -> io::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut left = Vec::new();
            for entry in std::fs::read_dir(self.spool(name))? {
                let entry = entry?;
                if entry.file_type()?.is_dir() {
                    left.push(entry.file_name());
                }
            }
            if left.is_empty() {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(io::Error::other(format!("left in the spool: {left:?}")));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// The server, to be ended in order.
    pub async fn end(self) {
        self.server.drain(Duration::from_secs(2)).await;
    }
}
