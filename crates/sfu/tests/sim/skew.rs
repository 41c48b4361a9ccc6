//! Sound and picture stay together through the SFU: receivers align them by the reports that it sends.

use std::time::{Duration, SystemTime};

use netsim::Link;

use crate::client::browser;
use crate::media::Stamp;
use crate::world::{CALL, World};

/// By how much the receiver's clock reading of a packet's capture differs from the truth, seconds. Constant offsets do
/// not matter, differences between the streams do.
fn error(packet: &rtc_client::RtpPacket, stamp: Stamp) -> Option<f64> {
    let report = packet.report.filter(|report| report.packets > 0)?;
    let wall = report.ntp.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs_f64();
    let since = (packet.timestamp.cast_signed() - report.timestamp) as f64 / f64::from(packet.codec.clock_rate());
    Some(wall + since - stamp.captured.as_secs_f64())
}

fn average(errors: &[f64]) -> f64 {
    errors.iter().sum::<f64>() / errors.len() as f64
}

#[test]
fn a_slow_encoder_does_not_shift_the_sound() {
    let mut world = World::new(1);
    world.network.set_default(Link {
        delay: Duration::from_millis(20),
        jitter: Duration::from_millis(15),
        ..Link::default()
    });
    let a = world.join(browser(&[]), &CALL, &[]);
    // A frame leaves 150 ms after it was captured, sound after 10 ms.
    world.clients[a].publishing[0].delay = Duration::from_millis(10);
    world.clients[a].publishing[1].delay = Duration::from_millis(150);
    let b = world.join(browser(&[]), &[], &[]);
    world.connect();
    world.run(Duration::from_secs(15));
    let late = world.epoch + Duration::from_secs(8);
    let client = &world.clients[b];
    let (mut sound, mut picture) = (Vec::new(), Vec::new());
    for reception in client.receptions.values() {
        let sounds = reception.sounds.iter().filter(|(at, ..)| *at > late);
        sound.extend(sounds.filter_map(|(_, stamp, packet)| error(packet, *stamp)));
        for (_, stamp, shown) in reception.pictures.iter().filter(|(at, ..)| *at > late) {
            let packet = reception.packets.iter().find(|p| p.timestamp == shown.timestamp).expect("its packet");
            picture.extend(error(packet, *stamp));
        }
    }
    assert!(sound.len() > 300 && picture.len() > 150, "{} and {}", sound.len(), picture.len());
    let skew = (average(&sound) - average(&picture)).abs();
    assert!(skew <= 0.040, "{skew} s");
    let spread = |errors: &[f64]| errors.iter().fold(0.0f64, |most, e| most.max((e - average(errors)).abs()));
    assert!(spread(&sound) < 0.040 && spread(&picture) < 0.040, "{} {}", spread(&sound), spread(&picture));
}

/// Another microphone: its timestamps go on where the last one's ended. Receivers get a gap instead, long before the next
/// report.
#[test]
fn sound_that_stood_still_is_soon_where_it_belongs() {
    let mut world = World::new(2);
    let a = world.join(browser(&[]), &CALL, &[]);
    let b = world.join(browser(&[]), &[], &[]);
    world.connect();
    world.run(Duration::from_secs(3));
    let takes = Duration::from_secs(1);
    let back = world.now + takes;
    world.clients[a].publishing[0].pause_until(back);
    world.clients[a].publishing[0].stood = takes;
    world.run(takes * 3);
    let heard = world.clients[b].receptions.values().flat_map(|r| &r.sounds);
    let delays: Vec<_> =
        heard.map(|(at, _, p)| (*at, (*at - world.epoch).as_secs_f64() - p.timestamp as f64 / 48e3)).collect();
    let (before, after): (Vec<_>, Vec<_>) = delays.into_iter().partition(|(at, _)| *at < back);
    let wrong = after.iter().filter(|(_, delay)| (delay - before[before.len() - 1].1).abs() > 0.020).count();
    assert!(after.len() > 90 && wrong <= 12, "{wrong} of {} packets stand where they do not belong", after.len());
}
