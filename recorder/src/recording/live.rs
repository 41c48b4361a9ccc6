//! The live part of a recording: in the room, a task for each participant, until somebody or something ends it.

use std::collections::{BTreeMap, HashMap};
use std::future::poll_fn;
use std::task::Poll;
use std::time::{Duration, Instant};

use session::Zero;
use session::journal::Fact;
use signalling::code::Code;
use signalling::id::{ParticipantId, PcId, RoomName};
use signalling::message::client::{Media, Offer, Sub};
use signalling::message::server::{Failure, LeaveAction, Success, Welcome};
use signalling::message::{Event, Peer, RecordingState, Request, RoomRecording, Track, Wish};
use signalling::recording::{Happening, Moment};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::participants::{Broken, Participants};
use super::timeline::Timeline;
use super::{Order, Proof, Recording, Start, number};
use crate::dial::Target;
use crate::participant::{self, Command, Seed, Told};
use crate::pulse::Watch;
use crate::room::{Heard, Room, RoomError};
use crate::upload::plan::MAX_LEN;

/// The first join is tried for so long; the red light is on and somebody waits.
const JOIN_TIMEOUT: Duration = Duration::from_secs(10);
/// A room that is lost is looked for this long: then the server has given it to somebody else.
const SEARCH: Duration = Duration::from_secs(3);
/// Between two tries.
const RETRY: Duration = Duration::from_millis(500);
/// How often a running recording says how it stands.
const REPORT: Duration = Duration::from_secs(1);
/// Every so many of these reports say everything that is known.
const WHOLE_REPORT: u64 = 5;
/// Why a recording ends of which the room does not know.
const UNLIT: &str = "the room shows no light for it";
/// So often a participant's task is begun again; what breaks it every time is not to cost the others.
const BREAKS: u32 = 5;
/// Bytes of a megabyte, as disks and storage count.
const MEGABYTE: u64 = 1_000_000;

/// The connection to the room.
enum Link {
    Up(Box<Room>),
    Down(JoinHandle<Result<Back, RoomError>>),
}

/// The room again, as it is now: nothing that we had there exists any more.
type Back = Box<(Room, Welcome)>;

struct Stage<'a> {
    recording: &'a mut Recording,
    token: String,
    link: Link,
    zero: Zero,
    participants: Participants,
    names: BTreeMap<ParticipantId, String>,
    /// How often each participant's task broke down.
    breaks: BTreeMap<ParticipantId, u32>,
    told: mpsc::UnboundedSender<Told>,
    offers: HashMap<u64, (ParticipantId, PcId)>,
    pcs: HashMap<PcId, ParticipantId>,
    first_file: u32,
    paused: bool,
    timeline: Timeline,
    reports: u64,
    /// Whether this process stood still.
    watch: Watch,
    /// The last sign of the room, while it is lost.
    lost: Option<Instant>,
}

