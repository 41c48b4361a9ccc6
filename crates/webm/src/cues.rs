//! The index of a file: which blocks a player can seek to.
//!
//! One cue per video key frame. A file without video gets one per cluster, at most every 500 ms (RFC 9559 section 22.1).

use crate::{ebml, id, track::TrackNumber};

/// Smallest distance of two cues in a file without video, in milliseconds.
const AUDIO_SPACING_MS: u64 = 500;

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
}

impl Index {
    /// Notes a video key frame.
    pub(crate) fn video(&mut self, cue: Cue) {
        if !self.has_video {
            // Players seek by the video track once there is one.
            self.cues.clear();
            self.has_video = true;
        }
        self.cues.push(cue);
    }

    /// Notes the first audio block of a cluster.
    pub(crate) fn audio(&mut self, cue: Cue) {
        let last = self.cues.last().map(|last| last.at);
        if !self.has_video && last.is_none_or(|last| cue.at >= last + AUDIO_SPACING_MS) {
            self.cues.push(cue);
        }
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
