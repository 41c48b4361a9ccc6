//! rooms/1 by hand: a WebSocket and JSON, without any type of ours, so that the wire itself is tested.
// A helper of tests fails the test that calls it.
#![allow(clippy::panic)]

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// How long anything may take.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// A client.
pub struct Wire {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// The room of the URL.
    pub room: String,
    /// The server's first frame.
    pub hello: Value,
    events: VecDeque<Value>,
    next: u64,
}

impl Wire {
    /// Opens a socket and waits for `hello`.
    pub async fn open(server: SocketAddr, room: &str) -> Self {
        let url = format!("ws://{server}/v1/rooms/{room}/ws");
        let (socket, _) =
            timeout(DEADLINE, tokio_tungstenite::connect_async(url)).await.expect("in time").expect("opens");
        let mut wire = Self { socket, room: room.into(), hello: Value::Null, events: VecDeque::new(), next: 0 };
        wire.hello = wire.frame().await.expect("hello");
        assert_eq!(wire.hello["t"], "hello");
        wire
    }

    /// Opens and joins without media; `fields` are laid over the join.
    pub async fn join(server: SocketAddr, room: &str, fields: Value) -> (Self, Value) {
        let mut wire = Self::open(server, room).await;
        let welcome = wire.try_join(fields).await;
        assert_eq!(welcome["t"], "ok", "{welcome}");
        (wire, welcome)
    }

    /// Joins and returns the reply.
    pub async fn try_join(&mut self, fields: Value) -> Value {
        let mut join = json!({ "v": 1, "room": self.room });
        lay(&mut join, fields);
        self.ask("join", join).await
    }

    /// Sends text as it is.
    pub async fn send_raw(&mut self, text: impl Into<String>) {
        self.socket.send(Message::text(text.into())).await.expect("sent");
    }

    /// Sends any message.
    pub async fn send(&mut self, message: Message) -> Result<(), tungstenite::Error> {
        self.socket.send(message).await
    }

    /// Sends a request and returns its id.
    pub async fn request(&mut self, t: &str, fields: Value) -> u64 {
        self.next += 1;
        let mut frame = json!({ "t": t, "id": self.next });
        lay(&mut frame, fields);
        self.send_raw(frame.to_string()).await;
        self.next
    }

    /// Sends a request and returns its reply; events that come before it are kept.
    pub async fn ask(&mut self, t: &str, fields: Value) -> Value {
        let id = self.request(t, fields).await;
        self.reply(id).await
    }

    /// The reply to a request.
    pub async fn reply(&mut self, id: u64) -> Value {
        loop {
            let frame = self.frame().await.unwrap_or_else(|| panic!("the socket closed before the reply to {id}"));
            if matches!(frame["t"].as_str(), Some("ok" | "err")) {
                assert_eq!(frame["id"], id, "{frame}");
                return frame;
            }
            self.events.push_back(frame);
        }
    }

    /// The code with which a request is refused.
    pub async fn refused(&mut self, t: &str, fields: Value) -> String {
        let reply = self.ask(t, fields).await;
        assert_eq!(reply["t"], "err", "{reply}");
        reply["code"].as_str().expect("a code").to_owned()
    }

    /// The next event of a type; others before it are dropped.
    pub async fn event(&mut self, t: &str) -> Value {
        loop {
            let frame = match self.events.pop_front() {
                Some(frame) => frame,
                None => self.frame().await.unwrap_or_else(|| panic!("the socket closed before an event {t}")),
            };
            if frame["t"] == t {
                return frame;
            }
        }
    }

    /// Events that came before replies, and nobody asked for yet.
    pub fn kept(&self) -> impl Iterator<Item = &Value> {
        self.events.iter()
    }

    /// The next frame; `None` when the socket is closed.
    pub async fn frame(&mut self) -> Option<Value> {
        loop {
            match timeout(DEADLINE, self.socket.next()).await.expect("a frame in time") {
                Some(Ok(Message::Text(text))) => return Some(serde_json::from_str(&text).expect("JSON")),
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(_)) => {}
            }
        }
    }

    /// Reads until the socket closes; returns what came before, kept events first.
    pub async fn rest(&mut self) -> Vec<Value> {
        let mut frames: Vec<_> = self.events.drain(..).collect();
        while let Some(frame) = self.frame().await {
            frames.push(frame);
        }
        frames
    }
}

fn lay(base: &mut Value, fields: Value) {
    if let (Some(base), Value::Object(fields)) = (base.as_object_mut(), fields) {
        base.extend(fields);
    }
}
