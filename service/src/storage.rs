//! Object storage: S3 and a local folder behind one set of verbs.
//!
//! Keys are relative to the configured prefix and are names of letters, digits, `.`, `-` and `_` with slashes between them, none
//! beginning with a dot; what users call their rooms is made one of those by whoever makes the key. Nothing here
//! tries again: who may wait for how long is known only to the caller. Every write is whole or absent: an object appears
//! with its last byte. S3 answers with the MD5 of what arrived, which must be that of what was sent, unless a key service
//! encrypts; a folder has the bytes when the disk says so.

mod disk;
mod s3;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncRead;

/// Where recordings end up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StorageKind {
    /// A folder that both binaries share.
    #[default]
    Disk,
    /// Any S3 endpoint.
    S3,
}

/// How the storage encrypts what it holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sse {
    /// As it pleases.
    #[default]
    #[serde(rename = "")]
    Off,
    /// With keys of its own.
    #[serde(rename = "AES256")]
    Aes256,
    /// With a key of its key service.
    #[serde(rename = "aws:kms")]
    Kms,
}

/// `[storage]`, the same in both binaries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StorageConfig {
    /// Which kind.
    pub kind: StorageKind,
    /// The folder of `disk`.
    pub path: PathBuf,
    /// S3: the endpoint's URL; empty: AWS.
    pub endpoint: String,
    /// S3: the endpoint that users reach, for presigned links; empty: `endpoint`.
    pub public_endpoint: String,
    /// S3: the region.
    pub region: String,
    /// S3: the bucket.
    pub bucket: String,
    /// Prepended to every key, without slashes at its ends.
    pub prefix: String,
    /// S3: key id.
    pub access_key: String,
    /// S3: secret.
    pub secret_key: String,
    /// A file with the key id.
    pub access_key_file: Option<PathBuf>,
    /// A file with the secret.
    pub secret_key_file: Option<PathBuf>,
    /// S3: the token that belongs to temporary keys; empty: they are none.
    pub session_token: String,
    /// A file with the token.
    pub session_token_file: Option<PathBuf>,
    /// S3: encryption to ask for. A storage that does not confirm it gets nothing.
    pub sse: Sse,
    /// S3: the key of `aws:kms`; empty: the bucket's.
    pub sse_kms_key: String,
    /// S3: whether objects carry the tags of their recording. Not every server can.
    pub tagging: bool,
    /// S3: a request that takes longer than this, seconds, is tried again.
    pub request_timeout_s: u64,
    /// Life of download links, seconds.
    pub link_ttl_s: u64,
}

impl Default for StorageConfig {
    fn default() -> Self {
        Self {
            kind: StorageKind::Disk,
            path: PathBuf::from("data/recordings"),
            endpoint: String::new(),
            public_endpoint: String::new(),
            region: "us-east-1".into(),
            bucket: String::new(),
            prefix: String::new(),
            access_key: String::new(),
            secret_key: String::new(),
            access_key_file: None,
            secret_key_file: None,
            session_token: String::new(),
            session_token_file: None,
            sse: Sse::Off,
            sse_kms_key: String::new(),
            tagging: false,
            request_timeout_s: 60,
            link_ttl_s: 3600,
        }
    }
}

/// Size of every part of a multipart upload but the last: some S3 servers refuse unequal parts, AWS less than 5 MiB.
pub const PART_SIZE: usize = 8 * 1024 * 1024;

/// Why storage did not do it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No such object or upload.
    #[error("{0} is not in storage")]
    NotFound(String),
    /// The key could leave the prefix or confuse a server.
    #[error("{0:?} is not a storage key")]
    InvalidKey(String),
    /// The section `[storage]` cannot work.
    #[error("[storage] {0}")]
    Config(String),
    /// The storage understood and said no; the same request fails again until somebody changes something.
    #[error("storage refuses to {what}: {why}")]
    Refused {
        /// What was asked.
        what: String,
        /// What it answered.
        why: String,
    },
    /// The storage does not know us, or does not let us: its keys expired, were rotated, or lack a right. What it holds
    /// already stays as it is, so nothing is to be given up for this.
    #[error("storage does not let us {what}: {why}")]
    Denied {
        /// What was asked.
        what: String,
        /// What it answered.
        why: String,
    },
    /// The storage cannot be reached or is in trouble; later may help.
    #[error("storage cannot {what} now: {why}")]
    Unavailable {
        /// What was asked.
        what: String,
        /// What happened.
        why: String,
    },
    /// What arrived there is not what was sent.
    #[error("storage holds other bytes under {key} than were sent: digest {got}, sent {sent}")]
    Digest {
        /// Under which key.
        key: String,
        /// Its digest.
        got: String,
        /// Ours.
        sent: String,
    },
}

