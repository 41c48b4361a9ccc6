//! One file of a participant: one track of sound, one of pictures, or both.
//!
//! It gets its name when its first media came and it is known which container that needs; until then what it says waits
//! in memory, for a second at most.
//!
//! Times are microseconds on the recording's clock at the edge and on the file's clock (0: the file's start) inside.

mod facts;
mod missing;
mod pace;

use std::sync::Arc;
use std::time::Duration;

use rtc_client::Codec;
use rtc_client::depacketise::{Key, Picture};
use signalling::id::ParticipantId;
use signalling::message::Source;
use signalling::recording::{FileFigures, Gap, Mode, RecordedFile, RecordedTrack, Resolution};
use webm::{Frame, Muxer, Options, Size, TrackNumber};

use crate::audio::{Audio, Sound};
pub use crate::gaps::Cause;
use crate::gaps::Gaps;
use crate::kind::{Container, FileKind};
pub(crate) use facts::codecs_of;
use missing::Missing;

/// How long a frame waits for earlier ones of the other track: the patience for a lost picture and a bit.
const WINDOW: Duration = Duration::from_millis(700);

/// With the window and a tick, what a crash may cost.
const CLUSTER: Duration = Duration::from_millis(500);

/// So long a file with sound waits to learn from a camera that was published what container it needs.
const OPEN_WAIT_US: i64 = 1_000_000;

/// A file begins when its track was published, but not with more silence than this: it would have to be made at once.
const MAX_LEAD_US: i64 = 60_000_000;

/// What was learnt about a file after it was opened; a crash must not forget it.
#[derive(Debug, Clone, PartialEq)]
pub enum Note {
    /// A source delivered for the first time.
    Track(RecordedTrack),
    /// The picture has this size from now on.
    Resolution(Resolution),
    /// Media was missing.
    Gap(Gap),
    /// The counters are these by now.
    Figures(FileFigures),
}

/// What became of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is in a file.
    Taken,
    /// No file can hold it now; another key frame may find one.
    NeedsKey,
    /// No file can ever hold it.
    Refused,
}

/// What a file says.
#[derive(Debug)]
pub enum Say {
    /// To its bytes.
    Write(webm::Output),
    /// To its journal.
    Note(Note),
}

/// A track of pictures in the file.
#[derive(Debug)]
struct Video {
    track: TrackNumber,
    codec: Codec,
    /// `av1C` or `avcC`.
    config: Vec<u8>,
}

/// A file in the making.
#[derive(Debug)]
pub struct File {
    /// Its name, also its identity, once it is opened.
    pub name: Option<Arc<str>>,
    container: Container,
    kind: FileKind,
    mode: Mode,
    start: i64,
    /// The recording's zero since 1970.
    wall: Duration,
    participant: ParticipantId,
    participant_name: String,
    muxer: Muxer,
    audio: Option<(TrackNumber, Audio)>,
    video: Option<Video>,
    /// What was ever published for it.
    published: Vec<Source>,
    /// What was published for it, and is not muted.
    expected: Vec<Source>,
    /// The codec of the pictures to come.
    announced: Option<Codec>,
    /// When the first media was taken.
    begun: Option<i64>,
    /// When the newest sound was taken.
    heard: i64,
    /// No sound is expected: fill with silence at once.
    silent: bool,
    /// Sound has come and waits for a packet in front of it.
    sound_waits: bool,
    /// The file's clock, as the muxer knows it.
    clock: i64,
    /// Where the file ends, once that is known.
    limit: i64,
    last_audio: i64,
    last_video: i64,
    /// Where the newest picture stands.
    shown: Option<i64>,
    /// When it was taken.
    seen: i64,
    /// How many pictures before it came without a long pause.
    steady: u32,
    missing_audio: Option<Missing>,
    missing_video: Option<Missing>,
    tracks: Vec<RecordedTrack>,
    resolutions: Vec<Resolution>,
    gaps: Gaps,
    figures: FileFigures,
    /// The counters that were noted last, and when.
    noted: (FileFigures, i64),
    says: Vec<Say>,
    refused: u64,
}

impl File {
    /// A file without media that starts at `start` on the recording's clock, whose zero is `wall` since 1970.
    pub fn new(kind: FileKind, mode: Mode, start: i64, wall: Duration, who: (&ParticipantId, &str)) -> Self {
        let mut muxer = muxer(wall, start);
        // Sound may come later, and what lies in front of it cannot be written then.
        let sounds = kind.source(true).is_some_and(|source| FileKind::of(mode, source) == Some(kind));
        let audio = sounds.then(|| muxer.add_track(webm::Codec::Opus).ok()).flatten();
        Self {
            name: None,
            container: Container::Webm,
            kind,
            mode,
            start,
            wall,
            participant: who.0.clone(),
            participant_name: who.1.to_owned(),
            muxer,
            audio: audio.map(|track| (track, Audio::default())),
            video: None,
            published: Vec::new(),
            expected: Vec::new(),
            announced: None,
            begun: None,
            heard: 0,
            silent: true,
            sound_waits: false,
            clock: 0,
            limit: i64::MAX,
            last_audio: 0,
            last_video: 0,
            shown: None,
            seen: 0,
            steady: 0,
            missing_audio: None,
            missing_video: None,
            tracks: Vec::new(),
            resolutions: Vec::new(),
            gaps: Gaps::default(),
            figures: FileFigures::default(),
            noted: (FileFigures::default(), 0),
            says: Vec::new(),
            refused: 0,
        }
    }

