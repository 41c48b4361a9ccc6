//! Webhooks, as a service of the operator's gets them: every state, in order, signed, again after a failure and a restart.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tests::recorder_link::{Link, folder, wait_for};
use tests::server::Server;
use tests::webhook_receiver::{Received, Receiver, SECRET};
use tests::wire::Wire;
use turn_server::config::Config;

use super::until;

const PATH: &str = "/v1/rooms/demo/recording";

fn tells(receiver: &Receiver) -> impl FnOnce(&mut Config) + use<> {
    let url = receiver.url();
    move |config| {
        config.webhooks.urls = vec![url];
        config.webhooks.secret = SECRET.into();
    }
}

async fn metric(server: &Server, name: &str) -> f64 {
    let text = server.request("GET", "/metrics").send().await.expect("an answer").text().await.expect("text");
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
    line.expect("the metric")
}

/// Starts the recording of a room with Ada in it.
async fn begin(server: &Server, link: &mut Link) -> (Value, String) {
    assert_eq!(server.ask("POST", PATH, Some(json!({ "tags": { "case": "42" } }))).await.status, 201);
    let job = link.hear().await;
    let id = job["recording"].as_str().expect("an id").to_owned();
    link.state(&id, "recording").await;
    wait_for(server, &id, "recording").await;
    (job, id)
}

