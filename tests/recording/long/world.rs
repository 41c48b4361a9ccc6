//! A publisher, the SFU and a recorder's participant, with a network between them, moved by one clock that no wall clock
//! holds back. Everything is the product's but what moves it.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use netsim::{Datagram, Link, Network};
use recorder::spool::media::MediaFile;
use rtc_client::{Codec, Frame, Kind, Mid, Output, Publication, Transport};
use session::{Session, Zero};
use sfu::command::{Intent, Mode, Offer, Permissions, RoomSettings, Source};
use sfu::{Command, Event, ParticipantId, Protocol, RequestId, RoomId, Success, Worker};
use signalling::recording::{self, RecordedFile};

use super::source::{Camera, Counter, Made, Microphone};

const ROOM: RoomId = RoomId(1);
pub(super) const PUBLISHER: ParticipantId = ParticipantId(1);
pub(super) const RECORDER: ParticipantId = ParticipantId(2);
/// What happens of a recording before its call and after it.
const BEFORE: Duration = Duration::from_secs(2);
/// How long the devices need for a packet of sound and for a picture.
const SOUND_TAKES: Duration = Duration::from_millis(10);
const PICTURE_TAKES: Duration = Duration::from_millis(60);

/// Something that happens in a call.
#[derive(Debug, Clone, Copy)]
pub(super) enum Action {
    /// The publisher's wall clock is set: it is now so far behind.
    SetClock(Duration),
    /// The publisher mutes a source, or no longer, and says so.
    Mute(Source, bool),
    /// A device sends nothing until then, a whole second of the call, but counts on.
    Quiet(Source, Duration),
    /// Another microphone is opened, which takes so long, whole seconds; its timestamps go on where they were.
    ChangeMicrophone(Duration),
    /// Everything is lost between the SFU and a participant, or no longer.
    Cut(ParticipantId, bool),
}

/// What the call has to stand.
#[derive(Debug, Clone, Default)]
pub(super) struct Conditions {
    pub(super) length: Duration,
    pub(super) sound: Counter,
    pub(super) picture: Counter,
    pub(super) link: Link,
    /// Between key frames that come by themselves, whole seconds.
    pub(super) key_every: Duration,
    /// By the time in the call, in order.
    pub(super) actions: Vec<(Duration, Action)>,
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) file: RecordedFile,
    /// When the call began, on the recording's clock.
    pub(super) began: Duration,
    /// When the publisher was asked for key frames, in the call.
    pub(super) asked: Vec<Duration>,
}

fn address(last: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, last], 5000))
}

fn track_id(track: sfu::TrackId) -> signalling::TrackId {
    signalling::TrackId::parse(format!("t{}", track.0)).expect("an id")
}

struct World {
    epoch: Instant,
    now: Instant,
    network: Network,
    worker: Worker,
    publisher: Transport,
    recorder: Transport,
    mids: Vec<Mid>,
    camera: Camera,
    microphone: Microphone,
    link: Link,
    actions: VecDeque<(Duration, Action)>,
    tracks: Vec<sfu::TrackId>,
    /// How far the publisher's wall clock is behind.
    behind: Duration,
    asked: Vec<Duration>,
    /// When media began to flow.
    flows: Option<Instant>,
    session: Session,
    next_tick: Instant,
    files: BTreeMap<Arc<str>, MediaFile>,
    folder: PathBuf,
    whole: Vec<RecordedFile>,
}

fn permissions(recorder: bool) -> Permissions {
    let publish = if recorder { vec![] } else { vec![Source::Mic, Source::Camera] };
    Permissions { publish, data: false, subscribe: recorder, moderate: false, hidden: recorder, recorder }
}

/// Records a call into a folder.
pub(super) fn record(conditions: &Conditions, folder: &Path) -> io::Result<Outcome> {
    let mut world = World::new(conditions, folder);
    world.join();
    let end = world.epoch + BEFORE + conditions.length;
    while world.step(end) {}
    world.now = end;
    world.session.handle_stop(end);
    world.step(end + Duration::from_millis(250));
    world.session.finish(end);
    world.take_session()?;
    let began = world.flows.expect("media flows") - world.epoch;
    let [file] = &world.whole[..] else { panic!("one file: {:?}", world.whole) };
    Ok(Outcome { file: file.clone(), began, asked: world.asked })
}

