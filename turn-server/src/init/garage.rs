//! Our key and bucket in garage, through its admin API (version 2).
//!
//! Garage must be a single node whose layout is there (`garage server --single-node`). Each step is accepted when an
//! earlier run already did it.

use std::path::Path;

use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{InitError, secrets};
use crate::plain_http;

/// The answer of `GetBucketInfo`, as far as it matters.
#[derive(Deserialize)]
struct Bucket {
    id: String,
}

/// Imports our key, makes the bucket and lets the key use it.
///
/// # Errors
/// [`InitError`].
pub(super) async fn prepare(url: &str, bucket: &str, folder: &Path) -> Result<Vec<String>, InitError> {
    let admin = Admin { url: url.trim_end_matches('/'), token: secrets::read(folder, secrets::GARAGE_ADMIN_TOKEN)? };
    let key = secrets::read(folder, secrets::STORAGE_ACCESS_KEY)?;
    let secret = secrets::read(folder, secrets::STORAGE_SECRET_KEY)?;
    let mut done = Vec::new();

    let import = json!({ "accessKeyId": key, "secretAccessKey": secret, "name": "tern" });
    if admin.post("ImportKey", &import).await? == Outcome::Made {
        done.push("garage: imported the storage key".to_owned());
    }
    if admin.post("CreateBucket", &json!({ "globalAlias": bucket })).await? == Outcome::Made {
        done.push(format!("garage: made the bucket {bucket}"));
    }
    let Bucket { id } = admin.bucket(bucket).await?;
    let permissions = json!({ "read": true, "write": true, "owner": true });
    let allow = json!({ "bucketId": id, "accessKeyId": key, "permissions": permissions });
    admin.post("AllowBucketKey", &allow).await?;
    Ok(done)
}

/// What a step found.
#[derive(PartialEq, Eq)]
enum Outcome {
    Made,
    WasThere,
}

/// Garage's admin API.
struct Admin<'a> {
    url: &'a str,
    token: String,
}

impl Admin<'_> {
    async fn post(&self, verb: &'static str, body: &Value) -> Result<Outcome, InitError> {
        let url = format!("{}/v2/{verb}", self.url);
        match plain_http::request(Method::POST, &url, Some(&self.token), Some(body.to_string())).await? {
            (200..300, _) => Ok(Outcome::Made),
            (409, _) => Ok(Outcome::WasThere),
            (status, body) => Err(InitError::Refused { verb, status, body }),
        }
    }

    async fn bucket(&self, name: &str) -> Result<Bucket, InitError> {
        let verb = "GetBucketInfo";
        let url = format!("{}/v2/{verb}?globalAlias={name}", self.url);
        let (status, body) = plain_http::request(Method::GET, &url, Some(&self.token), None).await?;
        serde_json::from_str(&body).ok().filter(|_| status == 200).ok_or(InitError::Refused { verb, status, body })
    }
}