/// Stops it and has its file stored.
async fn end(server: &Server, link: &mut Link, storage: &Path, job: &Value) {
    assert_eq!(server.ask("DELETE", PATH, None).await.status, 202);
    assert_eq!(link.hear().await["t"], "stop");
    link.finish(storage, job, b"media").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_state_is_told_once_in_order() {
    let mut receiver = Receiver::start().await;
    let server = Server::start_with(tells(&receiver)).await;
    let storage = server.folder.path().join("recordings");
    let (_ada, _) = Wire::join(server.http(), "demo", json!({ "name": "Ada" })).await;
    let mut link = Link::open(&server, "rec1", 2, &[]).await;
    let (job, id) = begin(&server, &mut link).await;
    for (verb, state) in [("pause", "paused"), ("resume", "recording")] {
        assert_eq!(server.ask("POST", &format!("{PATH}/{verb}"), None).await.status, 202);
        assert_eq!(link.hear().await["t"], verb);
        link.state(&id, state).await;
        wait_for(&server, &id, state).await;
    }
    end(&server, &mut link, &storage, &job).await;
    wait_for(&server, &id, "ready").await;
    assert_eq!(server.ask("DELETE", &format!("/v1/recordings/{id}"), None).await.status, 204);
    let mut all: Vec<Received> = Vec::new();
    for kind in ["started", "paused", "resumed", "stopped", "ready", "deleted"] {
        let next = receiver.next().await;
        assert_eq!(next.kind(), format!("recording.{kind}"), "{next:?}");
        let data = &next.body["data"];
        assert_eq!(
            (&data["id"], &data["room"], &data["options"]["tags"]["case"]),
            (&json!(id), &json!("demo"), &json!("42"))
        );
        assert!(
            next.body["timestamp"].as_str().is_some_and(|at| at.starts_with("20") && at.ends_with('Z')),
            "{next:?}"
        );
        all.push(next);
    }
    let states: Vec<_> = all.iter().map(|one| one.body["data"]["state"].clone()).collect();
    assert_eq!(states, ["recording", "paused", "recording", "finalising", "ready", "ready"]);
    assert_eq!(all[0].body["data"]["participants"][0]["name"], "Ada");
    // Files, but no links: they would be over before a receiver that was away reads them.
    let file = &all[4].body["data"]["files"][0];
    assert_eq!((&file["name"], &file["url"]), (&json!("p1-av-rec1.webm"), &Value::Null));
    all.dedup_by_key(|one| one.id.clone());
    assert_eq!(all.len(), 6, "each has an id of its own");
    assert!(receiver.is_quiet());
    // The last answer is on its way.
    until("all are delivered", async || metric(&server, "tern_webhooks_waiting").await == 0.0).await;
    assert_eq!(metric(&server, "tern_webhooks_delivered_total").await, 6.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_fails_is_told_again_and_nothing_overtakes() {
    let mut receiver = Receiver::start().await;
    // A redirect is a failure, too: nobody follows it.
    receiver.answer(&[500]);
    let server = Server::start_with(tells(&receiver)).await;
    let (_ada, _) = Wire::join(server.http(), "demo", json!({})).await;
    let mut link = Link::open(&server, "rec1", 2, &[]).await;
    let (_, id) = begin(&server, &mut link).await;
    let refused = receiver.next().await;
    assert_eq!(refused.kind(), "recording.started");
    let report = json!({ "t": "state", "recording": id, "state": "failed", "code": "recording_failed" });
    link.say(report).await;
    wait_for(&server, &id, "failed").await;
    let again = receiver.next().await;
    assert_eq!((again.kind(), &again.id), ("recording.started", &refused.id), "the same one, not the next");
    assert_eq!(receiver.next().await.kind(), "recording.stopped");
    let failed = receiver.next().await;
    assert_eq!((failed.kind(), &failed.body["data"]["error"]), ("recording.failed", &json!("recording_failed")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_not_followed() {
    let mut receiver = Receiver::start().await;
    receiver.answer(&[307]);
    let server = Server::start_with(tells(&receiver)).await;
    let (_ada, _) = Wire::join(server.http(), "demo", json!({})).await;
    let mut link = Link::open(&server, "rec1", 2, &[]).await;
    begin(&server, &mut link).await;
    let first = receiver.next().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(receiver.is_quiet(), "nobody went elsewhere");
    assert_eq!(receiver.next().await.id, first.id, "it is tried again where it was meant for");
}

/// What was on when a server crashed is over, and nobody else says so.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_ends_what_was_on() {
    let mut receiver = Receiver::start().await;
    let server = Server::start_with(tells(&receiver)).await;
    let storage = server.folder.path().join("recordings");
    let (ada, _) = Wire::join(server.http(), "demo", json!({})).await;
    let mut link = Link::open(&server, "rec1", 2, &[]).await;
    let (job, id) = begin(&server, &mut link).await;
    let started = receiver.next().await;
    assert_eq!(started.kind(), "recording.started");
    let written = folder(&storage, &job).join("recording.json");
    until("it is written down", async || {
        std::fs::read_to_string(&written).is_ok_and(|text| text.contains("\"recording\""))
    })
    .await;
    drop((ada, link));
    let Server { running, folder, .. } = server;
    drop(running);
    let server = Server::start_in(folder, tells(&receiver)).await;
    let mut stopped = receiver.next().await;
    if stopped.id == started.id {
        // The crash came before it was noted that it had been taken.
        stopped = receiver.next().await;
    }
    assert_eq!((stopped.kind(), &stopped.body["data"]["id"]), ("recording.stopped", &json!(id)));
    let mut link = Link::open(&server, "rec1", 2, &[&id]).await;
    link.finish(&storage, &job, b"media").await;
    assert_eq!(receiver.next().await.kind(), "recording.ready");
}

/// Each URL has its own eight, and waits for nobody else's.
#[tokio::test(flavor = "multi_thread")]
async fn receivers_that_hang_hold_up_no_other() {
    // One more than may be under way at a URL.
    const ROOMS: usize = 9;
    let mut receiver = Receiver::start().await;
    // They are connected to, and nobody answers.
    let mut hanging = Vec::new();
    for _ in 0..2 {
        hanging.push(tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port"));
    }
    let urls = hanging.iter().map(|listener| format!("http://{}/", listener.local_addr().expect("an address")));
    let urls: Vec<_> = urls.chain([receiver.url()]).collect();
    let server = Server::start_with(|config| {
        config.webhooks.urls = urls;
        config.webhooks.secret = SECRET.into();
    })
    .await;
    let mut link = Link::open(&server, "rec1", 100, &[]).await;
    let mut people = Vec::new();
    for n in 0..ROOMS {
        people.push(Wire::join(server.http(), &format!("room{n}"), json!({})).await);
    }
    let begun = tokio::time::Instant::now();
    for n in 0..ROOMS {
        assert_eq!(server.ask("POST", &format!("/v1/rooms/room{n}/recording"), None).await.status, 201);
        let id = link.hear().await["recording"].as_str().expect("an id").to_owned();
        link.state(&id, "recording").await;
    }
    for _ in 0..ROOMS {
        assert_eq!(receiver.next().await.kind(), "recording.started");
    }
    assert!(begun.elapsed() < Duration::from_secs(9), "{:?}: the hanging ones were waited for", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_loses_none() {
    let mut receiver = Receiver::start().await;
    receiver.answer(&[503]);
    let server = Server::start_with(tells(&receiver)).await;
    let storage = server.folder.path().join("recordings");
    let (ada, _) = Wire::join(server.http(), "demo", json!({})).await;
    let mut link = Link::open(&server, "rec1", 2, &[]).await;
    let (job, id) = begin(&server, &mut link).await;
    let refused = receiver.next().await;
    end(&server, &mut link, &storage, &job).await;
    wait_for(&server, &id, "ready").await;
    // The first one is tried again in five seconds; until then all three wait, on disk.
    let waiting = server.folder.path().join("state/webhooks");
    let files = || std::fs::read_dir(&waiting).expect("a folder").count();
    let until = tokio::time::Instant::now() + Duration::from_secs(3);
    while files() < 3 {
        assert!(tokio::time::Instant::now() < until, "{} on disk", files());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    drop((ada, link));
    let Server { running, folder, .. } = server;
    // Not in order: as if it was killed.
    drop(running);
    let server = Server::start_in(folder, tells(&receiver)).await;
    let first = receiver.next().await;
    assert_eq!((first.kind(), &first.id), ("recording.started", &refused.id));
    assert_eq!(receiver.next().await.kind(), "recording.stopped");
    assert_eq!(receiver.next().await.kind(), "recording.ready");
    let until = tokio::time::Instant::now() + Duration::from_secs(3);
    while files() > 0 {
        assert!(tokio::time::Instant::now() < until, "{} on disk", files());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(metric(&server, "tern_webhooks_delivered_total").await, 3.0);
}