impl World {
    fn new(conditions: &Conditions, folder: &Path) -> Self {
        let epoch = Instant::now();
        let config = sfu::Config { candidates: vec![(Protocol::Udp, address(1))], worker: 0, workers: 1 };
        let publish = |kind| Publication { kind, rids: Vec::new(), receive: false };
        let publisher = rtc_client::Config {
            local: vec![address(2)],
            publish: vec![publish(Kind::Audio), publish(Kind::Video)],
            ..rtc_client::Config::default()
        };
        let recorder = rtc_client::Config {
            local: vec![address(3)],
            audio_slots: 1,
            video_slots: 1,
            ..rtc_client::Config::default()
        };
        let mut network = Network::new(20_261_121);
        network.set_default(conditions.link);
        let zero = Zero { at: epoch, wall: Duration::from_secs(1_700_000_000) };
        let alice = signalling::ParticipantId::parse("p1").expect("an id");
        Self {
            epoch,
            now: epoch,
            network,
            worker: Worker::new(config, epoch).expect("a certificate"),
            publisher: Transport::new(publisher, epoch).expect("a local address"),
            recorder: Transport::new(recorder, epoch).expect("a local address"),
            mids: Vec::new(),
            camera: Camera::new(conditions.picture, conditions.key_every),
            microphone: Microphone::new(conditions.sound),
            link: conditions.link,
            actions: conditions.actions.iter().copied().collect(),
            tracks: Vec::new(),
            behind: Duration::ZERO,
            asked: Vec::new(),
            flows: None,
            session: Session::new(zero, alice, "Alice".into(), recording::Mode::default(), BTreeMap::new()),
            next_tick: epoch,
            files: BTreeMap::new(),
            folder: folder.to_owned(),
            whole: Vec::new(),
        }
    }

    fn command(&mut self, request: u64, command: impl FnOnce(RequestId) -> Command) -> Success {
        self.worker.handle_command(command(RequestId(request)), self.now);
        let mut reply = None;
        while let Some(output) = self.worker.poll_output() {
            match output {
                sfu::Output::Reply { result, .. } => reply = Some(result.expect("the SFU agrees")),
                output => self.take_output(output),
            }
        }
        reply.expect("exactly one reply")
    }

    fn join(&mut self) {
        let settings = RoomSettings { mode: Mode::Sfu, max_participants: 10, locked: false };
        self.worker.handle_command(Command::OpenRoom { room: ROOM, settings }, self.now);
        let sdp = self.publisher.create_offer().expect("an offer");
        self.mids = self.publisher.lines().iter().filter(|line| line.sends).map(|line| line.mid).collect();
        let intent = |(mid, source): (&Mid, Source)| Intent { mid: mid.to_string(), source, muted: false };
        let tracks = self.mids.iter().zip([Source::Mic, Source::Camera]).map(intent).collect();
        let offer = Some(Offer { transport: "main".into(), epoch: 1, only: None, sdp: Some(sdp), tracks });
        let joined = self.command(1, |request| Command::Join {
            request,
            room: ROOM,
            participant: PUBLISHER,
            name: "Alice".into(),
            permissions: permissions(false),
            offer,
        });
        let Success::Joined { answer, tracks, .. } = joined else { panic!("another reply: {joined:?}") };
        self.publisher.handle_answer(&answer.expect("an answer").sdp, self.now).expect("a good answer");
        for (track, source) in
            tracks.iter().zip([signalling::message::Source::Mic, signalling::message::Source::Camera])
        {
            let id = track_id(*track);
            self.session.handle_track(id, source, false, self.epoch);
        }
        self.tracks = tracks;
        self.command(2, |request| Command::Join {
            request,
            room: ROOM,
            participant: RECORDER,
            name: String::new(),
            permissions: permissions(true),
            offer: None,
        });
        let sdp = self.recorder.create_offer().expect("an offer");
        let offer =
            Offer { transport: "rec".into(), epoch: 1, only: Some(PUBLISHER), sdp: Some(sdp), tracks: Vec::new() };
        let answered = self.command(3, |request| Command::Offer { request, participant: RECORDER, offer });
        let Success::Answered { answer, .. } = answered else { panic!("another reply: {answered:?}") };
        let answer = answer.expect("an answer");
        self.recorder.handle_answer(&answer.sdp, self.now).expect("a good answer");
        self.apply(answer.slots);
    }

    fn apply(&mut self, slots: Vec<sfu::event::Slot>) {
        for slot in slots {
            let mid = Mid::from(slot.mid.as_str());
            let line = self.recorder.lines().iter().find(|line| line.mid == mid).expect("a line of ours");
            let track = slot.track.map(|(track, _)| track_id(track));
            self.session.handle_slot(mid, line.kind == Kind::Audio, track, slot.held.is_none());
        }
    }

    /// When the next sound and the next picture leave, and when something happens.
    fn planned(&self) -> Vec<Instant> {
        let Some(began) = self.flows else { return Vec::new() };
        let action = self.actions.front().map(|(at, _)| began + *at);
        let (sound, picture) = (self.microphone.due() + SOUND_TAKES, self.camera.due() + PICTURE_TAKES);
        action.into_iter().chain([began + sound, began + picture]).collect()
    }

