//! What participants say to each other through the server: data, mesh signalling, moderation.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use tests::server::Server;
use tests::wire::Wire;
use turn_server::config::{Guests, RoomMode};

#[tokio::test(flavor = "multi_thread")]
async fn data_reaches_everybody_or_whom_it_is_for() {
    let server = Server::start().await;
    let (mut a, _) = Wire::join(server.http(), "demo", json!({})).await;
    let (mut b, to_b) = Wire::join(server.http(), "demo", json!({})).await;
    let (mut c, _) = Wire::join(server.http(), "demo", json!({})).await;
    let data = json!({ "text": "hello", "n": [1, 2] });
    assert_eq!(a.ask("msg", json!({ "topic": "chat", "data": data })).await["t"], "ok");
    for wire in [&mut b, &mut c] {
        let heard = wire.event("msg").await;
        assert_eq!((&heard["topic"], &heard["data"]), (&json!("chat"), &data));
    }
    assert_eq!(a.ask("msg", json!({ "topic": "two", "data": 2, "to": [to_b["me"]] })).await["t"], "ok");
    assert_eq!(a.ask("msg", json!({ "topic": "three", "data": 3 })).await["t"], "ok");
    assert_eq!(b.event("msg").await["topic"], "two");
    assert_eq!(c.event("msg").await["topic"], "three", "c was not told what was for b");
    assert_eq!(a.refused("msg", json!({ "topic": "x", "data": 1, "to": ["p999"] })).await, "peer_not_found");
    assert_eq!(a.refused("msg", json!({ "topic": "x", "data": "y".repeat(70_000) })).await, "too_large");
    assert_eq!(a.refused("msg", json!({ "topic": "x".repeat(129), "data": 1 })).await, "too_large");
    let many: Vec<_> = (0..1025).map(|n| format!("p{n}")).collect();
    assert_eq!(a.refused("msg", json!({ "topic": "x", "data": 1, "to": many })).await, "too_large");
}

