//! The rooms of this process by name: settings, members, recording, and who may not come back.
//!
//! Plain data under one lock of the hub; what happens to media is decided by the SFU workers.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sfu::command::{Mode, RoomSettings};
use sfu::{ParticipantId, RoomId};
use sha2::{Digest, Sha256};
use signalling::RoomName;
use signalling::message::{RoomInfo, RoomRecording};

use super::session::Session;
use crate::clock;
use crate::config::{Config, Guests, RoomMode};

/// How long a kick is remembered.
const BAN: Duration = Duration::from_secs(24 * 3600);

/// Kicks remembered at once; the oldest go first.
const MAX_BANS: usize = 100_000;

/// A room.
pub(crate) struct Room {
    /// Its id at the worker.
    pub(crate) id: RoomId,
    /// Its name.
    pub(crate) name: RoomName,
    /// Its name in storage keys.
    pub(crate) storage_id: String,
    /// Its SFU worker.
    pub(crate) worker: usize,
    /// What the worker was told.
    pub(crate) settings: RoomSettings,
    /// What guests may do in it.
    pub(crate) guests: Guests,
    /// Whether it is recorded from its first participant on.
    pub(crate) record: bool,
    /// Whether somebody stopped a recording: none begins by itself before everybody has left.
    pub(crate) stopped: bool,
    /// Whether it stays when everybody left: made by the API.
    pub(crate) permanent: bool,
    /// Everybody in it or entering it.
    pub(crate) members: BTreeMap<ParticipantId, Arc<Session>>,
    /// Its recording while the red light is on; its age is of the moment in which it is told.
    pub(crate) recording: Option<RoomRecording>,
    /// Since when nobody visible is in it, once somebody was.
    pub(crate) vacant_since: Option<Instant>,
    /// When it was made, milliseconds since 1970.
    pub(crate) created_ms: u64,
}

impl Room {
    /// Visible members.
    pub(crate) fn visible(&self) -> usize {
        self.members.values().filter(|session| session.is_visible()).count()
    }

    /// The room as its participants see it.
    pub(crate) fn info(&self) -> RoomInfo {
        RoomInfo {
            name: self.name.clone(),
            mode: super::translate::mode_to_wire(self.settings.mode),
            locked: self.settings.locked,
            max_participants: self.settings.max_participants,
            recording: self.recording.clone().map(|recording| RoomRecording {
                age_ms: clock::unix_ms().saturating_sub(recording.started_ms),
                ..recording
            }),
        }
    }
}

/// What a room is made with.
#[derive(Debug, Clone)]
pub(crate) struct NewRoom {
    /// How media travels.
    pub(crate) mode: Mode,
    /// Visible participants at most.
    pub(crate) max_participants: u32,
    /// What guests may do.
    pub(crate) guests: Guests,
    /// Record from the first participant on.
    pub(crate) record: bool,
    /// Stay when everybody left.
    pub(crate) permanent: bool,
}

impl NewRoom {
    /// The room that joining makes.
    pub(crate) fn by_joining(config: &Config) -> Self {
        Self {
            mode: match config.rooms.mode {
                RoomMode::Mesh => Mode::Mesh,
                RoomMode::Sfu => Mode::Sfu,
            },
            max_participants: config.rooms.max_participants,
            guests: config.rooms.guests,
            record: config.recording.automatic,
            permanent: false,
        }
    }
}

/// Takes back the relay credentials of an id. Called under the lock: it must not wait.
pub(crate) type TakeBack = Box<dyn Fn(&str) + Send + Sync>;

/// All rooms.
#[derive(Default)]
pub(crate) struct Directory {
    pub(crate) rooms: BTreeMap<RoomName, Room>,
    pub(crate) sessions: HashMap<ParticipantId, Arc<Session>>,
    bans: HashMap<(RoomName, Ban), Instant>,
    take_back: Option<TakeBack>,
    next_room: u64,
    next_participant: u64,
}

/// What of a kicked participant may not come back.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Ban {
    /// The identity, with any token.
    Identity(String),
    /// The token.
    Token(String),
}

