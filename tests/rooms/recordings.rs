//! The recorder link from the recorder's side, by hand: who gets the job, what the room sees, what ends up in storage.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use service::storage::StorageKind;
use tests::recorder_link::{Link, folder, wait_for};
use tests::server::Server;
use tests::wire::{DEADLINE, Wire};
use turn_server::config::Guests;

#[tokio::test(flavor = "multi_thread")]
async fn a_room_is_recorded_and_its_file_downloaded() {
    let server = Server::start_with(|config| config.rooms.guests = Guests::Moderate).await;
    let storage = server.folder.path().join("recordings");
    let (mut ada, ok) = Wire::join(server.http(), "demo", json!({})).await;
    let token = ok["api_token"].as_str().expect("a token").to_owned();
    let path = "/v1/rooms/demo/recording";
    assert_eq!(server.ask_as(&token, "POST", path, None).await.code(), "no_recorder");
    assert_eq!(server.ask_as(&token, "GET", path, None).await.code(), "not_recording");
    assert_eq!(server.ask_as(&token, "DELETE", path, None).await.code(), "not_recording");
    let mut link = Link::open(&server, "rec1", 2, &[]).await;
    let started = server.ask_as(&token, "POST", path, None).await;
    assert_eq!((started.status, &started.body["state"]), (201, &json!("starting")), "{started:?}");
    // The room is told before the recorder is.
    assert_eq!(ada.event("room").await["room"]["recording"]["state"], "starting");
    let job = link.hear().await;
    assert_eq!((&job["t"], &job["room"], &job["recording"]), (&json!("job"), &json!("demo"), &started.body["id"]));
    assert_eq!(server.ask_as(&token, "POST", path, None).await.code(), "already_recording");
    // The job's token lets the recorder in, unseen.
    let (mut recorder, inside) = Wire::join(server.http(), "demo", json!({ "token": job["token"] })).await;
    assert_eq!((&inside["grants"]["hidden"], &inside["grants"]["recorder"]), (&json!(true), &json!(true)));
    let id = job["recording"].as_str().expect("an id").to_owned();
    link.state(&id, "recording").await;
    assert_eq!(ada.event("room").await["room"]["recording"]["state"], "recording");
    assert_eq!(server.ask_as(&token, "GET", path, None).await.body["state"], "recording");
    let deleted = server.ask("DELETE", &format!("/v1/recordings/{id}"), None).await;
    assert_eq!((deleted.status, deleted.code()), (409, "already_recording"));
    assert_eq!(server.ask_as(&token, "DELETE", path, None).await.status, 202);
    assert_eq!(link.hear().await, json!({ "t": "stop", "recording": id }));
    let file: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    link.finish(&storage, &job, &file).await;
    assert_eq!(ada.event("room").await["room"]["recording"], Value::Null);
    assert_eq!(recorder.ask("bye", json!({})).await["t"], "ok");
    let ready = wait_for(&server, &id, "ready").await;
    let manifest = std::fs::read_to_string(folder(&storage, &job).join("recording.json")).expect("a manifest");
    let manifest: Value = serde_json::from_str(&manifest).expect("JSON");
    assert_eq!((&manifest["state"], &manifest["segments"][0]["recorder"]), (&json!("ready"), &json!("rec1")));
    download(&server, &token, &id, ready["files"][0]["url"].as_str().expect("a link"), &file).await;
    // After a restart the index is what the manifests say.
    drop((ada, recorder, link));
    let Server { running, folder: kept, .. } = server;
    running.drain(Duration::from_secs(5)).await;
    let server = Server::start_in(kept, |_| {}).await;
    wait_for(&server, &id, "ready").await;
    assert_eq!(server.ask("DELETE", &format!("/v1/recordings/{id}"), None).await.status, 204);
    assert_eq!(server.ask("GET", &format!("/v1/recordings/{id}"), None).await.code(), "recording_not_found");
    assert!(!folder(&storage, &job).join("recording.json").exists());
}

