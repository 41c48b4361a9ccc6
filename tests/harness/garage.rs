//! Garage, a real object storage with a mind of its own: one node on a folder, with one bucket. `scripts/install-garage.sh`
//! builds it, which takes some minutes; so only long tests use it.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use service::storage::{StorageConfig, StorageKind};

use crate::program::in_workspace;

const ADMIN_TOKEN: &str = "an admin token of the tests";
/// As garage wants them: GK and 24 hex digits, and 64 hex digits.
const ACCESS_KEY: &str = "GK0123456789abcdef01234567";
const SECRET_KEY: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const BUCKET: &str = "recordings";
const REGION: &str = "garage";
/// How long it may take to start.
const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(100);

/// A garage on a folder; what runs is killed when it is dropped.
pub struct Garage {
    config: PathBuf,
    child: Option<Child>,
    s3: SocketAddr,
    admin: SocketAddr,
    http: reqwest::Client,
}

/// Three ports that are free now; garage cannot be asked which it took.
fn free_ports() -> io::Result<[SocketAddr; 3]> {
    let listeners = [(); 3].map(|()| TcpListener::bind(("127.0.0.1", 0)));
    let [a, b, c] = listeners;
    let (a, b, c) = (a?, b?, c?);
    Ok([a.local_addr()?, b.local_addr()?, c.local_addr()?])
}

fn binary() -> PathBuf {
    in_workspace(".cache/garage/bin/garage")
}

impl Garage {
    /// Starts it on a folder and makes the bucket.
    ///
    /// # Errors
    /// When it is not installed, or does not start.
    pub async fn start(folder: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let [rpc, s3, admin] = free_ports()?;
        let config = folder.join("garage.toml");
        let text = format!(
            "metadata_dir = {:?}\ndata_dir = {:?}\ndb_engine = \"sqlite\"\nreplication_factor = 1\n\
             rpc_bind_addr = \"{rpc}\"\nrpc_secret = \"{SECRET_KEY}\"\n\
             [s3_api]\ns3_region = \"{REGION}\"\napi_bind_addr = \"{s3}\"\n\
             [admin]\napi_bind_addr = \"{admin}\"\nadmin_token = \"{ADMIN_TOKEN}\"\n",
            folder.join("meta"),
            folder.join("data"),
        );
        std::fs::write(&config, text)?;
        let mut garage = Self { config, child: None, s3, admin, http: reqwest::Client::new() };
        garage.run().await?;
        let key = json!({ "accessKeyId": ACCESS_KEY, "secretAccessKey": SECRET_KEY, "name": "tern" });
        garage.call("ImportKey", key).await?;
        let bucket = garage.call("CreateBucket", json!({ "globalAlias": BUCKET })).await?;
        let permissions = json!({ "read": true, "write": true, "owner": true });
        let allow = json!({ "bucketId": bucket["id"], "accessKeyId": ACCESS_KEY, "permissions": permissions });
        garage.call("AllowBucketKey", allow).await?;
        Ok(garage)
    }

    /// Starts its program on what is in the folder, and waits until it works.
    ///
    /// # Errors
    /// When it does not.
    pub async fn run(&mut self) -> io::Result<()> {
        let mut command = Command::new(binary());
        command.arg("--config").arg(&self.config).args(["server", "--single-node"]).env("RUST_LOG", "garage=warn");
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let missing = |error| io::Error::other(format!("scripts/install-garage.sh builds it: {error}"));
        self.child = Some(child.map_err(missing)?);
        let deadline = Instant::now() + PATIENCE;
        // It listens before its only node knows that it is one.
        while let Err(error) = self.health().await {
            if Instant::now() > deadline {
                return Err(error);
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    /// Kills it, as a power cut would.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    async fn health(&self) -> io::Result<()> {
        let answer = self.http.get(format!("http://{}/health", self.admin)).send().await.map_err(io::Error::other)?;
        answer.error_for_status().map(drop).map_err(io::Error::other)
    }

    async fn call(&self, verb: &str, body: Value) -> io::Result<Value> {
        let url = format!("http://{}/v2/{verb}", self.admin);
        let answer = self.http.post(url).bearer_auth(ADMIN_TOKEN).json(&body).send().await.map_err(io::Error::other)?;
        answer.error_for_status().map_err(io::Error::other)?.json().await.map_err(io::Error::other)
    }

    /// Where its S3 API listens.
    pub fn address(&self) -> SocketAddr {
        self.s3
    }

    /// The `[storage]` section that reaches it, everything below `prefix`.
    pub fn config(&self, prefix: &str) -> StorageConfig {
        StorageConfig {
            kind: StorageKind::S3,
            endpoint: format!("http://{}", self.s3),
            region: REGION.into(),
            bucket: BUCKET.into(),
            prefix: prefix.into(),
            access_key: ACCESS_KEY.into(),
            secret_key: SECRET_KEY.into(),
            ..StorageConfig::default()
        }
    }
}

impl Drop for Garage {
    fn drop(&mut self) {
        self.kill();
    }
}
