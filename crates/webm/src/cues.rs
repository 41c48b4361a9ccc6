//! The index of a file: which blocks a player can seek to.
//!
//! One cue per video key frame, at most every 500 ms: a sender of nothing but key frames must not make the index grow. Sound
//! is indexed where there is no picture: every 5 s, and as often as pictures in a file without video (RFC 9559 section 22.1).

use crate::{ebml, id, track::TrackNumber};

/// Smallest distance of two cues of the track that players seek by, in milliseconds.
pub(crate) const SPACING_MS: u64 = 500;

/// The distance of a cue of sound from the one before it, in a file with video.
const AUDIO_SPACING_MS: u64 = 5_000;

/// One block that can be sought to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cue {
    pub(crate) track: TrackNumber,
    /// Milliseconds on the file's clock.
    pub(crate) at: u64,
    /// Offset of the block's cluster in the file.
    pub(crate) cluster: u64,
    /// Offset of the block in the cluster's data.
    pub(crate) block: u32,
}

/// The cues of one file so far.
#[derive(Debug, Default)]
pub(crate) struct Index {
    cues: Vec<Cue>,
    has_video: bool,
    /// When the last cue of a picture stands.
    last_video: Option<u64>,
}

impl Index {
    /// Notes a cluster: its first video key frame and its first block of sound.
    pub(crate) fn handle_cluster(&mut self, video: Option<Cue>, audio: Option<Cue>) {
        if video.is_some() && !std::mem::replace(&mut self.has_video, true) {
            self.thin();
        }
        let spacing = if self.has_video { AUDIO_SPACING_MS } else { SPACING_MS };
        let picture = video.filter(|cue| self.last_video.is_none_or(|last| cue.at >= last + SPACING_MS));
        let sound = audio.filter(|cue| self.cues.last().is_none_or(|last| cue.at >= last.at + spacing));
        self.cues.extend(sound.filter(|cue| picture.is_none_or(|picture| cue.at < picture.at)));
        self.cues.extend(picture);
        self.last_video = picture.map(|cue| cue.at).or(self.last_video);
    }

    /// Players seek by the video track now: sound needs no more than a cue now and then.
    fn thin(&mut self) {
        let mut last: Option<u64> = None;
        self.cues.retain(|cue| {
            let keeps = last.is_none_or(|last| cue.at >= last + AUDIO_SPACING_MS);
            last = if keeps { Some(cue.at) } else { last };
            keeps
        });
    }

    /// The `Cues` element; `segment` is the offset of the segment's data, from which positions count.
    pub(crate) fn encode(&self, segment: u64) -> Vec<u8> {
        let mut points = Vec::with_capacity(self.cues.len() * 24);
        for cue in &self.cues {
            ebml::put_master(&mut points, id::CUE_POINT, |out| {
                ebml::put_uint(out, id::CUE_TIME, cue.at);
                ebml::put_master(out, id::CUE_TRACK_POSITIONS, |out| {
                    ebml::put_uint(out, id::CUE_TRACK, cue.track.0.into());
                    ebml::put_uint(out, id::CUE_CLUSTER_POSITION, cue.cluster.saturating_sub(segment));
                    ebml::put_uint(out, id::CUE_RELATIVE_POSITION, cue.block.into());
                });
            });
        }
        let mut out = Vec::with_capacity(points.len() + 12);
        ebml::put_binary(&mut out, id::CUES, &points);
        out
    }
}
