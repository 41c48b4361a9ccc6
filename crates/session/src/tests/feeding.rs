//! Who feeds a source: tracks that follow each other, or are there twice.

use super::stand::millis;
use super::*;
use rtc_client::packetise::Packetiser;

/// A picture of a second camera arrives on line 2.
fn show_second(stand: &mut Stand, packetiser: &mut Packetiser, timestamp: u64, frame: &[u8]) {
    for packet in packetiser.packets(Codec::Vp8, frame) {
        let packet = RtpPacket {
            mid: Mid::from("2"),
            rid: None,
            codec: Codec::Vp8,
            ssrc: 9,
            sequence: packet.sequence,
            timestamp,
            marker: packet.marker,
            payload: packet.payload,
            arrived: stand.at(),
            report: None,
        };
        stand.session.handle_packet(packet, stand.at());
    }
}

#[test]
fn of_two_cameras_only_the_newest_is_written() {
    let mut stand = Stand::new();
    stand.run(seconds(2), true, true);
    stand.session.handle_track(track("t3"), Source::Camera, false, stand.at());
    stand.session.handle_slot(Mid::from("2"), false, Some(track("t3")), true);
    // The older one is muted, which says nothing about the newer one.
    let mut second = Packetiser::default();
    for n in 0..50_u64 {
        if n == 25 {
            stand.mute("t2", true);
        }
        show_second(&mut stand, &mut second, 7_000 + n * 3_600, if n == 0 { &KEY } else { &DELTA });
        stand.run(millis(40), true, true);
    }
    let asked = stand.sink.asked.len();
    stand.mute("t2", false);
    // It ends, and the older one goes on, from a key frame.
    stand.session.handle_track_gone(&track("t3"), stand.at());
    stand.run(seconds(2), true, true);
    stand.finish();
    assert_eq!(stand.sink.asked.len() - asked, 1, "{:?}", stand.sink.asked);
    let blocks = stand.blocks(AV, true);
    let between = blocks.iter().filter(|(at, _)| (2_000..4_000).contains(at)).count();
    assert!((49..=51).contains(&between), "{between}");
    assert!(blocks.iter().find(|(at, _)| *at >= 2_000).is_some_and(|(_, key)| *key));
    let after = blocks.iter().find(|(at, _)| *at >= 4_000).expect("pictures of the older one");
    assert!(after.1 && after.0 < 4_600, "{after:?}");
    assert!(stand.whole(AV).gaps.iter().all(|gap| gap.cause != "mute"), "{:?}", stand.whole(AV).gaps);
}

#[test]
fn an_old_track_ends_and_its_successor_is_still_expected() {
    let mut stand = Stand::new();
    stand.run(seconds(3), true, false);
    stand.publish("t3", Source::Mic, false);
    stand.run(seconds(1), true, false);
    stand.session.handle_track_gone(&track("t1"), stand.at());
    stand.run(seconds(1), true, false);
    // A stall of two seconds is waited for, as sound is expected; it comes in a moment.
    let mut late = Vec::new();
    for ms in (5_000..7_000).step_by(20) {
        late.push((ms * 48, stand.packets(Codec::Opus, &stand::SOUND)));
    }
    stand.wait(seconds(2));
    for (timestamp, packets) in late {
        stand.arrive(Codec::Opus, timestamp, packets);
    }
    stand.run(seconds(1), true, false);
    stand.finish();
    let file = stand.whole(AV);
    assert_eq!((file.figures.filled_ms / 100, file.figures.dropped), (0, 0), "{:?}", file.figures);
    assert!(file.gaps.iter().all(|gap| gap.cause != "mute"), "{:?}", file.gaps);
}