    /// The file that follows this one at `start`, with the same sources.
    pub fn successor(&self, start: i64) -> Self {
        let who = (&self.participant, &self.participant_name[..]);
        let mut next = Self::new(self.kind, self.mode, start.max(0), self.wall, who);
        next.missing_audio = self.missing_audio.map(|missing| Missing { since: 0, ..missing });
        // It goes on in the same queue.
        (next.silent, next.heard, next.sound_waits) = (self.silent, self.heard, self.sound_waits);
        (next.steady, next.seen) = (self.steady, self.seen);
        next.expected = self.expected.clone();
        next.published = self.published.clone();
        next.note_beginning(true);
        next
    }

    /// Gives the file its name; what is known of it by then.
    pub fn open(&mut self, name: Arc<str>, container: Container) -> RecordedFile {
        self.container = container;
        let file = RecordedFile { name: name.to_string(), ..self.describe() };
        self.name = Some(name);
        // What was learnt meanwhile is noted like everything that comes later.
        let nothing = FileFigures::default();
        let (codecs, sources, tracks) = (Vec::new(), Vec::new(), Vec::new());
        let (resolutions, gaps) = (Vec::new(), Vec::new());
        RecordedFile { codecs, sources, tracks, resolutions, gaps, figures: nothing, ..file }
    }

    /// The container that the file needs; `None`: nothing came yet, or it is not known.
    pub fn container(&self, now: i64) -> Option<Container> {
        let begun = self.begun?;
        if let Some(codec) = self.video.as_ref().map(|video| video.codec).or(self.announced) {
            return Some(Container::of(codec));
        }
        let waits = self.expects(false);
        (!waits || now.saturating_sub(begun) >= OPEN_WAIT_US).then_some(Container::Webm)
    }

    /// Where the sound so far ends, on the recording's clock.
    pub fn sound_end(&self) -> i64 {
        let ended = self.audio.as_ref().filter(|_| self.begun.is_some());
        ended.map_or(self.start, |(_, audio)| self.start + audio.end() * 1000 / 48)
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
        let new = !self.published.contains(&source);
        if new {
            self.published.push(source);
        }
        let missing = Some(Missing { since: at, cause: Cause::Link });
        if source.is_audio() && new {
            self.missing_audio = self.missing_audio.or(missing);
            self.last_audio = at;
        } else if !source.is_audio() && self.video.is_none() {
            self.missing_video = self.missing_video.or(missing);
            self.last_video = at;
        }
        self.set_expected(source, true);
    }

    /// Whether something is to come of a source; it ends, or is muted.
    pub fn set_expected(&mut self, source: Source, expected: bool) {
        self.expected.retain(|other| *other != source);
        self.expected.extend(expected.then_some(source));
    }

    /// Whether sound is to come, or pictures.
    fn expects(&self, audio: bool) -> bool {
        self.expected.iter().any(|source| source.is_audio() == audio)
    }

    /// A packet of this codec came: its pictures will follow.
    pub fn announce(&mut self, codec: Codec) {
        self.announced = Some(codec);
    }

    /// One Opus packet, captured at `at`.
    pub fn handle_audio(&mut self, source: Source, at: i64, packet: &[u8], now: i64) {
        if at - self.start >= self.limit {
            return;
        }
        self.begin(at, now);
        self.heard = now;
        let at = at - self.start;
        self.note_track(source, Codec::Opus, at);
        let filling = self.filling(at);
        let mut sounds = Vec::new();
        if let Some((_, audio)) = &mut self.audio {
            audio.handle_packet(samples(at), packet.to_vec(), filling, samples(self.limit), &mut sounds);
        }
        self.last_audio = self.last_audio.max(at);
        self.handle_found(true, at);
        // What was captured before a mute does not end it.
        self.silent &= self.missing_audio.is_some();
        self.write_sounds(sounds);
    }

    /// Whether a picture can go into this file: its container is right, and its decoder goes on.
    pub fn fits(&self, picture: &Picture) -> bool {
        if self.name.is_some() && Container::of(picture.codec) != self.container {
            return false;
        }
        let same = |video: &Video| {
            video.codec == picture.codec && picture.key.as_ref().is_none_or(|key| key.config == video.config)
        };
        // The first picture of a file is a key frame.
        self.video.as_ref().map_or(picture.key.is_some(), same)
    }