/// What one turn of the loop led to.
enum Turn {
    Go,
    End(&'static str),
}

/// Records until the end.
///
/// # Errors
/// If the room could never be joined, or storage refuses what `proof` asks of it.
pub(super) async fn run(
    recording: &mut Recording,
    Start { token, zero, mut paused, ends_in }: Start,
    mut orders: mpsc::UnboundedReceiver<Order>,
    mut proof: Option<Proof>,
) -> Result<(), (Code, String)> {
    let job = recording.facts.job.clone();
    let target = recording.context.target.clone();
    let watch = recording.context.pulse.watch();
    // Nothing is written yet: files begin where the recording does.
    let fresh = job.run == 0;
    let zero = Zero { at: zero, wall: Duration::from_millis(job.started_ms) };
    let (room, welcome) = tokio::select! {
        joined = first_join(&target, &job.room, &token) => joined?,
        () = stop(&mut orders, &mut paused) => return Ok(()),
    };
    watch.turn();
    let (told, mut hears) = mpsc::unbounded_channel();
    let mut stage = Stage {
        recording,
        token,
        link: Link::Up(Box::new(room)),
        zero,
        participants: Participants::default(),
        names: BTreeMap::new(),
        breaks: BTreeMap::new(),
        told,
        offers: HashMap::new(),
        pcs: HashMap::new(),
        first_file: job.run,
        paused,
        timeline: Timeline::default(),
        reports: 0,
        watch: watch.clone(),
        lost: None,
    };
    if !stage.is_lit(welcome.room.recording.as_ref()) {
        // It was switched off meanwhile: nobody has to be recorded, and nobody is.
        stage.end(UNLIT, &mut hears).await;
        return Ok(());
    }
    stage.recording.set_state(if paused { RecordingState::Paused } else { RecordingState::Recording });
    // Whoever had the room before may have written until now.
    let since = if fresh { zero.at } else { Instant::now() };
    stage.note(since, paused.then_some(Happening::Pause));
    stage.enter(welcome.peers, since);
    let mut report = tokio::time::interval(REPORT);
    let mut limit = std::pin::pin!(tokio::time::sleep(ends_in.unwrap_or(Duration::MAX / 4)));
    let mut refused = None;
    let why = loop {
        let next = async {
            tokio::select! {
                why = proven(&mut proof) => {
                    (proof, refused) = (None, why);
                    stage.recording.proven = refused.is_none();
                    if refused.is_some() { Turn::End("storage refuses") } else { Turn::Go }
                }
                order = orders.recv() => stage.handle_order(order),
                heard = hear(&mut stage.link) => stage.handle_heard(heard),
                told = hears.recv() => stage.handle_told(told).await,
                broken = stage.participants.broken() => stage.handle_broken(broken),
                fact = stage.recording.heard.recv() => {
                    if let Some(fact) = fact {
                        stage.recording.facts.apply(fact);
                    }
                    Turn::Go
                }
                _ = report.tick() => stage.report(Instant::now()),
                () = &mut limit => Turn::End("max_duration_s is over"),
            }
        };
        let turn = tokio::select! {
            biased;
            // Nothing that waited is heard after a standstill: it is about a time that is somebody else's.
            () = standstill(&watch) => Turn::End("this process stood still"),
            turn = next => turn,
        };
        watch.turn();
        if let Turn::End(why) = turn {
            break why;
        }
    };
    stage.end(why, &mut hears).await;
    refused.map_or(Ok(()), |why| Err((Code::RecordingFailed, why)))
}

/// Ends when this process has stood still; it is asked whenever anything wakes the recording.
fn standstill(watch: &Watch) -> impl Future<Output = ()> {
    poll_fn(|_| if watch.stood_still().is_some() { Poll::Ready(()) } else { Poll::Pending })
}

/// What storage has shown, once it has.
async fn proven(proof: &mut Option<Proof>) -> Option<String> {
    match proof {
        Some(proof) => proof.await.unwrap_or_default(),
        None => std::future::pending().await,
    }
}

/// Whether a recording of so many bytes is over.
fn is_too_large(bytes: u64, max_size_mb: u64) -> bool {
    max_size_mb > 0 && bytes >= max_size_mb.saturating_mul(MEGABYTE)
}

/// Joins, patiently: a room that was just made, or a server that is busy, deserves a second try.
async fn first_join(target: &Target, name: &RoomName, token: &str) -> Result<(Room, Welcome), (Code, String)> {
    let deadline = Instant::now() + JOIN_TIMEOUT;
    loop {
        let error = match Room::join(target, name, token).await {
            Ok(joined) => return Ok(joined),
            Err(error) => error,
        };
        if Instant::now() + RETRY > deadline {
            let code = if let RoomError::Refused { code, .. } = &error { *code } else { Code::Timeout };
            return Err((code, error.to_string()));
        }
        tracing::debug!(room = %name, %error, "joining again");
        tokio::time::sleep(RETRY).await;
    }
}

/// Waits for a stop before there is anything to stop. What is to be paused begins so.
async fn stop(orders: &mut mpsc::UnboundedReceiver<Order>, paused: &mut bool) {
    while let Some(order) = orders.recv().await {
        match order {
            Order::Pause => *paused = true,
            Order::Resume => *paused = false,
            Order::Stop => return,
        }
    }
}

/// The next thing from the room, or the room itself.
enum FromLink {
    Heard(Result<Heard, RoomError>),
    Back(Result<Back, RoomError>),
}

async fn hear(link: &mut Link) -> FromLink {
    match link {
        Link::Up(room) => FromLink::Heard(room.next().await),
        Link::Down(task) => FromLink::Back(task.await.unwrap_or_else(|error| Err(RoomError::Lost(error.to_string())))),
    }
}

/// Looks for the room, until it comes back or says no: then somebody else has it, or nobody.
async fn reconnect(target: Target, name: RoomName, token: String) -> Result<Back, RoomError> {
    let search = async {
        loop {
            match Room::join(&target, &name, &token).await {
                Ok(joined) => return Ok(Box::new(joined)),
                Err(error @ RoomError::Refused { .. }) => return Err(error),
                Err(_) => tokio::time::sleep(RETRY).await,
            }
        }
    };
    let in_time = tokio::time::timeout(SEARCH, search).await;
    in_time.unwrap_or_else(|_| Err(RoomError::Lost(format!("not found in {} s", SEARCH.as_secs()))))
}

impl Stage<'_> {
    fn handle_order(&mut self, order: Option<Order>) -> Turn {
        let now = Instant::now();
        match order {
            Some(Order::Pause) if !self.paused => {
                self.paused = true;
                self.note(now, [Happening::Pause]);
                self.participants.command_all(|| Command::Pause(now));
                self.recording.set_state(RecordingState::Paused);
            }
            Some(Order::Resume) if self.paused => {
                self.paused = false;
                self.note(now, [Happening::Resume]);
                self.participants.command_all(|| Command::Resume);
                self.recording.set_state(RecordingState::Recording);
            }
            Some(Order::Pause | Order::Resume) => {}
            Some(Order::Stop) | None => return Turn::End("stopped"),
        }
        Turn::Go
    }

