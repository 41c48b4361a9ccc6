//! Flashes and beeps at the same true moments, as two devices would send them whose clocks are both wrong. In every seventh
//! second there is neither: a shift of whole seconds cannot hide.

use std::time::Duration;

use tests::media_source::{Encoded, Picture, Sound, Video};

/// Pictures a second.
pub(super) const FPS: u32 = 10;
/// An Opus packet.
const PACKET: Duration = Duration::from_millis(20);
/// Where in each second flash and beep begin.
pub(super) const BEGIN: Duration = Duration::from_millis(500);
/// How finely a beep can be placed.
const STEP: Duration = Duration::from_micros(2_500);
/// How many of these there are in a packet.
const STEPS: u32 = 8;
/// Packets a second.
const SECOND: usize = 50;
/// After so many seconds the pictures repeat.
const LOOP: f64 = 70.0;

/// Whether nothing is to be seen and heard in a second of the call.
pub(super) fn is_dark(second: u64) -> bool {
    second.is_multiple_of(7)
}

/// What is sent: when, on the true clock, in ticks of the sender's, and what.
pub(super) struct Made {
    pub(super) at: Duration,
    pub(super) ticks: u64,
    pub(super) data: Vec<u8>,
}

/// How a device counts: this many parts in a million too fast, from here on.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counter {
    pub(super) drift: f64,
    pub(super) first: u64,
}

impl Counter {
    fn rate(self) -> f64 {
        1.0 + self.drift / 1e6
    }
}

/// A camera: it takes pictures by the true clock and counts them by its own.
pub(super) struct Camera {
    pictures: Vec<Encoded>,
    /// The same, each a key frame: they are sent from a request until the next key frame that comes by itself.
    keys: Vec<Encoded>,
    wanted: bool,
    counter: Counter,
    next: u32,
}

impl Camera {
    pub(super) fn new(counter: Counter, key_every: Duration) -> Self {
        let video = Video {
            picture: Picture::Rhythm(BEGIN, 7),
            width: 64,
            height: 48,
            fps: FPS,
            key_every: key_every.as_secs() as u32 * FPS,
            seconds: LOOP,
            kilobits: 50,
        };
        let pictures = video.vp8().expect("ffmpeg encodes");
        let keys = Video { key_every: 1, ..video }.vp8().expect("ffmpeg encodes");
        assert!(keys.iter().all(|picture| picture.key) && keys.len() == pictures.len());
        Self { pictures, keys, wanted: false, counter, next: 0 }
    }

    pub(super) fn due(&self) -> Duration {
        Duration::from_secs(1) * self.next / FPS
    }

    /// Makes nothing until then, a whole second.
    pub(super) fn skip(&mut self, until: Duration) {
        self.next = until.as_secs() as u32 * FPS;
    }

    pub(super) fn want_key_frame(&mut self) {
        self.wanted = true;
    }

    pub(super) fn make(&mut self) -> Made {
        let at = self.due();
        let place = self.next as usize % self.pictures.len();
        self.wanted &= !self.pictures[place].key;
        let data = if self.wanted { &self.keys } else { &self.pictures }[place].data.clone();
        self.next += 1;
        Made { at, ticks: self.counter.first + (at.as_secs_f64() * 90_000.0 * self.counter.rate()) as u64, data }
    }
}

/// A microphone: its packets hold 20 ms by its own clock, so they come a little too often or too seldom. Where in a packet
/// a beep begins changes all the time.
pub(super) struct Microphone {
    /// By the beep's place within a packet, a second each.
    seconds: Vec<Vec<Encoded>>,
    dark: Vec<Encoded>,
    counter: Counter,
    next: u64,
    /// For how long its clock stood still.
    stood: Duration,
    /// Where the current second's sound began, and which of [`Self::seconds`] it is.
    current: (u64, u64, usize),
}

impl Microphone {
    pub(super) fn new(counter: Counter) -> Self {
        let second = |first: Duration| {
            let sound = Sound::Beeps(first).opus(3.0).expect("ffmpeg encodes");
            sound[SECOND..2 * SECOND].to_vec()
        };
        let seconds = (0..STEPS).map(|step| second(BEGIN - STEP * step)).collect();
        let dark = second(Duration::from_secs(9));
        Self { seconds, dark, counter, next: 0, stood: Duration::ZERO, current: (u64::MAX, 0, 0) }
    }

    pub(super) fn due(&self) -> Duration {
        PACKET.mul_f64(self.next as f64 / self.counter.rate()) + self.stood
    }

    /// Makes nothing until then, a whole second, but counts.
    pub(super) fn skip(&mut self, until: Duration) {
        while self.due() < until {
            self.next += 1;
        }
    }

    /// Makes nothing for so long, whole seconds, and counts on where it was.
    pub(super) fn stand_still(&mut self, time: Duration) {
        self.stood += time;
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
        let sounds = if is_dark(second) { &self.dark } else { &self.seconds[step] };
        // A fast clock has a packet more than a second holds: silence, as at its end.
        let data = sounds[place.min(sounds.len() - 1)].data.clone();
        let ticks = self.counter.first + self.next * 960;
        self.next += 1;
        Made { at, ticks, data }
    }
}
