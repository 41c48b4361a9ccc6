//! One recorded participant: a transport on a UDP port of its own, a session, and the files that it writes.
//!
//! One task owns all of it and waits for commands and for time. It reads its socket now and then: to be woken by each packet
//! would cost more than what the packet needs.

mod writer;

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rtc_client::{Kind, Mid, Output as RtcOutput, Transport};
use service::udp::{RecvBatch, UdpSocket};
use session::kind::FileKind;
use session::{Session, TICK};
use signalling::id::{ParticipantId, PcId, TrackId};
use signalling::message::{Slot, Source, Track};
use signalling::recording::{Mode, RecordedFile};
use tokio::sync::{mpsc, watch};

use crate::metrics::Metrics;
use crate::pulse::Watch;
use crate::spool::{Ledger, Syncer};
use crate::upload::Progress;
use writer::Writer;

/// How often the socket is read while something comes: what is lost is waited for thirty times as long.
const READ: Duration = Duration::from_millis(10);
/// After so long without a packet it is read with the session's tick.
const QUIET: Duration = Duration::from_secs(1);
/// Full batches read before outputs are looked at again.
const BATCHES: usize = 8;
/// A transport that has not connected by then is replaced.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a path that died may take to come back: the server does not look for another one, so hardly any does.
const LOST_TIMEOUT: Duration = Duration::from_secs(2);
/// Between two tries to make a transport: descriptors or ports may be free again.
const RETRY: Duration = Duration::from_secs(1);
/// After the stop, what was captured before it may still be on its way.
const LINGER: Duration = Duration::from_millis(250);

/// What the recording asks of a participant's task.
#[derive(Debug)]
pub(crate) enum Command {
    /// The server's answer to the offer on `pc`.
    Answer {
        /// Which transport.
        pc: PcId,
        /// The SDP.
        sdp: String,
        /// The slots.
        slots: Vec<Slot>,
    },
    /// The offer on `pc` was refused.
    Refused(PcId),
    /// Slots changed.
    Slots(PcId, Vec<Slot>),
    /// More m-lines are needed.
    Need {
        /// Which transport.
        pc: PcId,
        /// Audio m-lines in all.
        audio: usize,
        /// Video m-lines in all.
        video: usize,
    },
    /// A track came or changed.
    Track(Track, Instant),
    /// A track ended.
    TrackGone(TrackId, Instant),
    /// A track was muted or unmuted.
    Mute(TrackId, bool, Instant),
    /// Write nothing.
    Pause(Instant),
    /// Write again.
    Resume,
    /// It is over: write what was captured until then, and end.
    Stop(Instant),
}

/// What a participant's task tells the recording.
#[derive(Debug)]
pub(crate) enum Told {
    /// Offer this for a transport of this participant.
    Offer {
        /// Whose.
        participant: ParticipantId,
        /// Which transport.
        pc: PcId,
        /// One more each time.
        epoch: u64,
        /// The SDP.
        sdp: String,
    },
    /// Do not send this track, it cannot be recorded.
    Unsubscribe(TrackId),
    /// A file began; how far it is.
    File(Box<RecordedFile>, watch::Receiver<Progress>),
    /// The disk does not take what is written: stop everything.
    DiskFailed(String),
    /// This process stood still: what came meanwhile is not written.
    StoodStill,
}

/// Everything that a task starts with.
pub(crate) struct Seed {
    /// Whom to record.
    pub(crate) participant: ParticipantId,
    /// Its name.
    pub(crate) name: String,
    /// Where the recording's clock is zero.
    pub(crate) zero: session::Zero,
    /// What becomes a file.
    pub(crate) mode: Mode,
    /// How many files of each kind are taken.
    pub(crate) first_file: u32,
    /// Paused from the start.
    pub(crate) paused: bool,
    /// By which of our addresses the server is reached.
    pub(crate) local: IpAddr,
    /// The journal.
    pub(crate) ledger: Ledger,
    /// Who brings what is written to the disk.
    pub(crate) syncer: Syncer,
    /// Where to tell.
    pub(crate) told: mpsc::UnboundedSender<Told>,
    /// Counters.
    pub(crate) metrics: Metrics,
    /// Counters of this recording.
    pub(crate) tally: Arc<Tally>,
    /// Whether this process stood still since the recording began.
    pub(crate) watch: Watch,
}

