//! The stand of these tests: a publisher in virtual time, the session that records it, and what came out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use rtc_client::packetise::{Packet, Packetiser};
use rtc_client::{Codec, Mid, RtpPacket, SenderReport};
use signalling::id::{ParticipantId, TrackId};
use signalling::message::Source;
use signalling::recording::{Mode, RecordedFile};
use webm::{HEAD_LEN, Recovery, TrackFacts};

use crate::file::Note;
use crate::{Output, Session, Zero};

/// 320x240, key frame.
pub(super) const KEY: [u8; 14] = [0x10, 0, 0, 0x9d, 0x01, 0x2a, 0x40, 0x01, 0xf0, 0x00, 1, 2, 3, 4];
pub(super) const DELTA: [u8; 6] = [0x11, 1, 2, 3, 4, 5];
pub(super) const SOUND: [u8; 4] = [0xfc, 1, 2, 3];
/// The file of microphone and camera.
pub(super) const AV: &str = "p1-av-1.webm";

/// What came out: files with their bytes, and key frame requests with their times.
#[derive(Default)]
pub(super) struct Sink {
    /// In the order in which they were opened, with the time of that.
    pub(super) opened: Vec<(String, Duration)>,
    pub(super) bytes: BTreeMap<String, Vec<u8>>,
    pub(super) whole: BTreeMap<String, Option<Box<RecordedFile>>>,
    pub(super) notes: Vec<Note>,
    pub(super) asked: Vec<Duration>,
    pub(super) refused: Vec<Codec>,
}

/// What a camera sends.
#[derive(Clone)]
pub(super) struct Camera {
    pub(super) codec: Codec,
    pub(super) key: Vec<u8>,
    pub(super) delta: Vec<u8>,
}

/// A publisher with a microphone on line 0 and a camera on line 1, and the session that records it.
pub(super) struct Stand {
    pub(super) start: Instant,
    pub(super) now: Duration,
    pub(super) session: Session,
    pub(super) sink: Sink,
    pub(super) audio: Packetiser,
    pub(super) video: Packetiser,
    pub(super) camera: Camera,
    /// A key frame is due: the publisher obeys requests after 100 ms.
    pub(super) key_at: Option<Duration>,
    /// Sources of packets, and what their timestamps begin with.
    pub(super) ssrcs: [u32; 2],
    pub(super) bases: [u64; 2],
    /// What the reports say: by how many parts in a million the clocks of sound and pictures are fast. Without it, nothing is
    /// reported.
    pub(super) drifts_ppm: [Option<u64>; 2],
    /// The newest numbers that a receiver extended: sequence and timestamp of both lines.
    extended: [(u64, u64); 2],
}

pub(super) fn track(text: &str) -> TrackId {
    TrackId::parse(text).expect("an id")
}

pub(super) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(super) fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// The number nearest to the last one whose low bits are these: what a receiver makes of what stands in a packet.
fn extend(last: u64, value: u64, bits: u32) -> u64 {
    let range = 1_u64 << bits;
    let ahead = value.wrapping_sub(last) & (range - 1);
    if ahead < range / 2 || last + ahead < range { last + ahead } else { last + ahead - range }
}

impl Stand {
    /// A recording of everything, with both tracks published from its start.
    pub(super) fn new() -> Self {
        let mut stand = Self::of(Mode::Participant);
        stand.publish("t1", Source::Mic, false);
        stand.publish("t2", Source::Camera, false);
        stand
    }

    /// A recording without tracks.
    #[expect(clippy::disallowed_methods, reason = "some moment; only differences count")]
    pub(super) fn of(mode: Mode) -> Self {
        let start = Instant::now() + Duration::from_secs(1000);
        let zero = Zero { at: start, wall: Duration::from_secs(1_700_000_000) };
        let alice = ParticipantId::parse("p1").expect("an id");
        Self {
            start,
            now: Duration::ZERO,
            session: Session::new(zero, alice, "Alice".into(), mode, BTreeMap::new()),
            sink: Sink::default(),
            audio: Packetiser::default(),
            video: Packetiser::default(),
            camera: Camera { codec: Codec::Vp8, key: KEY.to_vec(), delta: DELTA.to_vec() },
            key_at: Some(Duration::ZERO),
            ssrcs: [1, 2],
            bases: [0; 2],
            drifts_ppm: [None; 2],
            extended: [(0, 0); 2],
        }
    }

