//! Storage in an S3 bucket, in the dialect that all servers speak: path-style addresses on custom endpoints, no checksum
//! algorithm beyond what an operation requires, ETags compared with our own MD5.

use std::fmt::Display;
use std::ops::Range;
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Config, Region, RequestChecksumCalculation, ResponseChecksumValidation,
    StalledStreamProtectionConfig,
};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart, ServerSideEncryption};
use bytes::Bytes;

use super::{ContentType, Download, Error, Object, Part, StorageConfig, Upload, md5_hex};

/// A part of 8 MiB passes in this time on a line of 1.2 Mbit/s; slower than that is taken for dead.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(60);

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
}

impl S3 {
    pub(super) fn open(config: &StorageConfig) -> Result<Self, Error> {
        for (name, value) in [("bucket", &config.bucket), ("region", &config.region)] {
            if value.is_empty() {
                return Err(Error::Config(format!("{name} is empty; kind = \"s3\" needs it")));
            }
        }
        let access_key = secret("access_key", &config.access_key, config.access_key_file.as_deref())?;
        let secret_key = secret("secret_key", &config.secret_key, config.secret_key_file.as_deref())?;
        let credentials = Credentials::new(access_key, secret_key, None, None, "configuration");
        let client = |name: &str, endpoint: &str| -> Result<Client, Error> {
            if !endpoint.is_empty() {
                let uri: http::Uri = endpoint
                    .parse()
                    .map_err(|error| Error::Config(format!("{name} = {endpoint:?} is not a URL: {error}")))?;
                if uri.scheme().is_none() || uri.authority().is_none() {
                    return Err(Error::Config(format!("{name} = {endpoint:?} must be http://HOST or https://HOST")));
                }
            }
            Ok(Client::from_conf(client_config(&config.region, endpoint, credentials.clone())))
        };
        let public = if config.public_endpoint.is_empty() { &config.endpoint } else { &config.public_endpoint };
        Ok(Self {
            client: client("endpoint", &config.endpoint)?,
            public: client("public_endpoint", public)?,
            bucket: config.bucket.clone(),
            prefix: if config.prefix.is_empty() { String::new() } else { format!("{}/", config.prefix) },
        })
    }

