//! One file of a participant: microphone and camera, or a screen with its sound.
//!
//! Times are microseconds on the recording's clock at the edge and on the file's clock (0: the file's start) inside.

use std::sync::Arc;
use std::time::Duration;

use rtc_client::Codec;
use rtc_client::depacketise::Picture;
use signalling::id::ParticipantId;
use signalling::message::Source;
use signalling::recording::{FileFigures, Gap, RecordedFile, Resolution};
use webm::{Frame, Muxer, Options, Size, TrackNumber};

use crate::audio::{Audio, Filling, Sound};

/// How long a frame waits for earlier ones of the other track: the patience for a lost packet and a bit.
const WINDOW: Duration = Duration::from_millis(500);

/// Sound that has not come after this is filled: a lost packet is waited for 300 ms and a tick.
const FILL_LAG_US: i64 = 360_000;

/// Filling goes in whole packets of this length. With the lag it is less than [`WINDOW`], or it would come too late itself.
const FILL_US: i64 = 120_000;

/// After this without a packet, silence: concealment is for moments.
const CONCEAL_US: i64 = 1_000_000;

/// A start or a reconnection that takes less is no gap worth telling.
const LINK_US: i64 = 1_000_000;

/// Gaps of one cause this close together are told as one.
const MERGE_MS: u64 = 1_000;

/// What belongs together in one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FileKind {
    /// Microphone and camera.
    Av,
    /// A screen and its sound.
    Screen,
}

impl FileKind {
    /// Where a source belongs.
    pub fn of(source: Source) -> Self {
        match source {
            Source::Mic | Source::Camera => Self::Av,
            Source::Screen | Source::ScreenAudio => Self::Screen,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Av => "av",
            Self::Screen => "screen",
        }
    }
}

/// What was learnt about a file after it was opened; a crash must not forget it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// A source delivered for the first time.
    Source(Source, Codec),
    /// The picture has this size from now on.
    Resolution(Resolution),
    /// Media was missing.
    Gap(Gap),
}

/// Why media is missing, worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// Packets never came.
    Loss,
    /// The connection was down.
    Link,
    /// The codec cannot be recorded.
    Codec,
    /// Somebody muted the track, or it was not published.
    Mute,
    /// The recording was paused.
    Pause,
}

impl Cause {
    fn name(self) -> &'static str {
        match self {
            Self::Loss => "loss",
            Self::Link => "link",
            Self::Codec => "codec",
            Self::Mute => "mute",
            Self::Pause => "pause",
        }
    }
}

/// A stretch without media that is not over yet.
#[derive(Debug, Clone, Copy)]
struct Missing {
    since: i64,
    cause: Cause,
}

/// What a file says.
#[derive(Debug)]
pub enum Say {
    /// To its bytes.
    Write(webm::Output),
    /// To its journal.
    Note(Note),
}

/// A file in the making.
#[derive(Debug)]
pub struct File {
    /// Its name, also its identity.
    pub name: Arc<str>,
    start: i64,
    participant: ParticipantId,
    participant_name: String,
    muxer: Muxer,
    audio: Option<(TrackNumber, Audio)>,
    video: Option<TrackNumber>,
    /// No sound is expected: fill with silence at once.
    silent: bool,
    /// The newest file time that the muxer has heard of.
    newest: i64,
    /// Where the file ends, once that is known.
    limit: i64,
    last_audio: i64,
    last_video: i64,
    missing_audio: Option<Missing>,
    missing_video: Option<Missing>,
    sources: Vec<Source>,
    codecs: Vec<Codec>,
    resolutions: Vec<Resolution>,
    gaps: Vec<Gap>,
    says: Vec<Say>,
    refused: u64,
}

impl File {
    /// An empty file that starts at `start` on the recording's clock; `wall` is that moment since 1970.
    pub fn new(kind: FileKind, n: u32, start: i64, wall: Duration, who: (&ParticipantId, &str)) -> Self {
        let options = Options { reorder: WINDOW, started: Some(wall), ..Options::default() };
        Self {
            name: format!("{}-{}-{n}.webm", who.0, kind.name()).into(),
            start,
            participant: who.0.clone(),
            participant_name: who.1.to_owned(),
            muxer: Muxer::new(options),
            audio: None,
            video: None,
            silent: true,
            newest: 0,
            limit: i64::MAX,
            last_audio: 0,
            last_video: 0,
            missing_audio: None,
            missing_video: None,
            sources: Vec::new(),
            codecs: Vec::new(),
            resolutions: Vec::new(),
            gaps: Vec::new(),
            says: Vec::new(),
            refused: 0,
        }
    }

