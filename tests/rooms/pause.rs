//! Pausing a recording: who may, what the room and the recorder are told and in which order, and that it stays paused on
//! another recorder.

use serde_json::{Value, json};
use tests::recorder_link::{Link, wait_for};
use tests::server::Server;
use tests::wire::Wire;

const PATH: &str = "/v1/rooms/demo/recording";

async fn ask(server: &Server, verb: &str) -> u16 {
    server.ask("POST", &format!("{PATH}/{verb}"), None).await.status
}

async fn shown(wire: &mut Wire) -> Value {
    wire.event("room").await["room"]["recording"]["state"].clone()
}

/// A room with one in it and its recording, as its recorder has it.
async fn recorded(server: &Server) -> (Wire, Link, String) {
    let (mut ada, _) = Wire::join(server.http(), "demo", json!({})).await;
    let mut link = Link::open(server, "rec1", 2, &[]).await;
    let id = server.ask("POST", PATH, None).await.body["id"].as_str().expect("an id").to_owned();
    assert_eq!((&link.hear().await["t"], shown(&mut ada).await), (&json!("job"), json!("starting")));
    link.state(&id, "recording").await;
    assert_eq!(shown(&mut ada).await, "recording");
    (ada, link, id)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_light_says_paused_once_it_is_and_recording_before_it_is() {
    let server = Server::start().await;
    assert_eq!(server.ask("POST", &format!("{PATH}/pause"), None).await.code(), "not_recording");
    let (mut ada, mut link, id) = recorded(&server).await;
    assert_eq!(ask(&server, "pause").await, 202);
    assert_eq!(link.hear().await, json!({ "t": "pause", "recording": id }));
    // It is still writing as far as anybody knows.
    assert_eq!(server.ask("GET", PATH, None).await.body["state"], "recording");
    link.state(&id, "paused").await;
    assert_eq!(shown(&mut ada).await, "paused");
    let manifest = wait_for(&server, &id, "paused").await;
    assert_eq!(manifest["state"], "paused");
    // Once more is no error and says nothing more to the recorder: the next thing that it hears is the resume.
    assert_eq!(ask(&server, "pause").await, 202);
    assert_eq!(ask(&server, "resume").await, 202);
    assert_eq!(link.hear().await, json!({ "t": "resume", "recording": id }));
    // The room knew it before the recorder: what is queued for her comes before the reply to what she asks now.
    assert_eq!(ada.ask("bye", json!({})).await["t"], "ok");
    assert_eq!(shown(&mut ada).await, "recording");
}

#[tokio::test(flavor = "multi_thread")]
async fn moderators_pause_and_others_do_not() {
    let server = Server::start().await;
    let (_ada, _link, _) = recorded(&server).await;
    let guest = server.token("demo", json!({ "identity": "guest" })).await;
    let moderator = server.token("demo", json!({ "identity": "chair", "grants": { "moderate": true } })).await;
    for (bearer, status) in [("", 401), (guest.as_str(), 403), (moderator.as_str(), 202)] {
        for verb in ["pause", "resume"] {
            assert_eq!(server.ask_as(bearer, "POST", &format!("{PATH}/{verb}"), None).await.status, status, "{verb}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_recording_stays_paused_on_another_recorder() {
    let server = Server::start().await;
    let (mut ada, mut first, id) = recorded(&server).await;
    assert_eq!(ask(&server, "pause").await, 202);
    assert_eq!(first.hear().await["t"], "pause");
    first.state(&id, "paused").await;
    assert_eq!(shown(&mut ada).await, "paused");
    let mut second = Link::open(&server, "rec2", 1, &[]).await;
    drop(first);
    let job = second.hear().await;
    assert_eq!((&job["t"], &job["paused"], &job["again"]), (&json!("job"), &json!(true), &json!(true)));
    second.state(&id, "starting").await;
    second.state(&id, "paused").await;
    assert_eq!(ask(&server, "resume").await, 202);
    assert_eq!(second.hear().await["t"], "resume");
    // The light never said anything but `paused` in between.
    assert_eq!(shown(&mut ada).await, "recording");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recorder_that_missed_an_order_hears_it_again() {
    let server = Server::start().await;
    let (mut ada, mut link, id) = recorded(&server).await;
    assert_eq!(ask(&server, "pause").await, 202);
    assert_eq!(link.hear().await["t"], "pause");
    link.state(&id, "recording").await;
    assert_eq!(link.hear().await, json!({ "t": "pause", "recording": id }));
    link.state(&id, "paused").await;
    assert_eq!(shown(&mut ada).await, "paused");
    assert_eq!(ask(&server, "resume").await, 202);
    assert_eq!(link.hear().await["t"], "resume");
    link.state(&id, "paused").await;
    assert_eq!(link.hear().await, json!({ "t": "resume", "recording": id }));
    // She was told that it records, and never again that it does not.
    assert_eq!(shown(&mut ada).await, "recording");
    assert_eq!(server.ask("GET", PATH, None).await.body["state"], "recording");
}
