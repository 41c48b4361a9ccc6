//! What one participant's packets become: files. Pure: packets, slot maps and time in, bytes for files out.
//!
//! ```text
//! packet ─► Reorder ─► Assembler ──► StreamClock ─► Files ─► File ─► webm::Muxer ─► Output
//!                   └► Opus packet ─►                        (Audio fills)
//! ```
//! Not here: the transport, the spool, the room. Times inside are microseconds on the recording's clock.

pub mod audio;
pub mod clock;
pub mod file;
mod files;
pub mod fit;
mod gaps;
pub mod journal;
pub mod kind;
mod line;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rtc_client::depacketise::Ordered;
use rtc_client::{Codec, Mid, RtpPacket};
use signalling::id::{ParticipantId, TrackId};
use signalling::message::Source;
use signalling::recording::{Mode, RecordedFile};

use clock::ServerClock;
use file::{Cause, Fate, Note};
use files::Files;
use kind::FileKind;
use line::{HOLD, Line, PICTURE_PATIENCE};

/// How often [`Session::handle_timeout`] is due.
pub const TICK: Duration = Duration::from_millis(50);

/// A transport notices within this time that it lost the server. What was silent longer had nothing to say, like a
/// screen that stands still.
const NOTICED: Duration = Duration::from_secs(10);

/// So much later than it came a packet may seem to be captured, and is still from before what is missing.
const INACCURACY: Duration = Duration::from_millis(20);

/// What a session says.
#[derive(Debug)]
pub enum Output {
    /// A file begins, with an empty head region.
    Open(Box<RecordedFile>),
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
    /// Since when it is muted.
    muted: Option<Instant>,
    /// How many were published before it: only the newest track of a source is written.
    order: u64,
}

/// One participant's recording.
#[derive(Debug)]
pub struct Session {
    zero: Zero,
    server: ServerClock,
    tracks: BTreeMap<TrackId, Track>,
    /// How many tracks were published.
    published: u64,
    lines: BTreeMap<Mid, Line>,
    files: Files,
    paused: bool,
    /// When the newest packet came.
    arrived: Option<Instant>,
    stats: Stats,
    outputs: VecDeque<Output>,
    /// Files may have something to say, as of then.
    undrained: Option<i64>,
}

impl Session {
    /// A session without tracks. `opened` says how many files of each kind the participant has already, so that names
    /// do not come twice.
    pub fn new(
        zero: Zero,
        participant: ParticipantId,
        name: String,
        mode: Mode,
        opened: BTreeMap<FileKind, u32>,
    ) -> Self {
        Self {
            zero,
            server: ServerClock::default(),
            tracks: BTreeMap::new(),
            published: 0,
            lines: BTreeMap::new(),
            files: Files::new(mode, participant, name, zero.wall, opened),
            paused: false,
            arrived: None,
            stats: Stats::default(),
            outputs: VecDeque::new(),
            undrained: None,
        }
    }

    /// The next thing to do; after a batch of packets is soon enough.
    pub fn poll_output(&mut self) -> Option<Output> {
        if self.outputs.is_empty()
            && let Some(now) = self.undrained.take()
        {
            self.files.drain(now);
            self.stats.refused += self.files.take_refused();
            self.outputs.extend(std::iter::from_fn(|| self.files.poll_output()));
        }
        self.outputs.pop_front()
    }

    /// The counters.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// Whether a source becomes part of a file; no other one needs to be sent here.
    pub fn records(&self, source: Source) -> bool {
        FileKind::of(self.files.mode, source).is_some()
    }

    /// A track was published (or changed); its file begins at `since` if it has none yet.
    pub fn handle_track(&mut self, id: TrackId, source: Source, muted: bool, since: Instant) {
        if !self.records(source) {
            return;
        }
        let at = self.micros(since);
        if !self.tracks.contains_key(&id) {
            // What its predecessor has sent belongs before it.
            if let Some(older) = feeder(&self.tracks, source).cloned() {
                self.flush(since, |line| line.track.as_ref() == Some(&older));
            }
            self.files.expect(source, at, self.paused);
            self.tracks.insert(id.clone(), Track { source, muted: None, order: self.published });
            self.published += 1;
            self.route();
        }
        self.handle_mute(&id, muted, since);
    }

    /// A track was muted or unmuted.
    pub fn handle_mute(&mut self, id: &TrackId, muted: bool, now: Instant) {
        let at = self.micros(now);
        let Some(track) = self.tracks.get_mut(id).filter(|track| track.muted.is_some() != muted) else { return };
        let since = std::mem::replace(&mut track.muted, muted.then_some(now));
        let source = track.source;
        let feeds = feeder(&self.tracks, source) == Some(id);
        if let Some(file) = self.files.of(source).filter(|_| feeds) {
            file.set_expected(source, !muted);
            if muted {
                file.handle_missing(source.is_audio(), Cause::Mute, at);
            }
        }
        if let Some(since) = since {
            self.lines.values_mut().filter(|line| line.track.as_ref() == Some(id)).for_each(|line| line.unmute(since));
        }
        self.drain(now);
    }