    fn handle_heard(&mut self, heard: FromLink) -> Turn {
        match heard {
            FromLink::Heard(Ok(Heard::Reply(id, reply))) => self.handle_reply(id, reply),
            FromLink::Heard(Ok(Heard::Event(event))) => return self.handle_event(event),
            FromLink::Heard(Err(error)) => self.lose_room(&error),
            FromLink::Back(Ok(back)) => return self.find_room(*back),
            FromLink::Back(Err(error)) => {
                tracing::warn!(recording = %self.recording.id(), %error, "the room does not come back");
                return Turn::End("the room is gone");
            }
        }
        Turn::Go
    }

    /// Without its session nothing comes any more, and soon somebody else records the time from here on.
    fn lose_room(&mut self, error: &RoomError) {
        tracing::info!(recording = %self.recording.id(), %error, "joining again");
        let Link::Up(room) = &self.link else { return };
        let packet = self.recording.tally.last_packet(self.zero.at);
        let lost = room.heard().max(packet);
        self.lost = Some(lost);
        self.participants.stop_all(lost);
        self.offers.clear();
        self.pcs.clear();
        let name = self.recording.facts.job.room.clone();
        let (target, token) = (self.recording.context.target.clone(), self.token.clone());
        self.link = Link::Down(tokio::spawn(reconnect(target, name, token)));
    }

    fn find_room(&mut self, (room, welcome): (Room, Welcome)) -> Turn {
        self.link = Link::Up(Box::new(room));
        self.lost = None;
        let now = Instant::now();
        // A server that was restarted lets us in and tells nobody that they are recorded.
        if !self.is_lit(welcome.room.recording.as_ref()) {
            return Turn::End(UNLIT);
        }
        // It also gives the same ids to others.
        (self.names, self.breaks) = Default::default();
        self.first_file = self.number(now);
        self.enter(welcome.peers, now);
        Turn::Go
    }

    /// A participant's task broke down: another one goes on, with files of its own.
    fn handle_broken(&mut self, Broken { participant, tracks, error }: Broken) -> Turn {
        tracing::error!(recording = %self.recording.id(), %participant, %error, "a participant's task broke down");
        self.recording.context.metrics.broke_down();
        let now = Instant::now();
        self.pcs.retain(|_, of| *of != participant);
        let breaks = self.breaks.entry(participant.clone()).or_default();
        *breaks += 1;
        if *breaks == BREAKS + 1 {
            let why = "what records it breaks down again and again".into();
            self.recording.ledger.try_note(Fact::GivenUp { participant, why });
        } else if *breaks <= BREAKS {
            self.first_file = self.number(now);
            tracks.into_iter().for_each(|track| self.handle_track(track, now));
        }
        Turn::Go
    }

    /// Whether everybody in the room is shown that this recording is on.
    fn is_lit(&self, light: Option<&RoomRecording>) -> bool {
        light.is_some_and(|light| light.id == *self.recording.id())
    }

    /// A number that is above those of all files so far, however many there were.
    fn number(&self, now: Instant) -> u32 {
        self.first_file.max(number(now.saturating_duration_since(self.zero.at)))
    }

    /// Writes down what happened in the room.
    fn note(&mut self, at: Instant, happened: impl IntoIterator<Item = Happening>) {
        let t = u64::try_from(at.saturating_duration_since(self.zero.at).as_millis()).unwrap_or(u64::MAX);
        for what in happened {
            if let Err(error) = self.recording.ledger.note(Fact::Happened(Moment { t, what })) {
                tracing::warn!(recording = %self.recording.id(), %error, "the timeline cannot be written");
            }
        }
        self.recording.people = u32::try_from(self.timeline.people()).unwrap_or(u32::MAX);
    }

