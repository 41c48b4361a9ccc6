//! One WebSocket of rooms/1: reading with limits, writing from its outbox, and the end of its session with it.

use service::log::Address;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, close_code};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use rand::RngExt as _;
use serde_json::Value;
use signalling::RoomName;
use signalling::code::{Code, Refusal};
use signalling::message::server::LeaveAction;
use signalling::message::{ClientFrame, Event, MAX_FRAME, VERSION};
use tokio::time::{Instant, timeout};

use super::limits::SocketLimit;
use super::outbox::{Outbox, OutboxEnd, Outgoing, outbox};
use super::requests::{Client, Then};
use super::session::Stage;
use crate::app::App;

/// How long a socket may be without a `join` that succeeded.
const JOIN_WITHIN: Duration = Duration::from_secs(10);

/// How often we ping, so that proxies see traffic and dead sockets are noticed.
const PING_EVERY: Duration = Duration::from_secs(20);

/// Silence after which a socket is dead: two pings without a pong.
const SILENCE: Duration = Duration::from_secs(45);

/// How long one frame may take to be written.
const WRITE_WITHIN: Duration = Duration::from_secs(10);

/// How long the goodbye may take.
const CLOSE_WITHIN: Duration = Duration::from_secs(2);

/// Serves a socket until it ends.
pub(crate) async fn serve(app: Arc<App>, socket: WebSocket, room: RoomName, address: IpAddr, host: String) {
    let _open = app.metrics.sockets.enter();
    let (outbox, end) = outbox();
    let (sink, stream) = socket.split();
    let writer = tokio::spawn(write(sink, end, outbox.clone()));
    let nonce = nonce();
    let features = app.features();
    outbox.hello(Event::Hello { v: vec![VERSION], features, nonce: nonce.clone() });
    let mut client = Client { app: app.clone(), room, address, host, nonce, outbox: outbox.clone(), session: None };
    read(&mut client, stream).await;
    if let Some(session) = client.session.take() {
        app.hub.leave(&session);
    }
    outbox.close();
    if timeout(CLOSE_WITHIN, writer).await.is_err() {
        outbox.cut.cancel();
    }
}

fn nonce() -> String {
    let bytes: [u8; 16] = rand::rng().random();
    service::storage::hex(&bytes)
}

async fn read(client: &mut Client, mut stream: SplitStream<WebSocket>) {
    let limit = SocketLimit::new();
    let join_until = Instant::now() + JOIN_WITHIN;
    let cut = client.outbox.cut.clone();
    loop {
        let joined = is_in(client);
        let until = if joined { Instant::now() + SILENCE } else { join_until };
        let message = tokio::select! {
            () = cut.cancelled() => return,
            () = tokio::time::sleep_until(until) => {
                if !joined && is_in(client) {
                    continue;
                }
                expire(client, joined);
                return;
            }
            message = stream.next() => message,
        };
        let then = match message {
            Some(Ok(Message::Text(text))) => match limit.check() {
                Ok(()) => handle_text(client, &text),
                Err(refusal) => refuse(client, &text, refusal),
            },
            Some(Ok(Message::Binary(_))) => {
                client.outbox.reply(0, Err(Refusal::new(Code::BadRequest, "frames are JSON text")));
                Then::Continue
            }
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => Then::Continue,
            Some(Ok(Message::Close(_))) | None => return,
            Some(Err(error)) => {
                end_of_stream(client, &error);
                return;
            }
        };
        if then == Then::Close {
            return;
        }
    }
}

fn is_in(client: &Client) -> bool {
    client.session.as_ref().is_some_and(|session| session.stage() == Stage::In)
}

/// A deadline passed.
fn expire(client: &Client, joined: bool) {
    let msg = if joined { "no sign of life" } else { "no join within 10 s" };
    client.outbox.event(Event::Leave { reason: Code::Timeout, action: LeaveAction::Rejoin, msg: msg.into() });
}

fn end_of_stream(client: &Client, error: &axum::Error) {
    use std::error::Error as _;
    let cause = error.source().map(ToString::to_string).unwrap_or_default();
    tracing::debug!(address = %Address(client.address), %error, %cause, "a socket failed");
    if cause.contains("too long") || cause.contains("Space limit") || cause.contains("too big") {
        client.outbox.reply(0, Err(Refusal::new(Code::TooLarge, format!("a frame may have {MAX_FRAME} bytes"))));
    } else {
        client.outbox.reply(0, Err(Refusal::new(Code::BadRequest, "this is not the WebSocket protocol")));
    }
}

fn handle_text(client: &mut Client, text: &Utf8Bytes) -> Then {
    match serde_json::from_str::<ClientFrame>(text) {
        Ok(frame) => client.handle(frame),
        Err(error) => refuse(client, text, Refusal::new(Code::BadRequest, error.to_string())),
    }
}

/// Refuses a frame that was not (or could not be) read, under its id if it has one.
fn refuse(client: &Client, text: &str, refusal: Refusal) -> Then {
    let id = serde_json::from_str::<Value>(text).ok().and_then(|value| value.get("id").and_then(Value::as_u64));
    client.outbox.reply(id.unwrap_or(0), Err(refusal));
    Then::Continue
}

async fn write(mut sink: SplitSink<WebSocket, Message>, mut end: OutboxEnd, outbox: Outbox) {
    let mut ping = tokio::time::interval_at(Instant::now() + PING_EVERY, PING_EVERY);
    loop {
        let message = tokio::select! {
            () = outbox.cut.cancelled() => return,
            next = end.next() => match next {
                Some(Outgoing::Text(text)) => Message::Text(text.into()),
                Some(Outgoing::Close) | None => break,
            },
            _ = ping.tick() => Message::Ping(bytes::Bytes::new()),
        };
        let written = timeout(WRITE_WITHIN, sink.send(message)).await;
        if !matches!(written, Ok(Ok(()))) {
            outbox.cut.cancel();
            return;
        }
    }
    let frame = CloseFrame { code: close_code::NORMAL, reason: Utf8Bytes::from_static("") };
    let _ = timeout(CLOSE_WITHIN, sink.send(Message::Close(Some(frame)))).await;
    // The reader may still wait for a client that never answers a close.
    outbox.cut.cancel();
}
