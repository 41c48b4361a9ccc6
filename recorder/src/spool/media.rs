//! A media file in the spool: appended to while it is recorded, finished after a crash.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use signalling::recording::RecordedFile;
use webm::{HEAD_LEN, Output, Recovered, Recovery, RecoveryError, Size, Track, TrackFacts, TrackNumber};

/// A file that is being written.
#[derive(Debug)]
pub struct MediaFile {
    file: File,
    len: u64,
}

impl MediaFile {
    /// Begins a file, which must not exist, with an empty head region. Its name is for the caller to sync.
    ///
    /// # Errors
    /// What the system says.
    pub fn create(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
        file.set_len(HEAD_LEN as u64)?;
        Ok(Self { file, len: HEAD_LEN as u64 })
    }

    /// Does what the muxer says. Returns the length of what will not change any more, but for the head.
    ///
    /// # Errors
    /// What the system says.
    pub fn write(&mut self, output: &Output) -> io::Result<u64> {
        match output {
            Output::Append(bytes) => {
                self.file.write_all_at(bytes, self.len)?;
                self.len += bytes.len() as u64;
            }
            Output::PatchHead(head) => self.file.write_all_at(head, 0)?,
        }
        Ok(self.len)
    }

    /// Syncs everything.
    ///
    /// # Errors
    /// What the system says, also of bytes that it had to write earlier: nobody else may sync this file, for whoever does so
    /// first hears of them.
    pub fn close(self) -> io::Result<u64> {
        self.file.sync_all()?;
        Ok(self.len)
    }
}

#[cfg(test)]
impl MediaFile {
    /// A file that stands in for another one.
    pub(crate) fn of(file: File) -> Self {
        Self { file, len: 0 }
    }
}

/// A file that holds no whole cluster is called damaged, not empty, if more than one of them would fit: two of the longest.
const LARGEST_TAIL: u64 = 2 * (5 << 20);

/// What a file holds after it was repaired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repaired {
    /// Its size.
    pub size: u64,
    /// Bytes from its start that are as they were written, but for the head.
    pub kept: u64,
    /// Its duration.
    pub end: Duration,
    /// Codecs by RTP name.
    pub codecs: Vec<String>,
}

/// What came of a repair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Repair {
    /// The file is whole.
    Done(Repaired),
    /// It holds no media.
    Empty,
    /// It holds media that nothing describes; it is as it was.
    Unreadable(String),
}

/// Finishes a file that its writer did not: voids what is damaged, cuts what is torn, appends the cues, writes the head. May be
/// done again.
/// `facts`: what is known of it, for the case that its head is damaged.
///
/// # Errors
/// What the system says.
pub fn repair(path: &Path, facts: Option<&RecordedFile>) -> io::Result<Repair> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let mut recovered = scan(&file, Vec::new())?;
    if let (Err(RecoveryError::NoTracks), Some(facts)) = (&recovered, facts) {
        // Which track is which nobody noted, but their blocks tell sound from pictures.
        let probe = [1, 2].into_iter().filter_map(TrackNumber::new);
        let probe = probe.map(|number| Track { number, codec: webm::Codec::Opus, size: None }).collect();
        if let Ok(probed) = scan(&file, probe)? {
            recovered = scan(&file, known(facts, &probed.tracks))?;
        }
    }
    let recovered = match recovered {
        Ok(recovered) => recovered,
        Err(RecoveryError::Empty) if file.metadata()?.len() <= HEAD_LEN as u64 + LARGEST_TAIL => {
            return Ok(Repair::Empty);
        }
        Err(error) => return Ok(Repair::Unreadable(error.to_string())),
    };
    if recovered.unknown_blocks > 0 {
        tracing::warn!(file = %path.display(), blocks = recovered.unknown_blocks, "of a track that nothing describes");
    }
    for (at, void) in &recovered.voids {
        tracing::warn!(file = %path.display(), at, "damaged: what is behind it is kept");
        file.write_all_at(void, *at)?;
    }
    // The order makes a second crash harmless: until the head says so, the cues are only another torn tail.
    file.set_len(recovered.valid_len)?;
    file.write_all_at(&recovered.cues, recovered.valid_len)?;
    file.sync_all()?;
    file.write_all_at(&recovered.head, 0)?;
    file.sync_all()?;
    let mut codecs: Vec<String> = Vec::new();
    for facts in &recovered.tracks {
        let name = match facts.track.codec {
            webm::Codec::Opus => "opus",
            webm::Codec::Vp8 => "VP8",
            webm::Codec::Vp9 => "VP9",
            webm::Codec::Av1 { .. } => "AV1",
            webm::Codec::H264 { .. } => "H264",
        };
        if !codecs.iter().any(|codec| codec == name) {
            codecs.push(name.to_owned());
        }
    }
    let size = recovered.valid_len + recovered.cues.len() as u64;
    let kept = recovered.voids.first().map_or(recovered.valid_len, |(at, _)| *at);
    Ok(Repair::Done(Repaired { size, kept, end: recovered.end, codecs }))
}

