//! Whole sessions in virtual time: packets of a made-up publisher in, and the file read back by the recovery scan.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rtc_client::packetise::Packetiser;
use rtc_client::{Codec, Mid, RtpPacket};
use signalling::id::{ParticipantId, TrackId};
use signalling::message::Source;
use signalling::recording::RecordedFile;
use webm::{HEAD_LEN, Recovery, TrackFacts};

use super::*;

/// 320x240, key frame.
const KEY: [u8; 14] = [0x10, 0, 0, 0x9d, 0x01, 0x2a, 0x40, 0x01, 0xf0, 0x00, 1, 2, 3, 4];
const DELTA: [u8; 6] = [0x11, 1, 2, 3, 4, 5];
const SOUND: [u8; 4] = [0xfc, 1, 2, 3];

/// What came out: files with their bytes, and key frame requests with their times.
#[derive(Default)]
struct Sink {
    bytes: BTreeMap<String, Vec<u8>>,
    whole: BTreeMap<String, Option<Box<RecordedFile>>>,
    asked: Vec<Duration>,
    refused: Vec<Codec>,
}

/// A publisher with a microphone on line 0 and a camera on line 1, and the session that records it.
struct Stand {
    start: Instant,
    now: Duration,
    session: Session,
    sink: Sink,
    audio: Packetiser,
    video: Packetiser,
    /// A key frame is due: the publisher obeys requests after 100 ms.
    key_at: Option<Duration>,
}

fn track(text: &str) -> TrackId {
    TrackId::parse(text).expect("an id")
}

impl Stand {
    #[expect(clippy::disallowed_methods, reason = "some moment; only differences count")]
    fn new() -> Self {
        let start = Instant::now() + Duration::from_secs(1000);
        let zero = Zero { at: start, wall: Duration::from_secs(1_700_000_000) };
        let alice = ParticipantId::parse("p1").expect("an id");
        let mut session = Session::new(zero, alice, "Alice".into(), Mode::Participant, BTreeMap::new());
        session.handle_track(track("t1"), Source::Mic, false, start);
        session.handle_track(track("t2"), Source::Camera, false, start);
        session.handle_slot(Mid::from("0"), true, Some(track("t1")), true);
        session.handle_slot(Mid::from("1"), false, Some(track("t2")), true);
        Self {
            start,
            now: Duration::ZERO,
            session,
            sink: Sink::default(),
            audio: Packetiser::default(),
            video: Packetiser::default(),
            key_at: Some(Duration::ZERO),
        }
    }

    fn at(&self) -> Instant {
        self.start + self.now
    }

    /// Lets 10 ms pass, `speak` and `show` saying whether packets of the two lines arrive.
    fn step(&mut self, speak: bool, show: bool) {
        let ms = self.now.as_millis() as u64;
        if ms.is_multiple_of(20) {
            self.send(Codec::Opus, &SOUND, ms * 48, speak);
        }
        if ms.is_multiple_of(40) {
            let key = self.key_at.take_if(|at| *at <= self.now).is_some();
            self.send(Codec::Vp8, if key { &KEY } else { &DELTA }, ms * 90, show);
        }
        if ms.is_multiple_of(50) {
            self.session.handle_timeout(self.at());
        }
        self.drain();
        self.now += Duration::from_millis(10);
    }

    fn run(&mut self, duration: Duration, speak: bool, show: bool) {
        let end = self.now + duration;
        while self.now < end {
            self.step(speak, show);
        }
    }

    fn send(&mut self, codec: Codec, frame: &[u8], timestamp: u64, arrives: bool) {
        let (mid, ssrc, packetiser) = match codec {
            Codec::Opus => ("0", 1, &mut self.audio),
            _ => ("1", 2, &mut self.video),
        };
        let packets = packetiser.packets(codec, frame);
        for packet in packets.into_iter().filter(|_| arrives) {
            let packet = RtpPacket {
                mid: Mid::from(mid),
                rid: None,
                codec,
                ssrc,
                sequence: packet.sequence,
                timestamp,
                marker: packet.marker,
                payload: packet.payload,
                arrived: self.start + self.now,
                report: None,
            };
            self.session.handle_packet(packet, self.start + self.now);
        }
    }

