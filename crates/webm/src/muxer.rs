//! The muxer: frames in, file operations out.
//!
//! Blocks leave in order of time across all tracks, strictly rising within each. A cluster ends at a video key frame
//! that comes 500 ms after its start or later, after [`Options::cluster`], or at [`Options::max_cluster_bytes`], and is
//! given out whole; so a crash costs at most one cluster and one reorder window. The head is given out again, in front
//! of the cluster that needs it, whenever what it says has changed: a track delivered for the first time, or a picture
//! grew.

use std::{collections::VecDeque, time::Duration};

use crate::{
    cluster::{BLOCK_HEADER_LEN, Cluster},
    cues::{Cue, Index, SPACING_MS},
    head::{self, Final, HEAD_LEN, Head},
    reorder::{Reorder, Waiting},
    track::{Codec, Size, Track, TrackError, TrackNumber},
};

/// The longest cluster that relative timestamps of 16 bits allow, with room to spare.
const MAX_CLUSTER: Duration = Duration::from_secs(30);

/// The longest application name, so that the head region cannot overflow.
const MAX_APP: usize = 128;

/// The largest size, with which a new track must fit into the head.
const MAX_SIZE: Size = Size { width: u16::MAX, height: u16::MAX };

/// The latest time taken: thirty days.
pub const MAX_TIME: Duration = Duration::from_secs(30 * 86_400);

/// How a file is written. The default suits a live recording that may lose at most two seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// How long a frame waits for earlier ones of other tracks. Default 500 ms.
    pub reorder: Duration,
    /// The longest cluster. Default 1 s, at most 30 s.
    pub cluster: Duration,
    /// A cluster ends before it grows beyond this, and no more than this waits in the reorder window. Default 5 MiB.
    pub max_cluster_bytes: usize,
    /// The application's name and version, cut at 128 bytes.
    pub app: String,
    /// When the recording started, since the Unix epoch; stands in the file as its date.
    pub started: Option<Duration>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            reorder: Duration::from_millis(500),
            cluster: Duration::from_secs(1),
            max_cluster_bytes: 5 << 20,
            app: concat!("tern ", env!("CARGO_PKG_VERSION")).to_owned(),
            started: None,
        }
    }
}

/// One encoded frame (of audio: one packet).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Its track.
    pub track: TrackNumber,
    /// When it is shown or heard, on the file's clock; the file keeps milliseconds.
    pub at: Duration,
    /// Whether it decodes on its own; ignored for audio, where every packet counts as one.
    pub key: bool,
    /// Width and height, of a video key frame.
    pub size: Option<Size>,
    /// The encoded bytes.
    pub data: Vec<u8>,
}

/// Why a frame was not taken. The file stays whole after each of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// No such track.
    #[error("track {0} was never added")]
    UnknownTrack(u8),
    /// A video track starts, and goes on after a refused frame, with a key frame.
    #[error("a key frame is needed first")]
    KeyFrameNeeded,
    /// The first key frame of a video track must name its size.
    #[error("the first key frame names no size")]
    SizeUnknown,
    /// A picture older than the reorder window allows.
    #[error("{0:?} too late for its place in the file")]
    TooLate(Duration),
    /// No bytes, or more than a cluster may have.
    #[error("a frame of {0} bytes")]
    BadLength(usize),
    /// A time beyond [`MAX_TIME`]: a broken clock, and every later frame would be too late.
    #[error("{0:?} is no time of a recording")]
    OutOfRange(Duration),
    /// The recording is finished.
    #[error("the file is finished")]
    Finished,
}

/// What to do to the file, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Append these bytes; the first of them stand at [`HEAD_LEN`].
    Append(Vec<u8>),
    /// Write these [`HEAD_LEN`] bytes at the file's start.
    PatchHead(Vec<u8>),
}

impl Output {
    /// Does it to a file in memory.
    pub fn apply(&self, file: &mut Vec<u8>) {
        file.resize(file.len().max(HEAD_LEN), 0);
        match self {
            Self::Append(bytes) => file.extend_from_slice(bytes),
            Self::PatchHead(head) => file[..HEAD_LEN].copy_from_slice(head),
        }
    }
}

/// Counters of one file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Frames written.
    pub frames: u64,
    /// Clusters written.
    pub clusters: u64,
    /// Frames that came after their place was written, and stand at the time of that moment.
    pub late: u64,
    /// Frames refused.
    pub refused: u64,
}

#[derive(Debug)]
struct TrackState {
    track: Track,
    delivered: bool,
    needs_key: bool,
    /// Time of the newest frame taken, in milliseconds.
    last: Option<u64>,
}

