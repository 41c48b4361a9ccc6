//! A recorder: hidden, a transport for each participant, sound repaired too.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use netsim::Link;
use rtc_client::depacketise::Picture;
use sfu::command::{Intent, Offer, Permissions, Source};
use sfu::{Command, Event, ParticipantId, Success};

use crate::client::browser;
use crate::media::Stamp;
use crate::world::{CALL, World, everything};

const SECOND: Duration = Duration::from_secs(1);

fn recorder() -> Permissions {
    Permissions { publish: Vec::new(), data: false, moderate: false, hidden: true, recorder: true, ..everything() }
}

#[test]
fn each_transport_carries_one_participant_whole() {
    let mut world = World::new(1);
    let a = world.join(browser(&[]), &CALL, &[]);
    let b = world.join(browser(&[]), &CALL, &[]);
    let (id, joined) = world.join_as(recorder(), None);
    assert!(matches!(joined, Ok(Success::Joined { answer: None, .. })));
    let ids = [world.clients[a].id, world.clients[b].id];
    let legs = ids.map(|whom| world.record(id, whom));
    // Only the recorder's way is bad: its sound is repaired as well, since it offers retransmission for Opus.
    let bad = Link { loss: 0.05, delay: Duration::from_millis(20), ..Link::default() };
    for leg in legs {
        let (address, media) = (world.clients[leg].address, world.media());
        world.network.set_link(media, address, bad);
        world.network.set_link(address, media, bad);
    }
    world.connect();
    world.run(SECOND * 10);
    for (leg, whom) in legs.into_iter().zip(ids) {
        let client = &world.clients[leg];
        let (pictures, sounds) = (client.pictures(whom), client.sounds(whom));
        // Of the very first packet nobody knows that it is lost: a picture then begins with the next key frame, a second later.
        // And one of 100,000 lost packets is asked for five times in vain, which makes one gap.
        for (frames, least, what) in [(&pictures, 260, "pictures"), (&sounds, 480, "sounds")] {
            let numbers: Vec<u32> =
                BTreeSet::from_iter(frames.iter().map(|(_, stamp)| stamp.number)).into_iter().collect();
            let gaps = numbers.windows(2).filter(|pair| pair[1] - pair[0] > 1).count();
            assert!(numbers.len() >= least && gaps <= 1, "{} {what} of {whom}, {gaps} gaps", numbers.len());
        }
        let all: usize = client.receptions.values().map(|r| r.pictures.len() + r.sounds.len()).sum();
        assert_eq!(all, pictures.len() + sounds.len(), "of nobody else");
        let reported = |p: &rtc_client::RtpPacket| p.report.is_some_and(|report| report.packets > 0);
        assert!(client.receptions.values().all(|r| r.packets.iter().any(reported)), "reports come");
    }
    let seen = |event: &Event| matches!(event, Event::Peer(peer) if peer.hidden);
    assert!(!world.clients.iter().any(|client| client.events.iter().any(seen)), "nobody sees it");
}

/// The pictures of a recorder's transport, in order.
fn pictures(world: &World, leg: usize) -> Vec<(Instant, Stamp, Picture)> {
    world.clients[leg].receptions.values().flat_map(|r| &r.pictures).cloned().collect()
}

#[test]
fn a_recorder_that_asks_for_a_key_frame_gets_a_new_one() {
    let mut world = World::new(4);
    let a = world.join(browser(&[]), &CALL, &[]);
    world.connect();
    world.run(SECOND * 2);
    let (id, _) = world.join_as(recorder(), None);
    let leg = world.record(id, world.clients[a].id);
    world.run_until(SECOND * 2, "a picture", |world| !pictures(world, leg).is_empty());
    let mid = *world.clients[leg].receptions.iter().find(|(_, r)| !r.pictures.is_empty()).expect("pictures").0;
    let now = world.now;
    world.clients[leg].transport.request_key_frame(mid, now);
    world.run(SECOND * 2);
    let seen = pictures(&world, leg);
    assert!(seen.windows(2).all(|pair| pair[0].1.number < pair[1].1.number), "nothing is seen twice");
    assert_eq!(seen.iter().filter(|(.., picture)| picture.key.is_some()).count(), 2);
}

#[test]
fn a_recorder_gets_the_best_layer_that_is_alive() {
    const RIDS: [&str; 3] = ["q", "h", "f"];
    let mut world = World::new(5);
    let a = world.join(browser(&RIDS), &CALL, &RIDS);
    let (id, _) = world.join_as(recorder(), None);
    let leg = world.record(id, world.clients[a].id);
    world.connect();
    for (live, best) in [(3, 2), (1, 0), (2, 1), (3, 2)] {
        world.clients[a].publishing[1].live = live;
        world.run(SECOND * 4);
        assert_eq!(pictures(&world, leg).last().map(|(_, stamp, _)| stamp.layer), Some(best), "{live} alive");
    }
    let seen = pictures(&world, leg);
    let changes = || seen.windows(2).filter(|pair| pair[0].1.layer != pair[1].1.layer);
    assert!(changes().count() >= 3 && changes().all(|pair| pair[1].2.key.is_some()), "each begins with a key frame");
    // A layer counts as dead after one second; then a key frame is asked for.
    let longest = seen.windows(2).map(|pair| pair[1].0 - pair[0].0).max().expect("pictures");
    assert!(longest < Duration::from_millis(1300), "{longest:?}");
}

