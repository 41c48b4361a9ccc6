//! The recorder link from the recorder's side, by hand: JSON without any type of ours.
// A helper of tests fails the test that calls it.
#![allow(clippy::panic)]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::server::{RECORDER_KEY, Server};
use crate::wire::DEADLINE;

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// A recorder's link. It ends when it is dropped.
pub struct Link {
    say: mpsc::UnboundedSender<String>,
    heard: mpsc::UnboundedReceiver<String>,
    name: &'static str,
}

/// Carries messages, and answers pings however long the test does something else.
async fn carry(mut socket: Socket, mut say: mpsc::UnboundedReceiver<String>, hear: mpsc::UnboundedSender<String>) {
    loop {
        tokio::select! {
            text = say.recv() => match text {
                Some(text) => if socket.send(Message::text(text)).await.is_err() {
                    return;
                },
                None => return,
            },
            message = socket.next() => match message {
                Some(Ok(Message::Text(text))) => if hear.send(text.to_string()).is_err() {
                    return;
                },
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                Some(Ok(_)) => {}
            },
        }
    }
}

impl Link {
    /// A link on which nothing was said yet.
    pub async fn silent(server: &Server, name: &'static str) -> Self {
        let mut request = format!("ws://{}/v1/recorders/ws", server.http()).into_client_request().expect("a request");
        let bearer = format!("Bearer {RECORDER_KEY}").parse().expect("a header");
        request.headers_mut().insert("authorization", bearer);
        let (socket, _) = tokio_tungstenite::connect_async(request).await.expect("connects");
        let (say, said) = mpsc::unbounded_channel();
        let (told, heard) = mpsc::unbounded_channel();
        tokio::spawn(carry(socket, said, told));
        Self { say, heard, name }
    }

    /// A link after its hello; `held` are the recordings that the recorder says to hold.
    pub async fn open(server: &Server, name: &'static str, capacity: u32, held: &[&str]) -> Self {
        let mut link = Self::silent(server, name).await;
        link.say(json!({ "t": "hello", "v": 1, "recorder": name, "capacity": capacity, "recordings": held })).await;
        assert_eq!(link.hear().await["t"], "welcome");
        link
    }

    /// Says anything.
    pub async fn say(&mut self, message: Value) {
        self.say.send(message.to_string()).expect("the link is there");
    }

    /// The server's next message.
    pub async fn hear(&mut self) -> Value {
        let text = timeout(DEADLINE, self.heard.recv()).await.expect("in time").expect("the link is there");
        serde_json::from_str(&text).expect("JSON")
    }

    /// Whether the link is over, and nothing more is said.
    pub async fn ends(&mut self) -> bool {
        timeout(DEADLINE, self.heard.recv()).await.expect("in time").is_none()
    }

    /// Reports a state.
    pub async fn state(&mut self, recording: &str, state: &str) {
        self.say(json!({ "t": "state", "recording": recording, "state": state })).await;
    }

    /// Writes a file and its segment as a recorder would, and reports `ready`.
    pub async fn finish(&mut self, storage: &Path, job: &Value, file: &[u8]) {
        let folder = folder(storage, job);
        let segment = self.segment(job, file.len());
        std::fs::create_dir_all(folder.join("segments")).expect("a folder");
        std::fs::write(folder.join(segment["files"][0]["name"].as_str().expect("a name")), file).expect("written");
        std::fs::write(folder.join("segments").join(format!("{}-0.json", self.name)), segment.to_string())
            .expect("written");
        let id = job["recording"].as_str().expect("an id");
        self.state(id, "finalising").await;
        self.say(json!({ "t": "state", "recording": id, "state": "ready", "segment": segment })).await;
    }

    /// What a recorder tells of its part: one file of this size.
    pub fn segment(&self, job: &Value, size: usize) -> Value {
        json!({
            "v": 1, "recorder": self.name, "recording": job["recording"], "room": job["room"],
            "room_id": job["room_id"], "folder": job["folder"], "started_ms": job["started_ms"], "ended_ms": 1000,
            "files": [{
                "name": format!("p1-av-{}.webm", self.name), "size": size, "sha256_parts": "00", "container": "webm",
                "codecs": ["VP8", "opus"], "participant": "p1", "participant_name": "Ada", "sources": ["mic", "camera"],
                "start_ms": 0, "end_ms": 1000,
            }],
        })
    }

    /// Waits until the server has taken everything that was said.
    pub async fn settle(&mut self) {
        // It answers this, and nothing else so.
        self.say(json!("?")).await;
        while self.hear().await["t"] != "refused" {}
    }
}

/// Where a job's recording lies.
pub fn folder(storage: &Path, job: &Value) -> PathBuf {
    storage.join(job["folder"].as_str().expect("a folder"))
}

/// Asks until the recording has the state.
pub async fn wait_for(server: &Server, id: &str, state: &str) -> Value {
    let until = Instant::now() + DEADLINE;
    loop {
        let answer = server.ask("GET", &format!("/v1/recordings/{id}"), None).await;
        if answer.body["state"] == state {
            return answer.body;
        }
        assert!(Instant::now() < until, "not {state}: {answer:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
