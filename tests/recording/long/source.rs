//! Flashes and beeps at the same true moments, as two devices would send them whose clocks are both wrong.

use std::time::Duration;

use tests::media_source::{Encoded, Picture, Sound, Video};

/// Pictures a second.
const FPS: u32 = 10;
/// An Opus packet.
const PACKET: Duration = Duration::from_millis(20);
/// Where in each second flash and beep begin.
const BEGIN: Duration = Duration::from_millis(500);
/// How finely a beep can be placed.
const STEP: Duration = Duration::from_micros(2_500);
/// How many of these there are in a packet.
const STEPS: u32 = 8;
/// Packets a second.
const SECOND: usize = 50;

/// What is sent: when, on the true clock, in ticks of the sender's, and what.
pub(super) struct Made {
    pub(super) at: Duration,
    pub(super) ticks: u64,
    pub(super) data: Vec<u8>,
}

/// How fast a device counts: this many parts in a million too fast.
#[derive(Clone, Copy)]
pub(super) struct Drift(pub(super) f64);

impl Drift {
    fn rate(self) -> f64 {
        1.0 + self.0 / 1e6
    }
}

/// A camera: it takes pictures by the true clock and counts them by its own.
pub(super) struct Camera {
    pictures: Vec<Encoded>,
    drift: Drift,
    next: u32,
}

impl Camera {
    pub(super) fn new(drift: Drift) -> Self {
        let video = Video {
            picture: Picture::Flashes(BEGIN),
            width: 64,
            height: 48,
            fps: FPS,
            key_every: FPS,
            seconds: 4.0,
            kilobits: 50,
        };
        Self { pictures: video.vp8().expect("ffmpeg encodes"), drift, next: 0 }
    }

    pub(super) fn due(&self) -> Duration {
        Duration::from_secs(1) * self.next / FPS
    }

    pub(super) fn make(&mut self) -> Made {
        let at = self.due();
        let data = self.pictures[self.next as usize % self.pictures.len()].data.clone();
        self.next += 1;
        Made { at, ticks: (at.as_secs_f64() * 90_000.0 * self.drift.rate()) as u64, data }
    }
}

/// A microphone: its packets hold 20 ms by its own clock, so they come a little too often or too seldom. Where in a packet
/// a beep begins changes all the time.
pub(super) struct Microphone {
    /// By the beep's place within a packet, a second each.
    seconds: Vec<Vec<Encoded>>,
    drift: Drift,
    next: u64,
    /// Where the current second's sound began, and which of [`Self::seconds`] it is.
    current: (u64, u64, usize),
}

impl Microphone {
    pub(super) fn new(drift: Drift) -> Self {
        let second = |step: u32| {
            let sound = Sound::Beeps(BEGIN - STEP * step).opus(3.0).expect("ffmpeg encodes");
            sound[SECOND..2 * SECOND].to_vec()
        };
        Self { seconds: (0..STEPS).map(second).collect(), drift, next: 0, current: (u64::MAX, 0, 0) }
    }

    pub(super) fn due(&self) -> Duration {
        PACKET.mul_f64(self.next as f64 / self.drift.rate())
    }

    pub(super) fn make(&mut self) -> Made {
        let at = self.due();
        let second = at.as_secs();
        if self.current.0 != second {
            let into = at - Duration::from_secs(second);
            let step = (into.as_nanos() / STEP.as_nanos()) as usize;
            self.current = (second, self.next, step.min(self.seconds.len() - 1));
        }
        let (_, began, step) = self.current;
        let place = (self.next - began) as usize;
        let sounds = &self.seconds[step];
        // A fast clock has a packet more than a second holds: silence, as at its end.
        let data = sounds[place.min(sounds.len() - 1)].data.clone();
        let ticks = self.next * 960;
        self.next += 1;
        Made { at, ticks, data }
    }
}