    /// A track ended, and its file with it unless more may come for that.
    pub fn handle_track_gone(&mut self, id: &TrackId, now: Instant) {
        let at = self.micros(now);
        self.flush(now, |line| line.track.as_ref() == Some(id));
        let Some(source) = self.tracks.get(id).map(|track| track.source) else { return };
        let fed = feeder(&self.tracks, source) == Some(id);
        self.tracks.remove(id);
        for line in self.lines.values_mut().filter(|line| line.track.as_ref() == Some(id)) {
            line.track = None;
        }
        self.route();
        let mode = self.files.mode;
        let Some(kind) = FileKind::of(mode, source) else { return };
        let next = feeder(&self.tracks, source).cloned();
        let goes_on = next.as_ref().and_then(|id| self.tracks.get(id)).is_some_and(|track| track.muted.is_none());
        let last = !self.tracks.values().any(|track| FileKind::of(mode, track.source) == Some(kind));
        if last && kind.ends_with_tracks(mode) {
            self.files.finish(kind, at);
        } else if fed && let Some(file) = self.files.of(source) {
            // An older track of the source takes over, if there is one.
            self.lines.values_mut().filter(|line| line.track.is_some() && line.track == next).for_each(Line::restart);
            file.set_expected(source, goes_on);
            if !goes_on {
                file.handle_missing(source.is_audio(), Cause::Mute, at);
            }
        }
        self.drain(now);
    }

    /// An m-line of the given kind carries this track now, or none; `on`: packets are to be expected.
    pub fn handle_slot(&mut self, mid: Mid, audio: bool, track: Option<TrackId>, on: bool) {
        let line = self.lines.entry(mid).or_insert_with(|| Line::new(audio));
        if line.track != track {
            line.restart();
            line.track = track;
        } else if on && !line.expects {
            line.patience_back();
        }
        line.expects = on;
        self.route();
    }

    /// Packets will come over a new transport, with m-lines of its own.
    pub fn handle_new_transport(&mut self, now: Instant) {
        self.flush(now, |_| true);
        self.lines.clear();
        self.drain(now);
    }

    /// The transport lost the server, since the newest packet, or found it again.
    pub fn handle_reachable(&mut self, reachable: bool, now: Instant) {
        if !reachable {
            let earliest = now.checked_sub(NOTICED).unwrap_or(now);
            let since = self.arrived.map_or(now, |arrived| (arrived + INACCURACY).clamp(earliest, now));
            let at = self.micros(since);
            for track in self.tracks.values() {
                if let Some(file) = self.files.of(track.source) {
                    file.handle_missing(track.source.is_audio(), Cause::Link, at);
                }
            }
        }
        self.drain(now);
    }

    /// Writes nothing until [`Session::handle_resume`].
    pub fn handle_pause(&mut self, now: Instant) {
        self.flush(now, |_| true);
        let at = self.micros(now);
        self.paused = true;
        self.files.handle_missing(Cause::Pause, at);
        self.drain(now);
    }

    /// Writes again.
    pub fn handle_resume(&mut self, now: Instant) {
        self.paused = false;
        self.lines.values_mut().for_each(Line::restart);
        self.files.handle_resume(self.micros(now));
        self.drain(now);
    }

    /// A packet.
    pub fn handle_packet(&mut self, packet: RtpPacket, now: Instant) {
        let mid = packet.mid;
        let Some(line) = self.lines.get_mut(&mid) else { return };
        let Some(source) = line.feeds.filter(|_| !self.paused && !line.refused) else { return };
        // Sound on an m-line of pictures would be a fault of the server.
        if packet.codec.is_audio() != source.is_audio() {
            return;
        }
        // Another source of packets counts from elsewhere.
        if line.ssrc.replace(packet.ssrc).is_some_and(|ssrc| ssrc != packet.ssrc) {
            line.restart();
        }
        self.stats.packets += 1;
        self.arrived = Some(packet.arrived);
        line.hold.get_or_insert(packet.arrived + HOLD);
        // Padding has no time of its own.
        if !packet.payload.is_empty() {
            let arrived = micros_between(self.zero.at, packet.arrived);
            line.clock.observe(packet.timestamp, arrived, packet.report, &mut self.server);
            if packet.report.is_some_and(|report| line.fit.observe(report))
                && let Some((file, drift)) = self.files.of(source).zip(line.fit.drift())
            {
                file.set_drift(source, drift);
            }
            if !source.is_audio() {
                self.files.announce(source, packet.codec);
            }
        }
        line.reorder.handle_packet(packet);
        self.pump(mid, now);
        self.drain(now);
    }

    /// Time has passed; due every [`TICK`].
    pub fn handle_timeout(&mut self, now: Instant) {
        self.pump_all(now);
        for line in self.lines.values() {
            if let Some(source) = line.feeds.filter(|source| source.is_audio())
                && let Some(file) = self.files.of(source)
            {
                file.set_sound_waits(!line.reorder.is_empty());
            }
        }
        self.files.handle_timeout(self.micros(now));
        self.ask_for_key_frames(now);
        self.drain(now);
    }

