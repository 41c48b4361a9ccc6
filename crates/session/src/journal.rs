//! What a recorder notes of a recording: facts, one JSON object a line, only ever appended.
//!
//! [`Facts::parse`] is pure and takes whatever a crash left: a torn last line is no fact, and neither is a line that is
//! not ours. What the journal says about a file is a hint; the file is the truth.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use signalling::id::{ParticipantId, RecorderId, RecordingId, RoomName};
use signalling::recording::{
    FileFigures, Gap, Moment, RecordedFile, RecordedTrack, RecorderSegment, RecordingOptions, Resolution,
};

use crate::file::codecs_of;

/// The journal's version.
pub const VERSION: u32 = 1;

/// What a part of a file is that storage has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartDigest {
    /// Bytes.
    pub size: u64,
    /// MD5 in hex.
    pub md5: String,
    /// SHA-256 in hex.
    pub sha256: String,
    /// What storage calls it, if that is not its MD5: a key service encrypts it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
}

impl PartDigest {
    /// What storage calls it.
    pub fn etag(&self) -> &str {
        self.etag.as_deref().unwrap_or(&self.md5)
    }

    /// The same part, which storage calls so.
    pub fn with_etag(self, etag: String) -> Self {
        Self { etag: Some(etag).filter(|etag| *etag != self.md5), ..self }
    }
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Version of the journal, [`VERSION`].
    pub v: u32,
    /// Who records.
    pub recorder: RecorderId,
    /// Which recording.
    pub recording: RecordingId,
    /// The room's name.
    pub room: RoomName,
    /// The room's id in keys.
    pub room_id: String,
    /// Where the recording lies, below the storage prefix.
    pub folder: String,
    /// Zero of the recording's clock.
    pub started_ms: u64,
    /// Which run of the recording this is: its files' numbers begin after this one. 0: nobody had it before.
    #[serde(default)]
    pub run: u32,
    /// How.
    pub options: RecordingOptions,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "fact", rename_all = "snake_case")]
pub enum Fact {
    /// First.
    Job(Job),
    /// A file was begun.
    Open {
        /// What is known of it by then.
        file: RecordedFile,
    },
    /// A source delivered for the first time.
    Track {
        /// Which file.
        file: String,
        /// Which source, since when.
        track: RecordedTrack,
    },
    /// The picture's size changed.
    Size {
        /// Which file.
        file: String,
        /// From when, to what.
        resolution: Resolution,
    },
    /// The counters by now.
    Figures {
        /// Which file.
        file: String,
        /// All of them.
        figures: FileFigures,
    },
    /// Media was missing; one that starts where an earlier one of the same cause and source did replaces it. Without a
    /// length it has only begun.
    Gap {
        /// Which file.
        file: String,
        /// When, how long, why.
        gap: Gap,
    },
    /// The recording was switched off, on the recording's clock.
    Stopped {
        /// When.
        at_ms: u64,
    },
    /// A file is whole: cues and head are written, its size is final.
    Whole {
        /// Everything but its digest.
        file: RecordedFile,
    },
    /// A file had no media and is gone.
    Empty {
        /// Which.
        file: String,
    },
    /// A file was finished after a crash: of what storage has of it, only this is still what it holds.
    Repaired {
        /// Which.
        file: String,
        /// The numbers of these parts.
        parts: BTreeSet<u32>,
    },
    /// A file cannot be brought to storage.
    Lost {
        /// Which.
        file: String,
        /// Why, for users.
        why: String,
    },
    /// A multipart upload was begun; an earlier one of the same file is void.
    Upload {
        /// Which file.
        file: String,
        /// The upload's id.
        id: String,
    },
    /// A part arrived.
    Part {
        /// Which file.
        file: String,
        /// From 1.
        number: u32,
        /// What it was.
        digest: PartDigest,
    },
    /// Storage holds the file, checked.
    Stored {
        /// Which, with its digest.
        file: RecordedFile,
    },
    /// A crash interrupted the recording and it was taken up again.
    Recovered,
    /// Something happened in the room.
    Happened(Moment),
    /// A participant is not recorded any more.
    GivenUp {
        /// Who.
        participant: ParticipantId,
        /// Why, for users.
        why: String,
    },
}