/// Reads a file from its start.
fn scan(mut file: &File, known: Vec<Track>) -> io::Result<Result<Recovered, RecoveryError>> {
    let mut recovery = Recovery::new(known);
    file.seek(SeekFrom::Start(0))?;
    let mut chunk = vec![0; 1 << 20];
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(recovery.finish()),
            n => recovery.handle_bytes(&chunk[..n]),
        }
    }
}

/// The tracks of a file whose head is damaged: blocks of sound are all key blocks. Codecs that need a record of their
/// stream are not among them, for it was in the head.
fn known(facts: &RecordedFile, probed: &[TrackFacts]) -> Vec<Track> {
    let is_sound = |track: &TrackFacts| track.key_blocks == track.blocks;
    let named = |name: &str| facts.codecs.iter().any(|codec| codec.eq_ignore_ascii_case(name));
    let video = [("VP8", webm::Codec::Vp8), ("VP9", webm::Codec::Vp9)].into_iter().find(|(name, _)| named(name));
    let size = facts.resolutions.iter().fold(None::<Size>, |largest, resolution| {
        let side = |pixels: u32| u16::try_from(pixels).unwrap_or(u16::MAX);
        let size = Size { width: side(resolution.w), height: side(resolution.h) };
        Some(largest.map_or(size, |largest| largest.union(size)))
    });
    let track = |track: &TrackFacts| {
        let number = track.track.number;
        if is_sound(track) && named("opus") {
            return Some(Track { number, codec: webm::Codec::Opus, size: None });
        }
        let (_, codec) = video.clone()?;
        Some(Track { number, codec, size })
    };
    probed.iter().filter_map(track).collect()
}

#[cfg(test)]
mod tests {
    use session::journal::{Fact, Facts};
    use webm::{Codec, Frame, Muxer, Options};

    use super::*;

    /// A finished file of two seconds: pictures first, so that the sound is track 2.
    fn file() -> Vec<u8> {
        let mut muxer = Muxer::new(Options { cluster: Duration::from_millis(500), ..Options::default() });
        let camera = muxer.add_track(Codec::Vp8).expect("room");
        let mic = muxer.add_track(Codec::Opus).expect("room");
        let size = Some(Size { width: 320, height: 180 });
        for n in 0..100 {
            let at = Duration::from_millis(n * 20);
            let sound = Frame { track: mic, at, key: true, size: None, data: vec![0xF8, 0xFF, 0xFE] };
            muxer.handle_frame(sound).expect("in order");
            if n % 2 == 0 {
                let picture = Frame { track: camera, at, key: n % 50 == 0, size, data: vec![n as u8; 100] };
                muxer.handle_frame(picture).expect("in order");
            }
        }
        muxer.finish(Duration::from_secs(2));
        let mut bytes = vec![0; HEAD_LEN];
        while let Some(output) = muxer.poll_output() {
            output.apply(&mut bytes);
        }
        bytes
    }

