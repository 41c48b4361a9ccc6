//! Codecs: which container a file gets and when, and what ends a file.

use super::stand::{Camera, millis};
use super::*;

const SPS: [u8; 23] = [
    0x67, 0x42, 0xc0, 0x0d, 0xda, 0x05, 0x06, 0x7e, 0x7c, 0x04, 0x40, 0, 0, 3, 0, 0x40, 0, 0, 0x0f, 0x23, 0xc5, 0x0a,
    0xa8,
];
const MKV: &str = "p1-av-1.mkv";

/// 320x180 of this level.
fn h264(level: u8) -> Camera {
    let code = [0, 0, 0, 1];
    let mut sps = SPS;
    sps[3] = level;
    let key = [&code[..], &sps, &code, &[0x68, 0xce, 0x0f, 0xc8], &code, &[0x65, 0x88, 1, 2]].concat();
    Camera { codec: Codec::H264, key, delta: [&code[..], &[0x41, 0x9a, 1]].concat() }
}

pub(super) fn vp9() -> Camera {
    let key = vec![0x82, 0x49, 0x83, 0x42, 0x20, 0x27, 0xf0, 0x16, 0x70, 1];
    Camera { codec: Codec::Vp9, key, delta: vec![0x86, 1, 2] }
}

/// 320x180, with so many bytes behind what the sequence header needs.
fn av1(padding: u8) -> Camera {
    let header = [0, 0, 0, 0x04, 0x3c, 0xfe, 0xcc, 0xda, 0xf9, 0, 0x40];
    let header = [&header[..], &vec![0; usize::from(padding)]].concat();
    let key = [&[0x12, 0, 0x0a, header.len() as u8], &header[..], &[0x32, 5, 0x10, 0, 0x84, 0, 2]].concat();
    Camera { codec: Codec::Av1, key, delta: vec![0x12, 0, 0x32, 3, 0x30, 0, 1] }
}

fn change(stand: &mut Stand, camera: Camera) {
    stand.camera = camera;
    stand.key_at = Some(stand.now);
}

fn spans(stand: &Stand) -> Vec<(&str, u64, u64)> {
    let files = stand.sink.opened.iter().map(|(name, _)| stand.whole(name));
    files.map(|file| (file.name.as_str(), file.start_ms, file.end_ms)).collect()
}

#[test]
fn each_codec_has_its_container() {
    for (camera, name, codec) in [(vp9(), AV, "VP9"), (av1(0), AV, "AV1"), (h264(13), MKV, "H264")] {
        let mut stand = Stand::new();
        change(&mut stand, camera);
        stand.run(seconds(5), true, true);
        stand.finish();
        let file = stand.whole(name);
        assert_eq!((file.container.as_str(), file.end_ms), (name.rsplit('.').next().expect("an end"), 5_000));
        assert_eq!(file.codecs, ["opus", codec]);
        let (end, audio, video) = stand.read(name);
        let (audio, video) = (audio.expect("sound"), video.expect("pictures"));
        assert_eq!((end, audio.blocks, video.blocks), (seconds(5), 250, 125), "{codec}");
        assert_eq!(stand.sink.opened.len(), 1);
    }
}

#[test]
fn a_camera_that_is_silent_keeps_no_sound_waiting() {
    // Without a camera nobody waits; a muted one is none.
    for muted in [None, Some(true)] {
        let mut stand = Stand::of(Mode::Participant);
        stand.publish("t1", Source::Mic, false);
        muted.into_iter().for_each(|muted| stand.publish("t2", Source::Camera, muted));
        stand.run(seconds(2), true, false);
        assert!(stand.sink.opened[0].1 <= millis(350), "{:?}", stand.sink.opened);
    }
    // A published one is waited for; its first packet says enough, without a key frame.
    let mut stand = Stand::new();
    change(&mut stand, h264(13));
    stand.run(millis(200), true, false);
    stand.run(seconds(1), true, true);
    assert_eq!((stand.sink.opened.len(), stand.sink.opened[0].0.as_str()), (1, MKV));
    assert!(stand.sink.opened[0].1 <= millis(350), "{:?}", stand.sink.opened);
    // Never longer than a second: then a second at most is in memory, and the file grows.
    let mut stand = Stand::new();
    stand.run(millis(3_100), true, false);
    assert_eq!(stand.sink.opened.len(), 1);
    assert!((millis(1_200)..millis(1_400)).contains(&stand.sink.opened[0].1), "{:?}", stand.sink.opened);
    let (end, ..) = stand.read(AV);
    assert!(end >= seconds(1), "{end:?}");
}

