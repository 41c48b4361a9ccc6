//! Where signalling meets the SFU: sessions' requests become commands, replies and events find their socket.
//!
//! Order is kept by construction: whatever changes a room is decided and sent under the directory's lock, and whatever a
//! worker says comes back through one channel and is queued for its socket at once.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::metrics::counter::Counter;
use sfu::command::RoomSettings;
use sfu::{Command, ParticipantId, RequestId};
use signalling::RoomName;
use signalling::code::{Code, Refusal};
use signalling::message::server::{LeaveAction, Success, Welcome};
use signalling::message::{Event, IceServer, RoomRecording, VERSION};
use tokio::sync::{Notify, oneshot};

use super::directory::{Directory, NewRoom, Room};
use super::session::{Session, Stage};
use super::{requests, translate};
use crate::clock;

/// How long a worker may take to reply.
const REPLY_WITHIN: Duration = Duration::from_secs(10);

/// The way to the SFU workers: `false` when the worker's queue is full.
pub(crate) type CommandSender = Box<dyn Fn(usize, Command) -> bool + Send + Sync>;

/// See the module.
pub(crate) struct Hub {
    directory: Mutex<Directory>,
    pending: Mutex<HashMap<RequestId, Pending>>,
    /// Commands that must not be lost and found a full queue.
    backlog: Mutex<Vec<(usize, Command)>>,
    next_request: AtomicU64,
    media: OnceLock<(usize, CommandSender)>,
    draining: AtomicBool,
    /// Something about rooms or their members changed; recording looks what follows from it.
    pub(crate) changed: Notify,
    joins: Counter,
}

struct Pending {
    since: Instant,
    waiter: Waiter,
}

/// Who waits for a worker's reply.
pub(crate) enum Waiter {
    /// A client that joins.
    Join { session: Arc<Session>, frame: u64, welcome: Box<WelcomeParts> },
    /// A client with another request.
    Client { session: Arc<Session>, frame: u64 },
    /// Nobody: what came through a data channel may be lost.
    Nobody,
    /// The API.
    Api(oneshot::Sender<Result<sfu::Success, Refusal>>),
}

/// What of `welcome` is known before the worker replies.
pub(crate) struct WelcomeParts {
    pub(crate) features: Vec<String>,
    pub(crate) ice: Vec<IceServer>,
    pub(crate) api_token: String,
}

impl Hub {
    /// `joins` counts the successful ones.
    pub(crate) fn new(joins: Counter) -> Self {
        Self {
            joins,
            directory: Mutex::default(),
            pending: Mutex::default(),
            backlog: Mutex::default(),
            next_request: AtomicU64::new(1),
            media: OnceLock::new(),
            draining: AtomicBool::new(false),
            changed: Notify::new(),
        }
    }

    /// Connects the workers, once.
    pub(crate) fn connect(&self, workers: usize, sender: CommandSender) {
        // A second call would be a bug of `start`; the first one stays.
        let _ = self.media.set((workers, sender));
    }

    /// Whether there are workers.
    pub(crate) fn is_connected(&self) -> bool {
        self.media.get().is_some()
    }

    /// The rooms.
    pub(crate) fn directory(&self) -> MutexGuard<'_, Directory> {
        self.directory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Takes nobody new from now on.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Tells everybody to join again, elsewhere or later.
    pub(crate) fn dismiss(&self) {
        let sessions: Vec<_> = self.directory().sessions.values().cloned().collect();
        for session in sessions {
            session.outbox.event(Event::Leave {
                reason: Code::Draining,
                action: LeaveAction::Rejoin,
                msg: "the server stops".into(),
            });
            session.outbox.close();
        }
    }