    /// What there is to do, in order.
    pub fn take_says(&mut self) -> Vec<Say> {
        while let Some(output) = self.muxer.poll_output() {
            self.says.push(Say::Write(output));
        }
        std::mem::take(&mut self.says)
    }

    /// Makes room for a source that was published; from now on its sound, at least, is expected.
    pub fn expect(&mut self, source: Source, now: i64) {
        let at = (now - self.start).max(0);
        let missing = Some(Missing { since: at, cause: Cause::Link });
        if source.is_audio() && self.audio.is_none() {
            self.missing_audio = missing;
            if let Ok(track) = self.muxer.add_track(webm::Codec::Opus) {
                self.audio = Some((track, Audio::new(samples(at))));
                self.last_audio = at;
            }
        } else if !source.is_audio() && self.video.is_none() {
            self.missing_video = missing;
            self.video = self.muxer.add_track(webm::Codec::Vp8).ok();
            self.last_video = at;
        }
    }

    /// One Opus packet, captured at `at`.
    pub fn handle_audio(&mut self, source: Source, at: i64, packet: &[u8]) {
        let at = at - self.start;
        if at >= self.limit {
            return;
        }
        self.note_source(source, Codec::Opus);
        let filling =
            if self.silent || at - self.last_audio > CONCEAL_US { Filling::Silence } else { Filling::Conceal };
        let mut sounds = Vec::new();
        if let Some((_, audio)) = &mut self.audio {
            audio.handle_packet(samples(at), packet.to_vec(), filling, &mut sounds);
        }
        self.silent = false;
        self.last_audio = self.last_audio.max(at);
        if let Some(missing) = self.missing_audio.take() {
            self.note_gap(missing, at);
        }
        self.write_sounds(sounds);
    }

    /// One whole picture, captured at `at`.
    pub fn handle_video(&mut self, source: Source, at: i64, picture: Picture) {
        let Some(track) = self.video.filter(|_| at - self.start < self.limit) else { return };
        self.note_source(source, Codec::Vp8);
        // A picture from long ago is shown late rather than lost: everything up to the next key frame hangs on it.
        let at = (at - self.start).max(self.newest - micros(WINDOW)).max(0);
        let size = picture.key.as_ref().map(|key| Size { width: key.width, height: key.height });
        if let Some(size) = size {
            self.note_size(at, size);
        }
        if let Some(missing) = self.missing_video.take() {
            self.note_gap(missing, at);
        }
        self.last_video = at;
        self.newest = self.newest.max(at);
        let frame = Frame { track, at: duration(at), key: picture.key.is_some(), size, data: picture.data };
        // The assembler gives whole pictures in order; what is left is a size that no file can hold.
        self.refused += u64::from(self.muxer.handle_frame(frame).is_err());
    }

    /// Something is missing from `now` on, until the next packet or picture.
    pub fn handle_missing(&mut self, audio: bool, cause: Cause, now: i64) {
        let at = now - self.start;
        let since = if cause == Cause::Loss { if audio { self.last_audio } else { self.last_video } } else { at };
        let slot = if audio { &mut self.missing_audio } else { &mut self.missing_video };
        match slot {
            Some(missing) => missing.cause = missing.cause.max(cause),
            None => *slot = Some(Missing { since: since.max(0), cause }),
        }
        if audio && matches!(cause, Cause::Mute | Cause::Pause | Cause::Codec) {
            self.silent = true;
        }
    }

    /// The file ends at `end`, which is now; what was captured before may still come.
    pub fn limit(&mut self, end: i64) {
        self.limit = (end - self.start).max(0);
    }

    /// Time has passed: fills sound that did not come, and lets the muxer close its cluster.
    pub fn handle_timeout(&mut self, now: i64) {
        let at = (now - self.start).min(self.limit);
        let filled = self.audio.as_ref().map_or(i64::MAX, |(_, audio)| audio.end() * 1000 / 48);
        let missing = (at - FILL_LAG_US).saturating_sub(filled);
        if missing >= FILL_US {
            self.fill(filled + missing / FILL_US * FILL_US);
        }
        self.newest = self.newest.max(at);
        self.muxer.handle_timeout(duration(at));
    }