/// What a journal says of one file.
#[derive(Debug, Clone, PartialEq)]
pub struct FileFacts {
    /// The file as far as it is known.
    pub file: RecordedFile,
    /// Whether it is whole.
    pub whole: bool,
    /// Whether storage has it.
    pub stored: bool,
    /// The upload in progress.
    pub upload: Option<String>,
    /// Parts that arrived.
    pub parts: BTreeMap<u32, PartDigest>,
}

/// What a journal says.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// What was asked for.
    pub job: Job,
    /// The files, by name, without empty and lost ones.
    pub files: BTreeMap<String, FileFacts>,
    /// The names of those.
    pub dropped: BTreeSet<String>,
    /// File and id of each upload that was begun and is of no use any more.
    pub void: Vec<(String, String)>,
    /// What is lost, and why.
    pub errors: Vec<String>,
    /// When it was switched off.
    pub stopped_ms: Option<u64>,
    /// Whether a crash interrupted it before.
    pub recovered: bool,
    /// What happened in the room.
    pub timeline: Vec<Moment>,
}

/// A journal without the fact that everything else needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the journal does not begin with a job of version {VERSION}")]
pub struct NoJob;

impl Facts {
    /// What is known when a recording begins.
    pub fn of(job: Job) -> Self {
        Self {
            job,
            files: BTreeMap::new(),
            dropped: BTreeSet::new(),
            void: Vec::new(),
            errors: Vec::new(),
            stopped_ms: None,
            recovered: false,
            timeline: Vec::new(),
        }
    }

    /// Reads a journal, however it ends.
    ///
    /// # Errors
    /// [`NoJob`].
    pub fn parse(bytes: &[u8]) -> Result<Self, NoJob> {
        let mut facts = bytes.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<Fact>(line).ok());
        let Some(Fact::Job(job)) = facts.next() else { return Err(NoJob) };
        if job.v != VERSION {
            return Err(NoJob);
        }
        let mut read = Self::of(job);
        facts.for_each(|fact| read.apply(fact));
        Ok(read)
    }

    /// Adds a fact; one about a file that was never opened says nothing.
    pub fn apply(&mut self, fact: Fact) {
        match fact {
            Fact::Job(_) => {}
            Fact::Open { file } => {
                let facts = FileFacts { file, whole: false, stored: false, upload: None, parts: BTreeMap::new() };
                self.files.entry(facts.file.name.clone()).or_insert(facts);
            }
            Fact::Empty { file } => self.drop_file(file),
            Fact::Lost { file, why } => {
                self.errors.push(format!("{file}: {why}"));
                self.drop_file(file);
            }
            Fact::Repaired { file, parts } => {
                self.edit(&file, |facts| facts.parts.retain(|number, _| parts.contains(number)));
            }
            Fact::Stopped { at_ms } => self.stopped_ms = Some(at_ms),
            Fact::Recovered => self.recovered = true,
            Fact::Happened(moment) => self.timeline.push(moment),
            Fact::GivenUp { participant, why } => self.errors.push(format!("{participant}: {why}")),
            Fact::Track { file, track } => self.edit(&file, |facts| {
                if !facts.file.codecs.contains(&track.codec) {
                    facts.file.codecs.push(track.codec.clone());
                }
                if !facts.file.sources.contains(&track.source) {
                    facts.file.sources.push(track.source);
                    facts.file.tracks.push(track);
                }
            }),
            Fact::Figures { file, figures } => self.edit(&file, |facts| facts.file.figures = figures),
            Fact::Size { file, resolution } => self.edit(&file, |facts| facts.file.resolutions.push(resolution)),
            Fact::Gap { file, gap } => self.edit(&file, |facts| {
                let same = |other: &&mut Gap| (other.t, &other.cause, other.source) == (gap.t, &gap.cause, gap.source);
                match facts.file.gaps.iter_mut().rev().find(same) {
                    Some(last) => *last = gap,
                    None => facts.file.gaps.push(gap),
                }
            }),
            Fact::Whole { file } => self.edit(&file.name.clone(), |facts| {
                facts.file = file;
                facts.whole = true;
            }),
            Fact::Upload { file, id } => {
                let mut before = None;
                self.edit(&file, |facts| {
                    before = facts.upload.replace(id);
                    facts.parts.clear();
                });
                self.void.extend(before.map(|id| (file, id)));
            }
            Fact::Part { file, number, digest } => self.edit(&file, |facts| {
                facts.parts.insert(number, digest);
            }),
            Fact::Stored { file } => {
                let name = file.name.clone();
                let mut unused = None;
                self.edit(&name, |facts| {
                    // The file may have been put whole. One that was completed is not there any more, and does no harm.
                    unused = facts.upload.take();
                    facts.file = file;
                    facts.whole = true;
                    facts.stored = true;
                });
                self.void.extend(unused.map(|id| (name, id)));
            }
        }
    }

    fn drop_file(&mut self, file: String) {
        let upload = self.files.remove(&file).and_then(|facts| facts.upload);
        self.void.extend(upload.map(|id| (file.clone(), id)));
        self.dropped.insert(file);
    }

    fn edit(&mut self, file: &str, change: impl FnOnce(&mut FileFacts)) {
        if let Some(facts) = self.files.get_mut(file) {
            change(facts);
        }
    }

    /// The segment as it stands.
    pub fn segment(&self) -> RecorderSegment {
        RecorderSegment {
            v: signalling::recording::MANIFEST_VERSION,
            recorder: self.job.recorder.clone(),
            run: self.job.run,
            recording: self.job.recording.clone(),
            room: self.job.room.clone(),
            room_id: self.job.room_id.clone(),
            folder: self.job.folder.clone(),
            started_ms: self.job.started_ms,
            ended_ms: self.stopped_ms,
            files: self.files.values().map(|facts| facts.file.clone()).collect(),
            timeline: self.timeline.clone(),
            recovered: self.recovered,
            error: (!self.errors.is_empty()).then(|| self.errors.join("; ")),
        }
    }
}

