//! The files of one participant: the growing one of each kind, and those that ended a moment ago and still get what was
//! captured before.
//!
//! A file ends and another begins when its picture changes into something that one file cannot hold: another codec, or
//! another configuration of AV1 or H.264. The new one begins with the key frame that brought the change.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use rtc_client::Codec;
use rtc_client::depacketise::Picture;
use signalling::id::ParticipantId;
use signalling::message::Source;
use signalling::recording::Mode;

use crate::Output;
use crate::file::{Cause, Fate, File, Say};
use crate::kind::FileKind;

/// How long a file that has ended still takes what was captured before its end: the patience for a lost packet and a bit.
/// No kind of file changes more often than this, or a hostile sender would make thousands.
const CLOSE_LAG_US: i64 = 1_000_000;

/// A file that has ended.
#[derive(Debug)]
struct Closing {
    kind: FileKind,
    file: File,
    /// Where it ends.
    end: i64,
    /// When it is finished.
    due: i64,
}

/// The files.
#[derive(Debug)]
pub(crate) struct Files {
    pub(crate) mode: Mode,
    participant: ParticipantId,
    name: String,
    /// The recording's zero since 1970.
    wall: Duration,
    /// How many files of each kind were opened.
    opened: BTreeMap<FileKind, u32>,
    growing: BTreeMap<FileKind, File>,
    closing: Vec<Closing>,
    /// Where everything ends, once that is known.
    limit: Option<i64>,
    refused: u64,
    outputs: VecDeque<Output>,
}

impl Files {
    pub(crate) fn new(
        mode: Mode,
        participant: ParticipantId,
        name: String,
        wall: Duration,
        opened: BTreeMap<FileKind, u32>,
    ) -> Self {
        let (growing, closing, outputs) = (BTreeMap::new(), Vec::new(), VecDeque::new());
        Self { mode, participant, name, wall, opened, growing, closing, limit: None, refused: 0, outputs }
    }

    pub(crate) fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Frames that files could not hold since this was asked last.
    pub(crate) fn take_refused(&mut self) -> u64 {
        std::mem::take(&mut self.refused)
    }

    /// The growing file that a source belongs into.
    pub(crate) fn of(&mut self, source: Source) -> Option<&mut File> {
        self.growing.get_mut(&FileKind::of(self.mode, source)?)
    }

    /// Makes room for a source that was published.
    pub(crate) fn expect(&mut self, source: Source, at: i64, paused: bool) {
        let Some(kind) = FileKind::of(self.mode, source) else { return };
        let (wall, limit) = (self.wall, self.limit);
        let file = self.growing.entry(kind).or_insert_with(|| {
            let mut file = File::new(kind, self.mode, at.max(0), wall, (&self.participant, &self.name));
            limit.into_iter().for_each(|limit| file.set_end(limit));
            file
        });
        file.expect(source, at);
        if paused {
            file.handle_missing(source.is_audio(), Cause::Pause, at);
        }
    }

    /// A pause is over.
    pub(crate) fn handle_resume(&mut self, at: i64) {
        self.growing.values_mut().for_each(|file| file.handle_resume(at));
    }

    /// A packet of this codec came: its pictures will follow.
    pub(crate) fn announce(&mut self, source: Source, codec: Codec) {
        if let Some(file) = self.of(source) {
            file.announce(codec);
        }
    }

    /// One Opus packet, captured at `at`.
    pub(crate) fn handle_audio(&mut self, source: Source, at: i64, packet: &[u8], now: i64) {
        let kind = FileKind::of(self.mode, source);
        let ended = self.closing.iter_mut().find(|closing| Some(closing.kind) == kind && at < closing.end);
        let file = match ended {
            Some(closing) => Some(&mut closing.file),
            None => self.of(source),
        };
        if let Some(file) = file {
            file.handle_audio(source, at, packet, now);
        }
    }