    /// A track is published now, on its kind's line.
    pub(super) fn publish(&mut self, id: &str, source: Source, muted: bool) {
        let at = self.at();
        self.session.handle_track(track(id), source, muted, at);
        let line = if source.is_audio() { "0" } else { "1" };
        self.session.handle_slot(Mid::from(line), source.is_audio(), Some(track(id)), true);
    }

    pub(super) fn mute(&mut self, id: &str, muted: bool) {
        let at = self.at();
        self.session.handle_mute(&track(id), muted, at);
    }

    pub(super) fn at(&self) -> Instant {
        self.start + self.now
    }

    /// Lets 10 ms pass, `speak` and `show` saying whether packets of the two lines arrive.
    pub(super) fn step(&mut self, speak: bool, show: bool) {
        let ms = self.now.as_millis() as u64;
        if ms.is_multiple_of(20) {
            self.send(Codec::Opus, &SOUND, ms * 48, speak);
        }
        if ms.is_multiple_of(40) {
            let key = self.key_at.take_if(|at| *at <= self.now).is_some();
            let Camera { codec, key: whole, delta } = self.camera.clone();
            self.send(codec, if key { &whole } else { &delta }, ms * 90, show);
        }
        if ms.is_multiple_of(50) {
            self.session.handle_timeout(self.at());
        }
        self.drain();
        self.now += Duration::from_millis(10);
    }

    pub(super) fn run(&mut self, duration: Duration, speak: bool, show: bool) {
        let end = self.now + duration;
        while self.now < end {
            self.step(speak, show);
        }
    }

    /// Time passes at once.
    pub(super) fn step_of(&mut self, duration: Duration) {
        self.now += duration;
        self.session.handle_timeout(self.at());
        self.drain();
    }

    /// Time passes, and nobody sends.
    pub(super) fn wait(&mut self, duration: Duration) {
        let end = self.now + duration;
        while self.now < end {
            self.session.handle_timeout(self.at());
            self.drain();
            self.now += Duration::from_millis(50);
        }
    }

    fn send(&mut self, codec: Codec, frame: &[u8], timestamp: u64, arrives: bool) {
        let packets = self.packets(codec, frame);
        if arrives {
            self.arrive(codec, timestamp, packets);
        }
    }

    pub(super) fn packets(&mut self, codec: Codec, frame: &[u8]) -> Vec<Packet> {
        let packetiser = if codec.is_audio() { &mut self.audio } else { &mut self.video };
        packetiser.packets(codec, frame)
    }

    /// Packets come in, now. `timestamp` counts from the recording's start; sequence numbers and timestamps are what a
    /// receiver makes of 16 and 32 bits.
    pub(super) fn arrive(&mut self, codec: Codec, timestamp: u64, packets: Vec<Packet>) {
        let line = usize::from(!codec.is_audio());
        for packet in packets {
            let (sequence, time) = self.extended[line];
            let sequence = extend(sequence, packet.sequence & 0xffff, 16);
            let time = extend(time, (self.bases[line] + timestamp) & 0xffff_ffff, 32);
            self.extended[line] = (sequence, time);
            let packet = RtpPacket {
                mid: Mid::from(["0", "1"][line]),
                rid: None,
                codec,
                ssrc: self.ssrcs[line],
                sequence,
                timestamp: time,
                marker: packet.marker,
                payload: Arc::clone(&packet.payload),
                arrived: self.at(),
                report: self.report(line),
            };
            self.session.handle_packet(packet, self.start + self.now);
        }
    }

    /// A line's report of the last whole second.
    fn report(&self, line: usize) -> Option<SenderReport> {
        let (second, rate) = (self.now.as_secs(), [48_000, 90_000][line]);
        let ntp = SystemTime::UNIX_EPOCH + seconds(1_700_000_000 + second);
        let timestamp = self.bases[line] + second * rate + second * rate * self.drifts_ppm[line]? / 1_000_000;
        Some(SenderReport { ntp, timestamp: timestamp.cast_signed(), packets: 9 })
    }

