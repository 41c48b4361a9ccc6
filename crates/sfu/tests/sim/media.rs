//! Frames that say where they come from: what a publisher sends and a receiver recognises.

use std::time::{Duration, Instant};

use rtc_client::depacketise::vp8::key_frame_size;
use rtc_client::{Codec, Mid};
use sfu::command::Source;

/// What a frame says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// The publisher's participant id.
    pub(crate) publisher: u32,
    /// Counts the frames of one encoding.
    pub(crate) number: u32,
    /// Which encoding.
    pub(crate) layer: u32,
    /// When it was captured, after the test's start.
    pub(crate) captured: Duration,
}

impl Stamp {
    fn bytes(self) -> [u8; 20] {
        let mut bytes = [0; 20];
        bytes[0..4].copy_from_slice(&self.publisher.to_be_bytes());
        bytes[4..8].copy_from_slice(&self.number.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.layer.to_be_bytes());
        bytes[12..20].copy_from_slice(&(self.captured.as_micros() as u64).to_be_bytes());
        bytes
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let word = |at: usize| Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        let micros = u64::from(word(12)?) << 32 | u64::from(word(16)?);
        Some(Self { publisher: word(0)?, number: word(4)?, layer: word(8)?, captured: Duration::from_micros(micros) })
    }

    /// The stamp of a VP8 picture.
    pub(crate) fn of_picture(picture: &[u8]) -> Option<Self> {
        Self::read(picture.get(if key_frame_size(picture).is_some() { 10 } else { 1 }..)?)
    }

    /// The stamp of an Opus packet.
    pub(crate) fn of_sound(packet: &[u8]) -> Option<Self> {
        Self::read(packet.get(1..)?)
    }
}

/// A track being sent.
#[derive(Debug)]
pub(crate) struct Publishing {
    pub(crate) mid: Mid,
    pub(crate) source: Source,
    /// Encodings, lowest first: rid, height, bytes a frame.
    pub(crate) layers: Vec<(Option<&'static str>, u16, usize)>,
    pub(crate) muted: bool,
    /// Time between capture and sending.
    pub(crate) delay: Duration,
    /// Added to its timestamps.
    pub(crate) ahead: u32,
    /// For how long they stood still.
    pub(crate) stood: Duration,
    /// dBov
    pub(crate) level: i8,
    /// Layers that send, from below.
    pub(crate) live: usize,
    /// Key frame requests that are ignored.
    pub(crate) deaf: u32,
    /// Requests that were obeyed or ignored.
    pub(crate) asked: u32,
    next: Instant,
    numbers: Vec<u32>,
    keys_due: Vec<bool>,
}

/// One frame to send.
pub(crate) struct Made {
    pub(crate) rid: Option<&'static str>,
    pub(crate) codec: Codec,
    pub(crate) data: Vec<u8>,
    pub(crate) timestamp: u32,
    pub(crate) captured: Instant,
}

impl Publishing {
    pub(crate) fn new(mid: Mid, source: Source, rids: &[&'static str], now: Instant) -> Self {
        let layers = match rids {
            [] => vec![(None, 480, 2500)],
            rids => {
                rids.iter().zip([(180, 400), (360, 1300), (720, 4000)]).map(|(r, (h, s))| (Some(*r), h, s)).collect()
            }
        };
        let count = layers.len();
        Self {
            mid,
            source,
            layers,
            muted: false,
            delay: Duration::ZERO,
            ahead: 0,
            stood: Duration::ZERO,
            level: -100,
            live: count,
            deaf: 0,
            asked: 0,
            next: now,
            numbers: vec![0; count],
            keys_due: vec![true; count],
        }
    }

    pub(crate) fn due(&self) -> Instant {
        self.next
    }

    /// Sends nothing before this moment.
    pub(crate) fn pause_until(&mut self, at: Instant) {
        self.next = at;
    }

    /// A receiver came that has nothing yet.
    pub(crate) fn restart(&mut self) {
        self.keys_due.fill(true);
    }

    pub(crate) fn want_key_frame(&mut self, rid: Option<&str>) {
        self.asked += 1;
        if self.deaf > 0 {
            self.deaf -= 1;
            return;
        }
        for (index, (layer, ..)) in self.layers.iter().enumerate() {
            self.keys_due[index] |= rid.is_none() || *layer == rid;
        }
    }

    /// The frames that are due, one of each live encoding.
    pub(crate) fn make(&mut self, publisher: u64, epoch: Instant, now: Instant) -> Vec<Made> {
        if now < self.next {
            return Vec::new();
        }
        let audio = self.source.is_audio();
        let captured_at = now.checked_sub(self.delay).unwrap_or(now).max(epoch);
        let captured = captured_at - epoch;
        self.next += Duration::from_micros(if audio { 20_000 } else { 33_333 });
        if self.muted {
            return Vec::new();
        }
        let mut made = Vec::new();
        for index in 0..self.live {
            let (rid, height, size) = self.layers[index];
            self.numbers[index] += 1;
            let number = self.numbers[index];
            let stamp = Stamp { publisher: publisher as u32, number, layer: index as u32, captured }.bytes();
            let key = !audio && std::mem::take(&mut self.keys_due[index]);
            let mut data = match (audio, key) {
                (true, _) => vec![0xf8],
                (false, true) => {
                    let [w0, w1] = (height / 3 * 4).to_le_bytes();
                    let [h0, h1] = height.to_le_bytes();
                    vec![0x10, 0, 0, 0x9d, 0x01, 0x2a, w0, w1, h0, h1]
                }
                (false, false) => vec![0x11],
            };
            data.extend(stamp);
            data.resize(if audio { 80 } else { size * if key { 4 } else { 1 } }, 0x55);
            let rate = if audio { 48_000 } else { 90_000 };
            // Each encoding counts from somewhere else, as browsers do.
            let base = self.ahead.wrapping_add(1_000_000 * (index as u32 + 1));
            let ticks = (captured.saturating_sub(self.stood).as_secs_f64() * f64::from(rate)) as u32;
            let codec = if audio { Codec::Opus } else { Codec::Vp8 };
            made.push(Made { rid, codec, data, timestamp: base.wrapping_add(ticks), captured: captured_at });
        }
        made
    }
}
