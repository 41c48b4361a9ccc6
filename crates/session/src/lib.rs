//! What one participant's packets become: files. Pure: packets, slot maps and time in, bytes for files out.
//!
//! ```text
//! packet ─► Reorder ─► Assembler (VP8) ─► StreamClock ─► File ─► webm::Muxer ─► Output
//!                   └► Opus packet ─────►              (Audio fills)
//! ```
//! Not here: the transport, the spool, the room. Times inside are microseconds on the recording's clock.

pub mod audio;
pub mod clock;
pub mod file;
pub mod journal;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rtc_client::depacketise::{Assembler, Ordered, Reorder};
use rtc_client::{Codec, Mid, RtpPacket};
use signalling::id::{ParticipantId, TrackId};
use signalling::message::Source;
use signalling::recording::RecordedFile;

use clock::{ServerClock, StreamClock};
use file::{Cause, File, FileKind, Note, Say};

/// How long a lost packet is waited for: some round trips for NACK and resend. The muxer's window is longer.
const PATIENCE: Duration = Duration::from_millis(300);

/// The first packets of a stream wait this long, until it is known which way is the shortest: the first of all may be an
/// old picture from a cache.
const HOLD: Duration = Duration::from_millis(250);

/// A key frame is asked for at most this often, then ever less.
const MIN_PLI: Duration = Duration::from_secs(1);
/// And at least this often while one is needed.
const MAX_PLI: Duration = Duration::from_secs(5);

/// How often [`Session::handle_timeout`] is due.
pub const TICK: Duration = Duration::from_millis(50);

/// What a session says.
#[derive(Debug)]
pub enum Output {
    /// A file begins, with an empty head region.
    Open(RecordedFile),
    /// Bytes for a file.
    Write(Arc<str>, webm::Output),
    /// A fact of a file.
    Note(Arc<str>, Note),
    /// A file is whole; `None`: nothing was ever written to it.
    Finish(Arc<str>, Option<Box<RecordedFile>>),
    /// A key frame is needed on this m-line.
    KeyFrame(Mid),
    /// This track cannot be recorded: unsubscribe.
    Refuse(TrackId, Codec),
}

/// Counters of a session.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Packets taken.
    pub packets: u64,
    /// Packets that never came.
    pub lost: u64,
    /// Key frames asked for.
    pub key_frames_asked: u64,
    /// Frames that no file could hold.
    pub refused: u64,
}

/// When the recording began, in the clocks that a session needs.
#[derive(Debug, Clone, Copy)]
pub struct Zero {
    /// On the monotonic clock; saturates at the start of that clock.
    pub at: Instant,
    /// Since 1970.
    pub wall: Duration,
}

#[derive(Debug)]
struct Track {
    source: Source,
    muted: bool,
}

/// A receiving m-line.
#[derive(Debug)]
struct Line {
    track: Option<TrackId>,
    on: bool,
    reorder: Reorder,
    clock: StreamClock,
    assembler: Assembler,
    ssrc: Option<u32>,
    refused: bool,
    /// Until then, packets only collect.
    hold: Option<Instant>,
    /// When a key frame was last asked for, and how long to wait before the next time.
    asked: Option<Instant>,
    wait: Duration,
}

impl Line {
    fn new(rate: u32) -> Self {
        Self {
            track: None,
            on: false,
            reorder: Reorder::new(PATIENCE),
            clock: StreamClock::new(rate),
            assembler: Assembler::default(),
            ssrc: None,
            refused: false,
            hold: None,
            asked: None,
            wait: MIN_PLI,
        }
    }

    fn restart(&mut self) {
        self.reorder = Reorder::new(PATIENCE);
        self.assembler.restart();
        self.clock.restart();
        self.wait = MIN_PLI;
        self.refused = false;
        self.hold = None;
    }

    fn holds(&self, now: Instant) -> bool {
        self.hold.is_some_and(|until| now < until)
    }
}

