//! What each request of a socket leads to. Every request is answered exactly once, here or by the hub when the worker replies.

use std::net::IpAddr;
use std::sync::Arc;

use sfu::Command;
use signalling::RoomName;
use signalling::code::{Code, Refusal};
use signalling::message::client::{Bye, Join, Message, Moderation, Offer, Signal, Sub};
use signalling::message::server::Success;
use signalling::message::{ClientFrame, Request};

use super::directory::NewRoom;
use super::door;
use super::hub::{Waiter, WelcomeParts};
use super::outbox::Outbox;
use super::session::{Session, Stage, Who};
use super::translate;
use crate::app::App;

/// The longest topic of a `msg`, in bytes.
const MAX_TOPIC: usize = 128;

/// Wishes in one `sub`, receivers of one `msg`, tracks of one offer.
const MAX_LIST: usize = 1024;

/// One socket, as far as its requests need it.
pub(crate) struct Client {
    pub(crate) app: Arc<App>,
    pub(crate) room: RoomName,
    pub(crate) address: IpAddr,
    pub(crate) host: String,
    pub(crate) nonce: String,
    pub(crate) outbox: Outbox,
    pub(crate) session: Option<Arc<Session>>,
}

/// Whether the socket goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    Continue,
    Close,
}

impl Client {
    /// Answers a request or passes it on.
    pub(crate) fn handle(&mut self, frame: ClientFrame) -> Then {
        let id = frame.id;
        let result = match frame.request {
            Request::Join(join) => self.join(id, join),
            Request::Resume(_) => Err(Refusal::new(Code::SessionGone, "a session ends with its socket: join again")),
            request => self.with_session().cloned().and_then(|session| match request {
                Request::Bye(bye) => goodbye(self, id, &session, &bye),
                request => self.pass(id, &session, request),
            }),
        };
        match result {
            Ok(then) => then,
            Err(refusal) => {
                self.outbox.reply(id, Err(refusal));
                Then::Continue
            }
        }
    }

    fn with_session(&self) -> Result<&Arc<Session>, Refusal> {
        self.session
            .as_ref()
            .filter(|session| session.stage() != Stage::Out)
            .ok_or_else(|| Refusal::new(Code::NotInRoom, "join first"))
    }

    fn join(&mut self, frame: u64, join: Join) -> Result<Then, Refusal> {
        if self.with_session().is_ok() {
            return Err(Refusal::new(Code::AlreadyInRoom, "this socket has joined already"));
        }
        self.app.limits.load().join(self.address)?;
        if self.app.hub.is_draining() {
            return Err(Refusal::new(Code::Draining, "the server stops; join again in a moment"));
        }
        let who = match door::identify(&self.app, &self.room, &self.nonce, &join) {
            Ok(who) => who,
            Err(refusal) => {
                self.app.metrics.joins_refused.get_or_create(&refusal.code.into()).inc();
                self.app.limits.load().failure(self.address)?;
                return Err(refusal);
            }
        };
        check_list(join.media.tracks.len(), "tracks")?;
        let offer = translate::offer(join.media, 1, None)?;
        self.enter(frame, who, offer)
    }

    fn enter(&mut self, frame: u64, who: Who, offer: Option<sfu::command::Offer>) -> Result<Then, Refusal> {
        let app = &self.app;
        let mut directory = app.hub.directory();
        let replaced = door::check_presence(&directory, &self.room, &who)?;
        if !directory.rooms.contains_key(&self.room) {
            if !app.config().rooms.create_on_join {
                return Err(Refusal::new(Code::RoomNotFound, format!("there is no room {}", self.room)));
            }
            app.hub.open(&mut directory, &self.room, NewRoom::by_joining(&app.config()))?;
        }
        let participant = directory.next_participant();
        let Some(room) = directory.rooms.get(&self.room) else { return Err(Code::RoomNotFound.into()) };
        let (room_id, worker, mode) = (room.id, room.worker, room.settings.mode);
        if mode == sfu::command::Mode::Mesh && offer.as_ref().is_some_and(|offer| offer.sdp.is_some()) {
            return Err(Refusal::new(Code::SfuDisabled, "this is a mesh room: join without an offer"));
        }
        let session = Arc::new(Session::new(participant, self.room.clone(), worker, who, self.outbox.clone()));
        let welcome = Box::new(WelcomeParts {
            features: app.features(),
            ice: app.ice_servers(&self.host, &participant.to_string()),
            api_token: app.api_token(&session)?,
        });
        for old in replaced {
            app.hub.supersede(&mut directory, old);
        }
        directory.enter(&session);
        let waiter = Waiter::Join { session: session.clone(), frame, welcome };
        // The lock is held until the command is sent, so that the room cannot be closed in between.
        let who = &session.who;
        let (name, permissions) = (who.name.clone(), translate::permissions(&who.grants));
        app.hub.ask_under(Some(directory), worker, waiter, |request| Command::Join {
            request,
            room: room_id,
            participant,
            name,
            permissions,
            offer,
        });
        self.session = Some(session);
        Ok(Then::Continue)
    }

