//! When things happened: bursts, late starts, silence without packets, replaced and muted tracks, counters that wrap, ends.

use super::stand::millis;
use super::*;
use rtc_client::packetise::Packetiser;

fn times(blocks: &[(i64, bool)]) -> Vec<i64> {
    blocks.iter().map(|(at, _)| *at).collect()
}

fn gaps(times: &[i64]) -> Vec<i64> {
    times.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

#[test]
fn a_burst_of_two_seconds_keeps_its_spacing() {
    let mut stand = Stand::new();
    stand.run(seconds(3), true, true);
    // What is sent from 3 s to 5 s comes within 50 ms at the end.
    let mut late = Vec::new();
    for ms in (3_000..5_000).step_by(20) {
        late.push((Codec::Opus, ms * 48, stand.packets(Codec::Opus, &stand::SOUND)));
        if ms % 40 == 0 {
            late.push((Codec::Vp8, ms * 90, stand.packets(Codec::Vp8, &DELTA)));
        }
    }
    stand.wait(seconds(2));
    let many = late.len();
    for (n, (codec, timestamp, packets)) in late.into_iter().enumerate() {
        stand.now = seconds(5) + millis(50 * n as u64 / many as u64);
        stand.arrive(codec, timestamp, packets);
    }
    stand.now = millis(5_060);
    stand.run(seconds(2), true, true);
    stand.finish();
    let pictures = times(&stand.blocks(AV, true));
    assert_eq!(pictures.len(), 125 + 50, "every picture is there");
    assert!(gaps(&pictures[..125]).iter().all(|gap| (38..=42).contains(gap)), "{:?}", gaps(&pictures));
    // Sound likewise: nothing was filled, so nothing had to be dropped.
    let sound = times(&stand.blocks(AV, false));
    assert!(gaps(&sound[..250]).iter().all(|gap| (18..=22).contains(gap)), "{:?}", gaps(&sound));
    assert_eq!(stand.whole(AV).end_ms, 7_060);
    assert_eq!(stand.whole(AV).figures.lost, 0);
}

#[test]
fn a_late_camera_and_a_late_joiner_say_when_they_began() {
    let mut stand = Stand::of(Mode::Participant);
    stand.run(millis(4_000), false, false);
    stand.publish("t1", Source::Mic, false);
    stand.run(millis(3_000), true, false);
    stand.publish("t2", Source::Camera, false);
    // Pictures that nothing decodes come first.
    stand.key_at = Some(stand.now + millis(120));
    stand.run(seconds(3), true, true);
    stand.finish();
    let file = stand.whole(AV);
    assert_eq!(file.start_ms, 4_000);
    let starts: Vec<_> = file.tracks.iter().map(|track| (track.source, track.codec.as_str(), track.start_ms)).collect();
    assert_eq!(starts.len(), 2);
    assert!(matches!(starts[0], (Source::Mic, "opus", 4_000..=4_020)), "{starts:?}");
    assert!(matches!(starts[1], (Source::Camera, "VP8", 7_100..=7_140)), "{starts:?}");
    let first = stand.blocks(AV, true)[0];
    assert!(first.1 && (first.0 + 4_000 - starts[1].2.cast_signed()).abs() <= 20, "{first:?} {starts:?}");
    // A crash would find the same in the journal.
    let noted =
        stand.sink.notes.iter().filter(|note| matches!(note, Note::Track(track) if file.tracks.contains(track)));
    assert_eq!(noted.count(), 2);
}

#[test]
fn a_pause_of_the_encoder_is_filled_and_no_loss() {
    let mut stand = Stand::new();
    stand.run(seconds(2), true, true);
    // Discontinuous transmission: nothing is sent for 400 ms, then sequence numbers go on.
    for _ in 0..5 {
        let end = stand.now + millis(400);
        while stand.now < end {
            let ms = stand.now.as_millis() as u64;
            if ms.is_multiple_of(40) {
                let packets = stand.packets(Codec::Vp8, &DELTA);
                stand.arrive(Codec::Vp8, ms * 90, packets);
            }
            stand.session.handle_timeout(stand.at());
            stand.now += millis(10);
        }
        stand.run(millis(200), true, true);
    }
    stand.finish();
    let file = stand.whole(AV);
    assert_eq!((file.end_ms, file.figures.lost, &file.gaps[..]), (5_000, 0, &[][..]));
    assert_eq!(file.figures.filled_ms, 5 * 400);
    let (end, ..) = stand.read(AV);
    assert_eq!(end, seconds(5));
}

#[test]
fn another_size_stays_in_the_file() {
    let mut stand = Stand::new();
    for (width, height) in [(640_u16, 360_u16), (320, 180), (640, 360)] {
        stand.camera.key[6..10].copy_from_slice(&[width.to_le_bytes(), height.to_le_bytes()].concat());
        stand.key_at = Some(stand.now);
        stand.run(seconds(2), true, true);
    }
    stand.finish();
    let file = stand.whole(AV);
    let sizes: Vec<_> = file.resolutions.iter().map(|size| (size.t / 1_000, size.w, size.h)).collect();
    assert_eq!(sizes, [(0, 640, 360), (2, 320, 180), (4, 640, 360)]);
    let (_, _, video) = stand.read(AV);
    let video = video.expect("pictures");
    assert_eq!(video.track.size.map(|size| (size.width, size.height)), Some((640, 360)));
    assert_eq!((stand.sink.whole.len(), video.blocks), (1, 150));
}

#[test]
fn a_replaced_track_keeps_the_gap_and_begins_with_a_key_frame() {
    let mut stand = Stand::new();
    stand.run(seconds(3), true, true);
    stand.run(seconds(1), true, false);
    // Another source: numbers and timestamps from elsewhere, and its first picture is no key frame.
    stand.ssrcs[1] = 77;
    stand.bases[1] = 3_000_000_000;
    stand.video = Packetiser::starting_at(40_000, 5);
    stand.key_at = None;
    stand.run(seconds(3), true, true);
    stand.finish();
    let blocks = stand.blocks(AV, true);
    let at = blocks.iter().position(|(at, _)| *at >= 3_500).expect("pictures after the gap");
    let (before, after) = (blocks[at - 1], blocks[at]);
    assert!(before.0 <= 3_000 && after.1, "{before:?} {after:?}");
    // Held for 250 ms, asked for at once, sent 100 ms later.
    assert!((4_250..4_600).contains(&after.0), "{after:?}");
    assert!(gaps(&times(&blocks[at..])).iter().all(|gap| (38..=42).contains(gap)));
}

#[test]
fn a_replaced_microphone_goes_on_in_the_file() {
    let mut stand = Stand::new();
    stand.run(seconds(3), true, true);
    stand.run(seconds(1), false, true);
    stand.ssrcs[0] = 77;
    stand.bases[0] = 3_000_000_000;
    stand.audio = Packetiser::starting_at(40_000, 0);
    stand.run(seconds(3), true, true);
    stand.finish();
    let figures = stand.whole(AV).figures;
    assert_eq!((stand.sink.whole.len(), stand.sound(AV), figures.lost, figures.dropped), (1, seconds(7), 0, 0));
    assert_eq!((figures.filled_ms, figures.refused), (1_000, 0));
    let sound = times(&stand.blocks(AV, false));
    assert!(gaps(&sound).iter().all(|gap| *gap <= 121), "{sound:?}");
    let after = sound.iter().position(|at| *at >= 3_990).expect("sound after the gap");
    assert!(gaps(&sound[after..]).iter().all(|gap| (18..=22).contains(gap)), "{:?}", &sound[after..]);
}

#[test]
fn every_counter_wraps_in_one_run_with_a_mute_of_eight_hours() {
    let mut stand = Stand::new();
    // Sequence numbers, 15-bit PictureIDs and 32-bit timestamps all end within the first seconds.
    stand.audio = Packetiser::starting_at(65_500, 0);
    stand.video = Packetiser::starting_at(65_480, 0x7fe0);
    stand.bases = [(1 << 32) - 48_000, (1 << 32) - 90_000];
    stand.run(seconds(5), true, true);
    stand.mute("t1", true);
    stand.mute("t2", true);
    let asked = stand.sink.asked.len();
    stand.wait(seconds(8 * 3600));
    assert_eq!(stand.sink.asked.len(), asked, "nobody asks for key frames of a muted camera");
    stand.mute("t1", false);
    stand.mute("t2", false);
    stand.run(seconds(5), true, true);
    stand.finish();
    let file = stand.whole(AV);
    let end = 8 * 3_600_000 + 10_000;
    assert_eq!((file.end_ms, file.figures.lost), (end, 0));
    let (_, audio, video) = stand.read(AV);
    let (audio, video) = (audio.expect("sound"), video.expect("pictures"));
    // 500 packets of sound, and silence of 120 ms each.
    let silence = 8 * 3_600_000 / 120;
    assert!((500 + silence - 3..=500 + silence + 10).contains(&audio.blocks), "{}", audio.blocks);
    assert!((240..=250).contains(&video.blocks), "{}", video.blocks);
    let blocks = stand.blocks(AV, true);
    let after = blocks.iter().position(|(at, _)| *at > 10_000).expect("pictures after the mute");
    assert!(blocks[after].1 && (blocks[after].0 - 28_805_000).abs() < 500, "{:?}", blocks[after]);
    assert!(gaps(&times(&blocks[..after])).into_iter().chain(gaps(&times(&blocks[after..]))).all(|gap| gap <= 42));
}

#[test]
fn picture_ids_may_wrap_leap_and_be_absent() {
    let mut stand = Stand::new();
    for n in 0..400_u64 {
        let frame = if n == 0 { &KEY[..] } else { &DELTA };
        let id = (n as u16 + if n < 250 { 0 } else { 5_000 }).to_be_bytes();
        let head = match n {
            // X; I; a PictureID of one byte, then of two.
            0..200 => vec![0x90, 0x80, n as u8 & 0x7f],
            200..300 => vec![0x90, 0x80, 0x80 | id[0], id[1]],
            // K without T.
            _ => vec![0x90, 0x10, 0x05],
        };
        let mut packets = stand.packets(Codec::Vp8, frame);
        packets.iter_mut().for_each(|packet| packet.payload = [&head, frame].concat().into());
        stand.arrive(Codec::Vp8, n * 3600, packets);
        stand.now += millis(40);
        stand.session.handle_timeout(stand.at());
    }
    stand.finish();
    let frames = stand.frames(AV, true);
    assert!(frames.len() == 400 && frames[1..].iter().all(|(_, _, data)| *data == DELTA));
}

#[test]
fn what_is_muted_from_the_start_begins_when_it_is_heard() {
    let mut stand = Stand::of(Mode::Participant);
    stand.publish("t1", Source::Mic, true);
    stand.publish("t2", Source::Camera, true);
    stand.wait(seconds(10));
    assert_eq!(stand.sink.opened, [], "nothing to keep yet");
    stand.mute("t1", false);
    stand.run(seconds(2), true, false);
    stand.finish();
    let file = stand.whole(AV);
    assert_eq!((file.start_ms, file.end_ms, &file.sources[..]), (0, 12_000, &[Source::Mic][..]));
    let (end, audio, video) = stand.read(AV);
    assert_eq!((end, video), (seconds(12), None), "an empty track is never declared");
    assert_eq!(audio.map(|audio| audio.first), Some(Duration::ZERO));
    assert!(file.gaps.iter().any(|gap| gap.cause == "mute" && gap.t == 0 && gap.ms >= 9_900));
}

#[test]
fn an_hour_of_nothing_is_no_hour_of_silence() {
    let mut stand = Stand::of(Mode::Participant);
    stand.publish("t1", Source::Mic, true);
    stand.publish("t2", Source::Camera, true);
    stand.wait(seconds(3_600));
    stand.mute("t2", false);
    stand.key_at = Some(stand.now);
    stand.run(seconds(2), false, true);
    stand.finish();
    let file = stand.whole(AV);
    assert!((3_600_000..3_600_040).contains(&file.start_ms), "{file:?}");
    assert_eq!(file.end_ms, 3_602_000);
    assert_eq!(stand.blocks(AV, true)[0], (0, true));
    assert_eq!(stand.blocks(AV, false)[0].0, 0);
}

#[test]
fn the_tail_is_not_clipped() {
    let mut stand = Stand::new();
    stand.run(millis(2_900), true, true);
    // The last 100 ms are on their way when the button is pressed, and come out of order.
    let (mut sounds, mut pictures) = (Vec::new(), Vec::new());
    for ms in (2_900..3_000).step_by(20) {
        let data = [0xfc, 9, ms as u8];
        sounds.push((ms * 48, stand.packets(Codec::Opus, &data), data.to_vec()));
    }
    for ms in [2_920, 2_960] {
        let data = [0x11, 9, ms as u8];
        pictures.push((ms * 90, stand.packets(Codec::Vp8, &data), data.to_vec()));
    }
    let expected: Vec<_> = sounds.iter().chain(&pictures).map(|(_, _, data)| data.clone()).collect();
    stand.step_of(millis(100));
    let end = stand.at();
    stand.session.handle_stop(end);
    sounds.swap(1, 2);
    pictures.swap(0, 1);
    for (codec, packets) in [(Codec::Opus, sounds), (Codec::Vp8, pictures)] {
        for (timestamp, packets, _) in packets {
            stand.now += millis(20);
            stand.arrive(codec, timestamp, packets);
        }
    }
    stand.session.finish(end);
    stand.drain();
    let file = stand.whole(AV);
    assert_eq!((file.end_ms, file.figures.lost, file.figures.filled_ms), (3_000, 0, 0));
    let tail = |video| stand.frames(AV, video).into_iter().filter(|(at, ..)| *at >= 2_895).collect::<Vec<_>>();
    let (sound, shown) = (tail(false), tail(true));
    let at = |frames: &[(i64, bool, Vec<u8>)]| frames.iter().map(|(at, ..)| (*at + 2) / 20 * 20).collect::<Vec<_>>();
    assert_eq!((at(&sound), at(&shown)), (vec![2_900, 2_920, 2_940, 2_960, 2_980], vec![2_920, 2_960]));
    assert_eq!(sound.into_iter().chain(shown).map(|(_, _, data)| data).collect::<Vec<_>>(), expected);
}

#[test]
fn sound_is_as_long_as_the_file_wherever_it_stops() {
    // Packets of 20 ms, as many samples early or late; and of 60 ms.
    for (toc, every, phase) in
        [(0xfc, 20_u64, 0), (0xfc, 20, -950_i64), (0xfc, 20, 950), (0x18, 60, 0), (0x18, 60, -950)]
    {
        for more in 0..30 {
            let mut stand = Stand::of(Mode::Participant);
            stand.publish("t1", Source::Mic, false);
            let end = millis(1_000 + 3 * more);
            for n in 0..(1_200 / every) {
                if stand.now >= end {
                    stand.session.handle_stop(stand.start + end);
                }
                let phase = if n * every < 600 { 0 } else { phase };
                let packets = stand.packets(Codec::Opus, &[toc, 1]);
                stand.arrive(Codec::Opus, (n * every * 48).strict_add_signed(phase), packets);
                stand.step_of(millis(every));
            }
            let end = stand.start + end;
            stand.session.finish(end);
            stand.drain();
            let (sound, file) = (stand.sound(AV).as_millis() as u64, stand.whole(AV).end_ms);
            assert!(sound.abs_diff(file) <= 20, "{toc:x} {phase}: {sound} ms of sound in {file} ms");
        }
    }
}

#[test]
fn sound_is_as_long_as_the_file_when_its_end_is_known_late() {
    for moves in [false, true] {
        let mut stand = Stand::new();
        stand.run(seconds(3), true, moves);
        stand.mute("t1", true);
        stand.run(seconds(3), false, moves);
        // The room is given up after some silence: it ended when it was last heard.
        let end = stand.at();
        stand.wait(millis(2_400));
        stand.session.handle_stop(end);
        stand.session.finish(end);
        stand.drain();
        let (file, sound) = (millis(stand.whole(AV).end_ms), stand.sound(AV));
        assert!(sound.abs_diff(file) <= millis(20), "{sound:?} of sound in {file:?}");
        assert!(stand.duration(AV).abs_diff(file) <= millis(1), "{:?} {file:?}", stand.duration(AV));
        assert!((seconds(7)..millis(8_100)).contains(&file), "what was filled by then stays: {file:?}");
    }
}

#[test]
fn counters_are_noted_while_the_recording_runs() {
    let mut stand = Stand::new();
    stand.run(seconds(5), true, true);
    stand.run(millis(100), false, false);
    stand.run(seconds(16), true, true);
    let noted = stand.sink.notes.iter().filter_map(|note| if let Note::Figures(f) = note { Some(*f) } else { None });
    let noted: Vec<_> = noted.collect();
    assert_eq!(noted.len(), 2, "every ten seconds: {noted:?}");
    assert!(noted[0].packets > 700 && noted[0].lost >= 7 && noted[1].packets > noted[0].packets, "{noted:?}");
    stand.finish();
    let figures = stand.whole(AV).figures;
    assert!(figures.packets >= noted[1].packets && figures.lost == noted[1].lost && figures.key_frames_asked >= 1);
    assert_eq!((figures.filled_ms, figures.refused), (100, 0));
}

#[test]
fn reports_bring_sound_and_pictures_together_that_take_ways_of_their_own() {
    let mut stand = Stand::new();
    stand.drifts_ppm = [Some(0); 2];
    stand.bases = [5_000_000, 7];
    // Pictures come 180 ms after the sound that was captured with them, and say so when they are 30 s old.
    let mut late = std::collections::VecDeque::new();
    while stand.now < seconds(30) {
        let ms = stand.now.as_millis() as u64;
        if ms.is_multiple_of(20) {
            let packets = stand.packets(Codec::Opus, &[0xfc, 1, (ms / 1_000) as u8]);
            stand.arrive(Codec::Opus, ms * 48, packets);
        }
        if ms.is_multiple_of(40) {
            let key = stand.key_at.take_if(|at| *at <= stand.now).is_some();
            late.push_back((ms, stand.packets(Codec::Vp8, if key { &KEY } else { &DELTA })));
        }
        while let Some((at, packets)) = late.pop_front_if(|(at, _)| *at + 180 <= ms) {
            stand.arrive(Codec::Vp8, at * 90, packets);
        }
        if ms.is_multiple_of(50) {
            stand.session.handle_timeout(stand.at());
        }
        stand.drain();
        stand.now += millis(10);
    }
    stand.finish();
    // The first packet of sound and the first picture of each second were captured at its beginning.
    let sound = stand.frames(AV, false);
    for second in 10..29 {
        let heard = sound.iter().find(|(_, _, data)| data[..] == [0xfc, 1, second as u8]).expect("sound").0;
        let shown = stand.blocks(AV, true).into_iter().map(|(at, _)| at).min_by_key(|at| (at - heard).abs());
        let apart = shown.expect("pictures") - heard;
        assert!(apart.abs() <= 5, "{apart} ms at {second} s");
        assert!((heard - second * 1_000).abs() <= 5, "{heard} at {second} s");
    }
    let camera = stand.whole(AV).tracks.iter().find(|track| track.source == Source::Camera).expect("a track");
    assert!(camera.drift_ppm.is_some_and(|ppm| ppm.abs() < 1.0), "{camera:?}");
}

#[test]
fn the_drift_of_a_sender_is_told() {
    let mut stand = Stand::new();
    stand.drifts_ppm[0] = Some(100);
    stand.run(seconds(60), true, true);
    stand.finish();
    let tracks = &stand.whole(AV).tracks;
    let of = |source| tracks.iter().find(|track| track.source == source).expect("a track");
    let mic = of(Source::Mic);
    assert!(mic.drift_ppm.is_some_and(|ppm| (ppm - 100.0).abs() < 2.0), "{mic:?}");
    assert!(mic.residual_ms.is_some_and(|ms| ms < 0.1), "{mic:?}");
    assert_eq!(of(Source::Camera).drift_ppm, None, "nothing was reported");
}