    /// One whole picture, captured at `at`.
    pub(crate) fn handle_video(&mut self, source: Source, at: i64, picture: Picture, now: i64) -> Fate {
        let Some(kind) = FileKind::of(self.mode, source) else { return Fate::NeedsKey };
        let Some(file) = self.growing.get_mut(&kind) else { return Fate::NeedsKey };
        if file.fits(&picture) {
            return file.handle_video(source, at, picture, now);
        }
        if picture.key.is_none() || self.closing.iter().any(|closing| closing.kind == kind) {
            return Fate::NeedsKey;
        }
        self.split(kind, at, now);
        self.growing.get_mut(&kind).map_or(Fate::Refused, |file| file.handle_video(source, at, picture, now))
    }

    /// Ends the growing file of a kind at `at` and begins the next one there.
    fn split(&mut self, kind: FileKind, at: i64, now: i64) {
        let Some(mut file) = self.growing.remove(&kind) else { return };
        let mut next = file.successor(at);
        self.limit.into_iter().for_each(|limit| next.set_end(limit));
        self.growing.insert(kind, next);
        // Sound that is written already cannot be taken out again.
        let end = at.max(file.sound_end());
        file.set_end(end);
        self.closing.push(Closing { kind, file, end, due: now + CLOSE_LAG_US });
    }

    /// Something is missing from everywhere.
    pub(crate) fn handle_missing(&mut self, cause: Cause, at: i64) {
        for file in self.growing.values_mut() {
            file.handle_missing(true, cause, at);
            file.handle_missing(false, cause, at);
        }
    }

    /// Everything ends at `end`.
    pub(crate) fn set_end(&mut self, end: i64) {
        self.limit = Some(end);
        self.growing.values_mut().for_each(|file| file.set_end(end));
    }

    /// Time has passed.
    pub(crate) fn handle_timeout(&mut self, now: i64) {
        self.growing.values_mut().for_each(|file| file.handle_timeout(now));
        self.closing.iter_mut().for_each(|closing| closing.file.handle_timeout(now));
        self.finish_closing(|closing| closing.due <= now);
    }

    fn finish_closing(&mut self, over: impl FnMut(&Closing) -> bool) {
        let (over, closing) = std::mem::take(&mut self.closing).into_iter().partition(over);
        self.closing = closing;
        for Closing { kind, file, end, .. } in over {
            self.end(kind, file, end);
        }
    }

    /// Ends the files of a kind.
    pub(crate) fn finish(&mut self, kind: FileKind, at: i64) {
        self.finish_closing(|closing| closing.kind == kind);
        if let Some(file) = self.growing.remove(&kind) {
            self.end(kind, file, at);
        }
    }

    /// Ends all files.
    pub(crate) fn finish_all(&mut self, at: i64) {
        FileKind::ALL.into_iter().for_each(|kind| self.finish(kind, at));
    }

    fn end(&mut self, kind: FileKind, mut file: File, at: i64) {
        let whole = file.finish(at);
        self.say(kind, &mut file, i64::MAX);
        // A file that was never opened had no media, and nobody has heard of it.
        if let Some(name) = file.name {
            self.outputs.push_back(Output::Finish(name, whole.map(Box::new)));
        }
    }

    /// Collects what the files say; opens those whose time has come.
    pub(crate) fn drain(&mut self, now: i64) {
        let mut closing = std::mem::take(&mut self.closing);
        closing.iter_mut().for_each(|closing| self.say(closing.kind, &mut closing.file, i64::MAX));
        self.closing = closing;
        let mut growing = std::mem::take(&mut self.growing);
        growing.iter_mut().for_each(|(kind, file)| self.say(*kind, file, now));
        self.growing = growing;
    }

    fn say(&mut self, kind: FileKind, file: &mut File, now: i64) {
        self.refused += file.take_refused();
        if file.name.is_none()
            && let Some(container) = file.container(now)
        {
            let n = self.opened.entry(kind).or_default();
            *n += 1;
            let name = format!("{}-{}-{n}.{}", self.participant, kind.name(), container.name());
            self.outputs.push_back(Output::Open(Box::new(file.open(name.into(), container))));
        }
        let Some(name) = file.name.clone() else { return };
        self.outputs.extend(file.take_says().into_iter().map(|say| said(&name, say)));
    }
}

fn said(name: &Arc<str>, say: Say) -> Output {
    match say {
        Say::Write(output) => Output::Write(name.clone(), output),
        Say::Note(note) => Output::Note(name.clone(), note),
    }
}