    /// Once a second: how it stands, and whether it has become too large.
    fn report(&mut self, now: Instant) -> Turn {
        let speaker = self.timeline.handle_timeout(now);
        self.note(now, speaker);
        self.recording.hear();
        if self.reports.is_multiple_of(WHOLE_REPORT) {
            self.recording.tell();
        } else {
            self.recording.tell_progress();
        }
        self.reports += 1;
        let limit = self.recording.facts.job.options.max_size_mb;
        if is_too_large(self.recording.progress().bytes, limit) {
            return Turn::End("max_size_mb is reached");
        }
        if self.recording.uploading.values().any(|uploading| uploading.progress.borrow().len >= MAX_LEN) {
            // The server gives the room to somebody again, who begins new files.
            return Turn::End("a file is as large as storage takes");
        }
        Turn::Go
    }

    /// Everybody who is there.
    fn enter(&mut self, peers: Vec<Peer>, since: Instant) {
        let happened = self.timeline.handle_snapshot(&peers);
        self.note(since, happened);
        peers.into_iter().for_each(|peer| self.handle_peer(peer, since));
    }

    fn handle_event(&mut self, event: Event) -> Turn {
        let now = Instant::now();
        let happened = match &event {
            Event::Peer { peer, gone: true } => self.timeline.handle_leave(&peer.id),
            Event::Peer { peer, gone: false } => self.timeline.handle_peer(peer),
            Event::Track { track, gone: true } => Vec::from_iter(self.timeline.handle_track_gone(&track.id)),
            Event::Track { track, gone: false } => self.timeline.handle_track(track),
            Event::Mute { track, muted, .. } => Vec::from_iter(self.timeline.handle_mute(track, *muted)),
            Event::Speak { peers } => Vec::from_iter(self.timeline.handle_speakers(peers, now)),
            _ => Vec::new(),
        };
        self.note(now, happened);
        match event {
            Event::Peer { peer, gone: true } => self.leave(&peer.id),
            Event::Peer { peer, gone: false } => self.handle_peer(peer, now),
            Event::Track { track, gone: true } => {
                self.participants.handle_track_gone(&track.peer, track.id, now);
            }
            Event::Track { track, gone: false } => self.handle_track(track, now),
            Event::Mute { track, peer, muted, .. } => self.participants.handle_mute(&peer, track, muted, now),
            Event::Slots { pc, slots } => {
                if let Some(participant) = self.pcs.get(&pc).cloned() {
                    self.participants.command(&participant, Command::Slots(pc, slots));
                }
            }
            Event::Need { pc, audio, video } => {
                if let Some(participant) = self.pcs.get(&pc).cloned() {
                    let (audio, video) = (audio as usize, video as usize);
                    self.participants.command(&participant, Command::Need { pc, audio, video });
                }
            }
            Event::Room { room } if !self.is_lit(room.recording.as_ref()) => return Turn::End(UNLIT),
            Event::Leave { action: LeaveAction::Stop, reason, .. } => {
                tracing::info!(recording = %self.recording.id(), %reason, "put out of the room");
                return Turn::End("the room is closed");
            }
            _ => {}
        }
        Turn::Go
    }

    fn handle_peer(&mut self, peer: Peer, since: Instant) {
        self.names.insert(peer.id.clone(), peer.name);
        self.participants.handle_tracks(&peer.id, &peer.tracks, since);
        peer.tracks.into_iter().for_each(|track| self.handle_track(track, since));
    }

    fn handle_track(&mut self, track: Track, since: Instant) {
        if !self.participants.contains(&track.peer) {
            self.start(&track.peer);
        }
        self.participants.handle_track(track, since);
    }

    /// A participant that publishes gets a task.
    fn start(&mut self, id: &ParticipantId) {
        let Link::Up(room) = &self.link else { return };
        let seed = Seed {
            participant: id.clone(),
            name: self.names.get(id).cloned().unwrap_or_default(),
            zero: self.zero,
            mode: self.recording.facts.job.options.mode,
            first_file: self.first_file,
            paused: self.paused,
            local: room.local,
            ledger: self.recording.ledger.clone(),
            syncer: self.recording.context.spool.syncer().clone(),
            told: self.told.clone(),
            metrics: self.recording.context.metrics.clone(),
            tally: self.recording.tally.clone(),
            watch: self.watch.clone(),
        };
        self.participants.start(id, |commands| participant::run(seed, commands));
    }