    fn drain(&mut self) {
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::Open(file) => {
                    self.sink.bytes.insert(file.name, vec![0; HEAD_LEN]);
                }
                Output::Write(name, webm::Output::Append(bytes)) => {
                    self.sink.bytes.get_mut(&*name).expect("an open file").extend(bytes);
                }
                Output::Write(name, webm::Output::PatchHead(head)) => {
                    self.sink.bytes.get_mut(&*name).expect("an open file")[..HEAD_LEN].copy_from_slice(&head);
                }
                Output::Finish(name, whole) => {
                    self.sink.whole.insert(name.to_string(), whole);
                }
                Output::KeyFrame(_) => {
                    self.sink.asked.push(self.now);
                    self.key_at = Some(self.now + Duration::from_millis(100));
                }
                Output::Refuse(_, codec) => self.sink.refused.push(codec),
                Output::Note(..) => {}
            }
        }
    }

    fn finish(&mut self) {
        let end = self.at();
        self.session.handle_stop(end);
        self.session.finish(end);
        self.drain();
    }

    /// The file as its bytes tell: end, audio, video.
    fn read(&self, name: &str) -> (Duration, Option<TrackFacts>, Option<TrackFacts>) {
        let mut recovery = Recovery::new(Vec::new());
        recovery.handle_bytes(&self.sink.bytes[name]);
        let recovered = recovery.finish().expect("a file");
        let of = |video: bool| recovered.tracks.iter().find(|facts| facts.track.codec.is_video() == video).cloned();
        (recovered.end, of(false), of(true))
    }

    fn whole(&self, name: &str) -> &RecordedFile {
        self.sink.whole[name].as_ref().expect("media")
    }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const AV: &str = "p1-av-1.webm";

#[test]
fn sound_and_picture_fill_the_time_from_on_to_off() {
    let mut stand = Stand::new();
    stand.run(seconds(10), true, true);
    stand.finish();
    let file = stand.whole(AV);
    assert_eq!((file.start_ms, file.end_ms), (0, 10_000));
    assert_eq!(file.sources, [Source::Mic, Source::Camera]);
    assert_eq!(file.codecs, ["opus", "VP8"]);
    assert_eq!(file.gaps, []);
    assert_eq!((file.resolutions[0].w, file.resolutions[0].h), (320, 240));
    let (_, audio, video) = stand.read(AV);
    assert_eq!((audio.expect("audio").blocks, video.expect("video").blocks), (500, 250));
    assert_eq!(file.size, stand.sink.bytes[AV].len() as u64);
    assert!(stand.sink.asked.len() <= 1, "{:?}", stand.sink.asked);
}

#[test]
fn a_lost_picture_costs_up_to_the_next_key_frame_and_a_request() {
    let mut stand = Stand::new();
    stand.run(seconds(3), true, true);
    let asked = stand.sink.asked.len();
    stand.run(Duration::from_millis(200), true, false);
    stand.run(seconds(3), true, true);
    stand.finish();
    assert_eq!(stand.sink.asked.len() - asked, 1, "{:?}", stand.sink.asked);
    let (_, audio, video) = stand.read(AV);
    let video = video.expect("video");
    // One at the start, one after the loss, and one more where the start had been asked for, too.
    assert_eq!((audio.expect("audio").blocks, video.key_blocks), (310, 2 + asked as u64));
    let gap = &stand.whole(AV).gaps[..];
    assert!(
        matches!(gap, [gap] if gap.cause == "loss" && (2_900..3_000).contains(&gap.t) && gap.ms < 1_000),
        "{gap:?}"
    );
}

#[test]
fn a_muted_minute_is_silence_and_the_file_grows_meanwhile() {
    let mut stand = Stand::new();
    stand.run(seconds(5), true, true);
    for id in ["t1", "t2"] {
        stand.session.handle_mute(&track(id), true, stand.start + stand.now);
    }
    stand.run(seconds(60), false, false);
    let asked = stand.sink.asked.len();
    let (end, ..) = stand.read(AV);
    assert!(end > seconds(63), "a crash in the mute loses two seconds, not a minute: {end:?}");
    for id in ["t1", "t2"] {
        stand.session.handle_mute(&track(id), false, stand.start + stand.now);
    }
    stand.run(seconds(5), true, true);
    stand.finish();
    assert_eq!(stand.whole(AV).end_ms, 70_000);
    assert_eq!(stand.sink.asked.len() - asked, 1, "a key frame after the mute: {:?}", stand.sink.asked);
    let causes: Vec<_> = stand.whole(AV).gaps.iter().map(|gap| (gap.cause.as_str(), gap.t)).collect();
    assert_eq!(causes, [("mute", 5_000)]);
}

#[test]
fn a_pause_writes_nothing_and_keeps_the_time() {
    let mut stand = Stand::new();
    stand.run(seconds(2), true, true);
    stand.session.handle_pause(stand.start + stand.now);
    stand.run(seconds(4), true, true);
    stand.session.handle_resume();
    stand.run(seconds(2), true, true);
    stand.finish();
    let (_, audio, video) = stand.read(AV);
    let file = stand.whole(AV);
    assert_eq!(file.end_ms, 8_000);
    assert!(file.gaps.iter().any(|gap| gap.cause == "pause" && gap.t == 2_000 && (3_900..4_500).contains(&gap.ms)));
    // 200 packets of sound and 34 of 120 ms of silence; two seconds of pictures twice, less the wait for a key frame.
    let (audio, video) = (audio.expect("audio").blocks, video.expect("video").blocks);
    assert!((230..240).contains(&audio), "{audio}");
    assert!((80..=100).contains(&video), "{video}");
}

