//! What a file tells of the media that it lacks.

use super::stand::millis;
use super::*;
use crate::file::File;
use rtc_client::depacketise::{Key, Picture};
use rtc_client::packetise::Packetiser;

fn file() -> File {
    let who = ParticipantId::parse("p1").expect("an id");
    let mut file = File::new(FileKind::Av, Mode::Participant, 0, seconds(1_700_000_000), (&who, "Alice"));
    file.expect(Source::Mic, 0);
    file.expect(Source::Camera, 0);
    file
}

fn picture(key: bool, data: &[u8]) -> Picture {
    let key = key.then(|| Key { width: 320, height: 240, config: Vec::new() });
    Picture { timestamp: 0, codec: Codec::Vp8, key, data: data.to_vec() }
}

#[test]
fn a_picture_that_the_file_refuses_needs_a_key_frame_and_is_a_gap() {
    let mut file = file();
    let show =
        |file: &mut File, at: i64, key, data: &[u8]| file.handle_video(Source::Camera, at, picture(key, data), at);
    assert_eq!(show(&mut file, 0, true, &KEY), Fate::Taken);
    assert_eq!(show(&mut file, 40_000, false, &[]), Fate::NeedsKey);
    file.handle_missing(false, Cause::Loss, 40_000);
    assert_eq!(show(&mut file, 200_000, true, &KEY), Fate::Taken);
    let whole = file.finish(240_000).expect("media");
    assert_eq!(whole.figures.refused, 1);
    let gaps: Vec<_> = whole.gaps.iter().map(|gap| (gap.cause.as_str(), gap.t, gap.ms)).collect();
    assert!(gaps.contains(&("loss", 0, 200)), "{gaps:?}");
}

#[test]
fn a_camera_whose_clock_steps_back_does_not_freeze() {
    let mut stand = Stand::of(Mode::Participant);
    stand.publish("t2", Source::Camera, false);
    stand.run(seconds(2), false, true);
    let asked = stand.sink.asked.len();
    for n in 0..50 {
        let packets = stand.packets(Codec::Vp8, &DELTA);
        stand.arrive(Codec::Vp8, (2_000 - 800 + n * 40) * 90, packets);
        stand.step_of(millis(40));
    }
    stand.finish();
    assert_eq!((stand.blocks(AV, true).len(), stand.whole(AV).figures.refused), (100, 0));
    assert_eq!(stand.sink.asked.len(), asked);
}

#[test]
fn what_was_captured_before_a_mute_does_not_end_its_gap() {
    let mut stand = Stand::new();
    stand.run(seconds(2), true, true);
    // The last 100 ms before the mute are still on their way when it is heard of.
    let mut late = Vec::new();
    for ms in (2_000..2_100).step_by(20) {
        late.push((Codec::Opus, ms * 48, stand.packets(Codec::Opus, &stand::SOUND)));
        if ms % 40 == 0 {
            late.push((Codec::Vp8, ms * 90, stand.packets(Codec::Vp8, &DELTA)));
        }
    }
    stand.step_of(millis(100));
    stand.mute("t1", true);
    stand.mute("t2", true);
    for (codec, timestamp, packets) in late {
        stand.arrive(codec, timestamp, packets);
    }
    stand.run(seconds(3), false, false);
    stand.mute("t1", false);
    stand.mute("t2", false);
    stand.run(seconds(2), true, true);
    stand.finish();
    let file = stand.whole(AV);
    let muted: Vec<_> = file.gaps.iter().filter(|gap| gap.cause == "mute").collect();
    assert_eq!(muted.len(), 2, "{:?}", file.gaps);
    assert!(muted.iter().all(|gap| gap.t == 2_100 && (2_990..3_500).contains(&gap.ms)), "{muted:?}");
}

#[test]
fn what_seems_to_be_captured_right_after_a_mute_does_not_end_it() {
    let mut stand = Stand::new();
    stand.run(seconds(2), true, true);
    stand.mute("t1", true);
    stand.mute("t2", true);
    // The last packets are read a moment after the mute was heard of.
    for (codec, frame, ticks) in [(Codec::Opus, &stand::SOUND[..], 48), (Codec::Vp8, &DELTA, 90)] {
        let packets = stand.packets(codec, frame);
        stand.arrive(codec, 2_002 * ticks, packets);
    }
    stand.run(seconds(60), false, false);
    stand.mute("t1", false);
    stand.mute("t2", false);
    stand.run(seconds(2), true, true);
    stand.finish();
    let gaps: Vec<_> = stand.whole(AV).gaps.iter().map(|gap| (gap.cause.as_str(), gap.t, gap.ms / 1_000)).collect();
    assert_eq!(gaps, [("mute", 2_000, 60); 2]);
}