/// One participant's recording.
#[derive(Debug)]
pub struct Session {
    zero: Zero,
    participant: ParticipantId,
    name: String,
    server: ServerClock,
    tracks: BTreeMap<TrackId, Track>,
    lines: BTreeMap<Mid, Line>,
    files: BTreeMap<FileKind, File>,
    opened: BTreeMap<FileKind, u32>,
    paused: bool,
    stats: Stats,
    outputs: VecDeque<Output>,
}

impl Session {
    /// A session without tracks. `opened` says how many files of each kind the participant has already, so that names
    /// do not come twice.
    pub fn new(zero: Zero, participant: ParticipantId, name: String, opened: BTreeMap<FileKind, u32>) -> Self {
        Self {
            zero,
            participant,
            name,
            server: ServerClock::default(),
            tracks: BTreeMap::new(),
            lines: BTreeMap::new(),
            files: BTreeMap::new(),
            opened,
            paused: false,
            stats: Stats::default(),
            outputs: VecDeque::new(),
        }
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The counters.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// How many files of each kind there were.
    pub fn opened(&self) -> &BTreeMap<FileKind, u32> {
        &self.opened
    }

    /// A track was published (or changed); its file begins at `since` if it has none yet.
    pub fn handle_track(&mut self, id: TrackId, source: Source, muted: bool, since: Instant) {
        let at = self.micros(since);
        let kind = FileKind::of(source);
        if !self.tracks.contains_key(&id) {
            if !self.files.contains_key(&kind) {
                self.open(kind, at);
            }
            if let Some(file) = self.files.get_mut(&kind) {
                file.expect(source, at);
            }
            self.tracks.insert(id.clone(), Track { source, muted: false });
        }
        self.handle_mute(&id, muted, since);
        self.drain();
    }

    /// A track was muted or unmuted.
    pub fn handle_mute(&mut self, id: &TrackId, muted: bool, now: Instant) {
        let at = self.micros(now);
        let Some(track) = self.tracks.get_mut(id).filter(|track| track.muted != muted) else { return };
        track.muted = muted;
        let source = track.source;
        if muted {
            if let Some(file) = self.files.get_mut(&FileKind::of(source)) {
                file.handle_missing(source.is_audio(), Cause::Mute, at);
            }
        } else {
            // What was predicted from pictures before the mute must not be written.
            for line in self.lines.values_mut().filter(|line| line.track.as_ref() == Some(id)) {
                line.assembler.restart();
                line.wait = MIN_PLI;
            }
        }
        self.drain();
    }

    /// A track ended. A screen's file ends with its last track.
    pub fn handle_track_gone(&mut self, id: &TrackId, now: Instant) {
        let at = self.micros(now);
        let Some(track) = self.tracks.remove(id) else { return };
        for line in self.lines.values_mut().filter(|line| line.track.as_ref() == Some(id)) {
            line.track = None;
        }
        let kind = FileKind::of(track.source);
        let last = !self.tracks.values().any(|track| FileKind::of(track.source) == kind);
        if kind == FileKind::Screen && last {
            self.finish_file(kind, at);
        } else if let Some(file) = self.files.get_mut(&kind) {
            file.handle_missing(track.source.is_audio(), Cause::Mute, at);
        }
        self.drain();
    }

    /// An m-line of the given kind carries this track now, or none; `on`: packets are to be expected.
    pub fn handle_slot(&mut self, mid: Mid, audio: bool, track: Option<TrackId>, on: bool) {
        let rate = if audio { Codec::Opus } else { Codec::Vp8 }.clock_rate();
        let line = self.lines.entry(mid).or_insert_with(|| Line::new(rate));
        if line.track != track {
            line.restart();
            line.track = track;
        } else if on && !line.on {
            line.wait = MIN_PLI;
        }
        line.on = on;
    }

    /// Packets will come over a new transport, with m-lines of its own.
    pub fn handle_new_transport(&mut self) {
        self.lines.clear();
    }

    /// The transport lost the server, or found it again.
    pub fn handle_reachable(&mut self, reachable: bool, now: Instant) {
        let at = self.micros(now);
        if !reachable {
            for track in self.tracks.values() {
                if let Some(file) = self.files.get_mut(&FileKind::of(track.source)) {
                    file.handle_missing(track.source.is_audio(), Cause::Link, at);
                }
            }
        }
        self.drain();
    }

    /// Writes nothing until [`Session::handle_resume`].
    pub fn handle_pause(&mut self, now: Instant) {
        self.pump_all(now);
        let at = self.micros(now);
        self.paused = true;
        for file in self.files.values_mut() {
            file.handle_missing(true, Cause::Pause, at);
            file.handle_missing(false, Cause::Pause, at);
        }
        self.drain();
    }

    /// Writes again.
    pub fn handle_resume(&mut self) {
        self.paused = false;
        self.lines.values_mut().for_each(Line::restart);
    }

    /// A packet.
    pub fn handle_packet(&mut self, packet: RtpPacket, now: Instant) {
        let mid = packet.mid;
        let Some(line) = self.lines.get_mut(&mid) else { return };
        let Some(id) = line.track.clone().filter(|_| !self.paused && !line.refused) else { return };
        let Some(track) = self.tracks.get(&id) else { return };
        let wanted = if track.source.is_audio() { Codec::Opus } else { Codec::Vp8 };
        if packet.codec != wanted && !packet.payload.is_empty() {
            line.refused = true;
            let (audio, kind) = (track.source.is_audio(), FileKind::of(track.source));
            let at = self.micros(now);
            if let Some(file) = self.files.get_mut(&kind) {
                file.handle_missing(audio, Cause::Codec, at);
            }
            self.outputs.push_back(Output::Refuse(id, packet.codec));
            return;
        }
        // Another source of packets counts from elsewhere.
        if line.ssrc.replace(packet.ssrc).is_some_and(|ssrc| ssrc != packet.ssrc) {
            line.restart();
        }
        self.stats.packets += 1;
        line.hold.get_or_insert(packet.arrived + HOLD);
        // Padding has no time of its own.
        if !packet.payload.is_empty() {
            let arrived = micros_between(self.zero.at, packet.arrived);
            line.clock.observe(packet.timestamp, arrived, packet.report, &mut self.server);
        }
        line.reorder.handle_packet(packet);
        self.pump(mid, now);
        self.drain();
    }

    /// Time has passed; due every [`TICK`].
    pub fn handle_timeout(&mut self, now: Instant) {
        self.pump_all(now);
        let at = self.micros(now);
        for file in self.files.values_mut() {
            file.handle_timeout(at);
        }
        self.ask_for_key_frames(now);
        self.drain();
    }

    /// The participant left or the recording stops: every file ends at `end`. What was captured before and is still on its
    /// way is taken until [`Session::finish`].
    pub fn handle_stop(&mut self, end: Instant) {
        let at = self.micros(end);
        self.files.values_mut().for_each(|file| file.limit(at));
    }

    /// Gives up what has not come and ends every file, after [`Session::handle_stop`] with the same `end`.
    pub fn finish(&mut self, end: Instant) {
        for line in self.lines.values_mut() {
            line.reorder.flush();
        }
        // Everything that came is to come out, also what came after the end and was captured before it.
        self.pump_all(end + HOLD + PATIENCE);
        let at = self.micros(end);
        for kind in [FileKind::Av, FileKind::Screen] {
            self.finish_file(kind, at);
        }
    }

    fn open(&mut self, kind: FileKind, at: i64) {
        let n = self.opened.entry(kind).or_default();
        *n += 1;
        let wall = self.zero.wall + Duration::from_micros(at.max(0).cast_unsigned());
        let mut file = File::new(kind, *n, at.max(0), wall, (&self.participant, &self.name));
        if self.paused {
            file.handle_missing(true, Cause::Pause, at);
            file.handle_missing(false, Cause::Pause, at);
        }
        self.outputs.push_back(Output::Open(file.facts()));
        self.files.insert(kind, file);
    }

    fn finish_file(&mut self, kind: FileKind, at: i64) {
        let Some(mut file) = self.files.remove(&kind) else { return };
        let whole = file.finish(at);
        let name = file.name.clone();
        self.outputs.extend(file.take_says().into_iter().map(|say| said(&name, say)));
        self.outputs.push_back(Output::Finish(name, whole.map(Box::new)));
    }

    fn pump_all(&mut self, now: Instant) {
        let mids: Vec<Mid> = self.lines.keys().copied().collect();
        mids.into_iter().for_each(|mid| self.pump(mid, now));
    }

    /// Moves what is in order from a line into its file.
    fn pump(&mut self, mid: Mid, now: Instant) {
        let at = self.micros(now);
        let Some(line) = self.lines.get_mut(&mid).filter(|line| !line.holds(now)) else { return };
        let Some(track) = line.track.as_ref().and_then(|id| self.tracks.get(id)) else { return };
        let source = track.source;
        let Some(file) = self.files.get_mut(&FileKind::of(source)) else { return };
        while let Some(ordered) = line.reorder.poll(now) {
            if let Ordered::Lost(count) = ordered {
                self.stats.lost += count;
                file.handle_missing(source.is_audio(), Cause::Loss, at);
            }
            match ordered {
                ordered if !source.is_audio() => line.assembler.handle(ordered),
                Ordered::Packet(packet) if !packet.payload.is_empty() => {
                    let at = line.clock.map(packet.timestamp, at, &self.server);
                    file.handle_audio(source, at, &packet.payload);
                }
                _ => {}
            }
            while let Some(picture) = line.assembler.poll() {
                let at = line.clock.map(picture.timestamp, at, &self.server);
                line.wait = MIN_PLI;
                file.handle_video(source, at, picture);
            }
        }
    }

    /// At once when a picture is damaged, then with growing patience (a storm of requests is worse than a second).
    fn ask_for_key_frames(&mut self, now: Instant) {
        if self.paused {
            return;
        }
        for (mid, line) in &mut self.lines {
            let track = line.track.as_ref().and_then(|id| self.tracks.get(id));
            let wanted =
                track.is_some_and(|track| !track.source.is_audio() && !track.muted) && line.on && !line.refused;
            let soon = line.asked.is_some_and(|asked| now.saturating_duration_since(asked) < line.wait);
            if !wanted || !line.assembler.needs_key_frame() || soon || line.holds(now) {
                continue;
            }
            if line.asked.replace(now).is_some() {
                line.wait = (line.wait * 2).min(MAX_PLI);
            }
            self.stats.key_frames_asked += 1;
            self.outputs.push_back(Output::KeyFrame(*mid));
        }
    }

    fn drain(&mut self) {
        for file in self.files.values_mut() {
            let name = file.name.clone();
            self.stats.refused += file.take_refused();
            self.outputs.extend(file.take_says().into_iter().map(|say| said(&name, say)));
        }
    }

    fn micros(&self, at: Instant) -> i64 {
        micros_between(self.zero.at, at)
    }
}

fn said(name: &Arc<str>, say: Say) -> Output {
    match say {
        Say::Write(output) => Output::Write(name.clone(), output),
        Say::Note(note) => Output::Note(name.clone(), note),
    }
}

/// Signed microseconds from `zero` to `at`.
fn micros_between(zero: Instant, at: Instant) -> i64 {
    let micros = |duration: Duration| i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
    match at.checked_duration_since(zero) {
        Some(after) => micros(after),
        None => -micros(zero.duration_since(at)),
    }
}
