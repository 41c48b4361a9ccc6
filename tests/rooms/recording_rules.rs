//! The rules of recordings: what they are started with, where they lie, how they are shown while they run, what their manifest
//! says, for how long they are kept, and that nobody is recorded without having been told.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::recorder_link::{Link, folder, wait_for};
use tests::server::Server;
use tests::wire::{DEADLINE, Wire};
use turn_server::config::Guests;

const PATH: &str = "/v1/rooms/demo/recording";

async fn start(server: &Server, link: &mut Link, body: Value) -> (Value, String) {
    let started = server.ask("POST", PATH, Some(body)).await;
    assert_eq!(started.status, 201, "{started:?}");
    let job = link.hear().await;
    assert_eq!(job["t"], "job");
    let id = job["recording"].as_str().expect("an id").to_owned();
    (job, id)
}

fn manifest(storage: &Path, job: &Value) -> Value {
    let text = std::fs::read_to_string(folder(storage, job).join("recording.json")).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

/// Waits until the manifest on disk is as wanted.
async fn manifest_with(storage: &Path, job: &Value, wanted: impl Fn(&Value) -> bool) -> Value {
    let until = Instant::now() + DEADLINE;
    loop {
        let found = manifest(storage, job);
        if wanted(&found) {
            return found;
        }
        assert!(Instant::now() < until, "{found:#}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn options_reach_the_recorder_the_manifest_and_the_view() {
    let server = Server::start().await;
    let storage = server.folder.path().join("recordings");
    let (_ada, _) = Wire::join(server.http(), "demo", json!({})).await;
    let mut link = Link::open(&server, "rec1", 2, &[]).await;
    let options =
        json!({ "mode": "track", "max_duration_s": 60, "max_size_mb": 5, "tags": { "case": "42", "who": "Ü b/c" } });
    let mut body = options.clone();
    body["prefix"] = json!("calls/{room}/{year}-{month}");
    body["keep_days"] = json!(30);
    let (job, id) = start(&server, &mut link, body).await;
    assert_eq!(job["options"], options);
    let lies = job["folder"].as_str().expect("a folder");
    assert!(lies.starts_with("calls/demo/20") && lies.ends_with(&format!("/{id}")), "{lies}");
    link.state(&id, "recording").await;
    let view = wait_for(&server, &id, "recording").await;
    assert_eq!((&view["options"], &view["folder"], &view["keep_days"]), (&options, &job["folder"], &json!(30)));
    assert_eq!(server.ask("DELETE", PATH, None).await.status, 202);
    link.finish(&storage, &job, b"media").await;
    wait_for(&server, &id, "ready").await;
    let written = manifest(&storage, &job);
    assert_eq!(
        (&written["options"], &written["folder"], &written["keep_days"]),
        (&options, &job["folder"], &json!(30))
    );
    // Whatever the template was, the next start finds it, and its file.
    drop(link);
    let Server { running, folder, .. } = server;
    running.drain(Duration::from_secs(5)).await;
    let server = Server::start_in(folder, |config| config.recording.folder = "{date}/{room_id}".into()).await;
    let ready = wait_for(&server, &id, "ready").await;
    let link = ready["files"][0]["url"].as_str().expect("a link");
    assert_eq!(server.request("GET", link).send().await.expect("an answer").bytes().await.expect("bytes"), "media");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_storage_would_not_take_is_refused_at_the_start() {
    let server = Server::start_with(|config| config.rooms.guests = Guests::Moderate).await;
    let (_ada, ok) = Wire::join(server.http(), "demo", json!({})).await;
    let _link = Link::open(&server, "rec1", 2, &[]).await;
    let many: serde_json::Map<_, _> = (0..11).map(|n| (n.to_string(), json!("x"))).collect();
    for (body, why) in [
        (json!({ "tags": many }), "11 of them, at most 10"),
        (json!({ "tags": { "a&b": "x" } }), "letters, digits"),
        (json!({ "tags": { "": "x" } }), "1 to 128"),
        (json!({ "tags": { "a": 7 } }), "string"),
        (json!({ "prefix": "../{room}" }), "not beginning with '.'"),
        (json!({ "prefix": "{user}" }), "no placeholder"),
        (json!({ "mode": "composite" }), "unknown variant"),
        (json!({ "max_duration_s": -1 }), "invalid value"),
        (json!({ "colour": 1 }), "unknown field"),
    ] {
        let answer = server.ask("POST", PATH, Some(body.clone())).await;
        assert_eq!((answer.status, answer.code()), (400, "bad_request"), "{body}: {answer:?}");
        let detail = answer.body["detail"].as_str().expect("a sentence");
        assert!(detail.contains(why), "{body}: {detail}");
    }
    // Where things lie and for how long is not the moderator's.
    let moderator = ok["api_token"].as_str().expect("a token");
    for body in [json!({ "prefix": "x" }), json!({ "keep_days": 0 })] {
        assert_eq!(server.ask_as(moderator, "POST", PATH, Some(body)).await.status, 403);
    }
    assert_eq!(server.ask_as(moderator, "POST", PATH, Some(json!({ "mode": "audio" }))).await.status, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn automatic_recordings_are_as_configured() {
    let server = Server::start_with(|config| {
        config.recording.automatic = true;
        config.recording.mode = signalling::recording::Mode::Audio;
        config.recording.max_duration_s = 600;
        config.recording.max_size_mb = 9;
        config.recording.folder = "auto/{room}".into();
    })
    .await;
    // A name that would leave the prefix if it could.
    let (_ada, _) = Wire::join(server.http(), "..", json!({})).await;
    let mut link = Link::open(&server, "rec1", 2, &[]).await;
    let job = link.hear().await;
    let options = json!({ "mode": "audio", "max_duration_s": 600, "max_size_mb": 9, "tags": {} });
    assert_eq!((&job["t"], &job["options"]), (&json!("job"), &options));
    assert!(job["folder"].as_str().is_some_and(|folder| folder.starts_with("auto/_./")), "{job}");
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_of_all_recorders_are_shown_until_it_is_ready() {
    let server = Server::start().await;
    let storage = server.folder.path().join("recordings");
    let (_ada, _) = Wire::join(server.http(), "demo", json!({ "name": "Ada" })).await;
    let mut first = Link::open(&server, "rec1", 2, &[]).await;
    let (job, id) = start(&server, &mut first, json!({ "max_size_mb": 1 })).await;
    let say = |state: &str, bytes: u64, stored: u64, participants: u32| {
        json!({ "t": "state", "recording": id, "state": state, "progress": { "bytes": bytes, "stored": stored,
            "participants": participants, "packets": 10, "lost": 1, "key_frames_asked": 2 } })
    };
    first.say(say("recording", 400_000, 100_000, 3)).await;
    let view = wait_for(&server, &id, "recording").await;
    let progress = json!({ "bytes": 400_000, "stored": 100_000, "participants": 3, "packets": 10, "lost": 1, "key_frames_asked": 2 });
    assert_eq!(view["progress"], progress);
    assert_eq!(view["participants"][0]["name"], "Ada");
    assert!(view["duration_ms"].as_u64().is_some_and(|ms| ms < 60_000), "{view}");
    // Another one goes on: what both wrote counts, and who is recorded now.
    let mut second = Link::open(&server, "rec2", 2, &[]).await;
    drop(first);
    assert_eq!(second.hear().await["again"], true);
    second.say(say("recording", 500_000, 0, 2)).await;
    let until = Instant::now() + DEADLINE;
    while server.ask("GET", PATH, None).await.body["progress"]["bytes"] != 900_000 {
        assert!(Instant::now() < until);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let progress = server.ask("GET", PATH, None).await.body["progress"].clone();
    assert_eq!((&progress["participants"], &progress["lost"]), (&json!(2), &json!(2)));
    // Together they are as large as it may be, although neither is.
    second.say(say("recording", 600_000, 0, 2)).await;
    assert_eq!(second.hear().await["t"], "stop");
    second.say(say("finalising", 600_000, 0, 0)).await;
    assert_eq!(wait_for(&server, &id, "finalising").await["progress"]["percent"], 10);
    second.say(say("uploading", 600_000, 400_000, 0)).await;
    assert_eq!(wait_for(&server, &id, "uploading").await["progress"]["percent"], 50);
    let busy = server.ask("DELETE", &format!("/v1/recordings/{id}"), None).await;
    assert_eq!((busy.status, busy.code()), (409, "already_recording"));
    second.finish(&storage, &job, b"second").await;
    let mut first = Link::open(&server, "rec1", 2, &[&id]).await;
    assert_eq!(first.hear().await["t"], "unknown");
    first.finish(&storage, &job, b"first").await;
    let ready = wait_for(&server, &id, "ready").await;
    assert_eq!((&ready["progress"], &ready["size"]), (&Value::Null, &json!(11)));
    assert_eq!(ready["participants"], json!([{ "id": "p1", "name": "Ada" }]));
}

/// A recorder that crashed and goes on tells of what it writes from then on.
#[tokio::test(flavor = "multi_thread")]
async fn figures_of_all_runs_of_a_recorder_count() {
    let server = Server::start().await;
    let storage = server.folder.path().join("recordings");
    let (_ada, _) = Wire::join(server.http(), "demo", json!({ "name": "Ada" })).await;
    let mut link = Link::open(&server, "rec1", 2, &[]).await;
    let (job, id) = start(&server, &mut link, json!({ "max_size_mb": 1 })).await;
    let say = |state: &str, bytes: u64, stored: u64| {
        json!({ "t": "state", "recording": id, "state": state,
            "progress": { "bytes": bytes, "stored": stored, "participants": 1 } })
    };
    link.say(say("recording", 600_000, 100_000)).await;
    wait_for(&server, &id, "recording").await;
    drop(link);
    let mut link = Link::open(&server, "rec1", 2, &[&id]).await;
    link.say(say("finalising", 600_000, 200_000)).await;
    assert_eq!(link.hear().await["again"], true);
    // Of the former run, before it heard of the job.
    link.say(say("uploading", 600_000, 300_000)).await;
    link.say(say("recording", 300_000, 0)).await;
    wait_for(&server, &id, "recording").await;
    let progress = server.ask("GET", PATH, None).await.body["progress"].clone();
    assert_eq!((&progress["bytes"], &progress["participants"]), (&json!(900_000), &json!(1)), "{progress}");
    link.say(say("recording", 400_000, 0)).await;
    assert_eq!(link.hear().await, json!({ "t": "stop", "recording": id }));
    link.finish(&storage, &job, b"media").await;
    wait_for(&server, &id, "ready").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_manifest_follows_while_it_is_on_and_is_whole_at_the_end() {
    let server = Server::start().await;
    let storage = server.folder.path().join("recordings");
    let (_ada, _) = Wire::join(server.http(), "demo", json!({})).await;
    let mut link = Link::open(&server, "rec1", 2, &[]).await;
    let (job, id) = start(&server, &mut link, json!({ "tags": { "case": "42" } })).await;
    let join = json!({ "t": 5, "what": "join", "participant": "p1", "name": "Ada" });
    let late = json!({ "t": 9, "what": "pause" });
    let segment = |recorder: &str, timeline: Value| {
        json!({ "v": 1, "recorder": recorder, "recording": id, "room": "demo", "room_id": job["room_id"],
            "folder": job["folder"], "started_ms": job["started_ms"], "files": [], "timeline": timeline })
    };
    let report =
        json!({ "t": "state", "recording": id, "state": "recording", "segment": segment("rec1", json!([join])) });
    link.say(report).await;
    let live = manifest_with(&storage, &job, |found| found["timeline"] == json!([join])).await;
    assert_eq!((&live["state"], &live["options"]["tags"]["case"]), (&json!("recording"), &json!("42")));
    // Another recorder that was there for a moment stored its part, too, and noted the same.
    let mut other = segment("rec0", json!([join, late]));
    other["ended_ms"] = json!(10);
    let segments = folder(&storage, &job).join("segments");
    std::fs::create_dir_all(&segments).expect("a folder");
    std::fs::write(segments.join("rec0-0.json"), other.to_string()).expect("written");
    assert_eq!(server.ask("DELETE", PATH, None).await.status, 202);
    link.finish(&storage, &job, b"media").await;
    wait_for(&server, &id, "ready").await;
    let whole = manifest_with(&storage, &job, |found| found["state"] == "ready").await;
    assert_eq!(whole["segments"].as_array().map(Vec::len), Some(2), "{whole:#}");
    assert_eq!(whole["timeline"], json!([join, late]), "{whole:#}");
    assert!(whole["ended_ms"].as_u64() >= whole["started_ms"].as_u64());
}

/// A recording as an earlier run left it.
fn kept(storage: &Path, id: &str, days_ago: u64, keep_days: Option<u32>, state: &str) {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    let at = u64::try_from(now.as_millis()).expect("soon enough") - days_ago * 24 * 3_600_000;
    let place = storage.join("room1").join(id);
    std::fs::create_dir_all(&place).expect("a folder");
    std::fs::write(place.join("p1-av-0.webm"), b"media").expect("written");
    let manifest = json!({ "v": 1, "id": id, "room": "demo", "room_id": "room1", "folder": format!("room1/{id}"),
        "keep_days": keep_days, "state": state, "started_ms": at, "ended_ms": at, "segments": [] });
    std::fs::write(place.join("recording.json"), manifest.to_string()).expect("written");
}

#[tokio::test(flavor = "multi_thread")]
async fn recordings_are_kept_as_long_as_they_are_meant_to() {
    let home = tempfile::tempdir().expect("a folder");
    let storage = home.path().join("recordings");
    kept(&storage, "old", 8, None, "ready");
    kept(&storage, "oldfailed", 8, None, "failed");
    kept(&storage, "young", 6, None, "ready");
    kept(&storage, "forever", 800, Some(0), "ready");
    kept(&storage, "short", 2, Some(1), "ready");
    kept(&storage, "unfinished", 8, None, "uploading");
    // It lies below another one, which a template can bring about, and goes its own way.
    std::fs::create_dir_all(storage.join("room1/old/below")).expect("a folder");
    std::fs::write(storage.join("room1/old/below/p1-av-0.webm"), b"another").expect("written");
    // Somebody's program made this, and it stays: no key of ours has a space.
    std::fs::write(storage.join("room1/old/poster 1.jpg"), b"picture").expect("written");
    std::fs::write(storage.join("room1/old/poster.jpg"), b"picture").expect("written");
    let server = Server::start_in(home, |config| config.recording.keep_days = 7).await;
    let left = || async {
        let listed = server.ask("GET", "/v1/recordings", None).await;
        let all = listed.body["recordings"].as_array().cloned().unwrap_or_default();
        let mut ids: Vec<_> = all.iter().map(|one| one["id"].as_str().expect("an id").to_owned()).collect();
        ids.sort();
        ids
    };
    let until = Instant::now() + DEADLINE;
    while left().await != ["forever", "unfinished", "young"] || storage.join("room1/short/recording.json").exists() {
        assert!(Instant::now() < until, "{:?}", left().await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for gone in ["p1-av-0.webm", "poster.jpg", "recording.json"] {
        assert!(!storage.join("room1/old").join(gone).exists(), "{gone}");
    }
    assert!(storage.join("room1/old/poster 1.jpg").exists());
    assert!(storage.join("room1/old/below/p1-av-0.webm").exists() && storage.join("room1/young/p1-av-0.webm").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_played_or_saved_under_a_name_for_people() {
    let server = Server::start().await;
    let storage = server.folder.path().join("recordings");
    let (_ada, _) = Wire::join(server.http(), "demo", json!({})).await;
    let mut link = Link::open(&server, "rec1", 2, &[]).await;
    let (job, id) = start(&server, &mut link, json!({})).await;
    link.state(&id, "recording").await;
    assert_eq!(server.ask("DELETE", PATH, None).await.status, 202);
    link.finish(&storage, &job, b"0123456789").await;
    let ready = wait_for(&server, &id, "ready").await;
    let url = ready["files"][0]["url"].as_str().expect("a link");
    let disposition = |url: String| {
        let request = server.request("GET", &url).header("range", "bytes=2-3");
        async move {
            let answer = request.send().await.expect("an answer");
            assert_eq!(answer.status(), 206);
            let text = answer.headers()["content-disposition"].to_str().expect("text").to_owned();
            assert_eq!(answer.bytes().await.expect("bytes"), "23");
            text
        }
    };
    let (played, saved) = (disposition(url.to_owned()).await, disposition(format!("{url}&download")).await);
    let name = played.strip_prefix("inline; filename=\"").expect("inline");
    assert!(name.starts_with("demo-20") && name.ends_with("-Ada-p1-av-rec1.webm\""), "{name}");
    assert_eq!(saved, format!("attachment; filename=\"{name}"));
}

/// Whoever is in the room when the recorder hears of its job has been told before: what is queued for a client comes before
/// the reply to what it asks from then on. So a client that was told nothing is in no file.
#[tokio::test(flavor = "multi_thread")]
async fn everybody_is_told_before_the_recorder_is() {
    let server = Server::start().await;
    let mut link = Link::open(&server, "rec1", 100, &[]).await;
    for round in 0..10 {
        let room = format!("demo{round}");
        let mut there = Vec::new();
        for _ in 0..10 {
            there.push(Wire::join(server.http(), &room, json!({})).await);
        }
        // Some come just now.
        let http = server.http();
        let coming: Vec<_> = (0..10)
            .map(|_| {
                let room = room.clone();
                tokio::spawn(async move { Wire::join(http, &room, json!({})).await })
            })
            .collect();
        let path = format!("/v1/rooms/{room}/recording");
        let (started, job) = tokio::join!(server.ask("POST", &path, None), link.hear());
        assert_eq!((started.status, &job["t"]), (201, &json!("job")));
        for (mut wire, _) in there {
            let reply = wire.ask("bye", json!({})).await;
            assert_eq!(reply["t"], "ok");
            let told =
                wire.kept().any(|event| event["t"] == "room" && event["room"]["recording"]["state"] == "starting");
            assert!(told, "round {round}: somebody was not told before the recorder was");
        }
        for joined in coming {
            let (mut wire, ok) = joined.await.expect("joins");
            assert_eq!(wire.ask("bye", json!({})).await["t"], "ok");
            let told = !ok["room"]["recording"].is_null()
                || wire.kept().any(|event| event["t"] == "room" && !event["room"]["recording"].is_null());
            assert!(told, "round {round}: who came was not told");
        }
    }
}