/// An object in storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Its key, relative to the prefix.
    pub key: String,
    /// Bytes.
    pub size: u64,
    /// The ETag without quotes: its MD5 if it was put whole, [`multipart_etag`] of its parts otherwise. Local disk knows
    /// none until it is asked with [`Store::digest`].
    pub etag: Option<String>,
}

/// A part of a multipart upload as storage knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// From 1.
    pub number: u32,
    /// Bytes.
    pub size: u64,
    /// Its ETag, if the server tells: its MD5 in hex, unless a key service encrypts it.
    pub etag: Option<String>,
}

/// An unfinished multipart upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// The key that it will have.
    pub key: String,
    /// Its id.
    pub id: String,
    /// When it was begun, if the server tells.
    pub begun: Option<SystemTime>,
}

/// What an object is served as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentType(pub &'static str);

impl ContentType {
    /// `video/webm`
    pub const WEBM: Self = Self("video/webm");
    /// `application/json`
    pub const JSON: Self = Self("application/json");

    /// By a key's extension, and by its name for files that hold only sound.
    pub fn of(key: &str) -> Self {
        let name = key.rsplit('/').next().unwrap_or(key);
        let sound = ["-mic-", "-screen_audio-"].iter().any(|kind| name.contains(kind));
        match name.rsplit_once('.').map(|(_, extension)| extension) {
            Some("webm") if sound => Self("audio/webm"),
            Some("webm") => Self::WEBM,
            Some("mkv") => Self("video/x-matroska"),
            Some("json") => Self::JSON,
            _ => Self("application/octet-stream"),
        }
    }
}

/// What storage is told of an object beside its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// What it is served as.
    pub kind: ContentType,
    /// Words of whoever made it; left out unless `[storage] tagging` is on.
    pub tags: BTreeMap<String, String>,
}

impl From<ContentType> for About {
    fn from(kind: ContentType) -> Self {
        Self { kind, tags: BTreeMap::new() }
    }
}

/// Bytes on their way to storage. Made of [`Bytes`], it is digested on the spot, which large ones should not be.
#[derive(Debug, Clone)]
pub struct Body {
    /// They.
    pub bytes: Bytes,
    /// Their MD5 in hex.
    pub md5: String,
    /// How long a try may take; `None`: `request_timeout_s`.
    pub patience: Option<Duration>,
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self { md5: md5_hex(&bytes), bytes, patience: None }
    }
}

/// The bytes of an object, as they come.
pub struct Download {
    /// The size of the whole object.
    pub size: u64,
    /// Which bytes of it follow.
    pub range: Range<u64>,
    /// The MD5 of the object, if it is read whole and the storage knows it.
    pub md5: Option<String>,
    /// They.
    pub body: Pin<Box<dyn AsyncRead + Send>>,
}

/// The configured storage; cheap to clone.
#[derive(Debug, Clone)]
pub enum Store {
    /// A local folder.
    Disk(disk::Disk),
    /// An S3 bucket.
    S3(Box<s3::S3>),
}

/// Calls the verb on whichever storage it is.
macro_rules! on {
    ($store:expr, $storage:ident => $call:expr) => {
        match $store {
            Store::Disk($storage) => $call,
            Store::S3($storage) => $call,
        }
    };
}

impl Store {
    /// Opens the configured storage. Nothing is asked of it yet.
    ///
    /// # Errors
    /// [`Error::Config`], naming the key.
    pub fn open(config: &StorageConfig) -> Result<Self, Error> {
        if !config.prefix.is_empty() {
            check(&config.prefix)
                .map_err(|_| Error::Config(format!("prefix = {:?} is not a path of names", config.prefix)))?;
        }
        match config.kind {
            StorageKind::Disk => disk::Disk::open(config).map(Self::Disk),
            StorageKind::S3 => s3::S3::open(config).map(|s3| Self::S3(Box::new(s3))),
        }
    }

    /// Writes an object of at most a few megabytes, replacing what was there.
    pub async fn put(&self, key: &str, body: impl Into<Body>, about: impl Into<About>) -> Result<(), Error> {
        check(key)?;
        match self {
            Self::Disk(disk) => disk.put(key, body.into().bytes).await,
            Self::S3(s3) => s3.put(key, body.into(), &about.into()).await,
        }
    }

