//! A real S3 server inside the test process: s3s-fs on a folder, which checks signatures.
//!
//! What it lacks is done here, over its files: it lists unfinished uploads, and it encrypts, in words, if told to.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::error_handling::HandleError;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use s3s::auth::SimpleAuth;
use s3s::dto::{Timestamp, TimestampFormat};
use s3s::service::S3ServiceBuilder;
use service::storage::{StorageConfig, StorageKind};
use tokio::net::TcpListener;

const ACCESS_KEY: &str = "tern";
const SECRET_KEY: &str = "tern test secret";
const BUCKET: &str = "recordings";
const ENCRYPTION: &str = "x-amz-server-side-encryption";

/// What is done around s3s-fs.
struct Around {
    folder: PathBuf,
    confirms: AtomicBool,
    has_keys: AtomicBool,
    tagging: Mutex<Option<String>>,
}

/// A running server; it ends with this value.
pub struct S3Server {
    address: SocketAddr,
    around: Arc<Around>,
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
        let around = Arc::new(Around {
            folder: folder.to_owned(),
            confirms: AtomicBool::default(),
            has_keys: AtomicBool::default(),
            tagging: Mutex::default(),
        });
        let app = Router::new()
            .fallback_service(HandleError::new(builder.build(), failed))
            .layer(from_fn_with_state(around.clone(), handle));
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok(Self { address, around, task: tokio::spawn(async move { axum::serve(listener, app).await }) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether it confirms from now on that it encrypts, when it is asked to.
    pub fn confirm_encryption(&self, confirms: bool) {
        self.around.confirms.store(confirms, Ordering::Relaxed);
    }

    /// From now on it says of everything that a key service encrypts it, unasked, and tells ETags that are no MD5.
    pub fn encrypt_by_default(&self) {
        self.around.has_keys.store(true, Ordering::Relaxed);
    }

    /// The tags of the last object that was written or begun.
    pub fn last_tagging(&self) -> Option<String> {
        self.around.tagging.lock().unwrap_or_else(PoisonError::into_inner).clone()
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

async fn handle(State(around): State<Arc<Around>>, request: Request, next: Next) -> Response {
    let headers = request.headers().clone();
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let encryption = text(ENCRYPTION).filter(|_| around.confirms.load(Ordering::Relaxed));
    let query = request.uri().query().unwrap_or_default().to_owned();
    let asked: Vec<&str> = query.split('&').collect();
    let writes = request.method() == "PUT" && !query.contains("partNumber") || asked.contains(&"uploads");
    if writes && request.method() != "GET" {
        *around.tagging.lock().unwrap_or_else(PoisonError::into_inner) = text("x-amz-tagging");
    }
    if request.method() == "GET" && asked.iter().any(|name| name.trim_end_matches('=') == "uploads") {
        let prefix = asked.iter().find_map(|pair| pair.strip_prefix("prefix=")).unwrap_or_default().replace("%2F", "/");
        return uploads(&around.folder, &prefix).into_response();
    }
    let mut response = next.run(request).await;
    if let Some(value) = encryption.and_then(|value| value.parse().ok()) {
        response.headers_mut().insert(ENCRYPTION, value);
    }
    if around.has_keys.load(Ordering::Relaxed) {
        response.headers_mut().insert(ENCRYPTION, HeaderValue::from_static("aws:kms"));
        let etag = response.headers().get("etag").and_then(|etag| etag.to_str().ok()).map(str::to_owned);
        if let Some(etag) = etag.and_then(|etag| etag.chars().rev().collect::<String>().parse().ok()) {
            response.headers_mut().insert("etag", etag);
        }
    }
    response
}

/// The unfinished uploads among the files of s3s-fs: `.bucket-{}.object-{}.upload-{}.metadata.json`.
fn uploads(folder: &Path, prefix: &str) -> String {
    let name = |entry: io::Result<std::fs::DirEntry>| entry.ok()?.file_name().into_string().ok();
    let mut found = String::new();
    for name in std::fs::read_dir(folder).into_iter().flatten().filter_map(name) {
        let Some((key, id)) = name.split_once(".object-").and_then(|(_, rest)| rest.split_once(".upload-")) else {
            continue;
        };
        let id = id.trim_end_matches(".metadata.json");
        let key = URL_SAFE_NO_PAD.decode(key).ok().and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
        let begun = std::fs::metadata(folder.join(format!(".upload-{id}.json"))).and_then(|meta| meta.modified());
        if let (true, Ok(begun)) = (key.starts_with(prefix), begun) {
            let mut text = Vec::new();
            // Writing to a vector cannot fail.
            let _ = Timestamp::from(begun).format(TimestampFormat::DateTime, &mut text);
            let begun = String::from_utf8_lossy(&text);
            found.push_str(&format!(
                "<Upload><Key>{key}</Key><UploadId>{id}</UploadId><Initiated>{begun}</Initiated></Upload>"
            ));
        }
    }
    format!("<ListMultipartUploadsResult><IsTruncated>false</IsTruncated>{found}</ListMultipartUploadsResult>")
}

impl Drop for S3Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}
