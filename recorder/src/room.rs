//! A rooms/1 connection: requests out, replies and events in. A recorder's session ends with its socket.
//!
//! What the events mean for a recording is not decided here.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use signalling::code::Code;
use signalling::id::RoomName;
use signalling::message::client::{Join, Media};
use signalling::message::server::{Failure, Success, Welcome};
use signalling::message::{ClientFrame, Event, EventFrame, Reply, ReplyFrame, Request, VERSION};
use std::net::IpAddr;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_tungstenite::tungstenite::Message;

use crate::dial::{DialError, Socket, Target};

/// A request that has no reply by then never gets one.
const REPLY_TIMEOUT: Duration = Duration::from_secs(5);
/// A socket that is silent this long is dead: before the server has given the room to somebody else, which takes it four
/// seconds, and before a session takes the silence for the participants' (2.5 s).
const SILENCE: Duration = Duration::from_millis(2400);
/// Our pings.
const PING: Duration = Duration::from_millis(800);
/// The answer to a ping takes less, or anything else does.
const ANSWER: Duration = SILENCE.saturating_sub(PING);
/// Who wakes so late has stood still itself, and asks again.
const LATE: Duration = Duration::from_millis(400);

/// Why there is no connection to a room.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RoomError {
    /// No WebSocket.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The room said no.
    #[error("{code}: {message}")]
    Refused {
        /// Why, for programs.
        code: Code,
        /// Why, for people.
        message: String,
    },
    /// The socket broke.
    #[error("the connection to the room is lost: {0}")]
    Lost(String),
}

impl RoomError {
    fn refused(failure: Failure) -> Self {
        Self::Refused { code: failure.code, message: failure.msg }
    }

    fn lost(why: impl ToString) -> Self {
        Self::Lost(why.to_string())
    }
}

/// Something from the room.
#[derive(Debug)]
pub(crate) enum Heard {
    /// The reply to the request of this id.
    Reply(u64, Result<Box<Success>, Failure>),
    /// An event.
    Event(Event),
}

/// A joined room.
pub(crate) struct Room {
    socket: Socket,
    next_id: u64,
    heard: Instant,
    next_ping: Instant,
    /// When the first ping was sent that nothing came after.
    asked: Option<Instant>,
    /// By which of our addresses the server is reached.
    pub(crate) local: IpAddr,
}

impl Room {
    /// Joins, without media.
    ///
    /// # Errors
    /// [`RoomError`].
    pub(crate) async fn join(target: &Target, name: &RoomName, token: &str) -> Result<(Self, Welcome), RoomError> {
        let path = format!("/v1/rooms/{name}/ws");
        let connection = target.connect(&path, false).await?;
        let now = Instant::now();
        let mut room = Self {
            socket: connection.socket,
            next_id: 1,
            heard: now,
            next_ping: now + PING,
            asked: None,
            local: connection.local.ip(),
        };
        let join = Join {
            v: VERSION,
            room: name.clone(),
            token: Some(token.to_owned()),
            name: None,
            key: None,
            proof: None,
            media: Media::default(),
        };
        let id = room.request(Request::Join(join)).await?;
        let success = room.reply_to(id).await?;
        let welcome = success.welcome.ok_or_else(|| RoomError::lost("the reply to join has no welcome"))?;
        Ok((room, welcome))
    }

    /// Sends a request and returns its id.
    ///
    /// # Errors
    /// [`RoomError::Lost`].
    pub(crate) async fn request(&mut self, request: Request) -> Result<u64, RoomError> {
        let id = self.next_id;
        self.next_id += 1;
        let text = serde_json::to_string(&ClientFrame { id, request }).map_err(RoomError::lost)?;
        timeout(REPLY_TIMEOUT, self.socket.send(Message::text(text)))
            .await
            .map_err(RoomError::lost)?
            .map_err(RoomError::lost)?;
        Ok(id)
    }

    /// Waits for the reply to a request. An event before it is dropped: the snapshot in the reply is newer.
    async fn reply_to(&mut self, id: u64) -> Result<Box<Success>, RoomError> {
        let deadline = Instant::now() + REPLY_TIMEOUT;
        loop {
            match timeout_at(deadline, self.next()).await.map_err(RoomError::lost)?? {
                Heard::Reply(of, reply) if of == id => return reply.map_err(RoomError::refused),
                Heard::Reply(..) | Heard::Event(_) => {}
            }
        }
    }

    /// When the room last said anything.
    pub(crate) fn heard(&self) -> std::time::Instant {
        self.heard.into_std()
    }

    /// The next thing from the room. Cancel-safe.
    ///
    /// # Errors
    /// [`RoomError::Lost`].
    pub(crate) async fn next(&mut self) -> Result<Heard, RoomError> {
        loop {
            let answer = self.asked.map(|asked| asked + ANSWER);
            let until = answer.map_or(self.next_ping, |answer| answer.min(self.next_ping));
            let Ok(message) = timeout_at(until, self.socket.next()).await else {
                let now = Instant::now();
                if answer.is_some_and(|answer| answer <= now) {
                    if now < until + LATE {
                        return Err(RoomError::lost("silence"));
                    }
                    self.asked = None;
                }
                self.asked.get_or_insert(now);
                self.next_ping = now + PING;
                self.socket.send(Message::Ping(Vec::new().into())).await.map_err(RoomError::lost)?;
                continue;
            };
            let message = message.ok_or_else(|| RoomError::lost("closed"))?.map_err(RoomError::lost)?;
            (self.heard, self.asked) = (Instant::now(), None);
            match message {
                Message::Text(text) => {
                    if let Some(heard) = self.read(&text) {
                        return Ok(heard);
                    }
                }
                Message::Close(frame) => {
                    return Err(RoomError::lost(frame.map_or_else(|| "closed".into(), |frame| frame.to_string())));
                }
                _ => {}
            }
        }
    }

    fn read(&mut self, text: &str) -> Option<Heard> {
        if let Ok(frame) = serde_json::from_str::<ReplyFrame>(text) {
            let reply = match frame.reply {
                Reply::Ok(success) => Ok(success),
                Reply::Err(failure) => Err(failure),
            };
            return Some(Heard::Reply(frame.id, reply));
        }
        // An event that this version does not know is none of our business.
        let frame = serde_json::from_str::<EventFrame>(text).ok()?;
        Some(Heard::Event(frame.event))
    }

    /// Leaves for good.
    pub(crate) async fn leave(mut self) {
        let bye = Request::Bye(signalling::message::client::Bye { reason: "recording stopped".into() });
        // The session would end by itself a little later.
        if self.request(bye).await.is_ok() {
            let _ = timeout(Duration::from_secs(1), self.socket.close(None)).await;
        }
    }
}