    /// How long a request may take, unless it is told otherwise; `None`: as long as it takes.
    pub fn request_timeout(&self) -> Option<Duration> {
        match self {
            Self::Disk(_) => None,
            Self::S3(s3) => Some(s3.request_timeout()),
        }
    }

    /// Whether the storage does what `[storage]` demands of it and what only a written object shows: encryption. An
    /// answer that confirms it holds for some minutes, one that does not for none.
    pub async fn prove(&self) -> Result<(), Error> {
        match self {
            Self::Disk(_) => Ok(()),
            Self::S3(s3) => s3.prove().await,
        }
    }

    /// Reads a whole object into memory: for manifests, not for media. Bytes that changed on their way are an error.
    pub async fn get(&self, key: &str) -> Result<Bytes, Error> {
        use tokio::io::AsyncReadExt;
        let mut download = self.read(key, None).await?;
        let mut bytes = Vec::new();
        download
            .body
            .read_to_end(&mut bytes)
            .await
            .map_err(|error| Error::Unavailable { what: format!("read {key}"), why: error.to_string() })?;
        match download.md5 {
            Some(md5) if md5 != md5_hex(&bytes) => {
                Err(Error::Unavailable { what: format!("read {key}"), why: "other bytes came than it holds".into() })
            }
            _ => Ok(bytes.into()),
        }
    }

    /// Opens an object for reading, whole or a range of it. A range beyond the end is cut; an empty one is refused.
    pub async fn read(&self, key: &str, range: Option<Range<u64>>) -> Result<Download, Error> {
        check(key)?;
        if range.as_ref().is_some_and(Range::is_empty) {
            return Err(Error::Refused { what: format!("read {key}"), why: "the range is empty".into() });
        }
        on!(self, storage => storage.read(key, range).await)
    }

    /// Size and ETag of an object; `None` if it is not there.
    pub async fn head(&self, key: &str) -> Result<Option<Object>, Error> {
        check(key)?;
        on!(self, storage => storage.head(key).await)
    }

    /// Like [`Store::head`], but with the digest, even if the object must be read for it. `multipart` says how it was written:
    /// local disk does not read what it put together of parts, and knows no more than its size.
    pub async fn digest(&self, key: &str, multipart: bool) -> Result<Option<Object>, Error> {
        check(key)?;
        match self {
            Self::Disk(disk) if multipart => disk.head(key).await,
            Self::Disk(disk) => disk.digest(key).await,
            Self::S3(s3) => s3.digest(key).await,
        }
    }

    /// Every object whose key starts with `prefix`, by key.
    pub async fn list(&self, prefix: &str) -> Result<Vec<Object>, Error> {
        check_prefix(prefix)?;
        on!(self, storage => storage.list(prefix).await)
    }

    /// Removes an object; one that is not there is removed already.
    pub async fn delete(&self, key: &str) -> Result<(), Error> {
        check(key)?;
        on!(self, storage => storage.delete(key).await)
    }

    /// A link at which anybody can GET the object until `ttl` is over, saved as `file_name`. `None` for local disk, which
    /// has nobody to serve it but us.
    pub async fn presign_get(&self, key: &str, ttl: Duration, file_name: &str) -> Result<Option<String>, Error> {
        check(key)?;
        check(file_name)?;
        match self {
            Self::Disk(_) => Ok(None),
            Self::S3(s3) => s3.presign_get(key, ttl, file_name).await.map(Some),
        }
    }

    /// Begins a multipart upload.
    pub async fn create_upload(&self, key: &str, about: impl Into<About>) -> Result<String, Error> {
        check(key)?;
        match self {
            Self::Disk(disk) => disk.create_upload(key).await,
            Self::S3(s3) => s3.create_upload(key, &about.into()).await,
        }
    }

    /// Sends part `number` (from 1) of an upload; all but the last are [`PART_SIZE`] long. Returns its ETag: its MD5 in hex,
    /// unless a key service encrypts it.
    pub async fn upload_part(
        &self,
        key: &str,
        upload: &str,
        number: u32,
        body: impl Into<Body>,
    ) -> Result<String, Error> {
        check(key)?;
        on!(self, storage => storage.upload_part(key, upload, number, body.into()).await)
    }

    /// The parts that storage has of an upload, by number.
    pub async fn list_parts(&self, key: &str, upload: &str) -> Result<Vec<Part>, Error> {
        check(key)?;
        on!(self, storage => storage.list_parts(key, upload).await)
    }