/// What came for a recording, of all its participants.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Packets that came.
    pub(crate) packets: AtomicU64,
    /// Packets that never came.
    pub(crate) lost: AtomicU64,
    /// Key frames asked for.
    pub(crate) key_frames_asked: AtomicU64,
    /// When the last packet came, milliseconds after the recording's zero.
    last_packet_ms: AtomicU64,
}

impl Tally {
    /// When the last packet came, of a recording with this zero.
    pub(crate) fn last_packet(&self, zero: Instant) -> Instant {
        zero + Duration::from_millis(self.last_packet_ms.load(Ordering::Relaxed))
    }

    fn add(&self, now: session::Stats, before: session::Stats) {
        self.packets.fetch_add(now.packets - before.packets, Ordering::Relaxed);
        self.lost.fetch_add(now.lost - before.lost, Ordering::Relaxed);
        self.key_frames_asked.fetch_add(now.key_frames_asked - before.key_frames_asked, Ordering::Relaxed);
    }
}

thread_local! {
    /// A megabyte of buffers for each thread, not for each participant: nothing stays in it.
    static BATCH: RefCell<RecvBatch> = RefCell::default();
}

/// A transport with its socket.
struct Leg {
    pc: PcId,
    transport: Transport,
    socket: UdpSocket,
    local: SocketAddr,
    epoch: u64,
    waiting: bool,
    more: bool,
    /// When it is given up unless it (re)connects.
    give_up: Option<Instant>,
}

struct Task {
    seed: Seed,
    session: Session,
    writer: Writer,
    leg: Option<Leg>,
    /// When a transport is made that could not be made before.
    retry: Option<Instant>,
    legs_made: u32,
    slots: (usize, usize),
    next_tick: Instant,
    reported: session::Stats,
    last_packet: Instant,
}

/// Records a participant until [`Command::Stop`] or until nobody commands any more.
pub(crate) async fn run(seed: Seed, mut commands: mpsc::UnboundedReceiver<Command>) {
    let opened = FileKind::ALL.map(|kind| (kind, seed.first_file));
    let mut session = Session::new(seed.zero, seed.participant.clone(), seed.name.clone(), seed.mode, opened.into());
    if seed.paused {
        session.handle_pause(Instant::now());
    }
    let writer = Writer::new(seed.ledger.clone(), seed.syncer.clone(), seed.told.clone());
    let now = Instant::now();
    // Without an m-line for it, no picture is sent here.
    let slots = (1, usize::from(session.records(Source::Camera) || session.records(Source::Screen)));
    let mut task = Task {
        seed,
        session,
        writer,
        leg: None,
        retry: None,
        legs_made: 0,
        slots,
        next_tick: now + TICK,
        reported: session::Stats::default(),
        last_packet: now,
    };
    let mut timer = std::pin::pin!(tokio::time::sleep(READ));
    let mut end: Option<Instant> = None;
    let mut turned = now;
    loop {
        let now = Instant::now();
        if end.is_none() && task.seed.watch.stood_still().is_some() {
            // Somebody else has the room by now. What is in the socket would be in both files.
            task.session.handle_stop(turned);
            end = Some(turned);
            let _ = task.seed.told.send(Told::StoodStill);
        }
        turned = now;
        if end.is_some_and(|end| now >= end + LINGER) {
            break;
        }
        if task.seed.watch.stood_still().is_none() {
            task.receive(now);
        }
        task.turn(now);
        timer.as_mut().reset(task.wake(now, end).into());
        let command = tokio::select! {
            biased;
            command = commands.recv(), if end.is_none() => command,
            () = &mut timer => continue,
        };
        if task.seed.watch.stood_still().is_some() {
            // Whoever sent it did not know, and names a time that is somebody else's.
            continue;
        }
        match command {
            Some(Command::Stop(at)) => {
                task.session.handle_stop(at);
                end = Some(at);
            }
            Some(command) => task.handle_command(command, Instant::now()),
            None => {
                // The recording's task is gone without a word: what is spooled is left to recovery.
                return;
            }
        }
    }
    if let Some(end) = end {
        task.session.finish(end);
    }
    if let Some(leg) = &mut task.leg {
        leg.transport.close(Instant::now());
    }
    task.turn(Instant::now());
    task.writer.close().await;
}