    fn pass(&self, frame: u64, session: &Arc<Session>, request: Request) -> Result<Then, Refusal> {
        let participant = session.participant;
        let waiter = Waiter::Client { session: session.clone(), frame };
        let hub = &self.app.hub;
        let ask =
            |waiter, command: Box<dyn FnOnce(sfu::RequestId) -> Command>| hub.ask(session.worker, waiter, command);
        match request {
            Request::Offer(offer) => {
                let offer = self.offer(session, offer)?;
                ask(waiter, Box::new(move |request| Command::Offer { request, participant, offer }));
            }
            Request::Sub(Sub { tracks }) => {
                check_list(tracks.len(), "tracks")?;
                let wishes = tracks.iter().map(translate::wish).collect::<Result<_, _>>()?;
                ask(waiter, Box::new(move |request| Command::Subscribe { request, participant, wishes }));
            }
            Request::Mute(mute) => {
                let track = translate::track(&mute.track)?;
                let muted = mute.muted;
                ask(waiter, Box::new(move |request| Command::Mute { request, participant, track, muted }));
            }
            Request::Msg(message) => {
                let command = message_command(participant, &message)?;
                ask(waiter, Box::new(command));
            }
            Request::Sig(signal) => {
                let command = signal_command(participant, signal)?;
                ask(waiter, Box::new(command));
            }
            Request::Mod(moderation) => self.moderate(session, waiter, frame, &moderation)?,
            Request::Join(_) | Request::Resume(_) | Request::Bye(_) => return Err(Code::Internal.into()),
        }
        Ok(Then::Continue)
    }

    fn offer(&self, session: &Session, offer: Offer) -> Result<sfu::command::Offer, Refusal> {
        check_list(offer.media.tracks.len(), "tracks")?;
        let only = offer.peer.as_ref().map(translate::participant).transpose()?;
        if only.is_some() && !session.who.grants.recorder {
            return Err(Refusal::new(Code::Forbidden, "a transport for one participant needs the grant `recorder`"));
        }
        let directory = self.app.hub.directory();
        let mesh = directory.rooms.get(&session.room).is_some_and(|r| r.settings.mode == sfu::command::Mode::Mesh);
        drop(directory);
        if mesh && (offer.media.sdp.is_some() || offer.media.sdpz.is_some()) {
            return Err(Refusal::new(Code::SfuDisabled, "this is a mesh room: offers go to the peers, with `sig`"));
        }
        let transport = offer.media.pc.to_string();
        let nothing = sfu::command::Offer { transport, epoch: offer.epoch, only, sdp: None, tracks: Vec::new() };
        Ok(translate::offer(offer.media, offer.epoch, only)?.unwrap_or(nothing))
    }

    fn moderate(&self, session: &Session, waiter: Waiter, frame: u64, moderation: &Moderation) -> Result<(), Refusal> {
        if !session.who.grants.moderate {
            return Err(Refusal::new(Code::Forbidden, "this needs the grant `moderate`"));
        }
        let by = Some(session.participant);
        let hub = &self.app.hub;
        match moderation {
            Moderation::Kick { peer } => hub.kick(&session.room, translate::participant(peer)?, by, waiter),
            Moderation::Mute { track, muted } => {
                let (track, muted) = (translate::track(track)?, *muted);
                let room = hub.directory().rooms.get(&session.room).map(|room| room.id);
                let room = room.ok_or(Code::RoomNotFound)?;
                hub.ask(session.worker, waiter, |request| Command::ModerateMute { request, by, room, track, muted });
                Ok(())
            }
            Moderation::Lock { locked } => {
                let mut directory = hub.directory();
                let room = directory.rooms.get_mut(&session.room).ok_or(Code::RoomNotFound)?;
                let settings = sfu::command::RoomSettings { locked: *locked, ..room.settings.clone() };
                hub.update(room, settings);
                self.outbox.reply(frame, Ok(Success::default()));
                Ok(())
            }
        }
    }
}

fn goodbye(client: &Client, frame: u64, session: &Session, bye: &Bye) -> Result<Then, Refusal> {
    tracing::debug!(participant = %session.participant, reason = %bye.reason, "bye");
    client.outbox.reply(frame, Ok(Success::default()));
    Ok(Then::Close)
}

pub(crate) fn message_command(
    from: sfu::ParticipantId,
    message: &Message,
) -> Result<impl FnOnce(sfu::RequestId) -> Command + use<>, Refusal> {
    check_list(message.to.len(), "to")?;
    if message.topic.len() > MAX_TOPIC {
        return Err(Refusal::new(Code::TooLarge, format!("`topic` may have {MAX_TOPIC} bytes")));
    }
    let to = message.to.iter().map(translate::participant).collect::<Result<_, _>>()?;
    let (data, topic) = (translate::data(&message.data)?, message.topic.clone());
    let unreliable = if message.reliable { None } else { Some(translate::channel_frame(from, message)?) };
    Ok(move |request| Command::Message { request, from, to, topic, data, unreliable })
}

fn signal_command(
    from: sfu::ParticipantId,
    signal: Signal,
) -> Result<impl FnOnce(sfu::RequestId) -> Command + use<>, Refusal> {
    let to = translate::participant(&signal.to)?;
    let body = translate::signal(signal)?;
    Ok(move |request| Command::Signal { request, from, to, body })
}

fn check_list(length: usize, what: &str) -> Result<(), Refusal> {
    if length > MAX_LIST {
        return Err(Refusal::new(Code::TooLarge, format!("`{what}` may have {MAX_LIST} entries")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_bounded() {
        assert!(check_list(MAX_LIST, "to").is_ok());
        assert_eq!(check_list(MAX_LIST + 1, "to").map_err(|refusal| refusal.code), Err(Code::TooLarge));
    }
}