    /// Makes a room.
    ///
    /// # Errors
    /// [`Code::SfuDisabled`] without workers, [`Code::Draining`], [`Code::RateLimited`] when the worker is too busy.
    pub(crate) fn open<'a>(
        &self,
        directory: &'a mut Directory,
        name: &RoomName,
        new: NewRoom,
    ) -> Result<&'a mut Room, Refusal> {
        let Some((workers, sender)) = self.media.get() else {
            return Err(Refusal::new(Code::SfuDisabled, "[rooms] is not enabled on this server"));
        };
        if self.is_draining() {
            return Err(Code::Draining.into());
        }
        let now = Instant::now();
        let permanent = new.permanent;
        let room = directory.create(name, new, *workers, clock::unix_ms());
        let opened = sender(room.worker, Command::OpenRoom { room: room.id, settings: room.settings.clone() });
        if !opened {
            directory.rooms.remove(name);
            return Err(busy());
        }
        let room = directory.rooms.get_mut(name).expect("the room was made above");
        room.vacant_since = (!permanent).then_some(now);
        Ok(room)
    }

    /// Changes a room's settings and tells its worker, which tells the participants.
    pub(crate) fn update(&self, room: &mut Room, settings: RoomSettings) {
        room.settings = settings.clone();
        self.send_surely(room.worker, Command::UpdateRoom { room: room.id, settings });
    }

    /// Ends a room; everybody in it is told by the worker.
    pub(crate) fn close(&self, directory: &mut Directory, name: &RoomName) -> bool {
        let Some(room) = directory.rooms.remove(name) else { return false };
        self.send_surely(room.worker, Command::CloseRoom { room: room.id });
        self.changed.notify_one();
        true
    }

    /// Sends a command whose reply `waiter` waits for.
    pub(crate) fn ask(&self, worker: usize, waiter: Waiter, command: impl FnOnce(RequestId) -> Command) {
        self.ask_under(None, worker, waiter, command);
    }

    /// Like [`Hub::ask`], with the directory locked until the command is sent: nobody can close the room in between.
    pub(crate) fn ask_under(
        &self,
        directory: Option<MutexGuard<'_, Directory>>,
        worker: usize,
        waiter: Waiter,
        command: impl FnOnce(RequestId) -> Command,
    ) {
        let request = RequestId(self.next_request.fetch_add(1, Ordering::Relaxed));
        self.pending().insert(request, Pending { since: Instant::now(), waiter });
        let sent = self.media.get().is_some_and(|(_, sender)| sender(worker, command(request)));
        drop(directory);
        if !sent {
            let pending = self.pending().remove(&request);
            if let Some(pending) = pending {
                self.finish(pending.waiter, Err(busy()));
            }
        }
    }

    /// Asks for the API and waits.
    ///
    /// # Errors
    /// The worker's refusal.
    pub(crate) async fn ask_and_wait(
        &self,
        worker: usize,
        command: impl FnOnce(RequestId) -> Command,
    ) -> Result<sfu::Success, Refusal> {
        let (sender, receiver) = oneshot::channel();
        self.ask(worker, Waiter::Api(sender), command);
        receiver.await.unwrap_or_else(|_| Err(Code::Timeout.into()))
    }

    fn pending(&self) -> MutexGuard<'_, HashMap<RequestId, Pending>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send_surely(&self, worker: usize, command: Command) {
        let mut backlog = self.backlog.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((_, sender)) = self.media.get() else { return };
        if !backlog.is_empty() || !sender(worker, command.clone()) {
            backlog.push((worker, command));
        }
    }

    fn send_backlog(&self) {
        let mut backlog = self.backlog.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((_, sender)) = self.media.get() else { return };
        let sent = backlog.iter().take_while(|(worker, command)| sender(*worker, command.clone())).count();
        backlog.drain(..sent);
    }

    /// A session's socket is gone or it said bye: the participant leaves.
    pub(crate) fn leave(&self, session: &Session) {
        session.advance(Stage::Out);
        let mut directory = self.directory();
        if directory.leave(session.participant, Instant::now()).is_some() {
            self.send_surely(session.worker, Command::Leave { participant: session.participant });
            self.changed.notify_one();
        }
    }

    /// The participant's device came back on another socket: the old session ends, for good.
    pub(crate) fn supersede(&self, directory: &mut Directory, participant: ParticipantId) {
        let Some(session) = directory.leave(participant, Instant::now()) else { return };
        session.advance(Stage::Out);
        self.send_surely(session.worker, Command::Leave { participant });
        let msg = "this device joined on another socket".into();
        session.outbox.event(Event::Leave { reason: Code::Superseded, action: LeaveAction::Stop, msg });
        session.outbox.close();
    }

    /// Puts a participant out and keeps its identity and tokens out.
    ///
    /// # Errors
    /// [`Code::PeerNotFound`].
    pub(crate) fn kick(
        &self,
        room: &RoomName,
        participant: ParticipantId,
        by: Option<ParticipantId>,
        waiter: Waiter,
    ) -> Result<(), Refusal> {
        let mut directory = self.directory();
        let of_room = directory.rooms.get(room).ok_or(Code::RoomNotFound)?;
        let session = of_room.members.get(&participant).cloned();
        let session =
            session.ok_or_else(|| Refusal::new(Code::PeerNotFound, format!("{participant} is not in this room")))?;
        let id = of_room.id;
        directory.ban(&session, Instant::now());
        let kick = |request| Command::Kick { request, by, room: id, participant };
        self.ask_under(Some(directory), session.worker, waiter, kick);
        Ok(())
    }

    /// Puts out and keeps out whoever has this identity in a room. Nobody waits for it, and it is never lost.
    pub(crate) fn put_out(&self, room: &RoomName, identity: &str) {
        let mut directory = self.directory();
        directory.ban_identity(room, identity, Instant::now());
        let Some(of_room) = directory.rooms.get(room) else { return };
        for session in of_room.members.values().filter(|session| session.who.identity.as_deref() == Some(identity)) {
            // Its reply is nobody's.
            let request = RequestId(self.next_request.fetch_add(1, Ordering::Relaxed));
            let kick = Command::Kick { request, by: None, room: of_room.id, participant: session.participant };
            self.send_surely(session.worker, kick);
        }
    }

    /// A worker replied.
    pub(crate) fn handle_reply(&self, request: RequestId, result: Result<sfu::Success, sfu::Error>) {
        let pending = self.pending().remove(&request);
        if let Some(pending) = pending {
            self.finish(pending.waiter, result.map_err(|error| translate::refusal(&error)));
        }
    }

    fn finish(&self, waiter: Waiter, result: Result<sfu::Success, Refusal>) {
        match waiter {
            Waiter::Nobody => {}
            Waiter::Api(sender) => {
                // The caller may have hung up.
                let _ = sender.send(result);
            }
            Waiter::Client { session, frame } => session.outbox.reply(frame, result.map(success_to_wire)),
            Waiter::Join { session, frame, welcome } => self.finish_join(&session, frame, *welcome, result),
        }
    }

    fn finish_join(
        &self,
        session: &Arc<Session>,
        frame: u64,
        parts: WelcomeParts,
        result: Result<sfu::Success, Refusal>,
    ) {
        let joined = result.and_then(|success| match success {
            sfu::Success::Joined { settings, peers, answer, tracks } => Ok((settings, peers, answer, tracks)),
            other => Err(Refusal::new(Code::Internal, format!("a join was answered with {other:?}"))),
        });
        let (settings, peers, answer, tracks) = match joined {
            Ok(joined) => joined,
            Err(refusal) => {
                session.advance(Stage::Out);
                self.directory().leave(session.participant, Instant::now());
                session.outbox.reply(frame, Err(refusal));
                return;
            }
        };
        let mut directory = self.directory();
        let Some(room) = directory.rooms.get_mut(&session.room) else {
            session.outbox.reply(frame, Err(Code::RoomNotFound.into()));
            session.outbox.close();
            return;
        };
        room.settings = settings;
        let welcome = Welcome {
            v: VERSION,
            features: parts.features,
            me: translate::participant_to_wire(session.participant),
            session: session.participant.to_string(),
            resume: String::new(),
            grace_ms: 0,
            ice: parts.ice,
            mode: translate::mode_to_wire(room.settings.mode),
            room: room.info(),
            grants: session.who.grants.clone(),
            peers: peers.iter().map(translate::peer_to_wire).collect(),
            api_token: parts.api_token,
        };
        let answer = answer.map(translate::answer_to_wire);
        let own = translate::tracks_to_wire(tracks);
        session.outbox.reply(frame, Ok(Success { welcome: Some(welcome), answer, own }));
        session.advance(Stage::In);
        self.joins.inc();
        drop(directory);
        self.changed.notify_one();
    }

    /// A worker has something to say to a participant.
    pub(crate) fn handle_event(&self, participant: ParticipantId, event: sfu::Event) {
        let mut directory = self.directory();
        let Some(session) = directory.sessions.get(&participant).cloned() else { return };
        match event {
            sfu::Event::Room(settings) => {
                if let Some(room) = directory.rooms.get_mut(&session.room) {
                    room.settings = settings;
                    session.outbox.event(Event::Room { room: room.info() });
                }
            }
            sfu::Event::Left(why) => {
                directory.leave(participant, Instant::now());
                session.advance(Stage::Out);
                session.outbox.event(translate::leave_event(why));
                session.outbox.close();
                self.changed.notify_one();
            }
            other => {
                drop(directory);
                if let Some(event) = translate::event_to_wire(other) {
                    session.outbox.event(event);
                }
            }
        }
    }

    /// A frame came through a participant's data channel: only `msg` does, and nobody waits for a reply.
    pub(crate) fn handle_text(&self, participant: ParticipantId, text: &str) {
        let session = self.directory().sessions.get(&participant).cloned();
        let Some(session) = session.filter(|session| session.channel_limit.check().is_ok()) else { return };
        let Ok(message) = serde_json::from_str(text) else {
            tracing::debug!(%participant, "a data channel frame cannot be read");
            return;
        };
        match requests::message_command(participant, &message) {
            Ok(command) => self.ask(session.worker, Waiter::Nobody, command),
            Err(refusal) => tracing::debug!(%participant, %refusal, "a data channel message is refused"),
        }
    }

    /// Sets what a room shows about its recording and tells everybody in it, before this returns.
    pub(crate) fn show_recording(&self, name: &RoomName, recording: Option<RoomRecording>) {
        let mut directory = self.directory();
        let Some(room) = directory.rooms.get_mut(name) else { return };
        if room.recording == recording {
            return;
        }
        room.recording = recording;
        let info = room.info();
        for session in room.members.values().filter(|session| session.stage() == Stage::In) {
            session.outbox.event(Event::Room { room: info.clone() });
        }
    }

    /// Once a second: gives up on replies, sends what had to wait, ends rooms that nobody is in.
    pub(crate) fn sweep(&self, empty_timeout: Duration) {
        let now = Instant::now();
        self.send_backlog();
        let overdue: Vec<_> = {
            let mut pending = self.pending();
            pending.extract_if(|_, pending| now.duration_since(pending.since) > REPLY_WITHIN).collect()
        };
        for (_, pending) in overdue {
            self.finish(pending.waiter, Err(Code::Timeout.into()));
        }
        let mut directory = self.directory();
        let over = |room: &Room| {
            let vacant = room.vacant_since.is_some_and(|since| now.duration_since(since) >= empty_timeout);
            !room.permanent && vacant && room.recording.is_none() && room.visible() == 0
        };
        let ended: Vec<_> = directory.rooms.values().filter(|room| over(room)).map(|room| room.name.clone()).collect();
        for name in ended {
            self.close(&mut directory, &name);
        }
    }
}

fn busy() -> Refusal {
    Refusal { retry_ms: 1000, ..Refusal::new(Code::RateLimited, "the server is too busy") }
}

fn success_to_wire(success: sfu::Success) -> Success {
    match success {
        sfu::Success::Answered { answer, tracks } => Success {
            welcome: None,
            answer: answer.map(translate::answer_to_wire),
            own: translate::tracks_to_wire(tracks),
        },
        sfu::Success::Done | sfu::Success::Joined { .. } | sfu::Success::Snapshot { .. } => Success::default(),
    }
}