    /// One whole picture that fits, captured at `at`.
    pub fn handle_video(&mut self, source: Source, at: i64, picture: Picture, now: i64) -> Fate {
        if at - self.start >= self.limit {
            return Fate::Taken;
        }
        self.begin(at, now);
        let Some(track) = self.video_track(&picture) else { return Fate::Refused };
        // A picture from long ago is shown late rather than lost: everything up to the next key frame hangs on it.
        let next = self.shown.map_or(0, |shown| shown + 1_000);
        let at = (at - self.start).max(self.clock - micros(WINDOW)).max(next);
        let (codec, key) = (picture.codec, picture.key.is_some());
        let size = picture.key.as_ref().map(|key| Size { width: key.width, height: key.height });
        if !self.write(Frame { track, at: duration(at), key, size, data: picture.data }) {
            return Fate::NeedsKey;
        }
        self.note_track(source, codec, at);
        if let Some(size) = size {
            self.note_size(at, size);
        }
        self.handle_found(false, at);
        self.handle_shown(at, now);
        Fate::Taken
    }

    /// The track of the file's pictures; the first key frame makes it.
    fn video_track(&mut self, picture: &Picture) -> Option<TrackNumber> {
        if self.video.is_none() {
            let Key { config, .. } = picture.key.clone().unwrap_or_default();
            let codec = match picture.codec {
                Codec::Opus => return None,
                Codec::Vp8 => webm::Codec::Vp8,
                Codec::Vp9 => webm::Codec::Vp9,
                Codec::Av1 => webm::Codec::Av1 { config: config.clone() },
                Codec::H264 => webm::Codec::H264 { config: config.clone() },
            };
            let track = self.muxer.add_track(codec).ok()?;
            self.video = Some(Video { track, codec: picture.codec, config });
        }
        self.video.as_ref().map(|video| video.track)
    }

    /// Media comes, captured at `at`. Before the first one, too much silence in front of it is left out.
    fn begin(&mut self, at: i64, now: i64) {
        if self.begun.replace(self.begun.unwrap_or(now)).is_some() {
            return;
        }
        let later = at - self.start;
        if later <= MAX_LEAD_US {
            return;
        }
        self.start = at;
        self.muxer = muxer(self.wall, at);
        if self.audio.take().is_some() {
            self.audio = self.muxer.add_track(webm::Codec::Opus).ok().map(|track| (track, Audio::default()));
        }
        self.limit = self.limit.saturating_sub(later);
        self.clock = (self.clock - later).max(0);
        (self.last_audio, self.last_video) = ((self.last_audio - later).max(0), (self.last_video - later).max(0));
        for missing in [&mut self.missing_audio, &mut self.missing_video].into_iter().flatten() {
            missing.since = (missing.since - later).max(0);
        }
        // Nobody has heard of what now lies before the file.
        self.gaps = Gaps::default();
        self.says.retain(|say| !matches!(say, Say::Note(Note::Gap(_))));
        self.note_beginning(true);
        self.note_beginning(false);
    }

    /// The file ends at `end`; what was captured before may still come.
    pub fn set_end(&mut self, end: i64) {
        self.limit = (end - self.start).max(0);
    }

    /// The end, at `now`, or where the sound ends that was written already. `None`: there was no media at all.
    pub fn finish(&mut self, now: i64) -> Option<RecordedFile> {
        self.begun?;
        let mut at = (now - self.start).max(0);
        if let Some((_, audio)) = &mut self.audio {
            at = at.max(audio.end_at(samples(at)) * 1000 / 48);
        }
        self.fill(at);
        for audio in [true, false] {
            if let Some(missing) = self.missing(audio).take() {
                self.note_gap(audio, missing, at);
            }
        }
        self.muxer.finish(duration(at));
        let end_ms = millis(self.start) + millis(at);
        (!self.muxer.has_no_media()).then(|| RecordedFile { size: self.muxer.len(), end_ms, ..self.describe() })
    }

    /// Frames that the file could not hold since this was asked last.
    pub fn take_refused(&mut self) -> u64 {
        std::mem::take(&mut self.refused)
    }

    fn write_sounds(&mut self, sounds: Vec<Sound>) {
        let Some((track, _)) = self.audio else { return };
        for Sound { at, data } in sounds {
            let at = at * 1000 / 48;
            self.write(Frame { track, at: duration(at), key: true, size: None, data });
        }
    }

    /// Whether the file takes the frame.
    fn write(&mut self, frame: Frame) -> bool {
        let taken = self.muxer.handle_frame(frame).is_ok();
        self.refused += u64::from(!taken);
        self.figures.refused += u64::from(!taken);
        taken
    }
}

/// An empty muxer for a file that starts at `start`.
fn muxer(wall: Duration, start: i64) -> Muxer {
    Muxer::new(Options {
        reorder: WINDOW,
        cluster: CLUSTER,
        started: Some(wall + duration(start)),
        ..Options::default()
    })
}

fn samples(micros: i64) -> i64 {
    micros.saturating_mul(48) / 1000
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