impl Directory {
    /// Makes a room on the worker with the fewest rooms; the name must be free.
    pub(crate) fn create(&mut self, name: &RoomName, new: NewRoom, workers: usize, now_ms: u64) -> &Room {
        let mut load = vec![0usize; workers.max(1)];
        for room in self.rooms.values() {
            load[room.worker] += 1;
        }
        let worker = load.iter().enumerate().min_by_key(|(_, rooms)| **rooms).map_or(0, |(worker, _)| worker);
        self.next_room += 1;
        let settings = RoomSettings { mode: new.mode, max_participants: new.max_participants, locked: false };
        self.rooms.entry(name.clone()).or_insert(Room {
            id: RoomId(self.next_room),
            name: name.clone(),
            storage_id: storage_id(name),
            worker,
            settings,
            guests: new.guests,
            record: new.record,
            stopped: false,
            permanent: new.permanent,
            members: BTreeMap::new(),
            recording: None,
            vacant_since: None,
            created_ms: now_ms,
        })
    }

    /// An id that no participant of this process had.
    pub(crate) fn next_participant(&mut self) -> ParticipantId {
        self.next_participant += 1;
        ParticipantId(self.next_participant)
    }

    /// Notes a session in its room.
    pub(crate) fn enter(&mut self, session: &Arc<Session>) {
        self.sessions.insert(session.participant, session.clone());
        if let Some(room) = self.rooms.get_mut(&session.room) {
            room.members.insert(session.participant, session.clone());
            if session.is_visible() {
                room.vacant_since = None;
            }
        }
    }

    /// Forgets a session; `None` if it was forgotten before.
    pub(crate) fn leave(&mut self, participant: ParticipantId, now: Instant) -> Option<Arc<Session>> {
        let session = self.sessions.remove(&participant)?;
        self.take_back(&participant.to_string());
        if let Some(room) = self.rooms.get_mut(&session.room) {
            room.members.remove(&participant);
            if session.is_visible() && room.visible() == 0 {
                room.vacant_since = Some(now);
                room.stopped = false;
            }
        }
        Some(session)
    }

    /// Who is told of ids whose relay credentials are good no more.
    pub(crate) fn on_leave(&mut self, take_back: TakeBack) {
        self.take_back = Some(take_back);
    }

    fn take_back(&self, id: &str) {
        if let Some(take_back) = &self.take_back {
            take_back(id);
        }
    }

    /// Keeps a participant out from now on.
    pub(crate) fn ban(&mut self, session: &Session, now: Instant) {
        self.make_room_for_bans(now);
        session.who.identity.iter().for_each(|identity| self.ban_identity(&session.room, identity, now));
        let tokens = session.who.token_id.iter().cloned().chain([session.api_token_id.clone()]).map(Ban::Token);
        for ban in tokens {
            self.bans.insert((session.room.clone(), ban), now + BAN);
        }
    }

    /// Keeps an identity out, whether it is in the room or not.
    pub(crate) fn ban_identity(&mut self, room: &RoomName, identity: &str, now: Instant) {
        self.make_room_for_bans(now);
        self.take_back(identity);
        self.bans.insert((room.clone(), Ban::Identity(identity.to_owned())), now + BAN);
    }

    fn make_room_for_bans(&mut self, now: Instant) {
        if self.bans.len() < MAX_BANS {
            return;
        }
        self.bans.retain(|_, until| *until > now);
        if self.bans.len() >= MAX_BANS {
            let first = self.bans.iter().min_by_key(|(_, until)| **until).map(|(ban, _)| ban.clone());
            first.map(|ban| self.bans.remove(&ban));
        }
    }

    /// Whether this identity or token was put out of the room.
    pub(crate) fn is_banned(&self, room: &RoomName, ban: Ban, now: Instant) -> bool {
        self.bans.get(&(room.clone(), ban)).is_some_and(|until| *until > now)
    }

    /// Whether somebody in the room was given this API token.
    pub(crate) fn has_api_token(&self, room: &RoomName, id: &str) -> bool {
        let members = self.rooms.get(room).map(|room| room.members.values());
        members.into_iter().flatten().any(|session| session.api_token_id == id)
    }

    /// Forgets the kicks of a room.
    pub(crate) fn lift_bans(&mut self, room: &RoomName) {
        self.bans.retain(|(of, _), _| of != room);
    }
}

/// The folder of a room in storage: the same for the same name at any time, and never text that a user chose.
pub(crate) fn storage_id(name: &RoomName) -> String {
    service::storage::hex(&Sha256::digest(name.as_str()))[..20].to_owned()
}
