//! What a file tells of the media that it lacks.

use super::stand::millis;
use super::*;
use crate::file::File;
use rtc_client::depacketise::{Key, Picture};

fn file() -> File {
    let who = ParticipantId::parse("p1").expect("an id");
    let mut file = File::new(FileKind::Av, 0, seconds(1_700_000_000), (&who, "Alice"));
    file.expect(Source::Mic, 0);
    file.expect(Source::Camera, 0);
    file
}

fn picture(key: bool, data: &[u8]) -> Picture {
    let key = key.then(|| Key { width: 320, height: 240, config: Vec::new() });
    let arrived = Stand::new().start;
    Picture { timestamp: 0, codec: Codec::Vp8, key, data: data.to_vec(), arrived, report: None }
}

#[test]
fn a_picture_that_the_file_refuses_needs_a_key_frame_and_is_a_gap() {
    let mut file = file();
    let mut show = |at: i64, key, data: &[u8]| file.handle_video(Source::Camera, at, picture(key, data), at);
    assert_eq!(show(0, true, &KEY), Fate::Taken);
    assert_eq!(show(40_000, false, &[]), Fate::Early);
    assert_eq!(show(200_000, true, &KEY), Fate::Taken);
    let whole = file.finish(240_000).expect("media");
    assert_eq!(whole.figures.refused, 1);
    let gaps: Vec<_> = whole.gaps.iter().map(|gap| (gap.cause.as_str(), gap.t, gap.ms)).collect();
    assert!(gaps.contains(&("loss", 0, 200)), "{gaps:?}");
}

#[test]
fn a_camera_whose_clock_steps_back_does_not_freeze() {
    let mut stand = Stand::new();
    stand.run(seconds(2), true, true);
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
