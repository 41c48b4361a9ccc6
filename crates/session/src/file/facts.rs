//! What is known of a file: its tracks, sizes, counters, and what of it is noted for a crash.

use rtc_client::Codec;
use signalling::message::Source;
use signalling::recording::{FileFigures, RecordedFile, RecordedTrack, Resolution};
use webm::Size;

use super::{File, Note, Say, millis};
use crate::fit::Drift;

/// So many picture sizes are told of a file: a sender that changes its mind with every picture is not to fill the disk.
const MOST_SIZES: usize = 10_000;

/// How often changed counters are noted.
const FIGURES_US: i64 = 10_000_000;

impl File {
    /// The counters of what came for it.
    pub fn figures(&mut self) -> &mut FileFigures {
        &mut self.figures
    }

    /// What the reports of a source's sender say about its clock by now; what is known last stands in the file's facts.
    pub fn set_drift(&mut self, source: Source, drift: Drift) {
        let track = self.tracks.iter_mut().find(|track| track.source == source);
        if let Some(track) = track {
            (track.drift_ppm, track.residual_ms) = (Some(drift.ppm), Some(drift.residual_ms));
        }
    }

    pub(super) fn describe(&self) -> RecordedFile {
        RecordedFile {
            name: self.name.as_deref().unwrap_or_default().to_owned(),
            size: 0,
            sha256_parts: String::new(),
            container: self.container.name().into(),
            codecs: codecs_of(&self.tracks),
            participant: self.participant.clone(),
            participant_name: self.participant_name.clone(),
            sources: self.tracks.iter().map(|track| track.source).collect(),
            tracks: self.tracks.clone(),
            start_ms: millis(self.start),
            end_ms: millis(self.start),
            resolutions: self.resolutions.clone(),
            gaps: self.gaps.list().to_vec(),
            figures: self.counted(),
        }
    }

    pub(super) fn counted(&self) -> FileFigures {
        let (filled, dropped) = self.audio.as_ref().map_or((0, 0), |(_, audio)| (audio.filled, audio.dropped));
        FileFigures { filled_ms: filled / 48, dropped, ..self.figures }
    }

    pub(super) fn note_track(&mut self, source: Source, codec: Codec, at: i64) {
        if self.tracks.iter().all(|track| track.source != source) {
            let track = RecordedTrack {
                source,
                codec: codec.name().to_owned(),
                start_ms: millis(self.start + at),
                drift_ppm: None,
                residual_ms: None,
            };
            self.tracks.push(track.clone());
            self.says.push(Say::Note(Note::Track(track)));
        }
    }

    /// Now and then: after a crash they are what is known.
    pub(super) fn note_figures(&mut self, now: i64) {
        let (figures, at) = self.noted;
        let counted = self.counted();
        if now - at >= FIGURES_US && counted != figures {
            self.noted = (counted, now);
            self.says.push(Say::Note(Note::Figures(counted)));
        }
    }

    pub(super) fn note_size(&mut self, at: i64, size: Size) {
        let (w, h) = (u32::from(size.width), u32::from(size.height));
        if self.resolutions.len() < MOST_SIZES && self.resolutions.last().is_none_or(|last| (last.w, last.h) != (w, h))
        {
            let resolution = Resolution { t: millis(self.start + at), w, h };
            self.resolutions.push(resolution.clone());
            self.says.push(Say::Note(Note::Resolution(resolution)));
        }
    }
}

/// The codecs of these tracks, each once.
pub(crate) fn codecs_of(tracks: &[RecordedTrack]) -> Vec<String> {
    let mut codecs: Vec<String> = Vec::new();
    for track in tracks {
        if !codecs.contains(&track.codec) {
            codecs.push(track.codec.clone());
        }
    }
    codecs
}