    fn key(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    pub(super) async fn put(&self, key: &str, bytes: Bytes, kind: ContentType) -> Result<(), Error> {
        let sent = md5_hex(&bytes);
        let put = self.client.put_object().bucket(&self.bucket).key(self.key(key)).content_type(kind.0);
        let done = put.body(ByteStream::from(bytes)).send().await.map_err(|error| failure("write", key, &error))?;
        compare(key, done.e_tag(), done.server_side_encryption(), &sent)
    }

    pub(super) async fn read(&self, key: &str, range: Option<Range<u64>>) -> Result<Download, Error> {
        let header = range.map(|range| format!("bytes={}-{}", range.start, range.end - 1));
        let get = self.client.get_object().bucket(&self.bucket).key(self.key(key)).set_range(header);
        let got = get.send().await.map_err(|error| failure("read", key, &error))?;
        let length = got.content_length().and_then(|length| u64::try_from(length).ok()).unwrap_or(0);
        let (start, size) = got.content_range().and_then(content_range).unwrap_or((0, length));
        Ok(Download { size, range: start..start + length, body: Box::pin(got.body.into_async_read()) })
    }

    pub(super) async fn head(&self, key: &str) -> Result<Option<Object>, Error> {
        let head = self.client.head_object().bucket(&self.bucket).key(self.key(key));
        match head.send().await {
            Ok(head) => Ok(Some(Object {
                key: key.into(),
                size: head.content_length().and_then(|size| u64::try_from(size).ok()).unwrap_or(0),
                etag: head.e_tag().map(unquoted),
            })),
            Err(error) => match failure("look at", key, &error) {
                Error::NotFound(_) => Ok(None),
                other => Err(other),
            },
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

    pub(super) async fn create_upload(&self, key: &str, kind: ContentType) -> Result<String, Error> {
        // A range answer of some servers drops the disposition of the link, so that the object carries one, too.
        let name = key.rsplit('/').next().unwrap_or(key);
        let create = self.client.create_multipart_upload().bucket(&self.bucket).key(self.key(key)).content_type(kind.0);
        let create = create.content_disposition(format!("attachment; filename=\"{name}\""));
        let created = create.send().await.map_err(|error| failure("begin uploading", key, &error))?;
        let no_id = || Error::Refused { what: format!("begin uploading {key}"), why: "it gave no upload id".into() };
        created.upload_id().map(str::to_owned).ok_or_else(no_id)
    }

    pub(super) async fn upload_part(
        &self,
        key: &str,
        upload: &str,
        number: u32,
        bytes: Bytes,
    ) -> Result<String, Error> {
        let sent = md5_hex(&bytes);
        let part = self.client.upload_part().bucket(&self.bucket).key(self.key(key)).upload_id(upload);
        let part = part.part_number(number as i32).body(ByteStream::from(bytes));
        let done = part.send().await.map_err(|error| failure("upload", key, &error))?;
        compare(key, done.e_tag(), done.server_side_encryption(), &sent)?;
        Ok(done.e_tag().map_or(sent, unquoted))
    }

    pub(super) async fn list_parts(&self, key: &str, upload: &str) -> Result<Vec<Part>, Error> {
        let mut parts = Vec::new();
        let list = self.client.list_parts().bucket(&self.bucket).key(self.key(key)).upload_id(upload);
        let mut pages = list.into_paginator().send();
        while let Some(page) = pages.next().await {
            for part in page.map_err(|error| failure("list the parts of", key, &error))?.parts() {
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
        complete.multipart_upload(parts).send().await.map_err(|error| failure("complete", key, &error))?;
        Ok(())
    }

    pub(super) async fn abort_upload(&self, key: &str, upload: &str) -> Result<(), Error> {
        let abort = self.client.abort_multipart_upload().bucket(&self.bucket).key(self.key(key)).upload_id(upload);
        match abort.send().await.map_err(|error| failure("give up", key, &error)) {
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
                    uploads.push(Upload { key: key.into(), id: id.into() });
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

fn client_config(region: &str, endpoint: &str, credentials: Credentials) -> Config {
    let timeouts = TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).operation_attempt_timeout(ATTEMPT_TIMEOUT);
    let custom = (!endpoint.is_empty()).then(|| endpoint.to_owned());
    let mut config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(region.to_owned()))
        .credentials_provider(credentials)
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        // It takes a slow line for a dead one; the timeout of an attempt is the better judge.
        .stalled_stream_protection(StalledStreamProtectionConfig::enabled().upload_enabled(false).build())
        .timeout_config(timeouts.build())
        .retry_config(RetryConfig::disabled())
        .force_path_style(custom.is_some());
    config.set_endpoint_url(custom);
    config.build()
}

/// The value of a secret: the key itself, or the content of its file.
fn secret(name: &str, value: &str, file: Option<&std::path::Path>) -> Result<String, Error> {
    let text = match file {
        Some(file) if value.is_empty() => std::fs::read_to_string(file)
            .map_err(|error| Error::Config(format!("{name}_file: {}: {error}", file.display())))?,
        _ => value.to_owned(),
    };
    let text = text.trim();
    if text.is_empty() {
        return Err(Error::Config(format!("{name} is empty; kind = \"s3\" needs it or {name}_file")));
    }
    Ok(text.to_owned())
}

fn unquoted(etag: &str) -> String {
    etag.trim_matches('"').to_owned()
}

/// An ETag is the MD5 of what was sent, unless the bucket encrypts with a key of its own.
fn compare(key: &str, etag: Option<&str>, encryption: Option<&ServerSideEncryption>, sent: &str) -> Result<(), Error> {
    let opaque = matches!(encryption, Some(ServerSideEncryption::AwsKms | ServerSideEncryption::AwsKmsDsse));
    match etag.map(unquoted) {
        Some(got) if got != sent && !opaque => Err(Error::Digest { key: key.into(), got, sent: sent.into() }),
        _ => Ok(()),
    }
}

/// Start and whole size of `bytes 5-9/100`.
fn content_range(header: &str) -> Option<(u64, u64)> {
    let (range, size) = header.strip_prefix("bytes ")?.split_once('/')?;
    Some((range.split_once('-')?.0.parse().ok()?, size.parse().ok()?))
}

/// What went wrong, told apart by who can help: nobody (not there), an operator (refused), time (unavailable).
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
    if status >= 500 && status != 501 || matches!(status, 408 | 425 | 429) {
        Error::Unavailable { what, why }
    } else {
        Error::Refused { what, why }
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