    /// Moves to the next thing that is due; `false`: nothing is, before `until`.
    fn step(&mut self, until: Instant) -> bool {
        let timers = [
            self.network.poll_timeout(),
            self.worker.poll_timeout(),
            self.publisher.poll_timeout(),
            self.recorder.poll_timeout(),
            Some(self.next_tick),
        ];
        let due = timers.into_iter().flatten().chain(self.planned()).min().expect("there is always a tick");
        if due > until {
            return false;
        }
        self.now = self.now.max(due);
        let now = self.now;
        while let Some(Datagram { from, to, bytes }) = self.network.poll_output(now) {
            match to {
                to if to == address(1) => {
                    let path = sfu::Path { protocol: Protocol::Udp, local: to, remote: from };
                    self.worker.handle_datagram(path, &bytes, now);
                }
                to if to == address(2) => self.publisher.handle_datagram(from, to, &bytes, now),
                _ => self.recorder.handle_datagram(from, to, &bytes, now),
            }
        }
        if self.worker.poll_timeout().is_some_and(|at| at <= now) {
            self.worker.handle_timeout(now);
        }
        for transport in [&mut self.publisher, &mut self.recorder] {
            if transport.poll_timeout().is_some_and(|at| at <= now) {
                transport.handle_timeout(now);
            }
        }
        while let Some((_, action)) = self.actions.pop_front_if(|(at, _)| self.flows.is_some_and(|f| f + *at <= now)) {
            self.act(action);
        }
        self.send();
        if self.next_tick <= now {
            self.next_tick = now + session::TICK;
            self.session.handle_timeout(now);
        }
        while let Some(output) = self.worker.poll_output() {
            self.take_output(output);
        }
        self.take_transports();
        self.take_session().expect("the disk takes it");
        true
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::SetClock(behind) => self.behind = behind,
            Action::Mute(source, muted) => {
                let track = self.tracks[usize::from(source == Source::Camera)];
                self.command(4, |request| Command::Mute { request, participant: PUBLISHER, track, muted });
            }
            Action::Quiet(Source::Mic, until) => self.microphone.skip(until),
            Action::Quiet(_, until) => self.camera.skip(until),
            Action::ChangeMicrophone(takes) => self.microphone.stand_still(takes),
            Action::Cut(participant, cut) => {
                let end = address(if participant == PUBLISHER { 2 } else { 3 });
                let link = Link { loss: if cut { 1.0 } else { self.link.loss }, ..self.link };
                self.network.set_link(address(1), end, link);
                self.network.set_link(end, address(1), link);
            }
        }
    }

    fn send(&mut self) {
        let Some(began) = self.flows else { return };
        if began + self.microphone.due() + SOUND_TAKES <= self.now {
            let made = self.microphone.make();
            self.send_frame(0, Codec::Opus, &made, began);
        }
        if began + self.camera.due() + PICTURE_TAKES <= self.now {
            let made = self.camera.make();
            self.send_frame(1, Codec::Vp8, &made, began);
        }
    }

    fn send_frame(&mut self, line: usize, codec: Codec, made: &Made, began: Instant) {
        let frame = Frame {
            mid: self.mids[line],
            rid: None,
            codec,
            data: &made.data,
            timestamp: made.ticks as u32,
            captured: began + made.at - self.behind,
            level: (codec == Codec::Opus).then_some(-20),
        };
        self.publisher.send_frame(&frame, self.now).expect("a sending m-line");
    }

    fn take_output(&mut self, output: sfu::Output) {
        match output {
            sfu::Output::Transmit { path, bytes } => {
                self.network.send(Datagram { from: path.local, to: path.remote, bytes }, self.now);
            }
            sfu::Output::Event { participant: RECORDER, event: Event::Slots { slots, .. } } => self.apply(slots),
            sfu::Output::Event { participant: RECORDER, event: Event::Mute(track) } => {
                self.session.handle_mute(&track_id(track.id), track.muted, self.now);
            }
            _ => {}
        }
    }

    fn take_transports(&mut self) {
        let now = self.now;
        while let Some(output) = self.publisher.poll_output() {
            match output {
                Output::Transmit { from, to, bytes } => self.network.send(Datagram { from, to, bytes }, now),
                Output::Connected => self.flows = Some(now),
                Output::KeyFrameWanted { .. } => {
                    self.asked.extend(self.flows.map(|began| now - began));
                    self.camera.want_key_frame();
                }
                _ => {}
            }
        }
        while let Some(output) = self.recorder.poll_output() {
            match output {
                Output::Transmit { from, to, bytes } => self.network.send(Datagram { from, to, bytes }, now),
                Output::Packet(packet) => self.session.handle_packet(packet, now),
                _ => {}
            }
        }
    }

    fn take_session(&mut self) -> io::Result<()> {
        while let Some(output) = self.session.poll_output() {
            match output {
                session::Output::Open(facts) => {
                    let file = MediaFile::create(&self.folder.join(&facts.name))?;
                    self.files.insert(facts.name.as_str().into(), file);
                }
                session::Output::Write(name, output) => {
                    self.files.get_mut(&name).expect("an open file").write(&output)?;
                }
                session::Output::KeyFrame(mid) => self.recorder.request_key_frame(mid, self.now),
                session::Output::Finish(_, whole) => self.whole.extend(whole.map(|whole| *whole)),
                session::Output::Note(..) => {}
                session::Output::Refuse(track, codec) => panic!("{track} of {codec:?} refused"),
            }
        }
        Ok(())
    }
}