async fn download(server: &Server, token: &str, id: &str, link: &str, file: &[u8]) {
    let get = |path: &str, range: &str| {
        let request = server.request("GET", path);
        let request = if range.is_empty() { request } else { request.header("range", range) };
        async { request.send().await.expect("an answer") }
    };
    let whole = get(link, "").await;
    assert_eq!(
        (whole.status().as_u16(), &whole.headers()["content-type"]),
        (200, &"video/webm".parse().expect("a value"))
    );
    assert_eq!(whole.headers()["accept-ranges"], "bytes");
    assert_eq!(whole.bytes().await.expect("bytes"), file);
    for (range, expected, header) in [
        ("bytes=10-19", &file[10..20], "bytes 10-19/100000"),
        ("bytes=99990-", &file[99_990..], "bytes 99990-99999/100000"),
        ("bytes=-5", &file[99_995..], "bytes 99995-99999/100000"),
    ] {
        let part = get(link, range).await;
        assert_eq!((part.status().as_u16(), part.headers()["content-range"].to_str().ok()), (206, Some(header)));
        assert_eq!(part.headers()["content-length"], expected.len().to_string());
        assert_eq!(part.bytes().await.expect("bytes"), expected);
    }
    let beyond = get(link, "bytes=100000-").await;
    assert_eq!(
        (beyond.status().as_u16(), &beyond.headers()["content-range"]),
        (416, &"bytes */100000".parse().expect("a value"))
    );
    // Forged, and for another file.
    let forged = link.replace("sig=", "sig=0");
    assert_eq!(get(&forged, "").await.status(), 403);
    let (path, query) = link.split_once('?').expect("a query");
    assert_eq!(get(&format!("{}?{query}", path.replace("p1-", "p2-")), "").await.status(), 403);
    assert_eq!(get(path, "").await.status(), 401);
    // With a bearer no link is needed; a file that is not in the manifest does not exist.
    assert_eq!(server.ask_as(token, "GET", path, None).await.status, 200);
    for absent in ["recording.json", "p9-av-1.webm", "..%2f..%2fsecret"] {
        let answer = server.ask_as(token, "GET", &format!("/v1/recordings/{id}/files/{absent}"), None).await;
        assert_eq!(answer.code(), "recording_not_found", "{absent}: {answer:?}");
    }
    let listed = server.ask_as(token, "GET", "/v1/recordings?room=demo", None).await;
    let found = &listed.body["recordings"][0];
    assert_eq!((&found["id"], &found["files"][0]["size"]), (&json!(id), &json!(file.len())));
    // Signing costs something, and whoever wants one asks for it by itself.
    assert_eq!(found["files"][0]["url"], Value::Null);
    let stranger = server.token("other", json!({ "identity": "x" })).await;
    let hidden = server.ask_as(&stranger, "GET", &format!("/v1/recordings/{id}"), None).await;
    assert_eq!(hidden.code(), "recording_not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_recorders_room_goes_to_another_within_five_seconds() {
    let server = Server::start().await;
    let storage = server.folder.path().join("recordings");
    let (_ada, _) = Wire::join(server.http(), "demo", json!({})).await;
    let mut first = Link::open(&server, "rec1", 5, &[]).await;
    let mut second = Link::open(&server, "rec2", 1, &[]).await;
    let asked = Instant::now();
    let started = server.ask("POST", "/v1/rooms/demo/recording", None).await;
    let answered = Instant::now();
    let id = started.body["id"].as_str().expect("an id").to_owned();
    let job = first.hear().await;
    assert_eq!(job["t"], "job", "the one with more room");
    assert!(job["age_ms"].as_u64().is_some_and(|age| age < 500), "{job}");
    first.state(&id, "recording").await;
    wait_for(&server, &id, "recording").await;
    let lost = Instant::now();
    drop(first);
    let job = second.hear().await;
    assert!(lost.elapsed() < Duration::from_secs(5), "{:?}", lost.elapsed());
    assert_eq!((&job["t"], &job["recording"], &job["again"]), (&json!("job"), &json!(id), &json!(true)));
    let age = Duration::from_millis(job["age_ms"].as_u64().expect("how old it is"));
    // It began between the question and the answer.
    assert!(age >= lost - answered && age <= asked.elapsed(), "{age:?}");
    second.state(&id, "recording").await;
    // The lost one returns and is told to finish what it holds.
    let mut first = Link::open(&server, "rec1", 5, &[&id]).await;
    assert_eq!(first.hear().await, json!({ "t": "unknown", "recording": id }));
    assert_eq!(server.ask("DELETE", "/v1/rooms/demo/recording", None).await.status, 202);
    assert_eq!(second.hear().await["t"], "stop");
    second.finish(&storage, &job, b"second").await;
    first.finish(&storage, &job, b"first").await;
    let ready = wait_for(&server, &id, "ready").await;
    let names: Vec<_> = ready["files"].as_array().expect("files").iter().map(|file| file["name"].clone()).collect();
    assert_eq!(names, ["p1-av-rec1.webm", "p1-av-rec2.webm"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recorder_that_comes_back_at_once_goes_on() {
    let server = Server::start().await;
    let (_ada, _) = Wire::join(server.http(), "demo", json!({})).await;
    let mut link = Link::open(&server, "rec1", 5, &[]).await;
    let started = server.ask("POST", "/v1/rooms/demo/recording", Some(json!({ "max_duration_s": 2 }))).await;
    let id = started.body["id"].as_str().expect("an id").to_owned();
    assert_eq!(link.hear().await["options"]["max_duration_s"], 2);
    drop(link);
    let mut link = Link::open(&server, "rec1", 4, &[&id, "never0heard"]).await;
    assert_eq!(link.hear().await, json!({ "t": "unknown", "recording": "never0heard" }));
    // Nothing is said about the one that goes on, until its time is over.
    assert_eq!(link.hear().await, json!({ "t": "stop", "recording": id }));
}

#[tokio::test(flavor = "multi_thread")]
async fn rooms_are_recorded_by_themselves_where_that_is_wanted() {
    let server = Server::start_with(|config| {
        config.rooms.empty_timeout_s = 1;
        config.rooms.guests = Guests::Moderate;
    })
    .await;
    let made = server.ask("POST", "/v1/rooms", Some(json!({ "name": "demo", "recording": true }))).await;
    assert_eq!((made.status, &made.body["record"]), (201, &json!(true)));
    let (mut ada, _) = Wire::join(server.http(), "demo", json!({})).await;
    // There was no recorder when she came; the first one that connects gets the room.
    let mut link = Link::open(&server, "rec1", 1, &[]).await;
    let job = link.hear().await;
    assert_eq!((&job["t"], &job["room"]), (&json!("job"), &json!("demo")));
    assert_eq!(ada.event("room").await["room"]["recording"]["state"], "starting");
    drop(ada);
    // Nobody is there any more.
    assert_eq!(link.hear().await["t"], "stop");
    link.say(json!({ "t": "state", "recording": job["recording"], "state": "failed", "code": "storage_unavailable" }))
        .await;
    let failed = wait_for(&server, job["recording"].as_str().expect("an id"), "failed").await;
    assert_eq!(failed["error"], "storage_unavailable");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_that_nobody_can_write_fails_and_the_light_goes_out() {
    let server = Server::start().await;
    let (mut ada, ok) = Wire::join(server.http(), "demo", json!({})).await;
    let mut link = Link::open(&server, "rec1", 1, &[]).await;
    let started = server.ask("POST", "/v1/rooms/demo/recording", None).await;
    assert_eq!(link.hear().await["t"], "job");
    assert_eq!(ada.event("room").await["room"]["recording"]["state"], "starting");
    let report = json!({ "t": "state", "recording": started.body["id"], "state": "failed", "code": "recording_failed", "msg": "disk full" });
    link.say(report).await;
    assert_eq!(ada.event("room").await["room"]["recording"], Value::Null);
    let failed = wait_for(&server, started.body["id"].as_str().expect("an id"), "failed").await;
    assert_eq!(failed["error"], "recording_failed: disk full");
    // What names the operator's machines and folders is not for everybody.
    let guest = ok["api_token"].as_str().expect("a token");
    let path = format!("/v1/recordings/{}", failed["id"].as_str().expect("an id"));
    let shown = server.ask_as(guest, "GET", &path, None).await;
    let listed = server.ask_as(guest, "GET", "/v1/recordings", None).await;
    assert_eq!(shown.body["error"], "recording_failed");
    assert_eq!(listed.body["recordings"][0]["error"], "recording_failed");
    // Full recorders are no recorders.
    link.say(json!({ "t": "capacity", "capacity": 0 })).await;
    let until = Instant::now() + DEADLINE;
    while server.ask_as("", "GET", "/readyz", None).await.body["recording"]["capacity"] != 0 {
        assert!(Instant::now() < until, "the capacity is not noticed");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(server.ask("POST", "/v1/rooms/demo/recording", None).await.code(), "no_recorder");
    assert_eq!(server.ask("POST", "/v1/rooms/absent/recording", None).await.code(), "room_not_found");
}

/// What a recorder told of and did not store is no file of a recording; an automatic one is not begun again at once.
#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_stored_has_failed() {
    let server = Server::start_with(|config| config.recording.automatic = true).await;
    let storage = server.folder.path().join("recordings");
    let (_ada, _) = Wire::join(server.http(), "demo", json!({})).await;
    let mut link = Link::open(&server, "rec1", 5, &[]).await;
    let job = link.hear().await;
    let id = job["recording"].as_str().expect("an id").to_owned();
    let mut segment = json!({ "v": 1, "recorder": "rec1", "recording": id, "room": "demo", "room_id": job["room_id"],
        "folder": job["folder"], "started_ms": job["started_ms"], "files": [] });
    let report = |state: &str, segment: &Value| json!({ "t": "state", "recording": id, "state": state, "segment": segment, "code": "recording_failed" });
    link.say(report("recording", &segment)).await;
    link.say(report("failed", &segment)).await;
    let failed = wait_for(&server, &id, "failed").await;
    assert_eq!(failed["error"], "recording_failed");
    // The recorder has room, and the room's turn comes twice a second: not for this one.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let listed = server.ask("GET", "/v1/recordings", None).await;
    assert_eq!(listed.body["recordings"].as_array().map(Vec::len), Some(1), "{listed:?}");
    // Its part comes after all.
    link.finish(&storage, &job, b"late").await;
    assert_eq!(wait_for(&server, &id, "ready").await["error"], Value::Null);
    // Told with a file, stored without.
    let (_bob, _) = Wire::join(server.http(), "other", json!({})).await;
    let job = link.hear().await;
    let id = job["recording"].as_str().expect("an id").to_owned();
    segment["recording"] = json!(id);
    segment["files"] = json!([{ "name": "p1-av-0.webm", "size": 5, "container": "webm", "codecs": [], "participant": "p1",
        "sources": ["mic"], "start_ms": 0, "end_ms": 9 }]);
    let report = |state: &str| json!({ "t": "state", "recording": id, "state": state, "segment": segment });
    link.say(report("recording")).await;
    assert_eq!(server.ask("DELETE", "/v1/rooms/other/recording", None).await.status, 202);
    link.say(report("ready")).await;
    let failed = wait_for(&server, &id, "failed").await;
    assert_eq!((&failed["error"], &failed["files"]), (&json!("no recorder stored anything"), &json!([])));
}

/// Starts recording the room; the job goes to this link.
async fn begin(server: &Server, link: &mut Link) -> (Value, String) {
    assert_eq!(server.ask("POST", "/v1/rooms/demo/recording", None).await.status, 201);
    let job = link.hear().await;
    assert_eq!(job["t"], "job", "{job}");
    let id = job["recording"].as_str().expect("an id").to_owned();
    (job, id)
}

/// Its former run is still being finished when a recorder gets its job again, and says so every second.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_recorder_finishes_of_a_former_run_does_not_end_its_job() {
    let server = Server::start().await;
    let storage = server.folder.path().join("recordings");
    let (_ada, _) = Wire::join(server.http(), "demo", json!({})).await;
    let mut link = Link::open(&server, "rec1", 9, &[]).await;
    let (_, id) = begin(&server, &mut link).await;
    link.state(&id, "recording").await;
    wait_for(&server, &id, "recording").await;
    drop(link);
    let mut link = Link::open(&server, "rec1", 9, &[&id]).await;
    let mut other = Link::open(&server, "rec2", 1, &[]).await;
    link.state(&id, "finalising").await;
    let job = link.hear().await;
    assert_eq!((&job["t"], &job["again"]), (&json!("job"), &json!(true)));
    // Said before it heard of the job.
    for state in ["finalising", "uploading", "ready"] {
        link.state(&id, state).await;
    }
    link.state(&id, "recording").await;
    wait_for(&server, &id, "recording").await;
    // Somebody who was not asked is told to stop, the one who was is not.
    other.state(&id, "recording").await;
    assert_eq!(other.hear().await, json!({ "t": "unknown", "recording": id }));
    // Until it says that it has no part, it may have one.
    other.say(json!({ "t": "state", "recording": id, "state": "failed", "code": "recording_failed" })).await;
    assert_eq!(server.ask("DELETE", "/v1/rooms/demo/recording", None).await.status, 202);
    assert_eq!(link.hear().await, json!({ "t": "stop", "recording": id }));
    link.finish(&storage, &job, b"media").await;
    wait_for(&server, &id, "ready").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_was_lost_with_its_link_is_given_again() {
    let server = Server::start().await;
    let (_ada, _) = Wire::join(server.http(), "demo", json!({})).await;
    let mut first = Link::open(&server, "rec1", 9, &[]).await;
    begin(&server, &mut first).await;
    // The old link is still up as far as the server knows.
    let mut second = Link::open(&server, "rec1", 9, &[]).await;
    assert_eq!(second.hear().await["t"], "job");
}

/// Whoever it was lost by and is not given it again has no part of it, and nobody waits for one.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_was_lost_with_its_link_is_finished_by_another() {
    let server = Server::start().await;
    let storage = server.folder.path().join("recordings");
    let (_ada, _) = Wire::join(server.http(), "demo", json!({})).await;
    let mut first = Link::open(&server, "rec1", 2, &[]).await;
    let (_, id) = begin(&server, &mut first).await;
    let mut other = Link::open(&server, "rec2", 9, &[]).await;
    let _first = Link::open(&server, "rec1", 2, &[]).await;
    let job = other.hear().await;
    assert_eq!((&job["t"], &job["recording"]), (&json!("job"), &json!(id)));
    other.state(&id, "recording").await;
    wait_for(&server, &id, "recording").await;
    assert_eq!(server.ask("DELETE", "/v1/rooms/demo/recording", None).await.status, 202);
    assert_eq!(other.hear().await["t"], "stop");
    other.finish(&storage, &job, b"media").await;
    wait_for(&server, &id, "ready").await;
}

/// Whoever cannot be told to stop is put out of the room before the light goes off or somebody else records.
#[tokio::test(flavor = "multi_thread")]
async fn a_recorder_that_cannot_be_told_is_put_out_of_the_room() {
    let server = Server::start().await;
    let (mut ada, _) = Wire::join(server.http(), "demo", json!({})).await;
    let mut first = Link::open(&server, "rec1", 9, &[]).await;
    let (job, id) = begin(&server, &mut first).await;
    let (mut one, _) = Wire::join(server.http(), "demo", json!({ "token": job["token"] })).await;
    first.state(&id, "recording").await;
    wait_for(&server, &id, "recording").await;
    let mut second = Link::open(&server, "rec2", 1, &[]).await;
    drop(first);
    let again = second.hear().await;
    assert_eq!(one.event("leave").await["action"], "stop");
    // It is kept out, the next one is not.
    let mut back = Wire::open(server.http(), "demo").await;
    assert_eq!(back.try_join(json!({ "token": job["token"] })).await["code"], "token_revoked");
    let (mut two, _) = Wire::join(server.http(), "demo", json!({ "token": again["token"] })).await;
    second.state(&id, "recording").await;
    wait_for(&server, &id, "recording").await;
    // Nobody is there who could be told.
    drop(second);
    let until = Instant::now() + DEADLINE;
    while server.ask_as("", "GET", "/readyz", None).await.body["recording"]["recorders"] != 0 {
        assert!(Instant::now() < until, "the lost link is not noticed");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(server.ask("DELETE", "/v1/rooms/demo/recording", None).await.status, 202);
    assert_eq!(two.event("leave").await["action"], "stop");
    while !ada.event("room").await["room"]["recording"].is_null() {}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recorder_that_refuses_for_now_is_asked_again() {
    let server = Server::start().await;
    let (_ada, _) = Wire::join(server.http(), "demo", json!({})).await;
    let mut link = Link::open(&server, "rec1", 9, &[]).await;
    let (_, id) = begin(&server, &mut link).await;
    link.say(json!({ "t": "state", "recording": id, "state": "failed", "code": "no_recorder", "msg": "full" })).await;
    let until = Instant::now() + DEADLINE;
    while server.ask_as("", "GET", "/readyz", None).await.body["recording"]["capacity"] != 0 {
        assert!(Instant::now() < until, "the refusal is not noticed");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    link.say(json!({ "t": "capacity", "capacity": 1 })).await;
    let job = link.hear().await;
    assert_eq!((&job["t"], &job["recording"]), (&json!("job"), &json!(id)));
}

/// A recorder goes on storing after the server has forgotten the recording, and what it stores goes.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_deleted_does_not_come_back() {
    let server = Server::start().await;
    let storage = server.folder.path().join("recordings");
    let (_ada, _) = Wire::join(server.http(), "demo", json!({})).await;
    let mut link = Link::open(&server, "rec1", 9, &[]).await;
    let (job, id) = begin(&server, &mut link).await;
    link.state(&id, "recording").await;
    wait_for(&server, &id, "recording").await;
    assert_eq!(server.ask("DELETE", "/v1/rooms/demo/recording", None).await.status, 202);
    assert_eq!(link.hear().await["t"], "stop");
    link.state(&id, "uploading").await;
    wait_for(&server, &id, "uploading").await;
    let written = folder(&storage, &job).join("recording.json");
    let until = Instant::now() + DEADLINE;
    while !std::fs::read_to_string(&written).is_ok_and(|text| text.contains("\"uploading\"")) {
        assert!(Instant::now() < until, "its manifest is not written");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let Server { running, folder: kept, .. } = server;
    running.drain(Duration::from_millis(100)).await;
    drop(link);
    let server = Server::start_in(kept, |_| {}).await;
    wait_for(&server, &id, "uploading").await;
    let path = format!("/v1/recordings/{id}");
    let mut link = Link::open(&server, "rec1", 9, &[&id]).await;
    assert_eq!(link.hear().await["t"], "unknown");
    let busy = server.ask("DELETE", &path, None).await;
    assert_eq!((busy.status, busy.code()), (409, "already_recording"));
    // It loses its link for a moment.
    drop(link);
    let until = Instant::now() + DEADLINE;
    while server.ask("DELETE", &path, None).await.status != 204 {
        assert!(Instant::now() < until, "it stays held");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut link = Link::open(&server, "rec1", 9, &[&id]).await;
    link.finish(&storage, &job, b"media").await;
    let lies = folder(&storage, &job);
    while lies.join("p1-av-rec1.webm").exists() || lies.join("segments/rec1-0.json").exists() {
        assert!(Instant::now() < until, "it lies there");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(server.ask("GET", &path, None).await.code(), "recording_not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_report_is_taken() {
    let server = Server::start().await;
    let (_ada, _) = Wire::join(server.http(), "demo", json!({})).await;
    let mut link = Link::open(&server, "rec1", 9, &[]).await;
    let (_, id) = begin(&server, &mut link).await;
    link.say(json!({ "t": "state", "recording": id, "state": "recording", "msg": "x".repeat(1 << 20) })).await;
    wait_for(&server, &id, "recording").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_has_pages() {
    let home = tempfile::tempdir().expect("a folder");
    for n in 0..5 {
        let place = home.path().join(format!("recordings/room1/r{n}"));
        std::fs::create_dir_all(&place).expect("a folder");
        let manifest = json!({ "v": 1, "id": format!("r{n}"), "room": "demo", "room_id": "room1",
            "folder": format!("room1/r{n}"), "state": "failed", "started_ms": n, "ended_ms": n, "segments": [] });
        std::fs::write(place.join("recording.json"), manifest.to_string()).expect("written");
    }
    let server = Server::start_in(home, |_| {}).await;
    for n in 0..5 {
        wait_for(&server, &format!("r{n}"), "failed").await;
    }
    for (query, ids) in [
        ("", &["r4", "r3", "r2", "r1", "r0"][..]),
        ("?limit=2", &["r4", "r3"]),
        ("?limit=2&before=r3&room=demo", &["r2", "r1"]),
        ("?before=r0", &[]),
    ] {
        let listed = server.ask("GET", &format!("/v1/recordings{query}"), None).await;
        let all = listed.body["recordings"].as_array().cloned().unwrap_or_default();
        let found: Vec<_> = all.iter().map(|one| one["id"].as_str().expect("an id")).collect();
        assert_eq!(found, ids, "{query}");
    }
    for query in ["?limit=0", "?limit=1001", "?before=../x"] {
        assert_eq!(server.ask("GET", &format!("/v1/recordings{query}"), None).await.status, 400, "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_cannot_be_understood_is_told_so() {
    let server = Server::start().await;
    for hello in [
        json!(7),
        json!({ "t": "hello" }),
        json!({ "t": "capacity", "capacity": 1 }),
        json!({ "t": "hello", "v": 9, "recorder": "rec1", "capacity": 1, "recordings": [] }),
    ] {
        let mut link = Link::silent(&server, "rec1").await;
        link.say(hello.clone()).await;
        let answer = link.hear().await;
        assert_eq!((&answer["t"], &answer["code"]), (&json!("refused"), &json!("bad_request")), "{hello}: {answer}");
        assert!(link.ends().await, "{hello}");
    }
    let mut link = Link::open(&server, "rec1", 1, &[]).await;
    for nonsense in
        [json!("x"), json!({ "t": "state" }), json!({ "t": "state", "recording": "../x", "state": "ready" })]
    {
        link.say(nonsense.clone()).await;
        assert_eq!(link.hear().await["t"], "refused", "{nonsense}");
    }
    // The link goes on.
    let (_ada, _) = Wire::join(server.http(), "demo", json!({})).await;
    assert_eq!(server.ask("POST", "/v1/rooms/demo/recording", None).await.status, 201);
    assert_eq!(link.hear().await["t"], "job");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storage_that_is_away_is_said_to_be() {
    let server = Server::start_with(|config| {
        config.storage.kind = StorageKind::S3;
        // Nobody listens on port 1.
        config.storage.endpoint = "http://127.0.0.1:1".into();
        config.storage.bucket = "recordings".into();
        (config.storage.access_key, config.storage.secret_key) = ("key".into(), "secret".into());
    })
    .await;
    let (_ada, _) = Wire::join(server.http(), "demo", json!({})).await;
    let mut link = Link::open(&server, "rec1", 1, &[]).await;
    let ready = server.ask_as("", "GET", "/readyz", None).await;
    let storage = json!({ "enabled": true, "ok": false, "error": "it cannot be reached" });
    assert_eq!((ready.status, &ready.body["storage"]), (200, &storage), "no word of where it is");
    // Recording goes on without it: recorders keep what they write until it is back.
    let started = server.ask("POST", "/v1/rooms/demo/recording", None).await;
    assert_eq!((started.status, link.hear().await["t"].clone()), (201, json!("job")));
    let id = started.body["id"].as_str().expect("an id").to_owned();
    link.say(json!({ "t": "state", "recording": id, "state": "failed", "code": "internal" })).await;
    wait_for(&server, &id, "failed").await;
    let deleted = server.ask("DELETE", &format!("/v1/recordings/{id}"), None).await;
    assert_eq!((deleted.status, deleted.code()), (503, "storage_unavailable"), "{deleted:?}");
}