/// Makes the tracks of a file that a crash ended those that it holds: which begin before its end, which is `end_ms` by now, and
/// whose codec is among `codecs`.
pub fn keep_tracks(file: &mut RecordedFile, codecs: Vec<String>) {
    let end = file.end_ms;
    let holds = |track: &RecordedTrack| {
        track.start_ms < end && codecs.iter().any(|codec| codec.eq_ignore_ascii_case(&track.codec))
    };
    file.tracks.retain(holds);
    file.sources = file.tracks.iter().map(|track| track.source).collect();
    // Silence that stands in for sound is no codec of the participant's.
    let sent = codecs_of(&file.tracks);
    file.codecs = if sent.is_empty() { codecs } else { sent };
}

/// Makes the gaps of a file that a crash ended fit its end, which is `end_ms` by now: one that had only begun lasts until
/// there, unless another one of its source followed; what lies behind it is cut off.
pub fn close_gaps(file: &mut RecordedFile) {
    let end = file.end_ms;
    let gaps = std::mem::take(&mut file.gaps);
    for (at, gap) in gaps.iter().enumerate() {
        let followed = || gaps[at + 1..].iter().any(|later| later.source == gap.source);
        let until = if gap.ms == 0 && !followed() { end } else { end.min(gap.t.saturating_add(gap.ms)) };
        if until > gap.t {
            file.gaps.push(Gap { ms: until - gap.t, ..gap.clone() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use signalling::message::Source;

    fn job() -> Job {
        Job {
            v: VERSION,
            recorder: RecorderId::parse("rec1").expect("an id"),
            recording: RecordingId::parse("abc").expect("an id"),
            room: RoomName::parse("demo").expect("a name"),
            room_id: "r1".into(),
            folder: "r1/abc".into(),
            started_ms: 5,
            run: 0,
            options: RecordingOptions::default(),
        }
    }

    fn file(size: u64) -> RecordedFile {
        RecordedFile {
            name: "p1-av-1.webm".into(),
            size,
            sha256_parts: String::new(),
            container: "webm".into(),
            codecs: vec![],
            participant: ParticipantId::parse("p1").expect("an id"),
            participant_name: "Alice".into(),
            sources: vec![],
            tracks: Vec::new(),
            start_ms: 10,
            end_ms: 20,
            resolutions: vec![],
            gaps: vec![],
            figures: FileFigures::default(),
        }
    }

    fn track() -> RecordedTrack {
        let codec = "opus".into();
        RecordedTrack { source: Source::Mic, codec, start_ms: 12, drift_ppm: None, residual_ms: None }
    }

    fn story() -> Vec<Fact> {
        let name = || "p1-av-1.webm".to_owned();
        let gap = |ms| Gap { t: 3, ms, cause: "loss".into(), source: Some(Source::Mic) };
        let digest = PartDigest { size: 9, md5: "m".into(), sha256: "s".into(), etag: None };
        vec![
            Fact::Job(job()),
            Fact::Open { file: file(0) },
            Fact::Track { file: name(), track: track() },
            Fact::Figures { file: name(), figures: FileFigures { packets: 7, ..FileFigures::default() } },
            Fact::Size { file: name(), resolution: Resolution { t: 1, w: 2, h: 3 } },
            Fact::Gap { file: name(), gap: gap(1) },
            Fact::Gap { file: name(), gap: Gap { t: 4, source: Some(Source::Camera), ..gap(7) } },
            Fact::Gap { file: name(), gap: gap(7) },
            Fact::Upload { file: name(), id: "u1".into() },
            Fact::Part { file: name(), number: 2, digest },
            Fact::Stopped { at_ms: 99 },
        ]
    }

    fn text(facts: &[Fact]) -> Vec<u8> {
        facts.iter().flat_map(|fact| [serde_json::to_vec(fact).expect("JSON"), b"\n".to_vec()].concat()).collect()
    }

    #[test]
    fn a_journal_tells_its_story_again() {
        let facts = Facts::parse(&text(&story())).expect("a journal");
        let file = &facts.files["p1-av-1.webm"];
        assert_eq!((facts.stopped_ms, file.upload.as_deref(), file.parts.len()), (Some(99), Some("u1"), 1));
        let gap = |t, source| Gap { t, ms: 7, cause: "loss".into(), source: Some(source) };
        assert_eq!(file.file.gaps, [gap(3, Source::Mic), gap(4, Source::Camera)]);
        assert_eq!((&file.file.sources[..], file.file.resolutions.len()), (&[Source::Mic][..], 1));
        assert_eq!((&file.file.tracks[..], file.file.figures.packets), (&[track()][..], 7));
        assert!(!file.whole && !file.stored);
    }

    #[test]
    fn what_storage_calls_a_part_is_kept_where_it_is_not_its_md5() {
        let digest = PartDigest { size: 9, md5: "m".into(), sha256: "s".into(), etag: None };
        let line = |digest: &PartDigest| serde_json::to_string(digest).expect("JSON");
        // As in journals of before, too.
        assert_eq!(line(&digest.clone().with_etag("m".into())), r#"{"size":9,"md5":"m","sha256":"s"}"#);
        for called in ["m", "k"] {
            let read: PartDigest = serde_json::from_str(&line(&digest.clone().with_etag(called.into()))).expect("JSON");
            assert_eq!(read.etag(), called);
        }
    }

    #[test]
    fn uploads_of_no_use_are_remembered_and_so_is_what_is_lost() {
        let upload = |file: &str, id: &str| Fact::Upload { file: file.into(), id: id.into() };
        let name = || "p1-av-1.webm".to_owned();
        let mut facts = Facts::of(job());
        let digest = PartDigest { size: 9, md5: "m".into(), sha256: "s".into(), etag: None };
        let part = |number| Fact::Part { file: name(), number, digest: digest.clone() };
        [Fact::Open { file: file(0) }, upload(&name(), "u1"), part(2), part(3)]
            .into_iter()
            .for_each(|fact| facts.apply(fact));
        facts.apply(Fact::Repaired { file: name(), parts: [2].into() });
        assert_eq!(facts.files[&name()].parts.keys().copied().collect::<Vec<_>>(), [2]);
        facts.apply(upload(&name(), "u2"));
        assert!(facts.files[&name()].parts.is_empty());
        facts.apply(Fact::Lost { file: name(), why: "gone".into() });
        let void = ["u1", "u2"].map(|id| (name(), id.to_owned()));
        assert_eq!((&facts.void[..], facts.files.len(), facts.dropped.contains(&name())), (&void[..], 0, true));
        facts.apply(Fact::GivenUp { participant: file(0).participant, why: "broken".into() });
        assert_eq!(facts.segment().error.as_deref(), Some("p1-av-1.webm: gone; p1: broken"));
    }

    #[test]
    fn the_upload_of_a_file_that_storage_has_is_of_no_use() {
        let mut facts = Facts::of(job());
        [
            Fact::Open { file: file(0) },
            Fact::Upload { file: "p1-av-1.webm".into(), id: "u1".into() },
            Fact::Stored { file: file(9) },
        ]
        .into_iter()
        .for_each(|fact| facts.apply(fact));
        assert_eq!(facts.void, [("p1-av-1.webm".to_owned(), "u1".to_owned())]);
        let stored = &facts.files["p1-av-1.webm"];
        assert_eq!((stored.stored, stored.file.size, &stored.upload), (true, 9, &None));
    }

    #[test]
    fn a_repaired_file_has_the_tracks_that_it_holds() {
        let of = |source, codec: &str, start_ms| RecordedTrack { source, codec: codec.into(), start_ms, ..track() };
        let mut file = RecordedFile { end_ms: 100, sources: vec![Source::Mic, Source::Camera], ..file(1) };
        file.tracks = vec![of(Source::Mic, "opus", 12), of(Source::Camera, "VP8", 100), of(Source::Screen, "VP9", 20)];
        keep_tracks(&mut file, vec!["opus".into(), "VP8".into()]);
        assert_eq!((&file.tracks[..], &file.sources[..]), (&[track()][..], &[Source::Mic][..]));
        assert_eq!(file.codecs, ["opus"]);
        // A camera alone has a silent sound track; of a file of which nothing was noted, its bytes say all.
        for (tracks, expected) in [(vec![of(Source::Camera, "VP8", 20)], &["VP8"][..]), (vec![], &["opus", "VP8"])] {
            file.tracks = tracks;
            keep_tracks(&mut file, vec!["opus".into(), "VP8".into()]);
            assert_eq!(file.codecs, expected);
        }
    }

    #[test]
    fn gaps_of_a_repaired_file_end_with_it() {
        let gap = |t, ms, source| Gap { t, ms, cause: "mute".into(), source: Some(source) };
        let mut file = RecordedFile { end_ms: 100, ..file(1) };
        file.gaps = vec![
            gap(5, 0, Source::Mic),
            gap(10, 20, Source::Camera),
            gap(20, 0, Source::Mic),
            gap(90, 50, Source::Camera),
            gap(120, 0, Source::Camera),
        ];
        close_gaps(&mut file);
        assert_eq!(file.gaps, [gap(10, 20, Source::Camera), gap(20, 80, Source::Mic), gap(90, 10, Source::Camera)]);
    }

    proptest! {
        #[test]
        fn a_journal_cut_anywhere_is_its_whole_lines(cut in 0_usize..2000, garbage in prop::collection::vec(any::<u8>(), 0..40)) {
            let bytes = text(&story());
            let cut = cut.min(bytes.len());
            let whole = bytes[..cut].iter().filter(|byte| **byte == b'\n').count();
            let torn = [&bytes[..cut], &garbage.iter().map(|b| b | 0x80).collect::<Vec<_>>()].concat();
            // A line that lacks only its end is whole.
            let closed = usize::from(bytes.get(cut) == Some(&b'\n') && garbage.is_empty());
            match Facts::parse(&torn) {
                Err(NoJob) => prop_assert_eq!(whole + closed, 0),
                Ok(facts) => {
                    let expected = Facts::parse(&text(&story()[..whole + closed])).expect("a journal");
                    prop_assert_eq!(facts, expected);
                }
            }
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = Facts::parse(&bytes);
            let _ = Facts::parse(&[text(&story()[..2]), bytes].concat());
        }
    }
}
