//! A call that is recorded, against a running installation: `recorded-call --url http://localhost:8080 --key KEY`.
//!
//! Two browsers meet in a room, one of them over the relay; the API starts and stops a recording; each file comes down
//! the way that a user's would, and players that are not ours judge it. For installations that tests cannot start
//! themselves: containers, `make run`.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::{Client, Method, StatusCode};
use serde_json::Value;
use tests::browser::Browser;
use tests::guest::Guest;
use tests::media_check;
use tokio::time::{Instant, sleep};

/// How long any one step may take: a small machine encodes two videos meanwhile.
const DEADLINE: Duration = Duration::from_secs(60);

/// How long the call is recorded.
const CALL: Duration = Duration::from_secs(10);

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url_flag, url, key_flag, key] = arguments.as_slice() else { return Err(USAGE.into()) };
    if (url_flag.as_str(), key_flag.as_str()) != ("--url", "--key") {
        return Err(USAGE.into());
    }
    let api = Api { url: url.trim_end_matches('/').to_owned(), key: key.clone(), client: Client::new() };
    let room = format!("call-{}", std::process::id());

    let browser = Browser::launch().await?;
    let ada = Guest::join(&browser, &api.url, &room, "Ada", "").await?;
    let bob = Guest::join(&browser, &api.url, &room, "Bob", "relay=1").await?;
    for (one, other) in [(&ada, &bob), (&bob, &ada)] {
        one.sees(&other.name, 15).await.map_err(|e| format!("{} sees nothing: {e}", one.name))?;
        println!("{} sees {}", one.name, other.name);
    }

    let recording = format!("/v1/rooms/{room}/recording");
    api.call(Method::POST, &recording).await?;
    api.wait(&recording, |state| state["state"] == "recording").await?;
    sleep(CALL).await;
    api.call(Method::DELETE, &recording).await?;
    let recordings = format!("/v1/recordings?room={room}");
    let done = api.wait(&recordings, |list| list["recordings"][0]["state"] == "ready").await?;
    ada.page.close().await?;
    bob.page.close().await?;

    let folder = tempfile::tempdir()?;
    let recording = &done["recordings"][0];
    let names = file_names(recording);
    if names.len() < 2 {
        return Err(format!("a file for each of two participants was expected: {recording}").into());
    }
    for name in names {
        let id = recording["id"].as_str().unwrap_or_default();
        let file = api.download(&format!("/v1/recordings/{id}/files/{name}"), folder.path(), &name).await?;
        judge(&file)?;
    }
    Ok(())
}

const USAGE: &str = "usage: recorded-call --url URL --key KEY";

/// The names of a recording's files, wherever its segments hold them.
fn file_names(recording: &Value) -> Vec<String> {
    let own = recording["files"].as_array().into_iter().flatten();
    let segments = recording["segments"].as_array().into_iter().flatten();
    let files = own.chain(segments.flat_map(|segment| segment["files"].as_array().into_iter().flatten()));
    files.filter_map(|file| file["name"].as_str()).map(str::to_owned).collect()
}

/// Whole, playable, with picture and sound over the time of the call.
fn judge(file: &Path) -> Result<()> {
    let probe = media_check::probe(file)?;
    let duration = probe.duration.ok_or("the file has no duration")?;
    for kind in ["video", "audio"] {
        let stream = probe.stream(kind).ok_or_else(|| format!("{}: no {kind}", file.display()))?;
        println!("{}: {} {} packets in {duration:.1} s", file.display(), stream.codec, stream.packets);
    }
    if duration < CALL.as_secs_f64() - 2.0 {
        return Err(format!("{}: {duration} s of a call of {CALL:?}", file.display()).into());
    }
    media_check::check_all(file)?;
    Ok(())
}

/// The REST API, with the installation's key.
struct Api {
    url: String,
    key: String,
    client: Client,
}

impl Api {
    async fn call(&self, method: Method, path: &str) -> Result<Value> {
        let request = self.client.request(method.clone(), format!("{}{path}", self.url)).bearer_auth(&self.key);
        let response = request.send().await?;
        let (status, body) = (response.status(), response.text().await?);
        if !status.is_success() {
            return Err(format!("{method} {path}: {status}: {body}").into());
        }
        Ok(serde_json::from_str(&body).unwrap_or(Value::Null))
    }

    /// Asks until the answer is as wanted.
    async fn wait(&self, path: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let answer = self.call(Method::GET, path).await?;
            if wanted(&answer) {
                return Ok(answer);
            }
            if Instant::now() > deadline {
                return Err(format!("GET {path}: still {answer}").into());
            }
            sleep(Duration::from_millis(200)).await;
        }
    }

    /// Fetches a file; the client follows the redirect to the storage, without our key.
    async fn download(&self, path: &str, folder: &Path, name: &str) -> Result<PathBuf> {
        let request = self.client.get(format!("{}{path}", self.url)).bearer_auth(&self.key);
        let response = request.send().await?;
        println!("{name} comes from {}", response.url().origin().ascii_serialization());
        if response.status() != StatusCode::OK {
            return Err(format!("{path}: {}: {}", response.status(), response.text().await?).into());
        }
        let file = folder.join(name);
        tokio::fs::write(&file, response.bytes().await?).await?;
        Ok(file)
    }
}
