//! Storage in an S3 bucket, in the dialect that all servers speak: path-style addresses on custom endpoints, no checksum
//! algorithm beyond what an operation requires, ETags compared with our own MD5.

mod keys;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, UNIX_EPOCH};

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Config, IdentityCache, Region, RequestChecksumCalculation, ResponseChecksumValidation,
    StalledStreamProtectionConfig,
};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart, ServerSideEncryption};
use bytes::Bytes;

use super::{About, Body, ContentType, Download, Error, Object, Part, Sse, StorageConfig, Upload};
use keys::Keys;

/// How long the proof of what the storage does counts.
const PROOF: Duration = Duration::from_secs(300);

/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A bucket.
#[derive(Debug, Clone)]
pub struct S3 {
    client: Client,
    /// Signs links with the host name that users reach, which is part of the signature.
    public: Client,
    bucket: String,
    /// Empty, or ends in a slash.
    prefix: String,
    sse: Sse,
    sse_kms_key: Option<String>,
    tagging: bool,
    /// A key service encrypts: the configuration says so, or an answer did.
    opaque: Arc<AtomicBool>,
    request_timeout: Duration,
    /// When the storage last confirmed that it encrypts; `None`: it has not yet, or not the last time.
    proven: Arc<Mutex<Option<Instant>>>,
}

impl S3 {
    pub(super) fn open(config: &StorageConfig) -> Result<Self, Error> {
        for (name, value) in [("bucket", &config.bucket), ("region", &config.region)] {
            if value.is_empty() {
                return Err(Error::Config(format!("{name} is empty; kind = \"s3\" needs it")));
            }
        }
        if config.request_timeout_s == 0 {
            return Err(Error::Config("request_timeout_s is 0; at least 1".into()));
        }
        if !config.sse_kms_key.is_empty() && config.sse != Sse::Kms {
            return Err(Error::Config("sse_kms_key needs sse = \"aws:kms\"".into()));
        }
        let keys = Keys::open(config)?;
        let client = |name: &str, endpoint: &str| -> Result<Client, Error> {
            if !endpoint.is_empty() {
                let uri: http::Uri = endpoint
                    .parse()
                    .map_err(|error| Error::Config(format!("{name} = {endpoint:?} is not a URL: {error}")))?;
                if uri.scheme().is_none() || uri.authority().is_none() {
                    return Err(Error::Config(format!("{name} = {endpoint:?} must be http://HOST or https://HOST")));
                }
            }
            Ok(Client::from_conf(client_config(config, endpoint, keys.clone())))
        };
        let public = if config.public_endpoint.is_empty() { &config.endpoint } else { &config.public_endpoint };
        Ok(Self {
            client: client("endpoint", &config.endpoint)?,
            public: client("public_endpoint", public)?,
            bucket: config.bucket.clone(),
            prefix: if config.prefix.is_empty() { String::new() } else { format!("{}/", config.prefix) },
            sse: config.sse,
            sse_kms_key: Some(config.sse_kms_key.clone()).filter(|key| !key.is_empty()),
            tagging: config.tagging,
            opaque: Arc::new(AtomicBool::new(config.sse == Sse::Kms)),
            request_timeout: Duration::from_secs(config.request_timeout_s),
            proven: Arc::default(),
        })
    }

