//! Whatever arrives, nothing breaks: noise, truncated and changed datagrams, offers torn apart.

use std::net::SocketAddr;
use std::time::Duration;

use proptest::prelude::*;
use rtc_client::packetise::Packetiser;
use sfu::command::Offer;
use sfu::{Command, Path, Protocol};

use crate::client::browser;
use crate::world::{CALL, World, everything};

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn offers_torn_apart_are_answered_or_refused(cuts in prop::collection::vec((any::<u16>(), any::<u8>()), 1..8)) {
        let mut world = World::new(1);
        let index = world.join(browser(&[]), &CALL, &[]);
        world.clients[index].transport.set_slots(3, 9);
        let offer = world.clients[index].offer(&CALL);
        let mut sdp = offer.sdp.clone().expect("an SDP").into_bytes();
        for (at, byte) in cuts {
            let at = usize::from(at) % sdp.len();
            match byte % 4 {
                0 => { sdp.remove(at); }
                1 => sdp[at] = byte & 0x7f,
                2 => { let half = sdp.len() / 2; let piece = sdp[at.min(half)..(at + 40).min(half).max(at.min(half))].to_vec(); sdp.extend(piece); }
                _ => sdp.truncate(at.max(100)),
            }
        }
        let sdp = String::from_utf8_lossy(&sdp).into_owned();
        let participant = world.clients[index].id;
        let torn = Offer { sdp: Some(sdp), ..offer };
        let _ = world.request(|request| Command::Offer { request, participant, offer: torn.clone() });
        let _ = world.join_as(everything(), Some(Offer { epoch: 1, tracks: Vec::new(), ..torn }));
        prop_assert_eq!(world.worker.counters().panics, 0);
    }
}

#[test]
fn noise_on_a_validated_path_harms_nobody() {
    let mut world = World::new(5);
    let a = world.join(browser(&[]), &CALL, &[]);
    let b = world.join(browser(&[]), &CALL, &[]);
    world.connect();
    let (from, local) = (world.clients[a].address, world.media());
    let path = Path { protocol: Protocol::Udp, local, remote: from };
    let mut state = 88_172_645_463_325_252_u64;
    let mut random = move || {
        // xorshift64: the same noise in every run.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for _ in 0..20_000 {
        let length = random() as usize % 300;
        let mut bytes: Vec<u8> = (0..length).map(|_| random() as u8).collect();
        // First bytes of STUN, DTLS, RTP and RTCP, so that the noise gets further than the demultiplexer.
        if let [first, second, ..] = &mut bytes[..] {
            (*first, *second) = [(0, 1), (22, 254), (0x90, 96), (0x80, 200), (0x81, 206)][random() as usize % 5];
        }
        world.worker.handle_datagram(path, &bytes, world.now);
    }
    let stranger = Path { remote: SocketAddr::from(([9, 9, 9, 9], 9)), ..path };
    world.worker.handle_datagram(stranger, &[0x80; 100], world.now);
    let before = world.clients[b].pictures(world.clients[a].id).len();
    world.run(Duration::from_secs(3));
    let after = world.clients[b].pictures(world.clients[a].id).len();
    assert!(after > before + 60, "{before} {after}");
    assert_eq!(world.worker.counters().panics, 0);
    assert!(world.worker.counters().unrouted > 0);
}

/// Behind a low number, one with 65535 may be from before 0: an extended number that there cannot be.
#[test]
fn a_number_from_before_the_first_is_no_media() {
    let mut world = World::new(8);
    let [a, b, c] = [0; 3].map(|_| world.join(browser(&[]), &CALL, &[]));
    world.connect();
    world.run(Duration::from_secs(1));
    let mic = world.clients[a].publishing[0].mid;
    world.clients[a].transport.set_packetiser(mic, None, Packetiser::starting_at(u64::MAX - 1, 0));
    // Its clock leaps, too: sound begins anew.
    world.clients[a].publishing[0].ahead += 48_000;
    world.run(Duration::from_millis(20));
    world.clients[a].transport.set_packetiser(mic, None, Packetiser::starting_at(100, 0));
    let before = world.clients[c].pictures(world.clients[b].id).len();
    world.run(Duration::from_secs(3));
    let after = world.clients[c].pictures(world.clients[b].id).len();
    assert!(after > before + 60, "{before} {after}");
}

/// Whoever can forge a publisher's address, as a host can that a relay's client has permitted.
///
/// Rule: abuse-39
#[test]
fn what_is_forged_or_sent_again_from_a_publisher_s_address_is_no_media() {
    let mut world = World::new(7);
    let a = world.join(browser(&[]), &CALL, &[]);
    let b = world.join(browser(&[]), &CALL, &[]);
    world.connect();
    world.run(Duration::from_secs(1));
    world.tapped = Some(Vec::new());
    world.run(Duration::from_secs(1));
    let publisher = world.clients[a].address;
    let tapped = world.tapped.take().expect("tapped");
    let sent: Vec<_> = tapped.into_iter().filter(|(path, _)| path.remote == publisher).collect();
    let media = sent.iter().filter(|(_, bytes)| (0x80..0xc0).contains(&bytes[0])).count();
    assert!(media > 60, "{media} packets of media");
    let before = world.worker.counters();
    for (index, (path, bytes)) in sent.iter().enumerate() {
        world.worker.handle_datagram(*path, bytes, world.now);
        // The sequence number is 1000 on, so that it is none that has been; the payload; the last byte of the tag.
        for at in [2, bytes.len() / 2, bytes.len() - 1 - index % 4] {
            let mut forged = bytes.clone();
            forged[at] = forged[at].wrapping_add(4);
            world.worker.handle_datagram(*path, &forged, world.now);
        }
    }
    let after = world.worker.counters();
    assert_eq!((after.packets_in, after.packets_out), (before.packets_in, before.packets_out));
    let seen = world.clients[b].pictures(world.clients[a].id).len();
    world.run(Duration::from_secs(3));
    let pictures = world.clients[b].pictures(world.clients[a].id);
    assert!(pictures.len() > seen + 60, "the call goes on: {seen} {}", pictures.len());
    assert!(pictures.is_sorted_by_key(|(_, stamp)| stamp.number), "each once, in order");
}