    /// Whether an ETag that storage tells may be something else than an MD5, so that only sizes can be compared.
    pub fn has_opaque_etags(&self) -> bool {
        match self {
            Self::Disk(_) => false,
            Self::S3(s3) => s3.has_opaque_etags(),
        }
    }

    /// Makes the object of parts 1 to n with these ETags.
    pub async fn complete_upload(&self, key: &str, upload: &str, etags: &[String]) -> Result<(), Error> {
        check(key)?;
        on!(self, storage => storage.complete_upload(key, upload, etags).await)
    }

    /// Gives an upload up and frees its parts.
    pub async fn abort_upload(&self, key: &str, upload: &str) -> Result<(), Error> {
        check(key)?;
        on!(self, storage => storage.abort_upload(key, upload).await)
    }

    /// Removes what writes left that were cut off so long ago; only local disk has such things.
    pub async fn sweep(&self, age: Duration) -> Result<(), Error> {
        match self {
            Self::Disk(disk) => disk.sweep(age).await,
            Self::S3(_) => Ok(()),
        }
    }

    /// Unfinished uploads below `prefix`. Not every S3 server can tell; such a one refuses.
    pub async fn list_uploads(&self, prefix: &str) -> Result<Vec<Upload>, Error> {
        check_prefix(prefix)?;
        on!(self, storage => storage.list_uploads(prefix).await)
    }
}

/// The MD5 of some bytes in hex: the ETag of a part and of an object that was put whole.
pub fn md5_hex(bytes: &[u8]) -> String {
    hex(&Md5::digest(bytes))
}

/// The ETag that S3 gives an object made of parts with these MD5s: MD5 over their binary MD5s, and their number.
pub fn multipart_etag(parts: &[String]) -> Option<String> {
    let mut all = Md5::new();
    for part in parts {
        all.update(unhex(part)?);
    }
    Some(format!("{}-{}", hex(&all.finalize()), parts.len()))
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Reads lower- or upper-case hex.
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |c: u8| char::from(c).to_digit(16).map(|d| d as u8);
    let pairs = text.as_bytes().chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return None;
    }
    pairs.map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

/// Whether storage takes this as a key.
pub fn is_key(text: &str) -> bool {
    check(text).is_ok()
}

/// Refuses keys that could name anything outside the prefix or that two kinds of storage would read differently.
fn check(key: &str) -> Result<(), Error> {
    let name = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
    };
    if key.len() <= 512 && key.split('/').all(name) { Ok(()) } else { Err(Error::InvalidKey(key.into())) }
}

/// A prefix is a key, a key with a slash behind it, or empty.
fn check_prefix(prefix: &str) -> Result<(), Error> {
    if prefix.is_empty() { Ok(()) } else { check(prefix.strip_suffix('/').unwrap_or(prefix)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_cannot_leave_the_prefix() {
        assert!(check("r1/abc/p7-av-1.webm").is_ok());
        for bad in ["", "/", "a//b", "../x", "a/../b", "a/.hidden", "a/", "/a", "a b", "a\\b", "a\0", "ä"] {
            assert!(check(bad).is_err(), "{bad:?}");
        }
        assert!(check_prefix("").is_ok() && check_prefix("r1/").is_ok() && check_prefix("..").is_err());
    }

    #[test]
    fn content_types_follow_names() {
        for (key, kind) in [
            ("r1/abc/p1-av-1.webm", "video/webm"),
            ("r1/abc/p1-mic-1.webm", "audio/webm"),
            ("r1/abc/p1-screen_audio-2.webm", "audio/webm"),
            ("r1/abc/p1-av-1.mkv", "video/x-matroska"),
            ("r1/abc/segments/rec1.json", "application/json"),
            ("r1-mic-/abc", "application/octet-stream"),
        ] {
            assert_eq!(ContentType::of(key).0, kind, "{key}");
        }
    }

    #[test]
    fn a_multipart_etag_is_the_md5_of_md5s() {
        // printf a | md5sum; printf b | md5sum; both in binary, together: md5sum again.
        let parts = [md5_hex(b"a"), md5_hex(b"b")];
        assert_eq!(parts[0], "0cc175b9c0f1b6a831c399e269772661");
        assert_eq!(multipart_etag(&parts).as_deref(), Some("96e024ba2074fe77e8e965ba43a704be-2"));
        assert_eq!(multipart_etag(&["xyz".into()]), None);
    }
}