impl Task {
    /// Everything that is due now.
    fn turn(&mut self, now: Instant) {
        if now >= self.next_tick {
            self.next_tick = now + TICK;
            // After a stall, what came in it has its place before the session fills that with silence.
            self.drain(now);
            self.session.handle_timeout(now);
            self.writer.look_at_disk();
            self.count();
        }
        if self.leg.as_ref().is_some_and(|leg| leg.give_up.is_some_and(|at| now >= at)) {
            tracing::info!(participant = %self.seed.participant, "media does not flow, trying another port");
            self.replace_leg(now);
        }
        if self.retry.is_some_and(|at| now >= at) {
            self.replace_leg(now);
        }
        if let Some(leg) = &mut self.leg
            && leg.transport.poll_timeout().is_some_and(|at| now >= at)
        {
            leg.transport.handle_timeout(now);
        }
        self.drain(now);
    }

    fn wake(&self, now: Instant, end: Option<Instant>) -> Instant {
        let connects = self.leg.as_ref().is_some_and(|leg| leg.give_up.is_some());
        let read = (connects || now < self.last_packet + QUIET).then_some(now + READ);
        let end = end.map(|end| end + LINGER);
        [read, end, self.retry].into_iter().flatten().fold(self.next_tick, Instant::min)
    }

    /// Reads what has arrived.
    fn receive(&mut self, now: Instant) {
        let Some(leg) = &mut self.leg else { return };
        BATCH.with_borrow_mut(|batch| {
            for _ in 0..BATCHES {
                // Nothing waits, or the network has an error for an earlier datagram, which is no reason to stop.
                let Ok(filled) = leg.socket.recv(batch) else { return };
                for datagram in batch.datagrams() {
                    leg.transport.handle_datagram(datagram.from, leg.local, datagram.bytes, now);
                }
                if filled < RecvBatch::SIZE {
                    return;
                }
            }
        });
    }

    /// Does what transport and session say. What the session asks of the transport leaves now, not with the next packet.
    fn drain(&mut self, now: Instant) {
        loop {
            self.drain_transport(now);
            if !self.drain_session(now) {
                return;
            }
        }
    }

    fn drain_transport(&mut self, now: Instant) {
        let Some(leg) = &mut self.leg else { return };
        while let Some(output) = leg.transport.poll_output() {
            match output {
                RtcOutput::Transmit { to, bytes, .. } => {
                    // A full socket or an unreachable candidate is a lost datagram.
                    let _ = leg.socket.send_to(to, &bytes);
                }
                RtcOutput::Packet(packet) => {
                    self.last_packet = packet.arrived;
                    self.session.handle_packet(packet, now);
                }
                RtcOutput::Connected => leg.give_up = None,
                RtcOutput::Reachable(reachable) => {
                    leg.give_up = (!reachable).then(|| now + LOST_TIMEOUT);
                    self.session.handle_reachable(reachable, now);
                }
                RtcOutput::Closed(why) => {
                    tracing::debug!(participant = %self.seed.participant, why, "the transport ended");
                    leg.give_up = Some(now);
                    self.session.handle_reachable(false, now);
                }
                _ => {}
            }
        }
    }

    /// Whether something was asked of the transport.
    fn drain_session(&mut self, now: Instant) -> bool {
        let mut asked = false;
        while let Some(output) = self.session.poll_output() {
            match output {
                session::Output::KeyFrame(mid) => {
                    if let Some(leg) = &mut self.leg {
                        leg.transport.request_key_frame(mid, now);
                        asked = true;
                    }
                }
                session::Output::Refuse(track, codec) => {
                    tracing::warn!(participant = %self.seed.participant, %track, codec = codec.name(), "not recorded");
                    let _ = self.seed.told.send(Told::Unsubscribe(track));
                }
                output => self.writer.handle(output),
            }
        }
        asked
    }