    /// The participant left or the recording stops: every file ends at `end`. What was captured before and is still on its
    /// way is taken until [`Session::finish`].
    pub fn handle_stop(&mut self, end: Instant) {
        self.files.set_end(self.micros(end));
    }

    /// Gives up what has not come and ends every file, after [`Session::handle_stop`] with the same `end`.
    pub fn finish(&mut self, end: Instant) {
        self.flush(end, |_| true);
        self.files.finish_all(self.micros(end));
        self.drain(end);
    }

    fn pump_all(&mut self, now: Instant) {
        let mids: Vec<Mid> = self.lines.keys().copied().collect();
        mids.into_iter().for_each(|mid| self.pump(mid, now));
    }

    /// Takes what some lines hold, without patience for what has not come: they end, or begin anew.
    fn flush(&mut self, now: Instant, which: impl Fn(&Line) -> bool) {
        let lines = self.lines.iter_mut().filter(|(_, line)| which(line));
        let mids: Vec<Mid> = lines.map(|(mid, line)| (line.reorder.flush(), *mid).1).collect();
        // Everything that came is to come out, also what came after the end and was captured before it.
        mids.into_iter().for_each(|mid| self.pump(mid, now + HOLD + PICTURE_PATIENCE));
    }

    /// Moves what is in order from a line into its file.
    fn pump(&mut self, mid: Mid, now: Instant) {
        let now_us = self.micros(now);
        let Some(line) = self.lines.get_mut(&mid).filter(|line| !line.holds(now)) else { return };
        let Some(source) = line.feeds else { return };
        let audio = source.is_audio();
        while let Some(ordered) = line.reorder.poll(now).filter(|_| !line.refused) {
            let Some(file) = self.files.of(source) else { return };
            match &ordered {
                Ordered::Lost(count) => {
                    self.stats.lost = self.stats.lost.saturating_add(*count);
                    file.figures().lost = file.figures().lost.saturating_add(*count);
                    file.handle_missing(audio, Cause::Loss, now_us);
                }
                Ordered::Packet(_) => file.figures().packets += 1,
            }
            match ordered {
                ordered if !audio => line.assembler.handle(ordered),
                Ordered::Packet(packet) if !packet.payload.is_empty() => {
                    let at = line.clock.map(packet.timestamp, now_us, &self.server);
                    self.files.handle_audio(source, at, &packet.payload, now_us);
                }
                _ => {}
            }
            while let Some(picture) = line.assembler.poll() {
                let at = line.clock.map(picture.timestamp, now_us, &self.server);
                let (codec, key) = (picture.codec, picture.key.is_some());
                let cause = match self.files.handle_video(source, at, picture, now_us) {
                    Fate::Taken => {
                        line.handle_taken(key, now);
                        continue;
                    }
                    Fate::Refused if line.handle_refused() => {
                        self.outputs.extend(line.track.clone().map(|track| Output::Refuse(track, codec)));
                        Cause::Codec
                    }
                    Fate::NeedsKey | Fate::Refused => {
                        line.assembler.restart();
                        // What is ready behind it hangs on it.
                        while line.assembler.poll().is_some() {}
                        Cause::Loss
                    }
                };
                if let Some(file) = self.files.of(source) {
                    file.handle_missing(false, cause, now_us);
                }
            }
        }
    }

    fn ask_for_key_frames(&mut self, now: Instant) {
        if self.paused {
            return;
        }
        for (mid, line) in &mut self.lines {
            let Some(source) = line.feeds.filter(|source| !source.is_audio()) else { continue };
            let muted =
                line.track.as_ref().and_then(|id| self.tracks.get(id)).is_some_and(|track| track.muted.is_some());
            if !muted && line.asks(now) {
                self.stats.key_frames_asked += 1;
                if let Some(file) = self.files.of(source) {
                    file.figures().key_frames_asked += 1;
                }
                self.outputs.push_back(Output::KeyFrame(*mid));
            }
        }
    }

    /// Finds out which line feeds which source: of its tracks, the newest is written.
    fn route(&mut self) {
        for line in self.lines.values_mut() {
            let source = line.track.as_ref().and_then(|id| self.tracks.get(id)).map(|track| track.source);
            line.feeds = source.filter(|source| feeder(&self.tracks, *source) == line.track.as_ref());
        }
    }

    /// Lets the files say what they have to before the next output.
    fn drain(&mut self, now: Instant) {
        self.undrained = Some(self.micros(now));
    }

    fn micros(&self, at: Instant) -> i64 {
        micros_between(self.zero.at, at)
    }
}

/// The track that a source is taken from.
fn feeder(tracks: &BTreeMap<TrackId, Track>, source: Source) -> Option<&TrackId> {
    let of_source = tracks.iter().filter(|(_, track)| track.source == source);
    of_source.max_by_key(|(_, track)| track.order).map(|(id, _)| id)
}

/// Signed microseconds from `zero` to `at`.
fn micros_between(zero: Instant, at: Instant) -> i64 {
    let micros = |duration: Duration| i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
    match at.checked_duration_since(zero) {
        Some(after) => micros(after),
        None => -micros(zero.duration_since(at)),
    }
}