#[test]
fn an_unmute_that_is_heard_of_late_ends_its_gap_with_the_first_picture() {
    let mut stand = Stand::of(Mode::Participant);
    stand.publish("t1", Source::Screen, false);
    stand.run(seconds(2), false, true);
    stand.mute("t1", true);
    stand.wait(seconds(3));
    stand.key_at = Some(stand.now);
    stand.run(millis(40), false, true);
    stand.mute("t1", false);
    // It stands still.
    stand.wait(seconds(20));
    stand.finish();
    let gaps: Vec<_> = stand.whole("p1-screen-1.webm").gaps.iter().map(|gap| (gap.t, gap.ms / 10)).collect();
    assert_eq!(gaps, [(2_000, 300)]);
}

#[test]
fn a_pause_in_a_mute_is_told_between_two_mutes() {
    let mut stand = Stand::new();
    stand.run(seconds(1), true, true);
    stand.mute("t1", true);
    stand.run(seconds(9), false, true);
    stand.session.handle_pause(stand.at());
    stand.run(seconds(5), false, true);
    stand.session.handle_resume(stand.at());
    stand.run(seconds(5), false, true);
    stand.mute("t1", false);
    stand.run(seconds(1), true, true);
    stand.finish();
    let of = |source| -> Vec<_> {
        let gaps = stand.whole(AV).gaps.iter().filter(|gap| gap.source == Some(source));
        gaps.map(|gap| (gap.cause.as_str(), gap.t / 100, gap.ms / 1_000)).collect()
    };
    assert_eq!(of(Source::Mic), [("mute", 10, 9), ("pause", 100, 5), ("mute", 150, 5)]);
    assert_eq!(of(Source::Camera), [("pause", 100, 5)]);
}

#[test]
fn what_was_missing_before_the_file_begins_is_not_told() {
    let mut stand = Stand::of(Mode::Participant);
    stand.publish("t1", Source::Mic, true);
    stand.wait(seconds(5));
    stand.session.handle_pause(stand.at());
    stand.wait(seconds(5));
    stand.session.handle_resume(stand.at());
    stand.wait(seconds(60));
    stand.mute("t1", false);
    stand.run(seconds(2), true, false);
    stand.finish();
    let file = stand.whole(AV);
    assert!((70_000..70_100).contains(&file.start_ms), "{file:?}");
    assert!(file.gaps.iter().all(|gap| gap.t >= file.start_ms), "{:?}", file.gaps);
}

#[test]
fn a_mute_is_noted_when_it_begins() {
    let mut stand = Stand::new();
    stand.run(seconds(1), true, true);
    stand.mute("t1", true);
    stand.run(seconds(1), false, true);
    let noted = |stand: &Stand| -> Vec<_> {
        let gaps = stand.sink.notes.iter();
        gaps.filter_map(|note| if let Note::Gap(gap) = note { Some((gap.t, gap.ms > 0, gap.source)) } else { None })
            .collect()
    };
    assert_eq!(noted(&stand), [(1_000, false, Some(Source::Mic))]);
    stand.mute("t1", false);
    stand.run(seconds(1), true, true);
    assert_eq!(noted(&stand)[1..], [(1_000, true, Some(Source::Mic))]);
}

/// Packets come over a new transport from now on, numbered anew.
fn reconnect(stand: &mut Stand) {
    let at = stand.at();
    stand.session.handle_new_transport(at);
    stand.ssrcs = [71, 72];
    stand.bases = [900_000, 7];
    (stand.audio, stand.video) = (Packetiser::starting_at(500, 0), Packetiser::starting_at(60_000, 9));
    for (line, id) in [("0", "t1"), ("1", "t2")] {
        stand.session.handle_slot(Mid::from(line), line == "0", Some(track(id)), true);
    }
}

