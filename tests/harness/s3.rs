//! A real S3 server inside the test process: s3s-fs on a folder, which checks signatures.

use std::io;
use std::net::SocketAddr;
use std::path::Path;

use axum::Router;
use axum::error_handling::HandleError;
use axum::http::StatusCode;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use service::storage::{StorageConfig, StorageKind};
use tokio::net::TcpListener;

const ACCESS_KEY: &str = "tern";
const SECRET_KEY: &str = "tern test secret";
const BUCKET: &str = "recordings";

/// A running server; it ends with this value.
pub struct S3Server {
    address: SocketAddr,
    task: tokio::task::JoinHandle<io::Result<()>>,
}

impl S3Server {
    /// Serves `folder` with one bucket on a free port of 127.0.0.1.
    pub async fn start(folder: &Path) -> io::Result<Self> {
        Self::start_at(folder, SocketAddr::from(([127, 0, 0, 1], 0))).await
    }

    /// The same at a given address: how a server comes back after an outage.
    pub async fn start_at(folder: &Path, address: SocketAddr) -> io::Result<Self> {
        std::fs::create_dir_all(folder.join(BUCKET))?;
        let files = s3s_fs::FileSystem::new(folder).map_err(|error| io::Error::other(format!("{error:?}")))?;
        let mut builder = S3ServiceBuilder::new(files);
        builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        let failed = |error: s3s::HttpError| async move { (StatusCode::INTERNAL_SERVER_ERROR, format!("{error:?}")) };
        let app = Router::new().fallback_service(HandleError::new(builder.build(), failed));
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok(Self { address, task: tokio::spawn(async move { axum::serve(listener, app).await }) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The `[storage]` section that reaches it, everything below `prefix`.
    pub fn config(&self, prefix: &str) -> StorageConfig {
        StorageConfig {
            kind: StorageKind::S3,
            endpoint: format!("http://{}", self.address),
            region: "us-east-1".into(),
            bucket: BUCKET.into(),
            prefix: prefix.into(),
            access_key: ACCESS_KEY.into(),
            secret_key: SECRET_KEY.into(),
            ..StorageConfig::default()
        }
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}
