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

/// A running garage, killed when it is dropped.
pub struct Garage {
    child: Child,
    s3: SocketAddr,
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
        let mut command = Command::new(binary());
        command.arg("--config").arg(&config).args(["server", "--single-node"]).env("RUST_LOG", "garage=warn");
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let garage = Self { child, s3 };
        garage.prepare(admin).await?;
        Ok(garage)
    }

    async fn prepare(&self, admin: SocketAddr) -> io::Result<()> {
        let http = reqwest::Client::new();
        let call = async |verb: &str, body: Value| -> io::Result<Value> {
            let request = http.post(format!("http://{admin}/v2/{verb}")).bearer_auth(ADMIN_TOKEN).json(&body);
            let answer = request.send().await.map_err(io::Error::other)?;
            answer.error_for_status().map_err(io::Error::other)?.json().await.map_err(io::Error::other)
        };
        let key = json!({ "accessKeyId": ACCESS_KEY, "secretAccessKey": SECRET_KEY, "name": "tern" });
        let deadline = Instant::now() + PATIENCE;
        // It listens before its only node knows that it is one.
        while let Err(error) = call("ImportKey", key.clone()).await {
            if Instant::now() > deadline {
                return Err(error);
            }
            tokio::time::sleep(POLL).await;
        }
        let bucket = call("CreateBucket", json!({ "globalAlias": BUCKET })).await?;
        let permissions = json!({ "read": true, "write": true, "owner": true });
        let allow = json!({ "bucketId": bucket["id"], "accessKeyId": ACCESS_KEY, "permissions": permissions });
        call("AllowBucketKey", allow).await.map(drop)
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
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