    fn key(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    fn tagging(&self, about: &About) -> Option<String> {
        (self.tagging && !about.tags.is_empty()).then(|| query(&about.tags))
    }

    fn encryption(&self) -> Option<ServerSideEncryption> {
        match self.sse {
            Sse::Off => None,
            Sse::Aes256 => Some(ServerSideEncryption::Aes256),
            Sse::Kms => Some(ServerSideEncryption::AwsKms),
        }
    }

    /// Notes who encrypts: with a key service, ETags are no MD5 from here on.
    fn note_encryption(&self, got: Option<&ServerSideEncryption>) {
        if matches!(got, Some(ServerSideEncryption::AwsKms | ServerSideEncryption::AwsKmsDsse)) {
            self.opaque.store(true, Ordering::Relaxed);
        }
    }

    /// Notes who encrypts, and refuses an answer that does not confirm what was asked for: some servers take the header,
    /// ignore it and store in the clear.
    fn check_encryption(&self, what: &str, key: &str, got: Option<&ServerSideEncryption>) -> Result<(), Error> {
        self.note_encryption(got);
        let Some(asked) = self.encryption() else { return Ok(()) };
        let confirmed = got == Some(&asked);
        *self.proven.lock().unwrap_or_else(PoisonError::into_inner) = confirmed.then(Instant::now);
        if confirmed {
            return Ok(());
        }
        let why = format!("[storage] sse = \"{asked}\" is not confirmed, it would be stored in the clear");
        Err(Error::Refused { what: format!("{what} {key}"), why })
    }

    /// Whether the storage confirmed, at most so long ago, that it encrypts as it was asked to.
    fn is_proven(&self, age: Duration) -> bool {
        let proven = *self.proven.lock().unwrap_or_else(PoisonError::into_inner);
        self.sse == Sse::Off || proven.is_some_and(|at| at.elapsed() < age)
    }

    pub(super) fn request_timeout(&self) -> Duration {
        self.request_timeout
    }

    pub(super) fn has_opaque_etags(&self) -> bool {
        self.opaque.load(Ordering::Relaxed)
    }

    pub(super) async fn prove(&self) -> Result<(), Error> {
        if self.is_proven(PROOF) { Ok(()) } else { self.probe().await }
    }

    /// Puts five bytes to see whether they are encrypted.
    async fn probe(&self) -> Result<(), Error> {
        let key = format!("probe/{:x}", std::process::id());
        self.put_object(&key, Bytes::from_static(b"probe").into(), &ContentType::of(&key).into()).await?;
        // The answer is known, and nobody waits for this; what is not deleted is overwritten the next time.
        let s3 = self.clone();
        tokio::spawn(async move { s3.delete(&key).await });
        Ok(())
    }

    /// Once an object was put, what was there before is gone and what is there now may be in the clear: a storage that has
    /// not confirmed encryption gets a probe first, with each try anew.
    pub(super) async fn put(&self, key: &str, body: Body, about: &About) -> Result<(), Error> {
        if !self.is_proven(Duration::MAX) {
            self.probe().await?;
        }
        self.put_object(key, body, about).await
    }

    async fn put_object(&self, key: &str, body: Body, about: &About) -> Result<(), Error> {
        let put = self.client.put_object().bucket(&self.bucket).key(self.key(key)).content_type(about.kind.0);
        let put = put.set_content_disposition(disposition(key, about)).set_tagging(self.tagging(about));
        let put = put.set_server_side_encryption(self.encryption()).set_ssekms_key_id(self.sse_kms_key.clone());
        // Signed with its digest: what was damaged on its way must not replace what was good.
        let put = put.body(ByteStream::from(body.bytes)).customize();
        let put = match body.patience {
            Some(patience) => put.config_override(with_timeout(patience)),
            None => put,
        };
        let done = put.send().await.map_err(|error| failure("write", key, &error))?;
        if let Err(refused) = self.check_encryption("write", key, done.server_side_encryption()) {
            // It lies there in the clear, which is what nobody wanted.
            let _ = self.delete(key).await;
            return Err(refused);
        }
        self.compare(key, done.e_tag(), &body.md5).map(drop)
    }

    pub(super) async fn read(&self, key: &str, range: Option<Range<u64>>) -> Result<Download, Error> {
        let header = range.map(|range| format!("bytes={}-{}", range.start, range.end - 1));
        let is_whole = header.is_none();
        let get = self.client.get_object().bucket(&self.bucket).key(self.key(key)).set_range(header);
        let got = get.send().await.map_err(|error| failure("read", key, &error))?;
        // A bucket may encrypt by default, and this may be the first answer that says so.
        self.note_encryption(got.server_side_encryption());
        let length = got.content_length().and_then(|length| u64::try_from(length).ok()).unwrap_or(0);
        let (start, size) = got.content_range().and_then(content_range).unwrap_or((0, length));
        if is_whole && got.e_tag().is_none() {
            // Every server tells it; whatever answered without is none.
            return Err(Error::Unavailable { what: format!("read {key}"), why: "it told no ETag".into() });
        }
        // The ETag of an object that was put whole; that of a multipart upload has another length.
        let md5 = got.e_tag().map(unquoted).filter(|etag| is_whole && !self.has_opaque_etags() && is_md5(etag));
        Ok(Download { size, range: start..start + length, md5, body: Box::pin(got.body.into_async_read()) })
    }

    pub(super) async fn head(&self, key: &str) -> Result<Option<Object>, Error> {
        let head = self.client.head_object().bucket(&self.bucket).key(self.key(key));
        match head.send().await {
            Ok(head) => {
                // A bucket may encrypt by default, and after a restart this may be the first answer that says so.
                self.note_encryption(head.server_side_encryption());
                Ok(Some(Object {
                    key: key.into(),
                    size: head.content_length().and_then(|size| u64::try_from(size).ok()).unwrap_or(0),
                    etag: head.e_tag().map(unquoted),
                }))
            }
            Err(error) => match failure("look at", key, &error) {
                Error::NotFound(_) => Ok(None),
                other => Err(other),
            },
        }
    }

    /// Like `head`; an answer without an ETag is no answer to this question, unless nobody could compare it.
    pub(super) async fn digest(&self, key: &str) -> Result<Option<Object>, Error> {
        let object = self.head(key).await?;
        let opaque = self.has_opaque_etags();
        match object {
            Some(Object { etag: None, .. }) if !opaque => {
                Err(Error::Unavailable { what: format!("look at {key}"), why: "it told no ETag".into() })
            }
            Some(object) => Ok(Some(Object { etag: object.etag.filter(|_| !opaque), ..object })),
            None => Ok(None),
        }
    }

    pub(super) async fn list(&self, prefix: &str) -> Result<Vec<Object>, Error> {
        let mut found = Vec::new();
        let list = self.client.list_objects_v2().bucket(&self.bucket).prefix(self.key(prefix));
        let mut pages = list.into_paginator().send();
        while let Some(page) = pages.next().await {
            for object in page.map_err(|error| failure("list", prefix, &error))?.contents() {
                let Some(key) = object.key().and_then(|key| key.strip_prefix(self.prefix.as_str())) else { continue };
                found.push(Object {
                    key: key.into(),
                    size: object.size().and_then(|size| u64::try_from(size).ok()).unwrap_or(0),
                    etag: object.e_tag().map(unquoted),
                });
            }
        }
        // S3 sorts; not everything that speaks S3 does.
        found.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(found)
    }

    pub(super) async fn delete(&self, key: &str) -> Result<(), Error> {
        let delete = self.client.delete_object().bucket(&self.bucket).key(self.key(key));
        match delete.send().await.map_err(|error| failure("delete", key, &error)) {
            Ok(_) | Err(Error::NotFound(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn presign_get(&self, key: &str, ttl: Duration, file_name: &str) -> Result<String, Error> {
        let refused = |why: String| Error::Refused { what: format!("sign a link for {key}"), why };
        let presigning = PresigningConfig::expires_in(ttl).map_err(|error| refused(error.to_string()))?;
        let get = self.public.get_object().bucket(&self.bucket).key(self.key(key));
        let get = get.response_content_disposition(format!("attachment; filename=\"{file_name}\""));
        let signed = get.presigned(presigning).await.map_err(|error| failure("sign a link for", key, &error))?;
        Ok(signed.uri().to_owned())
    }

    pub(super) async fn create_upload(&self, key: &str, about: &About) -> Result<String, Error> {
        let create = self.client.create_multipart_upload().bucket(&self.bucket).key(self.key(key));
        let create = create.content_type(about.kind.0).set_content_disposition(disposition(key, about));
        let create = create.set_tagging(self.tagging(about));
        let create = create.set_server_side_encryption(self.encryption()).set_ssekms_key_id(self.sse_kms_key.clone());
        let created = create.send().await.map_err(|error| failure("begin uploading", key, &error))?;
        let no_id =
            || Error::Unavailable { what: format!("begin uploading {key}"), why: "it gave no upload id".into() };
        let id = created.upload_id().map(str::to_owned).ok_or_else(no_id)?;
        let encrypted = self.check_encryption("begin uploading", key, created.server_side_encryption());
        if encrypted.is_err() {
            // Nothing was sent to it; what cannot be given up now is found among the unfinished uploads later.
            let _ = self.abort_upload(key, &id).await;
        }
        encrypted.map(|()| id)
    }

    pub(super) async fn upload_part(&self, key: &str, upload: &str, number: u32, body: Body) -> Result<String, Error> {
        let part = self.client.upload_part().bucket(&self.bucket).key(self.key(key)).upload_id(upload);
        let part = part.part_number(number as i32).body(ByteStream::from(body.bytes)).customize();
        // It would be digested once more, on a thread that others wait for; the ETag shows what came.
        let part = part.disable_payload_signing();
        let part = match body.patience {
            Some(patience) => part.config_override(with_timeout(patience)),
            None => part,
        };
        let done = part.send().await.map_err(|error| upload_failure("upload", key, &error))?;
        self.note_encryption(done.server_side_encryption());
        self.compare(key, done.e_tag(), &body.md5)
    }

    /// An ETag is the MD5 of what was sent, unless a key service encrypts; an answer without one proves nothing.
    fn compare(&self, key: &str, etag: Option<&str>, sent: &str) -> Result<String, Error> {
        let no_etag = || Error::Unavailable { what: format!("confirm {key}"), why: "it told no ETag".into() };
        let got = etag.map(unquoted).ok_or_else(no_etag)?;
        if got == sent || self.has_opaque_etags() {
            return Ok(got);
        }
        Err(Error::Digest { key: key.into(), got, sent: sent.into() })
    }

    pub(super) async fn list_parts(&self, key: &str, upload: &str) -> Result<Vec<Part>, Error> {
        let mut parts = Vec::new();
        let list = self.client.list_parts().bucket(&self.bucket).key(self.key(key)).upload_id(upload);
        let mut pages = list.into_paginator().send();
        while let Some(page) = pages.next().await {
            for part in page.map_err(|error| upload_failure("list the parts of", key, &error))?.parts() {
                let (Some(number), Some(size)) = (part.part_number(), part.size()) else { continue };
                if let (Ok(number), Ok(size)) = (u32::try_from(number), u64::try_from(size)) {
                    parts.push(Part { number, size, etag: part.e_tag().map(unquoted) });
                }
            }
        }
        parts.sort_by_key(|part| part.number);
        Ok(parts)
    }

    pub(super) async fn complete_upload(&self, key: &str, upload: &str, etags: &[String]) -> Result<(), Error> {
        let parts = etags
            .iter()
            .zip(1..)
            .map(|(etag, number)| CompletedPart::builder().e_tag(etag).part_number(number).build());
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts.collect())).build();
        let complete =
            self.client.complete_multipart_upload().bucket(&self.bucket).key(self.key(key)).upload_id(upload);
        complete.multipart_upload(parts).send().await.map_err(|error| upload_failure("complete", key, &error))?;
        Ok(())
    }

    pub(super) async fn abort_upload(&self, key: &str, upload: &str) -> Result<(), Error> {
        let abort = self.client.abort_multipart_upload().bucket(&self.bucket).key(self.key(key)).upload_id(upload);
        match abort.send().await.map_err(|error| upload_failure("give up", key, &error)) {
            Ok(_) | Err(Error::NotFound(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn list_uploads(&self, prefix: &str) -> Result<Vec<Upload>, Error> {
        let mut uploads = Vec::new();
        let mut list = self.client.list_multipart_uploads().bucket(&self.bucket).prefix(self.key(prefix));
        loop {
            let page = list.clone().send().await.map_err(|error| failure("list uploads of", prefix, &error))?;
            for upload in page.uploads() {
                let key = upload.key().and_then(|key| key.strip_prefix(self.prefix.as_str()));
                if let (Some(key), Some(id)) = (key, upload.upload_id()) {
                    let since = upload.initiated().and_then(|at| u64::try_from(at.secs()).ok());
                    let begun = since.map(|since| UNIX_EPOCH + Duration::from_secs(since));
                    uploads.push(Upload { key: key.into(), id: id.into(), begun });
                }
            }
            // A page that is cut but names no next one would be asked for without end.
            if page.is_truncated() != Some(true) || page.next_key_marker().is_none() {
                return Ok(uploads);
            }
            list = list.set_key_marker(page.next_key_marker).set_upload_id_marker(page.next_upload_id_marker);
        }
    }
}

fn timeouts(attempt: Duration) -> TimeoutConfig {
    TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).operation_attempt_timeout(attempt).build()
}

/// What one request does differently.
fn with_timeout(attempt: Duration) -> aws_sdk_s3::config::Builder {
    Config::builder().timeout_config(timeouts(attempt))
}

fn client_config(storage: &StorageConfig, endpoint: &str, keys: Keys) -> Config {
    let custom = (!endpoint.is_empty()).then(|| endpoint.to_owned());
    let mut config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(storage.region.clone()))
        .credentials_provider(keys)
        // The keys look at their files themselves.
        .identity_cache(IdentityCache::no_cache())
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        // It takes a slow line for a dead one; the timeout of an attempt is the better judge.
        .stalled_stream_protection(StalledStreamProtectionConfig::enabled().upload_enabled(false).build())
        .timeout_config(timeouts(Duration::from_secs(storage.request_timeout_s)))
        .retry_config(RetryConfig::disabled())
        .force_path_style(custom.is_some());
    config.set_endpoint_url(custom);
    config.build()
}

fn unquoted(etag: &str) -> String {
    etag.trim_matches('"').to_owned()
}

/// Whether an ETag can be the MD5 of an object.
fn is_md5(etag: &str) -> bool {
    etag.len() == 32 && etag.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Range answers of some servers drop the disposition of the link, so that media carry one, too.
fn disposition(key: &str, about: &About) -> Option<String> {
    let name = key.rsplit('/').next().unwrap_or(key);
    (about.kind != ContentType::JSON).then(|| format!("attachment; filename=\"{name}\""))
}

/// `a=1&b=2`, percent-encoded as RFC 3986 section 2.3 leaves least doubt: all but unreserved characters.
fn query(tags: &BTreeMap<String, String>) -> String {
    let encode = |text: &str| {
        text.bytes().fold(String::new(), |mut encoded, byte| {
            if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
                encoded.push(char::from(byte));
            } else {
                encoded.push_str(&format!("%{byte:02X}"));
            }
            encoded
        })
    };
    let pairs: Vec<_> = tags.iter().map(|(key, value)| format!("{}={}", encode(key), encode(value))).collect();
    pairs.join("&")
}

/// Start and whole size of `bytes 5-9/100`.
fn content_range(header: &str) -> Option<(u64, u64)> {
    let (range, size) = header.strip_prefix("bytes ")?.split_once('/')?;
    Some((range.split_once('-')?.0.parse().ok()?, size.parse().ok()?))
}

/// What went wrong, told apart by who can help: nobody (not there), an operator (refused; denied, if it is about
/// keys and rights), time (unavailable).
fn failure<E>(what: &str, key: &str, error: &SdkError<E>) -> Error
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let what = format!("{what} {key}");
    let Some(response) = error.raw_response() else {
        return Error::Unavailable { what, why: chain(error) };
    };
    let status = response.status().as_u16();
    let meta = error.as_service_error().map(ProvideErrorMetadata::meta);
    let code = meta.and_then(|meta| meta.code());
    if status == 404 && code != Some("NoSuchBucket") {
        return Error::NotFound(key.into());
    }
    let message = meta.and_then(|meta| meta.message()).unwrap_or_default();
    let why = format!("{status} {} {message}", code.unwrap_or_default());
    let slow = code == Some("RequestTimeout");
    // An answer that says yes and cannot be read is damaged.
    if status < 300 || status >= 500 && status != 501 || matches!(status, 408 | 425 | 429) || slow {
        Error::Unavailable { what, why }
    } else if matches!(status, 401 | 403)
        || matches!(code, Some("ExpiredToken" | "InvalidToken" | "TokenRefreshRequired"))
    {
        Error::Denied { what, why }
    } else {
        Error::Refused { what, why }
    }
}

/// The same of an upload that was begun. Only this one code says that it is gone: any other 404 is that of a proxy or of a
/// server in trouble, and what was sent is not given up for it.
fn upload_failure<E>(what: &str, key: &str, error: &SdkError<E>) -> Error
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let code = error.as_service_error().and_then(ProvideErrorMetadata::code);
    match failure(what, key, error) {
        Error::NotFound(_) if code != Some("NoSuchUpload") => {
            let why = format!("404 {}", code.unwrap_or_default());
            Error::Unavailable { what: format!("{what} {key}"), why }
        }
        failure => failure,
    }
}

/// An error with its causes: the outermost of the SDK says nothing but "dispatch failure".
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        push(&mut text, error);
        cause = error.source();
    }
    text
}

fn push(text: &mut String, cause: impl Display) {
    let cause = cause.to_string();
    if !text.contains(&cause) {
        text.push_str(": ");
        text.push_str(&cause);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_encoded() {
        let tags = [("Room 1", "a&b=c"), ("who", "Zoë")].map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(query(&tags.into()), "Room%201=a%26b%3Dc&who=Zo%C3%AB");
    }

    #[test]
    fn etags_of_several_parts_are_no_md5() {
        assert!(is_md5("0cc175b9c0f1b6a831c399e269772661"));
        assert!(!is_md5("96e024ba2074fe77e8e965ba43a704be-2"));
    }
}