    fn leave(&mut self, id: &ParticipantId) {
        self.participants.stop(id, Instant::now());
        self.names.remove(id);
        self.breaks.remove(id);
        self.pcs.retain(|_, of| of != id);
    }

    async fn handle_told(&mut self, told: Option<Told>) -> Turn {
        match told {
            Some(Told::Offer { participant, pc, epoch, sdp }) => {
                self.pcs.insert(pc.clone(), participant.clone());
                let media = Media { pc: pc.clone(), sdp: Some(sdp), ..Media::default() };
                let offer = Request::Offer(Offer { epoch, peer: Some(participant.clone()), media });
                match self.request(offer).await {
                    Some(id) => {
                        self.offers.insert(id, (participant, pc));
                    }
                    None => self.participants.command(&participant, Command::Refused(pc)),
                }
            }
            Some(Told::Unsubscribe(track)) => {
                let wish = Wish { track, on: Some(false), w: None, h: None, fps: None, prio: None, playing: None };
                self.request(Request::Sub(Sub { tracks: vec![wish] })).await;
            }
            Some(Told::File(file, progress)) => {
                self.recording.hear();
                self.recording.start_upload(&file.name, progress);
            }
            Some(Told::DiskFailed(why)) => {
                tracing::error!(recording = %self.recording.id(), why, "the spool's disk does not take more");
                return Turn::End("the disk is full or broken");
            }
            Some(Told::StoodStill) => return Turn::End("this process stood still"),
            None => {}
        }
        Turn::Go
    }

    async fn request(&mut self, request: Request) -> Option<u64> {
        let Link::Up(room) = &mut self.link else { return None };
        // A socket that broke is noticed by whoever reads it next.
        room.request(request).await.ok()
    }

    fn handle_reply(&mut self, id: u64, reply: Result<Box<Success>, Failure>) {
        let Some((participant, pc)) = self.offers.remove(&id) else { return };
        match reply {
            Ok(success) => {
                let Some(answer) = success.answer else { return };
                self.participants.command(&participant, Command::Answer { pc, sdp: answer.sdp, slots: answer.slots });
            }
            Err(failure) => {
                tracing::warn!(%participant, code = %failure.code, msg = failure.msg, "the offer was refused");
                self.participants.command(&participant, Command::Refused(pc));
            }
        }
    }

    /// Ends every file, leaves the room.
    async fn end(mut self, why: &str, hears: &mut mpsc::UnboundedReceiver<Told>) {
        // Whatever else is heard first after a standstill is no reason to name a later moment.
        let now = self.watch.stood_still().into_iter().chain(self.lost).min().unwrap_or_else(Instant::now);
        tracing::info!(recording = %self.recording.id(), why, "recording ends");
        let at_ms = now.saturating_duration_since(self.zero.at).as_millis() as u64;
        self.participants.stop_all(now);
        self.recording.append(Fact::Stopped { at_ms }).await;
        self.recording.set_state(RecordingState::Finalising);
        self.participants.finish().await;
        // Files that were begun in the last moment.
        while let Ok(told) = hears.try_recv() {
            if let Told::File(file, progress) = told {
                self.recording.start_upload(&file.name, progress);
            }
        }
        self.recording.hear();
        match self.link {
            Link::Up(room) => drop(tokio::spawn(room.leave())),
            // It may be on its way in.
            Link::Down(task) => task.abort(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_paused_before_it_began_begins_paused() {
        for (before, heard, after) in [
            (false, &[Order::Pause][..], true),
            (false, &[Order::Pause, Order::Resume], false),
            (true, &[Order::Resume], false),
            (true, &[], true),
        ] {
            let (say, mut orders) = mpsc::unbounded_channel();
            heard.iter().chain([&Order::Stop]).for_each(|order| say.send(*order).expect("is heard"));
            let mut paused = before;
            stop(&mut orders, &mut paused).await;
            assert_eq!(paused, after, "{before} {heard:?}");
        }
    }

    #[test]
    fn a_limit_of_megabytes_counts_as_disks_do_and_zero_is_none() {
        let over = [(999_999, 1), (1_000_000, 1), (u64::MAX, 0), (0, 0), (u64::MAX, u64::MAX)];
        assert_eq!(over.map(|(bytes, limit)| is_too_large(bytes, limit)), [false, true, false, false, true]);
    }
}
