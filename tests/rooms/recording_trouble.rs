//! Recordings when something is not as it should be: servers that crash, storage that does not give everything, recorders that
//! do not do what they were asked to, rooms that cannot be recorded, and people who may not see everything.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use service::storage::{ContentType, Store};
use tests::fault_proxy::{Fault, FaultProxy, Operation};
use tests::recorder_link::{Link, folder, wait_for};
use tests::s3::S3Server;
use tests::server::Server;
use tests::wire::Wire;
use turn_server::config::{Guests, RoomMode, TlsMode};

use super::until;

const PATH: &str = "/v1/rooms/demo/recording";

/// Starts recording the room; the job goes to this link.
async fn begin(server: &Server, link: &mut Link) -> (Value, String) {
    let started = server.ask("POST", PATH, Some(json!({}))).await;
    assert_eq!(started.status, 201, "{started:?}");
    let job = link.hear().await;
    assert_eq!(job["t"], "job", "{job}");
    let id = job["recording"].as_str().expect("an id").to_owned();
    (job, id)
}

/// The same, and it records.
async fn recorded(server: &Server, link: &mut Link) -> (Value, String) {
    let (job, id) = begin(server, link).await;
    link.state(&id, "recording").await;
    wait_for(server, &id, "recording").await;
    (job, id)
}

async fn stop(server: &Server, link: &mut Link) {
    assert_eq!(server.ask("DELETE", PATH, None).await.status, 202);
    assert_eq!(link.hear().await["t"], "stop");
}

/// Stores a file and its segment as a recorder would; what it tells of them.
async fn put_part(store: &Store, link: &Link, job: &Value, media: &'static str) -> Value {
    let (segment, lies) = (link.segment(job, media.len()), job["folder"].as_str().expect("a folder"));
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let key = format!("{lies}/{}", text(&segment["files"][0]["name"]));
    store.put(&key, bytes::Bytes::from(media), ContentType::WEBM).await.expect("put");
    let key = format!("{lies}/segments/{}-0.json", text(&segment["recorder"]));
    store.put(&key, bytes::Bytes::from(segment.to_string()), ContentType::JSON).await.expect("put");
    segment
}

async fn ids(server: &Server, bearer: &str) -> Vec<String> {
    let listed = server.ask_as(bearer, "GET", "/v1/recordings", None).await;
    let all = listed.body["recordings"].as_array().cloned().unwrap_or_default();
    all.iter().map(|one| one["id"].as_str().expect("an id").to_owned()).collect()
}

fn manifest(place: &str, id: &str) -> String {
    json!({ "v": 1, "id": id, "room": "demo", "room_id": "room1", "folder": format!("{place}/{id}"), "state": "failed",
        "started_ms": 1, "ended_ms": 2, "segments": [] })
    .to_string()
}