#[test]
fn a_recorder_gets_those_whom_nobody_sees() {
    let mut world = World::new(6);
    let few = || rtc_client::Config { audio_slots: 0, video_slots: 1, ..browser(&[]) };
    let all: Vec<usize> = (0..8).map(|_| world.join(few(), &CALL, &[])).collect();
    let (id, _) = world.join_as(recorder(), None);
    let ids: Vec<_> = all.iter().map(|index| world.clients[*index].id).collect();
    let legs: Vec<usize> = ids.iter().map(|whom| world.record(id, *whom)).collect();
    world.connect();
    world.run(SECOND * 3);
    let unseen = |whom: &&ParticipantId| !all.iter().any(|index| !world.clients[*index].pictures(**whom).is_empty());
    assert!(ids.iter().filter(unseen).count() > 2, "there are too few lines for all");
    for (leg, whom) in legs.iter().zip(&ids) {
        let (pictures, sounds) = (world.clients[*leg].pictures(*whom).len(), world.clients[*leg].sounds(*whom).len());
        assert!(pictures >= 85 && sounds >= 140, "{pictures} pictures, {sounds} sounds of {whom}");
    }
}

/// What a browser offers and what a recording could not hold is not accepted: pictures that a player must turn (the sender
/// turns them then), sound that is sent twice in one packet, pictures that are repaired by other means than resending.
#[test]
fn pictures_come_upright_and_sound_comes_once() {
    let browsers = include_str!("../../../../fuzz/corpus/sfu_offer/browser").to_owned();
    let foreign = ["urn:3gpp:video-orientation", " red/48000", " red/90000", " ulpfec/90000"];
    assert!(foreign.iter().all(|word| browsers.contains(word)));
    let mut world = World::new(3);
    let tracks = ["0", "1"].into_iter().zip(CALL);
    let intent = |(mid, source): (&str, Source)| Intent { mid: mid.into(), source, muted: false };
    let offer = Offer {
        transport: "main".into(),
        epoch: 1,
        only: None,
        sdp: Some(browsers),
        tracks: tracks.map(intent).collect(),
    };
    let (_, joined) = world.join_as(everything(), Some(offer));
    let Ok(Success::Joined { answer: Some(answer), .. }) = joined else { panic!("{joined:?}") };
    assert!(answer.sdp.contains(" opus/48000") && answer.sdp.contains(":sdes:mid"), "{}", answer.sdp);
    for word in foreign {
        assert!(!answer.sdp.contains(word), "{word} in {}", answer.sdp);
    }
    // Nor does a recorder offer any of it.
    let mut transport = rtc_client::Transport::new(crate::client::recorder(), world.now).expect("a transport");
    let offered = transport.create_offer().expect("an offer");
    assert!(foreign.iter().all(|word| !offered.contains(word)), "{offered}");
    // But whatever a browser may send, since it gets nothing of a format that it did not offer.
    let (may_be_sent, can_be_taken) = (formats(&answer.sdp), formats(&offered));
    assert!(may_be_sent.len() > 10, "{may_be_sent:?}");
    assert!(may_be_sent.is_subset(&can_be_taken), "{:?}", may_be_sent.difference(&can_be_taken));
}

/// What an SDP says of codecs, as far as it decides whether one side can decode the other: name and profile; and the header
/// extensions.
fn formats(sdp: &str) -> BTreeSet<String> {
    let about = |name: &'static str| {
        let lines = sdp.lines().filter_map(move |line| line.strip_prefix("a=")?.strip_prefix(name)?.split_once(' '));
        lines.map(|(id, rest)| (id.to_owned(), rest.to_owned()))
    };
    let parameters: BTreeMap<String, String> = about("fmtp:").collect();
    let profile = |pt: &String| {
        let all = parameters.get(pt).map(String::as_str).unwrap_or_default().split(';');
        let mut decisive: Vec<&str> = all.filter(|p| p.contains("profile") || p.contains("packetization")).collect();
        decisive.sort_unstable();
        decisive.join(";")
    };
    let codecs = about("rtpmap:").map(|(pt, name)| format!("{name} {}", profile(&pt)));
    let extensions = about("extmap:").map(|(_, uri)| uri);
    codecs.chain(extensions).collect()
}

#[test]
fn a_recorder_is_told_when_it_needs_more_lines() {
    let mut world = World::new(2);
    let sources = [Source::Mic, Source::Camera, Source::Screen];
    let mut config = browser(&[]);
    config.publish.push(config.publish[1].clone());
    config.video_slots = 6;
    let a = world.join(config, &sources, &[]);
    let (id, _) = world.join_as(recorder(), None);
    let whom = world.clients[a].id;
    let leg = world.record_with(rtc_client::Config { video_slots: 1, ..crate::client::recorder() }, id, whom);
    let need = Event::Need { transport: world.clients[leg].name.into(), audio: 2, video: 2 };
    assert!(world.clients[leg].events.contains(&need), "{:?}", world.clients[leg].events);
    world.clients[leg].transport.set_slots(2, 2);
    let (offer, now) = (world.clients[leg].offer(&[]), world.now);
    let reply = world.request(|request| Command::Offer { request, participant: id, offer }).expect("answered");
    let Success::Answered { answer, .. } = reply else { panic!("another reply") };
    world.clients[leg].answer(answer.expect("an answer"), now);
    world.connect();
    world.run(SECOND * 3);
    let video = world.clients[leg].receptions.values().filter(|r| !r.pictures.is_empty()).count();
    assert_eq!(video, 2);
}