#[test]
fn h264_that_comes_late_gets_a_file_of_its_own() {
    let mut stand = Stand::new();
    stand.camera = h264(13);
    stand.run(seconds(5), true, false);
    stand.key_at = Some(stand.now);
    stand.run(seconds(5), true, true);
    stand.finish();
    let next = "p1-av-2.mkv";
    let [(AV, 0, end), (second, start, 10_000)] = spans(&stand)[..] else { panic!("{:?}", spans(&stand)) };
    assert_eq!(second, next);
    assert!((5_000..5_600).contains(&start), "{start}");
    assert!((start..start + 400).contains(&end), "{start} {end}");
    assert!(stand.blocks(next, true).first().is_some_and(|first| *first == (0, true)));
    // No packet of sound is lost or twice: each is one block of 20 ms, silence is longer.
    let packets: u64 = [AV, next].map(|name| stand.whole(name).figures.packets).iter().sum();
    let (pictures, lost) = (stand.blocks(next, true).len() as u64, stand.whole(next).figures.lost);
    assert!(packets >= 500 + pictures && lost == 0, "{packets} {pictures}");
    let (first, second) = (stand.blocks(AV, false), stand.blocks(next, false));
    let spoken = |blocks: &[(i64, bool)]| blocks.windows(2).filter(|pair| pair[1].0 - pair[0].0 <= 22).count();
    assert!((490..=500).contains(&(spoken(&first) + spoken(&second))), "{} {}", spoken(&first), spoken(&second));
}

#[test]
fn another_codec_or_configuration_ends_the_file() {
    let mut stand = Stand::new();
    for camera in [h264(13), h264(31), vp9(), av1(0), av1(1)] {
        change(&mut stand, camera);
        stand.run(seconds(4), true, true);
    }
    stand.finish();
    let names: Vec<_> = spans(&stand).into_iter().map(|(name, ..)| name).collect();
    assert_eq!(names, [MKV, "p1-av-2.mkv", "p1-av-3.webm", "p1-av-4.webm", "p1-av-5.webm"]);
    let starts: Vec<_> = spans(&stand).into_iter().map(|(_, start, _)| start).collect();
    for (n, start) in starts.into_iter().enumerate() {
        assert!((n as u64 * 4_000..n as u64 * 4_000 + 500).contains(&start), "{n} {start}");
    }
    for (name, ..) in spans(&stand) {
        let pictures = stand.blocks(name, true);
        assert!(pictures[0].1 && pictures.len() >= 85, "{name}: {} pictures", pictures.len());
        assert_eq!(pictures.iter().filter(|(_, key)| *key).count(), 1, "{name}");
    }
}

#[test]
fn pictures_that_no_file_takes_for_now_are_a_gap() {
    let mut stand = Stand::new();
    change(&mut stand, h264(13));
    stand.run(seconds(3), true, true);
    change(&mut stand, h264(31));
    stand.run(millis(200), true, true);
    change(&mut stand, h264(13));
    stand.run(seconds(4), true, true);
    stand.finish();
    let [_, (second, ..), (_, third, _)] = spans(&stand)[..] else { panic!("{:?}", spans(&stand)) };
    let gaps = &stand.whole(second).gaps[..];
    let [gap] = gaps else { panic!("{gaps:?}") };
    assert_eq!((gap.cause.as_str(), gap.source, gap.t / 100), ("loss", Some(Source::Camera), 31));
    assert!((gap.t + gap.ms).abs_diff(third) <= 40, "{gap:?} {third}");
}

#[test]
fn nothing_behind_a_picture_that_is_not_taken_gets_into_the_old_file() {
    let mut stand = Stand::new();
    change(&mut stand, h264(13));
    stand.run(seconds(3), true, true);
    change(&mut stand, h264(31));
    stand.run(millis(200), true, true);
    // One without markers: the next picture's packet ends this one, and both come out at once.
    let at = stand.now.as_millis() as u64;
    let Camera { codec, key, delta } = h264(13);
    let mut packets = stand.packets(codec, &key);
    packets.iter_mut().for_each(|packet| packet.marker = false);
    stand.arrive(codec, at * 90, packets);
    let packets = stand.packets(codec, &delta);
    stand.arrive(codec, (at + 40) * 90, packets);
    stand.now += millis(80);
    stand.finish();
    assert_eq!(stand.blocks("p1-av-2.mkv", true).len(), 5);
}