/// Ends a server as a crash does, and starts another one on what it left.
async fn crash(server: Server) -> Server {
    let Server { running, folder, .. } = server;
    drop(running);
    Server::start_in(folder, |_| {}).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lies_in_storage_and_is_not_ours_stops_nothing() {
    let home = tempfile::tempdir().expect("a folder");
    for (place, text) in [
        ("room1/r1", manifest("room1", "r1")),
        ("some one's/r2", manifest("some one's", "r2")),
        // A copy: what is deleted by it would be the original.
        ("copy/r3", manifest("room1", "r3")),
        ("torn/r4", "{".into()),
    ] {
        let place = home.path().join("recordings").join(place);
        std::fs::create_dir_all(&place).expect("a folder");
        std::fs::write(place.join("recording.json"), text).expect("written");
    }
    let server = Server::start_in(home, |_| {}).await;
    wait_for(&server, "r1", "failed").await;
    let (_ada, _) = Wire::join(server.http(), "demo", json!({})).await;
    let mut link = Link::open(&server, "rec1", 2, &[]).await;
    let (job, id) = recorded(&server, &mut link).await;
    stop(&server, &mut link).await;
    link.finish(&server.folder.path().join("recordings"), &job, b"media").await;
    wait_for(&server, &id, "ready").await;
    assert_eq!(ids(&server, tests::server::API_KEY).await, ["r1".to_owned(), id]);
}

/// One object in cold storage, or of somebody else.
#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_that_storage_does_not_give_stops_nothing() {
    let bucket = tempfile::tempdir().expect("a folder");
    let s3 = S3Server::start(bucket.path()).await.expect("serves");
    let proxy = FaultProxy::start(s3.address()).await.expect("starts");
    let config = s3.config("tests");
    let store = Store::open(&config).expect("opens");
    store
        .put("room1/r1/recording.json", bytes::Bytes::from(manifest("room1", "r1")), ContentType::JSON)
        .await
        .expect("put");
    proxy.order(Operation::Get, Fault::Status(403), 1000);
    let address = proxy.address();
    let server = Server::start_with(|server| {
        server.storage = config;
        server.storage.endpoint = format!("http://{address}");
    })
    .await;
    let (_ada, _) = Wire::join(server.http(), "demo", json!({})).await;
    let mut link = Link::open(&server, "rec1", 2, &[]).await;
    let (job, id) = recorded(&server, &mut link).await;
    stop(&server, &mut link).await;
    let segment = put_part(&store, &link, &job, "media").await;
    link.say(json!({ "t": "state", "recording": id, "state": "ready", "segment": segment })).await;
    wait_for(&server, &id, "ready").await;
    // It is asked for again, and comes in time.
    proxy.heal();
    wait_for(&server, "r1", "failed").await;
}

