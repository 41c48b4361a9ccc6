//! What becomes a file of its own, and what it is called.

use rtc_client::Codec;
use signalling::message::Source;
use signalling::recording::Mode;

/// What belongs together in one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FileKind {
    /// Microphone and camera.
    Av,
    /// A screen, with its sound unless each track has a file.
    Screen,
    /// A microphone alone.
    Mic,
    /// A camera alone.
    Camera,
    /// The sound of a screen alone.
    ScreenAudio,
}

impl FileKind {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Av, Self::Screen, Self::Mic, Self::Camera, Self::ScreenAudio];

    /// Where a source belongs; `None`: it is not recorded.
    pub fn of(mode: Mode, source: Source) -> Option<Self> {
        Some(match (mode, source) {
            (Mode::Participant, Source::Mic | Source::Camera) => Self::Av,
            (Mode::Participant, Source::Screen | Source::ScreenAudio) | (Mode::Track, Source::Screen) => Self::Screen,
            (Mode::Track | Mode::Audio, Source::Mic) => Self::Mic,
            (Mode::Track | Mode::Audio, Source::ScreenAudio) => Self::ScreenAudio,
            (Mode::Track, Source::Camera) => Self::Camera,
            (Mode::Audio, Source::Camera | Source::Screen) => return None,
        })
    }

    /// The source of its sound, or of its pictures.
    pub(crate) fn source(self, audio: bool) -> Option<Source> {
        match (self, audio) {
            (Self::Av | Self::Mic, true) => Some(Source::Mic),
            (Self::Screen | Self::ScreenAudio, true) => Some(Source::ScreenAudio),
            (Self::Av | Self::Camera, false) => Some(Source::Camera),
            (Self::Screen, false) => Some(Source::Screen),
            (Self::Camera, true) | (Self::Mic | Self::ScreenAudio, false) => None,
        }
    }

    /// Whether a file is over when the last track in it ends. One for each participant goes on: a camera may come back.
    pub(crate) fn ends_with_tracks(self, mode: Mode) -> bool {
        !matches!((mode, self), (Mode::Participant, Self::Av) | (Mode::Audio, Self::Mic))
    }

    /// Its word in file names.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Av => "av",
            Self::Screen => "screen",
            Self::Mic => "mic",
            Self::Camera => "camera",
            Self::ScreenAudio => "screen_audio",
        }
    }
}

/// The format of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Container {
    /// WebM.
    Webm,
    /// Matroska.
    Mkv,
}

impl Container {
    /// H.264 is no codec of WebM; everything else that a room carries is.
    pub fn of(codec: Codec) -> Self {
        if codec == Codec::H264 { Self::Mkv } else { Self::Webm }
    }

    /// The end of a file's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Webm => "webm",
            Self::Mkv => "mkv",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mode_has_its_files() {
        let sources = [Source::Mic, Source::Camera, Source::Screen, Source::ScreenAudio];
        let kinds = |mode| sources.map(|source| FileKind::of(mode, source).map_or("", FileKind::name));
        assert_eq!(kinds(Mode::Participant), ["av", "av", "screen", "screen"]);
        assert_eq!(kinds(Mode::Track), ["mic", "camera", "screen", "screen_audio"]);
        assert_eq!(kinds(Mode::Audio), ["mic", "", "", "screen_audio"]);
    }
}