/// Writes one file.
#[derive(Debug)]
pub struct Muxer {
    app: String,
    started: Option<Duration>,
    cluster_ms: u64,
    max_cluster_bytes: usize,
    tracks: Vec<TrackState>,
    reorder: Reorder,
    /// Time of the last block written; nothing is written before it any more.
    floor: u64,
    cluster: Option<Cluster>,
    /// Size of the last cluster, a good guess for the next one's.
    capacity: usize,
    index: Index,
    head_changed: bool,
    len: u64,
    finished: bool,
    stats: Stats,
    outputs: VecDeque<Output>,
}

impl Muxer {
    /// A muxer for an empty file.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let mut app = options.app;
        app.truncate((0..=MAX_APP).rev().find(|end| app.is_char_boundary(*end)).unwrap_or(0));
        Self {
            app,
            started: options.started,
            cluster_ms: options.cluster.min(MAX_CLUSTER).as_millis() as u64,
            max_cluster_bytes: options.max_cluster_bytes,
            tracks: Vec::new(),
            reorder: Reorder::new(options.reorder.as_millis() as u64, options.max_cluster_bytes),
            floor: 0,
            cluster: None,
            capacity: 0,
            index: Index::default(),
            head_changed: false,
            len: HEAD_LEN as u64,
            finished: false,
            stats: Stats::default(),
            outputs: VecDeque::new(),
        }
    }

    /// Adds a track, at any time. The file declares it once its first frame is written.
    ///
    /// # Errors
    /// See [`TrackError`].
    pub fn add_track(&mut self, codec: Codec) -> Result<TrackNumber, TrackError> {
        if self.finished {
            return Err(TrackError::Finished);
        }
        let number = u8::try_from(self.tracks.len() + 1).ok().and_then(TrackNumber::new).ok_or(TrackError::HeadFull)?;
        let size = codec.is_video().then_some(MAX_SIZE);
        let track = Track { number, codec, size };
        self.check_head(&track)?;
        let needs_key = track.codec.is_video();
        self.tracks.push(TrackState { track: Track { size: None, ..track }, delivered: false, needs_key, last: None });
        Ok(number)
    }

    /// Takes one frame. Frames of one track come in decoding order; those of different tracks as they like, until
    /// [`Muxer::handle_timeout`] says that it is [`Options::reorder`] later.
    ///
    /// A frame whose place has been written stands at the time of the last block and counts as [`Stats::late`]. Sound is
    /// moved as far as it takes, as who counts samples must miss none. Two frames of a track are at least 1 ms apart.
    ///
    /// # Errors
    /// See [`FrameError`]. After a refused video frame only a key frame is taken, because nothing else could be decoded.
    pub fn handle_frame(&mut self, frame: Frame) -> Result<(), FrameError> {
        let taken = self.take(frame);
        if taken.is_err() {
            self.stats.refused += 1;
        }
        self.write_due();
        taken
    }

    /// Lets the file's clock go on to `at`: writes what is due, and ends the cluster when it is as long as it may be. Call it
    /// regularly; until then frames only wait, as many as [`Options::max_cluster_bytes`] allows.
    pub fn handle_timeout(&mut self, at: Duration) {
        if !self.finished {
            self.reorder.advance(at.min(MAX_TIME).as_millis() as u64);
            self.write_due();
        }
    }

    /// Writes everything that waits, the cues and the final head. `end` is the recording's end on the file's clock; the
    /// last frame counts when it is later.
    pub fn finish(&mut self, end: Duration) {
        if self.finished {
            return;
        }
        while let Some(frame) = self.reorder.pop_any() {
            self.write(frame);
        }
        self.close_cluster();
        self.finished = true;
        if self.stats.clusters == 0 {
            return;
        }
        let tracks = self.delivered();
        let segment = head::segment_data(&tracks);
        let cues = self.index.encode(segment);
        let end = Final {
            duration: end.min(MAX_TIME).max(Duration::from_millis(self.floor)),
            cues_at: self.len,
            file_len: self.len + cues.len() as u64,
        };
        let head = self.head(tracks, Some(end)).encode().expect("add_track left room for every track");
        self.len = end.file_len;
        self.outputs.extend([Output::Append(cues), Output::PatchHead(head)]);
    }

    /// The next thing to do to the file.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Length of the file once all outputs are done.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a file with a head region is never empty")]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether no cluster was written, so that there is nothing worth keeping.
    #[must_use]
    pub fn has_no_media(&self) -> bool {
        self.stats.clusters == 0
    }

    /// The tracks that the file declares by now.
    pub fn tracks(&self) -> impl Iterator<Item = &Track> {
        self.tracks.iter().filter(|state| state.delivered).map(|state| &state.track)
    }

    /// The counters.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.stats
    }

    fn take(&mut self, frame: Frame) -> Result<(), FrameError> {
        if self.finished {
            return Err(FrameError::Finished);
        }
        let number = frame.track.0;
        let place = usize::from(number).wrapping_sub(1);
        let state = self.tracks.get_mut(place).ok_or(FrameError::UnknownTrack(number))?;
        let video = state.track.codec.is_video();
        let key = frame.key || !video;
        if state.needs_key && !key {
            return Err(FrameError::KeyFrameNeeded);
        }
        state.needs_key = video;
        if frame.at > MAX_TIME {
            return Err(FrameError::OutOfRange(frame.at));
        }
        if frame.data.is_empty() || frame.data.len() + BLOCK_HEADER_LEN > self.max_cluster_bytes {
            return Err(FrameError::BadLength(frame.data.len()));
        }
        if video && state.track.size.is_none() && frame.size.is_none() {
            return Err(FrameError::SizeUnknown);
        }
        // Rounded, not cut, so that no track is half a millisecond early on average.
        let wanted = (frame.at + Duration::from_micros(500)).as_millis() as u64;
        let at = wanted.max(self.floor).max(state.last.map_or(0, |last| last + 1));
        if video && at - wanted > self.reorder.window().max(1) {
            return Err(FrameError::TooLate(Duration::from_millis(at - wanted)));
        }
        if wanted < self.floor {
            self.stats.late += 1;
        }
        state.needs_key = false;
        state.last = Some(at);
        if let Some(size) = frame.size.filter(|_| video) {
            let grown = state.track.size.map_or(size, |known| known.union(size));
            self.head_changed |= state.delivered && state.track.size != Some(grown);
            state.track.size = Some(grown);
        }
        self.reorder.push(Waiting { track: frame.track, at, key, data: frame.data });
        Ok(())
    }

    fn write_due(&mut self) {
        while let Some(frame) = self.reorder.pop() {
            self.write(frame);
        }
        let full = |cluster: &Cluster| self.reorder.horizon() >= cluster.start() + self.cluster_ms;
        if self.cluster.as_ref().is_some_and(full) {
            self.close_cluster();
        }
    }

    fn write(&mut self, frame: Waiting) {
        let place = usize::from(frame.track.0) - 1;
        let video = self.tracks[place].track.codec.is_video();
        let ends = |cluster: &Cluster| {
            (video && frame.key && frame.at >= cluster.start() + SPACING_MS)
                || frame.at >= cluster.start() + self.cluster_ms
                || cluster.len() + frame.data.len() > self.max_cluster_bytes
        };
        if self.cluster.as_ref().is_some_and(ends) {
            self.close_cluster();
        }
        // After the old cluster has gone, because a head must not declare a track before its first block.
        self.head_changed |= !std::mem::replace(&mut self.tracks[place].delivered, true);
        let cluster = self.cluster.get_or_insert_with(|| Cluster::new(frame.at, self.capacity));
        let block = cluster.push(frame.track, frame.at, frame.key, &frame.data);
        let cue = Cue { track: frame.track, at: frame.at, cluster: self.len, block };
        if video && frame.key {
            cluster.video_cue.get_or_insert(cue);
        } else if !video {
            cluster.audio_cue.get_or_insert(cue);
        }
        self.floor = frame.at;
        self.stats.frames += 1;
    }

    fn close_cluster(&mut self) {
        let Some(cluster) = self.cluster.take() else { return };
        if std::mem::take(&mut self.head_changed) {
            let head = self.head(self.delivered(), None).encode().expect("add_track left room for every track");
            self.outputs.push_back(Output::PatchHead(head));
        }
        self.index.handle_cluster(cluster.video_cue, cluster.audio_cue);
        self.stats.clusters += 1;
        self.len += cluster.len() as u64;
        // An eighth more than the last one took, so that a steady stream allocates once a cluster.
        self.capacity = cluster.len() + cluster.len() / 8;
        self.outputs.push_back(Output::Append(cluster.into_bytes()));
    }

    fn delivered(&self) -> Vec<&Track> {
        self.tracks().collect()
    }

    fn head<'a>(&'a self, tracks: Vec<&'a Track>, end: Option<Final>) -> Head<'a> {
        Head { app: &self.app, started: self.started, tracks, end }
    }

    /// Checks that the head has room for all tracks and `track`, with every size at its longest.
    fn check_head(&self, track: &Track) -> Result<(), TrackError> {
        let longest = |state: &TrackState| Track {
            size: state.track.codec.is_video().then_some(MAX_SIZE),
            ..state.track.clone()
        };
        let tracks: Vec<Track> = self.tracks.iter().map(longest).collect();
        let end = Final { duration: Duration::ZERO, cues_at: 0, file_len: 0 };
        self.head(tracks.iter().chain([track]).collect(), Some(end)).encode().map(drop)
    }
}