/// A part of it comes in before its manifest could be read, which says for how long it is kept.
#[tokio::test(flavor = "multi_thread")]
async fn a_part_does_not_replace_a_manifest_that_was_not_read() {
    let bucket = tempfile::tempdir().expect("a folder");
    let s3 = S3Server::start(bucket.path()).await.expect("serves");
    let proxy = FaultProxy::start(s3.address()).await.expect("starts");
    let config = s3.config("tests");
    let store = Store::open(&config).expect("opens");
    let mut kept: Value = serde_json::from_str(&manifest("room1", "r1")).expect("JSON");
    (kept["keep_days"], kept["state"]) = (json!(0), json!("uploading"));
    kept["options"] = json!({ "tags": { "case": "42" } });
    store.put("room1/r1/recording.json", bytes::Bytes::from(kept.to_string()), ContentType::JSON).await.expect("put");
    proxy.order(Operation::Get, Fault::Status(403), 1000);
    let address = proxy.address();
    let server = Server::start_with(|server| {
        server.storage = config;
        server.storage.endpoint = format!("http://{address}");
    })
    .await;
    let mut link = Link::open(&server, "rec1", 2, &["r1"]).await;
    assert_eq!(link.hear().await["t"], "unknown");
    let job = json!({ "recording": "r1", "room": "demo", "room_id": "room1", "folder": "room1/r1", "started_ms": 1 });
    let segment = link.segment(&job, 5);
    store.put("room1/r1/p1-av-rec1.webm", bytes::Bytes::from("media"), ContentType::WEBM).await.expect("put");
    let part = bytes::Bytes::from(segment.to_string());
    store.put("room1/r1/segments/rec1-0.json", part, ContentType::JSON).await.expect("put");
    let before = proxy.count(Operation::Get);
    link.say(json!({ "t": "state", "recording": "r1", "state": "ready", "segment": segment })).await;
    until("its manifest is asked for", async || proxy.count(Operation::Get) > before).await;
    assert_eq!(server.ask("GET", "/v1/recordings/r1", None).await.status, 404);
    proxy.heal();
    let ready = wait_for(&server, "r1", "ready").await;
    assert_eq!((&ready["keep_days"], &ready["options"]["tags"]["case"]), (&json!(0), &json!("42")), "{ready}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_crashed_server_left_is_shown_as_it_is() {
    let server = Server::start().await;
    let storage = server.folder.path().join("recordings");
    let (ada, _) = Wire::join(server.http(), "demo", json!({ "name": "Ada" })).await;
    let mut link = Link::open(&server, "rec1", 2, &[]).await;
    let (job, id) = recorded(&server, &mut link).await;
    let written = folder(&storage, &job).join("recording.json");
    until("it is on in storage", async || {
        std::fs::read_to_string(&written).is_ok_and(|text| text.contains("\"recording\""))
    })
    .await;
    drop((ada, link));
    let server = crash(server).await;
    let (_bob, _) = Wire::join(server.http(), "demo", json!({ "name": "Bob" })).await;
    let left = wait_for(&server, &id, "finalising").await;
    assert_eq!((&left["participants"], &left["duration_ms"]), (&json!([]), &json!(0)), "{left}");
    let mut link = Link::open(&server, "rec1", 2, &[&id]).await;
    assert_eq!(link.hear().await, json!({ "t": "unknown", "recording": id }));
    let progress = json!({ "bytes": 1000, "stored": 250, "participants": 1 });
    link.say(json!({ "t": "state", "recording": id, "state": "uploading", "progress": progress })).await;
    let left = wait_for(&server, &id, "uploading").await;
    assert_eq!((&left["progress"]["percent"], &left["progress"]["participants"]), (&json!(25), &json!(0)), "{left}");
    link.finish(&storage, &job, b"media").await;
    let ready = wait_for(&server, &id, "ready").await;
    assert_eq!((&ready["duration_ms"], &ready["progress"]), (&json!(1000), &Value::Null), "{ready}");
}

/// One part of it is in storage, another recorder has the rest: it is ready when that is there, too, whoever was restarted.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_crashed_server_left_is_ready_with_its_last_part() {
    let server = Server::start().await;
    let storage = server.folder.path().join("recordings");
    let (ada, _) = Wire::join(server.http(), "demo", json!({})).await;
    let mut first = Link::open(&server, "rec1", 9, &[]).await;
    let (job, id) = recorded(&server, &mut first).await;
    let mut second = Link::open(&server, "rec2", 1, &[]).await;
    first.finish(&storage, &job, b"first").await;
    drop(first);
    assert_eq!(second.hear().await["t"], "job");
    second.state(&id, "recording").await;
    let written = folder(&storage, &job).join("recording.json");
    until("it is on in storage", async || {
        std::fs::read_to_string(&written).is_ok_and(|text| text.contains("\"recording\""))
    })
    .await;
    drop((ada, second));
    let server = crash(server).await;
    wait_for(&server, &id, "finalising").await;
    let mut second = Link::open(&server, "rec2", 1, &[&id]).await;
    assert_eq!(second.hear().await["t"], "unknown");
    second.state(&id, "uploading").await;
    wait_for(&server, &id, "uploading").await;
    assert_eq!(server.ask("DELETE", &format!("/v1/recordings/{id}"), None).await.code(), "already_recording");
    second.finish(&storage, &job, b"second").await;
    assert_eq!(wait_for(&server, &id, "ready").await["size"], 11);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_deleted_stays_so_over_a_restart() {
    let server = Server::start().await;
    let storage = server.folder.path().join("recordings");
    let (ada, _) = Wire::join(server.http(), "demo", json!({})).await;
    let mut link = Link::open(&server, "rec1", 2, &[]).await;
    let (job, id) = recorded(&server, &mut link).await;
    stop(&server, &mut link).await;
    link.finish(&storage, &job, b"media").await;
    wait_for(&server, &id, "ready").await;
    assert_eq!(server.ask("DELETE", &format!("/v1/recordings/{id}"), None).await.status, 204);
    drop((ada, link));
    // A write of its manifest that everybody had given up came after the deletion.
    let lies = folder(&storage, &job);
    std::fs::create_dir_all(&lies).expect("a folder");
    let place = job["folder"].as_str().and_then(|folder| folder.strip_suffix(&format!("/{id}"))).expect("a folder");
    std::fs::write(lies.join("recording.json"), manifest(place, &id)).expect("written");
    let server = crash(server).await;
    until("it is gone again", async || !lies.join("recording.json").exists()).await;
    assert_eq!(server.ask("GET", &format!("/v1/recordings/{id}"), None).await.code(), "recording_not_found");
    // It had another part, which comes now.
    let mut late = Link::open(&server, "rec2", 2, &[&id]).await;
    assert_eq!(late.hear().await["t"], "unknown");
    late.finish(&storage, &job, b"late").await;
    until("its part is gone", async || {
        !lies.join("p1-av-rec2.webm").exists() && !lies.join("segments/rec2-0.json").exists()
    })
    .await;
    assert_eq!(server.ask("GET", &format!("/v1/recordings/{id}"), None).await.code(), "recording_not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_back_deleted_goes_as_soon_as_storage_lets_it() {
    let bucket = tempfile::tempdir().expect("a folder");
    let s3 = S3Server::start(bucket.path()).await.expect("serves");
    let proxy = FaultProxy::start(s3.address()).await.expect("starts");
    let config = s3.config("tests");
    let store = Store::open(&config).expect("opens");
    let address = proxy.address();
    let server = Server::start_with(|server| {
        server.storage = config;
        server.storage.endpoint = format!("http://{address}");
    })
    .await;
    let (_ada, _) = Wire::join(server.http(), "demo", json!({})).await;
    let mut link = Link::open(&server, "rec1", 2, &[]).await;
    let (job, id) = recorded(&server, &mut link).await;
    stop(&server, &mut link).await;
    let report = |segment: Value| json!({ "t": "state", "recording": id, "state": "ready", "segment": segment });
    link.say(report(put_part(&store, &link, &job, "media").await)).await;
    wait_for(&server, &id, "ready").await;
    assert_eq!(server.ask("DELETE", &format!("/v1/recordings/{id}"), None).await.status, 204);
    // A run of which nobody told is there, too.
    let late = put_part(&store, &link, &job, "late").await;
    let other = format!("{}/segments/rec1-5000.json", job["folder"].as_str().expect("a folder"));
    store.put(&other, bytes::Bytes::from("{}"), ContentType::JSON).await.expect("put");
    proxy.order(Operation::Delete, Fault::Status(403), 1);
    link.say(report(late)).await;
    until("it is gone", async || store.list("").await.is_ok_and(|objects| objects.is_empty())).await;
    assert_eq!(proxy.suffered(), 1);
}

/// Who brings in an old part says nothing of who records now.
#[tokio::test(flavor = "multi_thread")]
async fn the_light_stays_on_until_the_last_one_has_stopped() {
    let server = Server::start().await;
    let (mut ada, _) = Wire::join(server.http(), "demo", json!({})).await;
    let mut first = Link::open(&server, "rec1", 9, &[]).await;
    let (job, id) = recorded(&server, &mut first).await;
    let mut second = Link::open(&server, "rec2", 1, &[]).await;
    drop(first);
    assert_eq!(second.hear().await["t"], "job");
    second.state(&id, "recording").await;
    second.settle().await;
    let mut first = Link::open(&server, "rec1", 9, &[&id]).await;
    assert_eq!(first.hear().await["t"], "unknown");
    stop(&server, &mut second).await;
    first.state(&id, "uploading").await;
    first.settle().await;
    assert_eq!(server.ask("GET", &format!("/v1/recordings/{id}"), None).await.body["state"], "recording");
    // Nor does it if it has nothing any more.
    drop(first);
    let mut first = Link::open(&server, "rec1", 9, &[]).await;
    first.settle().await;
    assert_eq!(server.ask("GET", &format!("/v1/recordings/{id}"), None).await.body["state"], "recording");
    second.state(&id, "finalising").await;
    while !ada.event("room").await["room"]["recording"].is_null() {}
    second.finish(&server.folder.path().join("recordings"), &job, b"media").await;
    wait_for(&server, &id, "ready").await;
}

/// Two recordings of a room are stopping, one after the other: each may write until its recorder says that it does not.
#[tokio::test(flavor = "multi_thread")]
async fn the_light_of_a_recording_is_not_put_out_by_another() {
    let server = Server::start().await;
    let (mut ada, _) = Wire::join(server.http(), "demo", json!({})).await;
    let mut link = Link::open(&server, "rec1", 9, &[]).await;
    let (_, old) = recorded(&server, &mut link).await;
    stop(&server, &mut link).await;
    let (_, new) = recorded(&server, &mut link).await;
    stop(&server, &mut link).await;
    link.state(&old, "finalising").await;
    wait_for(&server, &old, "finalising").await;
    let room = server.ask("GET", "/v1/rooms/demo", None).await.body;
    assert_eq!(room["recording"]["id"], new, "{room}");
    link.state(&new, "finalising").await;
    while !ada.event("room").await["room"]["recording"].is_null() {}
}

#[tokio::test(flavor = "multi_thread")]
async fn mesh_rooms_are_not_recorded() {
    let server = Server::start_with(|config| {
        config.rooms.mode = RoomMode::Mesh;
        config.recording.automatic = true;
    })
    .await;
    let (_ada, _) = Wire::join(server.http(), "demo", json!({})).await;
    let mut link = Link::open(&server, "rec1", 9, &[]).await;
    let refused = server.ask("POST", PATH, None).await;
    assert_eq!((refused.status, refused.code()), (409, "sfu_disabled"));
    assert_eq!(server.ask("POST", "/v1/rooms", Some(json!({ "name": "sfu", "mode": "sfu" }))).await.status, 201);
    let (_bob, _) = Wire::join(server.http(), "sfu", json!({})).await;
    // The only job, and the one of the mesh room would be as old.
    assert_eq!(link.hear().await["room"], "sfu");
    link.settle().await;
    assert_eq!(ids(&server, tests::server::API_KEY).await.len(), 1);
}

/// Nobody was ever there, or the last one left long ago: both have as long to come as a room outlives its last participant.
#[tokio::test(flavor = "multi_thread")]
async fn a_recording_in_an_empty_room_waits_for_somebody() {
    let server = Server::start_with(|config| config.rooms.empty_timeout_s = 2).await;
    assert_eq!(server.ask("POST", "/v1/rooms", Some(json!({ "name": "demo" }))).await.status, 201);
    let mut link = Link::open(&server, "rec1", 9, &[]).await;
    for (round, was_there) in [("nobody was there", false), ("somebody was", true)] {
        if was_there {
            let (mut ada, _) = Wire::join(server.http(), "demo", json!({})).await;
            assert_eq!(ada.ask("bye", json!({})).await["t"], "ok");
            drop(ada);
            // Longer ago than a room outlives its last participant.
            tokio::time::sleep(Duration::from_millis(2100)).await;
        }
        let before = Instant::now();
        let (_, id) = begin(&server, &mut link).await;
        let after = Instant::now();
        link.state(&id, "recording").await;
        assert_eq!(link.hear().await, json!({ "t": "stop", "recording": id }));
        // It began between the two.
        let (longest, shortest) = (before.elapsed(), after.elapsed());
        let is_due = longest >= Duration::from_secs(2) && shortest < Duration::from_secs(6);
        assert!(is_due, "{round}: {shortest:?} to {longest:?}");
        link.say(json!({ "t": "state", "recording": id, "state": "failed", "code": "recording_failed" })).await;
        wait_for(&server, &id, "failed").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_ends_a_recording_at_once_does_not_get_it_back_at_once() {
    let server = Server::start().await;
    let (_ada, _) = Wire::join(server.http(), "demo", json!({})).await;
    let mut link = Link::open(&server, "rec1", 9, &[]).await;
    assert_eq!(server.ask("POST", PATH, Some(json!({ "max_duration_s": 60 }))).await.status, 201);
    let job = link.hear().await;
    assert!(job["ends_in_ms"].as_u64().is_some_and(|ms| (55_000..=60_000).contains(&ms)), "{job}");
    let id = job["recording"].as_str().expect("an id").to_owned();
    link.state(&id, "recording").await;
    // As a recorder whose disk does not take anything.
    link.state(&id, "finalising").await;
    link.say(json!({ "t": "capacity", "capacity": 9 })).await;
    let ended = Instant::now();
    let again = link.hear().await;
    let (rested, left) = (ended.elapsed(), again["ends_in_ms"].as_u64().expect("a limit"));
    assert_eq!((&again["t"], &again["again"]), (&json!("job"), &json!(true)));
    assert!((4.0..9.0).contains(&rested.as_secs_f64()), "{rested:?}");
    assert!(left <= 56_000, "{left}");
}

/// Stopped by hand it does not begin again while somebody is there; where nobody published anything nothing failed.
#[tokio::test(flavor = "multi_thread")]
async fn an_automatic_recording_begins_again_with_the_next_people() {
    let server = Server::start_with(|config| {
        config.recording.automatic = true;
        config.rooms.empty_timeout_s = 1;
    })
    .await;
    assert_eq!(server.ask("POST", "/v1/rooms", Some(json!({ "name": "demo" }))).await.status, 201);
    let (mut ada, _) = Wire::join(server.http(), "demo", json!({})).await;
    let mut link = Link::open(&server, "rec1", 9, &[]).await;
    let id = link.hear().await["recording"].as_str().expect("an id").to_owned();
    link.state(&id, "recording").await;
    stop(&server, &mut link).await;
    link.state(&id, "ready").await;
    wait_for(&server, &id, "failed").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(ids(&server, tests::server::API_KEY).await.len(), 1, "she wanted none");
    assert_eq!(ada.ask("bye", json!({})).await["t"], "ok");
    drop(ada);
    until("she has left", async || server.ask("GET", "/v1/rooms/demo", None).await.body["participants"] == 0).await;
    let (_bob, _) = Wire::join(server.http(), "demo", json!({})).await;
    let begun = Instant::now();
    assert_eq!(link.hear().await["t"], "job");
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn guests_see_what_they_may_be_in() {
    let server = Server::start_with(|config| config.rooms.guests = Guests::Join).await;
    let storage = server.folder.path().join("recordings");
    let mut link = Link::open(&server, "rec1", 9, &[]).await;
    let (_ada, ada) = Wire::join(server.http(), "demo", json!({})).await;
    let mut all = Vec::new();
    let (job, id) = recorded(&server, &mut link).await;
    stop(&server, &mut link).await;
    link.finish(&storage, &job, b"before").await;
    wait_for(&server, &id, "ready").await;
    all.insert(0, id);
    let (job, id) = recorded(&server, &mut link).await;
    // He comes while it is on, and may be in it.
    let (_bob, bob) = Wire::join(server.http(), "demo", json!({})).await;
    let token = server.token("demo", json!({ "identity": "eve" })).await;
    let (_eve, eve) = Wire::join(server.http(), "demo", json!({ "token": token })).await;
    let token = server.token("demo", json!({ "identity": "chair", "grants": { "moderate": true } })).await;
    let (_chair, chair) = Wire::join(server.http(), "demo", json!({ "token": token })).await;
    stop(&server, &mut link).await;
    link.finish(&storage, &job, b"since").await;
    wait_for(&server, &id, "ready").await;
    all.insert(0, id);
    for (who, seen) in [(&ada, 2), (&bob, 1), (&eve, 2), (&chair, 2)] {
        let bearer = who["api_token"].as_str().expect("a token");
        assert_eq!(ids(&server, bearer).await, all[..seen], "{who}");
        let read = server.ask_as(bearer, "GET", &format!("/v1/recordings/{}", all[1]), None).await;
        assert_eq!(read.status, if seen == 2 { 200 } else { 404 }, "{who}");
        let file = format!("/v1/recordings/{}/files/p1-av-rec1.webm", all[1]);
        assert_eq!(server.ask_as(bearer, "GET", &file, None).await.status, if seen == 2 { 200 } else { 404 }, "{who}");
    }
}

/// What is said in a room after a guest has left is none of the guest's business, nor does a restart bring it back.
#[tokio::test(flavor = "multi_thread")]
async fn a_guest_who_left_sees_nothing_any_more() {
    let server = Server::start_with(|config| config.rooms.guests = Guests::Join).await;
    let (mut ada, guest) = Wire::join(server.http(), "demo", json!({})).await;
    let (_bob, other) = Wire::join(server.http(), "demo", json!({})).await;
    let token = server.token("demo", json!({ "identity": "eve" })).await;
    let (mut eve, member) = Wire::join(server.http(), "demo", json!({ "token": token })).await;
    let bearer = |who: &Value| who["api_token"].as_str().expect("a token").to_owned();
    let (guest, other, member) = (bearer(&guest), bearer(&other), bearer(&member));
    let status = async |server: &Server, bearer: &str| {
        let answer = server.ask_as(bearer, "GET", "/v1/recordings", None).await;
        (answer.status, answer.code().to_owned())
    };
    let (fine, over) = ((200, String::new()), (410, "session_gone".to_owned()));
    for bearer in [&guest, &other, &member] {
        assert_eq!(status(&server, bearer).await, fine);
    }
    assert_eq!(ada.ask("bye", json!({})).await["t"], "ok");
    assert_eq!(eve.ask("bye", json!({})).await["t"], "ok");
    until("they have left", async || server.ask("GET", "/v1/rooms/demo", None).await.body["participants"] == 1).await;
    assert_eq!(status(&server, &guest).await, over);
    assert_eq!((status(&server, &other).await, status(&server, &member).await), (fine.clone(), fine.clone()));
    // Whoever comes first gets the same id as the one before the crash, and no more.
    let server = crash(server).await;
    let (_new, now) = Wire::join(server.http(), "demo", json!({})).await;
    assert_eq!(status(&server, &guest).await, over);
    assert_eq!(status(&server, &bearer(&now)).await, fine);
}

/// On a page that came over HTTPS browsers follow no link to plain HTTP.
#[tokio::test(flavor = "multi_thread")]
async fn an_encrypted_server_hands_out_no_plain_links() {
    let bucket = tempfile::tempdir().expect("a folder");
    let s3 = S3Server::start(bucket.path()).await.expect("serves");
    for tls in [TlsMode::Off, TlsMode::SelfSigned] {
        let config = s3.config("tests");
        let store = Store::open(&config).expect("opens");
        let server = Server::start_with(|server| (server.storage, server.api.tls) = (config, tls)).await;
        let (_ada, _) = Wire::join(server.http(), "demo", json!({})).await;
        let mut link = Link::open(&server, "rec1", 9, &[]).await;
        let (job, id) = recorded(&server, &mut link).await;
        stop(&server, &mut link).await;
        let segment = put_part(&store, &link, &job, "0123456789").await;
        link.say(json!({ "t": "state", "recording": id, "state": "ready", "segment": segment })).await;
        let ready = wait_for(&server, &id, "ready").await;
        let url = ready["files"][0]["url"].as_str().expect("a link");
        if tls == TlsMode::Off {
            assert!(url.starts_with(&format!("http://{}/", s3.address())), "{url}");
            continue;
        }
        let get = |url: String| server.request("GET", &url).header("range", "bytes=2-3");
        let part = get(format!("{url}&download")).send().await.expect("an answer");
        assert_eq!(part.status(), 206, "{url}");
        assert_eq!(part.headers()["content-range"], "bytes 2-3/10");
        let disposition = part.headers()["content-disposition"].to_str().expect("text").to_owned();
        assert!(disposition.starts_with("attachment; filename=\"demo-20"), "{disposition}");
        assert_eq!(part.bytes().await.expect("bytes"), "23");
        let bearer = server.ask("GET", &format!("/v1/recordings/{id}/files/p1-av-rec1.webm"), None).await;
        assert_eq!(bearer.status, 200, "no redirect: {bearer:?}");
    }
}