    fn handle_command(&mut self, command: Command, now: Instant) {
        match command {
            Command::Track(track, _) if !self.session.records(track.src) => {}
            Command::Track(track, since) => {
                self.session.handle_track(track.id, track.src, track.muted, since);
                if self.leg.is_none() && self.retry.is_none() {
                    self.replace_leg(now);
                }
            }
            Command::TrackGone(id, at) => self.session.handle_track_gone(&id, at),
            Command::Mute(id, muted, at) => self.session.handle_mute(&id, muted, at),
            Command::Pause(at) => self.session.handle_pause(at),
            Command::Resume => {
                // What came while it was paused is not to be in the file.
                self.receive(now);
                self.drain(now);
                self.session.handle_resume(now);
            }
            Command::Answer { pc, sdp, slots } => self.handle_answer(&pc, &sdp, slots, now),
            Command::Refused(pc) => {
                if let Some(leg) = self.leg.as_mut().filter(|leg| leg.pc == pc) {
                    leg.waiting = false;
                    leg.give_up = Some(now + Duration::from_secs(1));
                }
            }
            Command::Slots(pc, slots) => {
                if self.leg.as_ref().is_some_and(|leg| leg.pc == pc) {
                    self.apply(slots);
                }
            }
            Command::Need { pc, audio, video } => {
                let video = if self.slots.1 == 0 { 0 } else { video };
                self.slots = (self.slots.0.max(audio), self.slots.1.max(video));
                if let Some(leg) = self.leg.as_mut().filter(|leg| leg.pc == pc) {
                    leg.transport.set_slots(audio, video);
                    leg.more = true;
                    self.offer();
                }
            }
            // Handled where the loop ends.
            Command::Stop(_) => {}
        }
        self.drain(now);
    }

    fn handle_answer(&mut self, pc: &PcId, sdp: &str, slots: Vec<Slot>, now: Instant) {
        let Some(leg) = self.leg.as_mut().filter(|leg| leg.pc == *pc) else { return };
        leg.waiting = false;
        if let Err(error) = leg.transport.handle_answer(sdp, now) {
            tracing::warn!(participant = %self.seed.participant, %error, "the server's answer is of no use");
            leg.give_up = Some(now + Duration::from_secs(1));
            return;
        }
        self.apply(slots);
        if self.leg.as_ref().is_some_and(|leg| leg.more) {
            self.offer();
        }
    }

    fn apply(&mut self, slots: Vec<Slot>) {
        let Some(leg) = &self.leg else { return };
        for slot in slots {
            let mid = Mid::from(slot.mid.as_str());
            let line = leg.transport.lines().iter().find(|line| line.mid == mid);
            let Some(line) = line else { continue };
            self.session.handle_slot(mid, line.kind == Kind::Audio, slot.track, slot.on);
        }
    }

    /// A new transport on a new port, with a new name: the old one may still be known to the server.
    fn replace_leg(&mut self, now: Instant) {
        self.session.handle_reachable(false, now);
        self.session.handle_new_transport(now);
        self.legs_made += 1;
        (self.leg, self.retry) = match self.new_leg(now) {
            Ok(leg) => (Some(leg), None),
            Err(error) => {
                tracing::error!(participant = %self.seed.participant, %error, "no transport, trying on");
                (None, Some(now + RETRY))
            }
        };
        self.offer();
    }

    fn new_leg(&self, now: Instant) -> Result<Leg, Box<dyn std::error::Error + Send + Sync>> {
        let socket = UdpSocket::bind((self.seed.local, 0).into(), false)?;
        let local = socket.local_addr();
        let config = rtc_client::Config {
            local: vec![local],
            audio_slots: self.slots.0,
            video_slots: self.slots.1,
            ..rtc_client::Config::default()
        };
        let pc = PcId::parse(format!("{}x{}", self.seed.participant, self.legs_made))?;
        let transport = Transport::new(config, now)?;
        let give_up = Some(now + CONNECT_TIMEOUT);
        Ok(Leg { pc, transport, socket, local, epoch: 0, waiting: false, more: true, give_up })
    }

    /// Offers what is new, unless an offer is on its way: then after its answer.
    fn offer(&mut self) {
        let Some(leg) = self.leg.as_mut().filter(|leg| !leg.waiting) else { return };
        leg.more = false;
        match leg.transport.create_offer() {
            Ok(sdp) => {
                leg.epoch += 1;
                leg.waiting = true;
                let participant = self.seed.participant.clone();
                let _ = self.seed.told.send(Told::Offer { participant, pc: leg.pc.clone(), epoch: leg.epoch, sdp });
            }
            Err(error) => tracing::debug!(participant = %self.seed.participant, %error, "nothing to offer"),
        }
    }

    fn count(&mut self) {
        let stats = self.session.stats();
        self.seed.metrics.media(stats, self.reported);
        self.seed.tally.add(stats, self.reported);
        if stats.packets > self.reported.packets {
            let ms = self.last_packet.saturating_duration_since(self.seed.zero.at).as_millis();
            self.seed.tally.last_packet_ms.fetch_max(u64::try_from(ms).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
        self.reported = stats;
    }
}