    /// What a journal says of it.
    fn facts(codecs: &str) -> RecordedFile {
        let journal = format!(
            r#"{{"fact":"job","v":1,"recorder":"rec1","recording":"abc","room":"demo","room_id":"r1","folder":"r1/abc","started_ms":5,"options":{{}}}}
{{"fact":"open","file":{{"name":"p1-av-1.webm","size":0,"container":"webm","codecs":[{codecs}],"participant":"p1","sources":[],"start_ms":0,"end_ms":0,"resolutions":[{{"t":0,"w":320,"h":180}}]}}}}
"#
        );
        assert!(matches!(serde_json::from_str::<Fact>(journal.lines().next().unwrap_or("")), Ok(Fact::Job(_))));
        Facts::parse(journal.as_bytes()).expect("a journal").files["p1-av-1.webm"].file.clone()
    }

    #[test]
    fn a_damaged_head_is_made_again_of_what_the_journal_knows() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("p1-av-1.webm");
        let good = file();
        let mut damaged = good.clone();
        damaged[..HEAD_LEN].fill(0);
        std::fs::write(&path, &damaged).expect("written");
        // Nobody knows its codecs: it stays as it is.
        assert!(matches!(repair(&path, None), Ok(Repair::Unreadable(_))));
        assert!(matches!(repair(&path, Some(&facts(r#""AV1""#))), Ok(Repair::Unreadable(_))));
        assert_eq!(std::fs::read(&path).expect("reads"), damaged);
        let Ok(Repair::Done(repaired)) = repair(&path, Some(&facts(r#""opus","VP8""#))) else { panic!("not repaired") };
        assert_eq!((repaired.codecs, repaired.end), (vec!["VP8".into(), "opus".into()], Duration::from_secs(2)));
        // Its head says what the old one said.
        let mut recovery = Recovery::new(Vec::new());
        recovery.handle_bytes(&std::fs::read(&path).expect("reads"));
        let again = recovery.finish().expect("a good file");
        let mut recovery = Recovery::new(Vec::new());
        recovery.handle_bytes(&good);
        assert_eq!(again.tracks, recovery.finish().expect("a good file").tracks);
    }

    #[test]
    fn a_lost_page_costs_its_cluster_and_nothing_behind_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("p1-av-1.webm");
        let good = file();
        let clusters: Vec<usize> =
            good.windows(4).enumerate().filter(|(_, id)| *id == [0x1F, 0x43, 0xB6, 0x75]).map(|(at, _)| at).collect();
        let (first, second) = (clusters[0], clusters[1]);
        // The first cluster of the file, and one in its middle.
        for (lost, len, kept) in [(first, 8, first), (second + 100, 200, second)] {
            let mut bytes = good.clone();
            bytes[lost..lost + len].fill(0);
            std::fs::write(&path, &bytes).expect("written");
            let Ok(Repair::Done(repaired)) = repair(&path, None) else { panic!("not repaired") };
            assert_eq!((repaired.kept, repaired.end), (kept as u64, Duration::from_secs(2)));
            let after = std::fs::read(&path).expect("reads");
            let behind = clusters.iter().copied().find(|at| *at > kept).expect("another one");
            let end = clusters[clusters.len() - 1];
            assert!(after[behind..end] == good[behind..end]);
            // Whoever repairs it again finds the same.
            assert_eq!(repair(&path, None).expect("reads"), Repair::Done(repaired));
            assert!(std::fs::read(&path).expect("reads") == after);
        }
    }

    #[test]
    fn a_large_file_without_a_whole_cluster_is_not_empty() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("p1-av-1.webm");
        std::fs::write(&path, &file()[..HEAD_LEN]).expect("written");
        std::fs::File::options().write(true).open(&path).and_then(|file| file.set_len(16 << 20)).expect("grows");
        assert!(matches!(repair(&path, None), Ok(Repair::Unreadable(_))));
        assert_eq!(std::fs::metadata(&path).expect("stays").len(), 16 << 20);
    }

    #[test]
    fn a_file_without_a_cluster_is_empty() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("p1-av-1.webm");
        std::fs::write(&path, &file()[..HEAD_LEN + 20]).expect("written");
        assert_eq!(repair(&path, None).expect("reads"), Repair::Empty);
    }
}