#[test]
fn a_link_that_was_lost_is_a_gap_from_the_last_packet_on() {
    let mut stand = Stand::new();
    stand.run(seconds(3), true, true);
    // It takes a while to notice.
    stand.wait(seconds(6));
    stand.session.handle_reachable(false, stand.at());
    stand.wait(seconds(1));
    reconnect(&mut stand);
    stand.session.handle_reachable(true, stand.at());
    stand.run(seconds(3), true, true);
    stand.finish();
    let file = stand.whole(AV);
    let gaps: Vec<_> =
        file.gaps.iter().map(|gap| (gap.source, gap.cause.as_str(), gap.t / 100, gap.ms / 1_000)).collect();
    assert_eq!(gaps, [(Some(Source::Mic), "link", 30, 7), (Some(Source::Camera), "link", 30, 7)]);
    assert_eq!((stand.sink.whole.len(), file.end_ms, stand.sound(AV)), (1, 13_000, seconds(13)));
}

#[test]
fn a_link_is_not_lost_for_as_long_as_a_screen_stood_still() {
    let mut stand = Stand::of(Mode::Participant);
    stand.publish("t1", Source::Screen, false);
    stand.run(seconds(3), false, true);
    stand.wait(seconds(60));
    stand.session.handle_reachable(false, stand.at());
    stand.finish();
    let gaps: Vec<_> =
        stand.whole("p1-screen-1.webm").gaps.iter().map(|gap| (gap.cause.as_str(), gap.t / 1_000)).collect();
    assert_eq!(gaps, [("link", 53)]);
}

#[test]
fn what_waits_when_the_transport_is_replaced_is_written() {
    let mut stand = Stand::new();
    stand.run(seconds(3), true, true);
    let asked = stand.sink.asked.len();
    // One packet of sound never comes, those behind it wait for it.
    stand.audio.packets(Codec::Opus, &stand::SOUND);
    stand.run(millis(100), true, true);
    reconnect(&mut stand);
    stand.run(seconds(3), true, true);
    stand.finish();
    let figures = stand.whole(AV).figures;
    assert_eq!((figures.lost, figures.dropped, stand.sink.whole.len()), (1, 0, 1), "{figures:?}");
    assert_eq!(stand.sound(AV), millis(6_100));
    assert!(figures.filled_ms <= 40, "{figures:?}");
    // Another decoder state: nothing of the new stream is shown before its key frame.
    assert_eq!(stand.sink.asked.len() - asked, 1);
    let after = stand.blocks(AV, true).into_iter().find(|(at, _)| *at >= 3_100).expect("pictures go on");
    assert!(after.1, "{after:?}");
}

#[test]
fn sizes_that_change_with_every_picture_do_not_fill_the_journal() {
    let mut file = file();
    for n in 0..30_000_u16 {
        let shown =
            Picture { key: Some(Key { width: 100 + n % 2, height: 100, config: Vec::new() }), ..picture(true, &KEY) };
        let at = i64::from(n) * 33_333;
        file.handle_video(Source::Camera, at, shown, at);
    }
    let noted =
        file.take_says().iter().filter(|say| matches!(say, crate::file::Say::Note(Note::Resolution(_)))).count();
    assert_eq!(noted, 10_000);
}

#[test]
fn a_microphone_that_comes_late_has_sound_in_front_of_it() {
    let mut stand = Stand::of(Mode::Participant);
    stand.publish("t2", Source::Camera, false);
    stand.run(seconds(5), false, true);
    stand.publish("t1", Source::Mic, false);
    stand.run(seconds(5), true, true);
    stand.finish();
    let file = stand.whole(AV);
    assert_eq!((file.end_ms, &file.sources[..]), (10_000, &[Source::Camera, Source::Mic][..]));
    // What is sent while the clock of a new stream settles is not lost either.
    assert!((5_000..5_100).contains(&file.figures.filled_ms), "{:?}", file.figures);
    let blocks = stand.blocks(AV, false);
    assert_eq!(blocks[0].0, 0);
    assert!(blocks.windows(2).all(|pair| pair[1].0 - pair[0].0 <= 121), "{blocks:?}");
    assert!(file.gaps.iter().all(|gap| gap.source == Some(Source::Camera)), "{:?}", file.gaps);
}

#[test]
fn a_camera_alone_has_a_silent_sound_track() {
    let mut stand = Stand::of(Mode::Participant);
    stand.publish("t2", Source::Camera, false);
    stand.run(seconds(60), false, true);
    stand.finish();
    let file = stand.whole(AV);
    assert_eq!((&file.sources[..], &file.codecs[..]), (&[Source::Camera][..], &["VP8".to_owned()][..]));
    assert!((59_900..=60_000).contains(&file.figures.filled_ms), "{:?}", file.figures);
    assert_eq!(file.gaps, []);
}
