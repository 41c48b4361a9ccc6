//! Whole sessions in virtual time: packets of a made-up publisher in, and the file read back by the recovery scan.

mod clocks;
mod codecs;
mod delays;
mod feeding;
mod key_frames;
mod missing;
mod modes;
mod stand;

use std::time::Duration;

use rtc_client::{Codec, Mid};
use signalling::id::ParticipantId;
use signalling::message::Source;

use super::*;
use stand::{AV, DELTA, KEY, Stand, seconds, track};

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
    assert_eq!(causes, [("mute", 5_000); 2]);
}

#[test]
fn a_pause_writes_nothing_and_keeps_the_time() {
    let mut stand = Stand::new();
    stand.run(seconds(2), true, true);
    stand.session.handle_pause(stand.start + stand.now);
    stand.run(seconds(4), true, true);
    stand.session.handle_resume(stand.start + stand.now);
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
fn nothing_published_nothing_kept() {
    let mut stand = Stand::new();
    stand.session.handle_track_gone(&track("t1"), stand.start);
    stand.session.handle_track_gone(&track("t2"), stand.start);
    stand.wait(seconds(3));
    stand.finish();
    assert_eq!((stand.sink.opened, stand.sink.whole.len()), (vec![], 0));
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