#[test]
fn a_camera_that_comes_late_goes_into_the_same_file() {
    let mut stand = Stand::new();
    stand.session.handle_track_gone(&track("t2"), stand.start);
    stand.run(seconds(10), true, false);
    stand.session.handle_track(track("t3"), Source::Camera, false, stand.start + stand.now);
    stand.session.handle_slot(Mid::from("1"), false, Some(track("t3")), true);
    stand.key_at = Some(stand.now);
    stand.run(seconds(5), true, true);
    stand.finish();
    assert_eq!(stand.sink.whole.len(), 1);
    let (_, _, video) = stand.read(AV);
    let first = video.expect("video").first;
    assert!((seconds(10)..Duration::from_millis(10_300)).contains(&first), "{first:?}");
}

#[test]
fn a_screen_has_its_own_files() {
    let mut stand = Stand::new();
    stand.run(seconds(1), true, true);
    for n in 1..=2 {
        let id = track(&format!("t1{n}"));
        stand.session.handle_track(id.clone(), Source::Screen, false, stand.start + stand.now);
        stand.session.handle_slot(Mid::from("1"), false, Some(id.clone()), true);
        stand.key_at = Some(stand.now);
        stand.run(seconds(2), true, true);
        stand.session.handle_track_gone(&id, stand.start + stand.now);
        stand.drain();
        let file = stand.whole(&format!("p1-screen-{n}.webm"));
        assert_eq!(file.end_ms - file.start_ms, 2_000);
        assert_eq!(file.sources, [Source::Screen]);
    }
    stand.finish();
    assert_eq!(stand.sink.whole.len(), 3);
}

#[test]
fn requests_for_key_frames_grow_rare() {
    let mut stand = Stand::new();
    for _ in 0..6_000 {
        stand.step(true, true);
        stand.key_at = None;
        if stand.now < Duration::from_millis(50) {
            // The first key frame never comes.
            stand.video.packets(Codec::Vp8, &KEY);
        }
    }
    let asked = &stand.sink.asked;
    assert!(asked.windows(2).all(|pair| pair[1] - pair[0] >= seconds(1)), "{asked:?}");
    assert!(asked.windows(2).all(|pair| pair[1] - pair[0] <= Duration::from_millis(5_050)), "{asked:?}");
    assert!((12..=16).contains(&asked.len()), "{asked:?}");
}

#[test]
fn a_stall_and_its_burst_keep_the_video() {
    let mut stand = Stand::new();
    stand.run(seconds(3), true, true);
    // Two seconds arrive at once.
    let packets: Vec<_> = (0..50)
        .flat_map(|n| {
            let timestamp = (3_000 + n * 40) * 90;
            let packets = stand.video.packets(Codec::Vp8, &DELTA);
            packets.into_iter().map(move |packet| (timestamp, packet))
        })
        .collect();
    let arrived = stand.start + seconds(5);
    stand.session.handle_timeout(arrived);
    for (timestamp, packet) in packets {
        let packet = RtpPacket {
            mid: Mid::from("1"),
            rid: None,
            codec: Codec::Vp8,
            ssrc: 2,
            sequence: packet.sequence,
            timestamp,
            marker: packet.marker,
            payload: Arc::clone(&packet.payload),
            arrived,
            report: None,
        };
        stand.session.handle_packet(packet, arrived);
    }
    stand.now = seconds(5);
    stand.finish();
    let (_, _, video) = stand.read(AV);
    assert_eq!(video.expect("video").blocks, 125);
}

#[test]
fn nothing_published_nothing_kept() {
    let mut stand = Stand::new();
    stand.session.handle_track_gone(&track("t1"), stand.start);
    stand.session.handle_track_gone(&track("t2"), stand.start);
    let who = ParticipantId::parse("p2").expect("an id");
    let mut silent = Session::new(stand.session.zero, who, String::new(), Mode::Participant, BTreeMap::new());
    silent.handle_track(track("t9"), Source::Camera, false, stand.start);
    silent.handle_track(track("t8"), Source::Mic, true, stand.start);
    for ms in (0..3_000).step_by(50) {
        silent.handle_timeout(stand.start + Duration::from_millis(ms));
    }
    silent.handle_stop(stand.start + seconds(3));
    silent.finish(stand.start + seconds(3));
    assert_eq!(silent.poll_output().map(|output| format!("{output:?}")), None);
}