    /// The end, at `now`. `None`: there was no media at all.
    pub fn finish(&mut self, now: i64) -> Option<RecordedFile> {
        let at = (now - self.start).max(0);
        self.fill(at);
        for missing in [self.missing_audio.take(), self.missing_video.take()].into_iter().flatten() {
            self.note_gap(missing, at);
        }
        self.muxer.finish(duration(at));
        let start_ms = millis(self.start);
        (!self.muxer.has_no_media()).then(|| RecordedFile {
            name: self.name.to_string(),
            size: self.muxer.len(),
            sha256_parts: String::new(),
            container: "webm".into(),
            codecs: self.codecs.iter().map(|codec| codec.name().to_owned()).collect(),
            participant: self.participant.clone(),
            participant_name: self.participant_name.clone(),
            sources: self.sources.clone(),
            tracks: Vec::new(),
            start_ms,
            end_ms: start_ms + millis(at),
            resolutions: self.resolutions.clone(),
            rotations: Vec::new(),
            gaps: self.gaps.clone(),
            figures: FileFigures::default(),
        })
    }

    /// Frames that the file could not hold since this was asked last.
    pub fn take_refused(&mut self) -> u64 {
        std::mem::take(&mut self.refused)
    }

    /// The facts that stand from the start.
    pub fn facts(&self) -> RecordedFile {
        RecordedFile {
            name: self.name.to_string(),
            size: 0,
            sha256_parts: String::new(),
            container: "webm".into(),
            codecs: Vec::new(),
            participant: self.participant.clone(),
            participant_name: self.participant_name.clone(),
            sources: Vec::new(),
            tracks: Vec::new(),
            start_ms: millis(self.start),
            end_ms: millis(self.start),
            resolutions: Vec::new(),
            rotations: Vec::new(),
            gaps: Vec::new(),
            figures: FileFigures::default(),
        }
    }

    fn fill(&mut self, to: i64) {
        let filling =
            if self.silent || to - self.last_audio > CONCEAL_US { Filling::Silence } else { Filling::Conceal };
        let mut sounds = Vec::new();
        if let Some((_, audio)) = &mut self.audio {
            audio.fill(samples(to), filling, &mut sounds);
        }
        self.write_sounds(sounds);
    }

    fn write_sounds(&mut self, sounds: Vec<Sound>) {
        let Some((track, _)) = self.audio else { return };
        for Sound { at, data } in sounds {
            let at = at * 1000 / 48;
            self.newest = self.newest.max(at);
            let frame = Frame { track, at: duration(at), key: true, size: None, data };
            self.refused += u64::from(self.muxer.handle_frame(frame).is_err());
        }
    }

    fn note_source(&mut self, source: Source, codec: Codec) {
        if !self.sources.contains(&source) {
            self.sources.push(source);
            if !self.codecs.contains(&codec) {
                self.codecs.push(codec);
            }
            self.says.push(Say::Note(Note::Source(source, codec)));
        }
    }

    fn note_size(&mut self, at: i64, size: Size) {
        let (w, h) = (u32::from(size.width), u32::from(size.height));
        if self.resolutions.last().is_none_or(|last| (last.w, last.h) != (w, h)) {
            let resolution = Resolution { t: millis(self.start + at), w, h };
            self.resolutions.push(resolution.clone());
            self.says.push(Say::Note(Note::Resolution(resolution)));
        }
    }

    fn note_gap(&mut self, missing: Missing, until: i64) {
        let (t, end) = (millis(self.start + missing.since), millis(self.start + until));
        if end <= t || (missing.cause == Cause::Link && until - missing.since < LINK_US) {
            return;
        }
        let cause = missing.cause.name();
        match self.gaps.last_mut().filter(|last| last.cause == cause && t <= last.t + last.ms + MERGE_MS) {
            Some(last) => last.ms = last.ms.max(end - last.t.min(end)),
            None => self.gaps.push(Gap { t, ms: end - t, cause: cause.to_owned() }),
        }
        // The journal's reader merges likewise: a later note of the same gap replaces the earlier one.
        self.says.extend(self.gaps.last().cloned().map(|gap| Say::Note(Note::Gap(gap))));
    }
}

fn samples(micros: i64) -> i64 {
    micros * 48 / 1000
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

fn duration(micros: i64) -> Duration {
    Duration::from_micros(micros.max(0).cast_unsigned())
}

fn millis(micros: i64) -> u64 {
    (micros.max(0) / 1000).cast_unsigned()
}