#[tokio::test(flavor = "multi_thread")]
async fn mesh_peers_find_each_other_and_nobody_else_hears() {
    let server = Server::start_with(|config| config.rooms.mode = RoomMode::Mesh).await;
    let tracks = json!({ "tracks": [{ "src": "mic", "mid": "" }, { "src": "camera", "mid": "" }] });
    let (mut a, to_a) = Wire::join(server.http(), "demo", tracks).await;
    assert_eq!((&to_a["mode"], to_a["own"].as_array().map(Vec::len)), (&json!("mesh"), Some(2)));
    let (mut b, to_b) = Wire::join(server.http(), "demo", json!({})).await;
    assert_eq!(to_b["peers"][0]["tracks"][1]["src"], "camera");
    let (mut c, _) = Wire::join(server.http(), "demo", json!({})).await;
    let desc = json!({ "type": "offer", "sdp": "v=0\r\n" });
    assert_eq!(b.ask("sig", json!({ "to": to_a["me"], "desc": desc, "epoch": 3 })).await["t"], "ok");
    let heard = a.event("sig").await;
    assert_eq!((&heard["from"], &heard["desc"], &heard["epoch"]), (&to_b["me"], &desc, &json!(3)));
    let cand = json!({ "candidate": "candidate:1 1 udp 1 192.0.2.1 9 typ host", "sdpMid": "0" });
    assert_eq!(a.ask("sig", json!({ "to": to_b["me"], "cand": cand })).await["t"], "ok");
    assert_eq!(b.event("sig").await["cand"], cand);
    assert_eq!(a.refused("sig", json!({ "to": "p999", "cand": cand })).await, "peer_not_found");
    assert_eq!(a.refused("sig", json!({ "to": to_b["me"] })).await, "bad_request");
    assert_eq!(a.refused("sig", json!({ "to": to_b["me"], "cand": 7 })).await, "invalid_candidate");
    let nonsense = json!({ "type": "offer", "sdp": "nonsense" });
    assert_eq!(a.refused("sig", json!({ "to": to_b["me"], "desc": nonsense })).await, "invalid_sdp");
    // An offer for the server is out of place here.
    assert_eq!(a.refused("offer", json!({ "epoch": 1, "sdp": "v=0" })).await, "sfu_disabled");
    assert_eq!(c.ask("msg", json!({ "topic": "last", "data": 0 })).await["t"], "ok");
    drop((a, b));
    let heard: Vec<_> = [c.event("peer").await, c.event("peer").await].map(|event| event["gone"].clone()).into();
    assert_eq!(heard, [true, true], "c heard of no signalling that was not for it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_moderator_mutes_and_only_a_moderator_unmutes() {
    let server = Server::start_with(|config| {
        config.rooms.mode = RoomMode::Mesh;
        config.rooms.guests = Guests::Moderate;
    })
    .await;
    let (mut a, to_a) = Wire::join(server.http(), "demo", json!({ "tracks": [{ "src": "mic", "mid": "" }] })).await;
    let track = to_a["own"][0].clone();
    let (mut b, _) = Wire::join(server.http(), "demo", json!({})).await;
    assert_eq!(a.ask("mute", json!({ "track": track, "muted": true })).await["t"], "ok");
    let heard = b.event("mute").await;
    assert_eq!((&heard["muted"], &heard["muted_by_moderator"]), (&json!(true), &json!(false)));
    assert_eq!(b.refused("mute", json!({ "track": track, "muted": false })).await, "track_not_found");
    assert_eq!(b.refused("mute", json!({ "track": "t999", "muted": false })).await, "track_not_found");
    assert_eq!(b.ask("mod", json!({ "action": "mute", "track": track, "muted": true })).await["t"], "ok");
    let heard = a.event("mute").await;
    assert_eq!((&heard["muted"], &heard["muted_by_moderator"]), (&json!(true), &json!(true)));
    assert_eq!(a.ask("mute", json!({ "track": track, "muted": false })).await["t"], "ok");
    let seen = server.ask("GET", "/v1/rooms/demo/tracks", None).await;
    assert_eq!(seen.body["tracks"][0]["muted"], true, "an own unmute does not lift a moderator's mute: {seen:?}");
    let path = format!("/v1/rooms/demo/participants/{}", to_a["me"].as_str().expect("an id"));
    assert_eq!(server.ask("PATCH", &path, Some(json!({ "muted": false }))).await.status, 204);
    let seen = server.ask("GET", "/v1/rooms/demo/tracks", None).await;
    assert_eq!(seen.body["tracks"][0]["muted_by_moderator"], false, "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn offers_that_cannot_be_answered_are_refused_with_their_reason() {
    let server = Server::start().await;
    let mut wire = Wire::open(server.http(), "demo").await;
    assert_eq!(wire.try_join(json!({ "sdp": "nonsense" })).await["code"], "invalid_sdp");
    assert_eq!(wire.try_join(json!({ "sdp": "v=0", "sdpz": "x" })).await["code"], "bad_request");
    assert_eq!(wire.try_join(json!({ "sdpz": "!" })).await["code"], "bad_request");
    assert_eq!(wire.try_join(json!({})).await["t"], "ok", "a refused join may be tried again");
    assert_eq!(wire.refused("offer", json!({ "epoch": 7, "sdp": "v=0\r\n" })).await, "stale_epoch");
    assert_eq!(wire.refused("offer", json!({ "epoch": 1, "sdp": "nonsense" })).await, "invalid_sdp");
    let tracks = json!([{ "mid": "7", "src": "mic" }]);
    let nowhere = json!({ "epoch": 1, "sdp": "v=0\r\n", "tracks": tracks });
    assert_eq!(wire.refused("offer", nowhere).await, "bad_kind", "a track on an m-line that is not there");
}

/// An offer with receiving video m-lines of one codec, as a browser would make it.
fn offer(slots: usize, codec: &str) -> String {
    let fingerprint = ["AB"; 32].join(":");
    let mids: Vec<_> = (0..slots).map(|mid| mid.to_string()).collect();
    let mut sdp = format!("v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE {}\r\n", mids.join(" "));
    for mid in mids {
        sdp += &format!(
            "m=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=rtcp:9 IN IP4 0.0.0.0\r\na=ice-ufrag:abcd\r\n\
             a=ice-pwd:abcdefghijklmnopqrstuvwx\r\na=fingerprint:sha-256 {fingerprint}\r\na=setup:actpass\r\n\
             a=mid:{mid}\r\na=recvonly\r\na=rtcp-mux\r\na=rtpmap:96 {codec}/90000\r\n"
        );
    }
    sdp
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offer_is_answered_with_slots_and_candidates() {
    let server = Server::start().await;
    let mut wire = Wire::open(server.http(), "demo").await;
    assert_eq!(wire.try_join(json!({ "sdp": offer(1, "H265") })).await["code"], "codec_unsupported");
    assert_eq!(wire.try_join(json!({ "sdp": offer(30, "VP8") })).await["code"], "slot_limit");
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    packed.write_all(offer(2, "VP8").as_bytes()).expect("packed");
    let packed = STANDARD.encode(packed.finish().expect("packed"));
    let ok = wire.try_join(json!({ "sdpz": packed })).await;
    assert_eq!((&ok["t"], &ok["epoch"], &ok["pc"]), (&json!("ok"), &json!(1), &json!("main")), "{ok}");
    assert_eq!(ok["slots"].as_array().map(Vec::len), Some(2), "{ok}");
    let answer = ok["sdp"].as_str().expect("an answer");
    let port = format!(" {} typ host", server.running.addresses().media[0].port());
    assert!(answer.contains("a=ice-lite") && answer.contains(&port), "{answer}");
    let again = wire.ask("offer", json!({ "epoch": 2, "sdp": offer(3, "VP8") })).await;
    assert_eq!((&again["epoch"], again["slots"].as_array().map(Vec::len)), (&json!(2), Some(3)), "{again}");
    assert_eq!(wire.refused("offer", json!({ "epoch": 2, "sdp": offer(3, "VP8") })).await, "stale_epoch");
}