    pub(super) fn drain(&mut self) {
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::Open(file) => {
                    self.sink.opened.push((file.name.clone(), self.now));
                    self.sink.bytes.insert(file.name, vec![0; HEAD_LEN]);
                }
                Output::Write(name, written) => {
                    written.apply(self.sink.bytes.get_mut(&*name).expect("an open file"));
                }
                Output::Finish(name, whole) => {
                    self.sink.whole.insert(name.to_string(), whole);
                }
                Output::KeyFrame(_) => {
                    self.sink.asked.push(self.now);
                    self.key_at = Some(self.now + Duration::from_millis(100));
                }
                Output::Refuse(_, codec) => self.sink.refused.push(codec),
                Output::Note(_, note) => self.sink.notes.push(note),
            }
        }
    }

    pub(super) fn finish(&mut self) {
        let end = self.at();
        self.session.handle_stop(end);
        self.session.finish(end);
        self.drain();
    }

    /// The file as its bytes tell: end, audio, video.
    pub(super) fn read(&self, name: &str) -> (Duration, Option<TrackFacts>, Option<TrackFacts>) {
        let mut recovery = Recovery::new(Vec::new());
        recovery.handle_bytes(&self.sink.bytes[name]);
        let recovered = recovery.finish().expect("a file");
        let of = |video: bool| recovered.tracks.iter().find(|facts| facts.track.codec.is_video() == video).cloned();
        (recovered.end, of(false), of(true))
    }

    pub(super) fn whole(&self, name: &str) -> &RecordedFile {
        self.sink.whole[name].as_ref().expect("media")
    }

    /// How long a whole file says that it is.
    pub(super) fn duration(&self, name: &str) -> Duration {
        let head = &self.sink.bytes[name][..HEAD_LEN];
        // Duration, eight bytes of a float: milliseconds.
        let at = head.windows(3).position(|bytes| bytes == [0x44, 0x89, 0x88]).expect("a duration") + 3;
        Duration::from_secs_f64(f64::from_be_bytes(head[at..at + 8].try_into().expect("eight bytes")) / 1_000.0)
    }

    /// When each block of sound (or of pictures) stands in a file, milliseconds, with whether it is a key frame.
    pub(super) fn blocks(&self, name: &str, video: bool) -> Vec<(i64, bool)> {
        self.frames(name, video).into_iter().map(|(at, key, _)| (at, key)).collect()
    }

    /// How long the sound of a file is for who counts samples.
    pub(super) fn sound(&self, name: &str) -> Duration {
        let samples =
            |(_, _, data): &(i64, bool, Vec<u8>)| rtc_client::depacketise::opus::duration(data).expect("Opus");
        let samples: u32 = self.frames(name, false).iter().map(samples).sum();
        Duration::from_micros(u64::from(samples) * 1_000 / 48)
    }

    /// The same with what they hold.
    pub(super) fn frames(&self, name: &str, video: bool) -> Vec<(i64, bool, Vec<u8>)> {
        let (_, audio, pictures) = self.read(name);
        let number = if video { pictures } else { audio }.expect("such a track").track.number.get();
        let mut blocks = Vec::new();
        let mut cluster = 0;
        for (id, data) in elements(&self.sink.bytes[name][HEAD_LEN..]) {
            match id {
                0xE7 => cluster = data.iter().fold(0, |time, byte| time << 8 | i64::from(*byte)),
                0xA3 if data[0] == 0x80 | number => {
                    let after = i64::from(i16::from_be_bytes([data[1], data[2]]));
                    blocks.push((cluster + after, data[3] & 0x80 != 0, data[4..].to_vec()));
                }
                _ => {}
            }
        }
        blocks
    }
}

/// Elements of clusters, flat: the clusters' own headers are passed over.
fn elements(mut bytes: &[u8]) -> Vec<(u32, &[u8])> {
    let mut elements = Vec::new();
    while !bytes.is_empty() {
        let id_len = bytes[0].leading_zeros() as usize + 1;
        let id = bytes[..id_len].iter().fold(0, |id, byte| id << 8 | u32::from(*byte));
        let size_len = bytes[id_len].leading_zeros() as usize + 1;
        let size = bytes[id_len..id_len + size_len].iter().fold(0, |size, byte| size << 8 | usize::from(*byte));
        let size = size & ((1 << (7 * size_len)) - 1);
        bytes = &bytes[id_len + size_len..];
        if id != 0x1F43_B675 {
            elements.push((id, &bytes[..size]));
            bytes = &bytes[size..];
        }
    }
    elements
}