#[test]
fn an_ended_screen_does_not_end_what_a_camera_still_closes() {
    let mut stand = Stand::new();
    let screen = track("t9");
    stand.session.handle_track(screen.clone(), Source::Screen, false, stand.at());
    change(&mut stand, h264(13));
    stand.run(seconds(3), true, true);
    change(&mut stand, h264(31));
    stand.run(millis(200), true, true);
    assert_eq!(stand.sink.opened.len(), 2);
    stand.session.handle_track_gone(&screen, stand.at());
    stand.drain();
    assert!(stand.sink.whole.is_empty(), "{:?}", stand.sink.whole);
    stand.run(seconds(2), true, true);
    assert_eq!(stand.sink.whole.keys().collect::<Vec<_>>(), [MKV]);
}

#[test]
fn a_sender_that_changes_all_the_time_makes_a_file_a_second() {
    let mut stand = Stand::new();
    for n in 0..500 {
        change(&mut stand, if n % 2 == 0 { h264(13) } else { h264(31) });
        stand.run(millis(40), true, true);
    }
    stand.finish();
    assert!((10..=21).contains(&stand.sink.opened.len()), "{:?}", stand.sink.opened);
    assert!(stand.sink.asked.windows(2).all(|pair| pair[1] - pair[0] >= seconds(1)), "{:?}", stand.sink.asked);
}

/// A sequence header of 5,000 bytes, more than the head of a file holds.
fn endless_av1() -> Camera {
    let good = av1(0);
    let mut key = vec![0x12, 0, 0x0a, 0x88, 0x27];
    key.extend(&good.key[4..15]);
    key.resize(5 + 5_000, 0);
    key.extend(&good.key[15..]);
    Camera { key, ..good }
}

#[test]
fn one_bad_configuration_does_not_end_the_pictures() {
    let mut stand = Stand::new();
    change(&mut stand, endless_av1());
    stand.run(millis(500), true, true);
    change(&mut stand, av1(0));
    stand.key_at = None;
    stand.run(seconds(3), true, true);
    stand.finish();
    assert_eq!(stand.sink.refused, []);
    // The good one is asked for.
    assert!(stand.blocks(AV, true).len() > 50 && stand.whole(AV).gaps.iter().all(|gap| gap.cause != "codec"));
}

#[test]
fn a_configuration_that_no_file_holds_is_refused_aloud() {
    let mut stand = Stand::new();
    change(&mut stand, endless_av1());
    stand.run(seconds(5), true, true);
    stand.finish();
    assert_eq!(stand.sink.refused, [Codec::Av1]);
    assert_eq!(stand.sink.asked.len(), 2, "three tries: {:?}", stand.sink.asked);
    let file = stand.whole(AV);
    assert!(file.gaps.iter().any(|gap| gap.cause == "codec"), "{file:?}");
    assert_eq!(file.sources, [Source::Mic]);
}

#[test]
fn nothing_damaged_is_written_and_a_key_frame_is_asked_for_at_once() {
    let mut stand = Stand::new();
    stand.run(seconds(2), true, true);
    // A picture of five packets without its third one.
    let asked = stand.sink.asked.len();
    let lost_at = stand.now;
    let mut packets = stand.packets(Codec::Vp8, &[&DELTA[..], &[7; 5_000]].concat());
    packets.remove(2);
    stand.arrive(Codec::Vp8, lost_at.as_millis() as u64 * 90, packets);
    stand.now += millis(40);
    stand.run(seconds(2), true, true);
    stand.finish();
    let [request] = stand.sink.asked[asked..] else { panic!("{:?}", stand.sink.asked) };
    // 550 ms for the packet to come after all, then at the next tick.
    assert!((millis(550)..=millis(650)).contains(&(request - lost_at)), "{request:?}");
    let blocks = stand.blocks(AV, true);
    let after = blocks.iter().find(|(at, _)| *at >= 2_000).expect("pictures go on");
    assert!(after.1 && (2_600..2_850).contains(&after.0), "a key frame after the damage: {after:?}");
}
