//! What becomes a file: by participant, by track, or sound only.

use super::*;

#[test]
fn a_file_for_each_track() {
    let mut stand = Stand::of(Mode::Track);
    stand.publish("t1", Source::Mic, false);
    stand.publish("t2", Source::Camera, false);
    stand.run(seconds(2), true, true);
    stand.session.handle_track_gone(&track("t2"), stand.at());
    stand.run(seconds(1), true, false);
    stand.publish("t3", Source::Camera, false);
    stand.key_at = Some(stand.now);
    stand.run(seconds(2), true, true);
    stand.session.handle_track_gone(&track("t3"), stand.at());
    stand.publish("t4", Source::Screen, false);
    stand.key_at = Some(stand.now);
    stand.run(seconds(1), true, true);
    stand.finish();
    let spans: Vec<_> = stand.sink.whole.values().flatten().map(|f| (f.name.as_str(), f.start_ms, f.end_ms)).collect();
    assert_eq!(
        spans,
        [
            ("p1-camera-1.webm", 0, 2_000),
            ("p1-camera-2.webm", 3_000, 5_000),
            ("p1-mic-1.webm", 0, 6_000),
            ("p1-screen-1.webm", 5_000, 6_000),
        ]
    );
    assert_eq!(stand.read("p1-mic-1.webm").2, None);
    assert_eq!(stand.read("p1-camera-1.webm").1, None);
    // The last pictures before the track ended are in its file.
    assert!(stand.blocks("p1-camera-1.webm", true).last().is_some_and(|(at, _)| *at >= 1_950));
}

#[test]
fn sound_only() {
    let mut stand = Stand::of(Mode::Audio);
    assert!(!stand.session.records(Source::Camera) && stand.session.records(Source::ScreenAudio));
    stand.publish("t1", Source::Mic, false);
    stand.publish("t2", Source::Camera, false);
    stand.run(seconds(2), true, true);
    // A microphone that comes back is in the same file.
    stand.session.handle_track_gone(&track("t1"), stand.at());
    stand.run(seconds(1), false, true);
    stand.publish("t3", Source::Mic, false);
    stand.run(seconds(1), true, true);
    stand.publish("t4", Source::ScreenAudio, false);
    stand.run(seconds(1), true, true);
    stand.session.handle_track_gone(&track("t4"), stand.at());
    stand.finish();
    let spans: Vec<_> = stand.sink.whole.values().flatten().map(|f| (f.name.as_str(), f.start_ms, f.end_ms)).collect();
    assert_eq!(spans, [("p1-mic-1.webm", 0, 5_000), ("p1-screen_audio-1.webm", 4_000, 5_000)]);
    assert!(stand.sink.asked.is_empty(), "no key frame is ever asked for");
    assert_eq!(stand.whole("p1-mic-1.webm").codecs, ["opus"]);
}

#[test]
fn the_sound_of_a_screen_that_comes_late_has_silence_in_front_of_it() {
    let mut stand = Stand::of(Mode::Participant);
    stand.publish("t1", Source::Screen, false);
    stand.run(seconds(3), false, true);
    stand.publish("t2", Source::ScreenAudio, false);
    stand.run(seconds(3), true, true);
    stand.finish();
    let name = "p1-screen-1.webm";
    assert_eq!(stand.whole(name).sources, [Source::Screen, Source::ScreenAudio]);
    assert_eq!((stand.blocks(name, false)[0].0, stand.sound(name)), (0, seconds(6)));
}
