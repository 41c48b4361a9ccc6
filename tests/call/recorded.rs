//! "The call": two browsers over the relay only, recorded, stored, fetched, checked by readers that are not ours, played.

use std::path::Path;
use std::time::{Duration, Instant};

use serde::Deserialize;
use tests::browser::{Browser, DEADLINE, Page};
use tests::guest::Guest;
use tests::media_check;
use tests::stack::Stack;

/// How long is recorded.
const LENGTH: Duration = Duration::from_secs(10);
/// How much a file's duration may differ from what was recorded.
const TOLERANCE: f64 = 0.5;
/// How long a picture of a moving camera may stand still in a file, its end included: a busy browser stalls.
const LONGEST_STILL: f64 = 2.5;
/// So many pictures a second show that they flow; how many more a browser encodes depends on the machine.
const FLOWING: f64 = 5.0;
/// The API's moments are whole milliseconds.
const ROUNDING: Duration = Duration::from_millis(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relayed_call_is_recorded_stored_and_played() {
    the_call("udp").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_relayed_over_tcp_is_recorded_stored_and_played() {
    the_call("tcp").await;
}

async fn the_call(protocol: &str) {
    let stack = Stack::start_recording().await;
    let browser = Browser::launch().await.expect("chromium starts");
    let query = format!("relay=1&transport={protocol}");
    let ada = Guest::join(&browser, &stack.origin(), "call", "Ada", &query).await.expect("Ada joins");
    let bob = Guest::join(&browser, &stack.origin(), "call", "Bob", &query).await.expect("Bob joins");
    for (one, other) in [(&ada, "Bob"), (&bob, "Ada")] {
        one.sees(other, 15).await.expect("a moving picture");
        one.hears_something().await.expect("a beep");
        super::relayed(one, protocol).await;
    }

    let pressed = record(&ada, &bob).await;
    let packets = media_packets(&ada).await + media_packets(&bob).await;
    let relayed = stack.metric("tern_relay_packets_total").await;
    assert!(relayed >= packets, "the relay carried {relayed} packets, the browsers' media were {packets}");

    let recording = stored(&stack, &ada).await;
    let recorded = Duration::from_millis(recording.ended_ms - recording.started_ms);
    assert!(recorded + ROUNDING >= pressed.at_least, "{pressed:?}, {recorded:?} by the API");
    assert!(recorded <= pressed.at_most + ROUNDING, "{pressed:?}, {recorded:?} by the API");
    let files = recording.files;
    assert_eq!(files.len(), 2, "one file a person: {files:?}");
    let folder = tempfile::TempDir::with_prefix("tern-call-").expect("a folder");
    for (number, file) in files.iter().enumerate() {
        let path = folder.path().join(format!("{number}.webm"));
        std::fs::write(&path, fetch(&file.url).await).expect("written");
        check(&path, recorded, pressed.lit_within);
    }
    plays_and_seeks(&ada.page, &files[0]).await;
    ada.page.close().await.expect("no errors");
    bob.page.close().await.expect("no errors");
}

/// What is known from outside of how long a recording was on.
#[derive(Debug)]
struct Pressed {
    at_least: Duration,
    at_most: Duration,
    /// How long after it was switched on everybody saw that, at most.
    lit_within: Duration,
}

/// Presses the page's button twice; both sides see red meanwhile.
async fn record(ada: &Guest, bob: &Guest) -> Pressed {
    const RED: &str = "document.body.matches('.recording-live') && !document.querySelector('#recording').hidden
        && document.querySelector('#recording-text').textContent === 'Recording'";
    let begin = Instant::now();
    ada.page.click("#record").await.expect("a click");
    for guest in [ada, bob] {
        guest.until(RED).await.expect("red");
    }
    let on = Instant::now();
    ada.stays(LENGTH).await.expect("ten seconds pass");
    let end = Instant::now();
    ada.page.click("#record").await.expect("a click");
    for guest in [ada, bob] {
        guest.until("!document.body.matches('.recording-live')").await.expect("the red is gone");
    }
    // It was switched on between the first two, and off after the third.
    Pressed { at_least: end - on, at_most: begin.elapsed(), lit_within: on - begin }
}

/// Packets that a browser received: each came through the relay.
async fn media_packets(guest: &Guest) -> f64 {
    let connections = guest.connections().await.expect("statistics");
    connections.iter().map(|connection| connection.packets_received as f64).sum()
}

#[derive(Debug, Deserialize)]
struct StoredFile {
    name: String,
    url: String,
}

#[derive(Debug, Deserialize)]
struct Recording {
    started_ms: u64,
    ended_ms: u64,
    files: Vec<StoredFile>,
}

/// Opens the page's list, waits until the recording is ready there, and asks the API about it.
async fn stored(stack: &Stack, guest: &Guest) -> Recording {
    guest.page.click("#show-recordings").await.expect("a click");
    let ready = "document.querySelector('#recordings-list [data-state=\"ready\"]')?.dataset.recording";
    let id: String = guest.page.wait_until(ready, DEADLINE).await.expect("ready");
    let response = stack.api(reqwest::Method::GET, &format!("/v1/recordings/{id}"), "").await;
    response.json().await.expect("a recording")
}

/// By a presigned link, without any credential.
async fn fetch(url: &str) -> Vec<u8> {
    let response = reqwest::get(url).await.expect("the storage answers");
    assert!(response.status().is_success(), "{url}: {}", response.status());
    response.bytes().await.expect("bytes").to_vec()
}

fn check(file: &Path, recorded: Duration, lit_within: Duration) {
    let probe = media_check::probe(file).expect("ffprobe reads it");
    let codec = |kind| probe.stream(kind).map(|stream| stream.codec.clone());
    assert_eq!(codec("video").as_deref(), Some("vp8"));
    assert_eq!(codec("audio").as_deref(), Some("opus"));
    let duration = probe.duration.expect("a duration in the head");
    let wanted = recorded.as_secs_f64();
    assert!((duration - wanted).abs() <= TOLERANCE, "{duration} s in the file, {wanted} s were recorded");

    let decoded = media_check::decode(file).expect("every frame decodes");
    assert_eq!(decoded.pictures.len() as u64, decoded.video_packets, "a picture for each packet");
    let first = decoded.pictures.first().expect("a picture").at;
    assert!(first <= lit_within.as_secs_f64() + LONGEST_STILL, "no picture for {first} s, lit within {lit_within:?}");
    let pictures = decoded.pictures.len();
    assert!(pictures as f64 > (duration - first) * FLOWING, "{pictures} pictures from {first} s to {duration} s");
    let times: Vec<f64> = decoded.pictures.iter().map(|picture| picture.at).chain([duration]).collect();
    let still = times.windows(2).map(|pair| pair[1] - pair[0]).fold(0.0, f64::max);
    assert!(still <= LONGEST_STILL, "the picture stands still for {still} s");
    assert!((decoded.sound_seconds() - wanted).abs() <= TOLERANCE, "{} s of sound", decoded.sound_seconds());

    let layout = media_check::layout(&std::fs::read(file).expect("read")).expect("it is WebM");
    assert_eq!(layout.complaints(), Vec::<String>::new());
}

/// Plays a file in the page and jumps about in it.
async fn plays_and_seeks(page: &Page, file: &StoredFile) {
    let button = format!("[data-file=\"{}\"] button", file.name);
    page.click(&button).await.expect("Play is pressed");
    page.wait_until::<bool>(
        "(v => v.videoWidth > 0 && v.currentTime > 0.3)(document.querySelector('#player video'))",
        DEADLINE,
    )
    .await
    .expect("it plays");
    for share in [0.1, 0.5, 0.9] {
        let seek = format!(
            "new Promise((done, fail) => {{ const v = document.querySelector('#player video'); v.onerror = () => fail(v.error);
                v.onseeked = () => done(Math.abs(v.currentTime - v.duration * {share}) < 0.5); v.currentTime = v.duration * {share}; }})"
        );
        assert!(page.eval::<bool>(&seek).await.expect("it seeks"), "to {share}");
    }
    let name = &file.name;
    let requests = page.requests().iter().filter(|url| url.contains(name.as_str())).count();
    assert!((1..=4).contains(&requests), "{requests} requests for {name}");
}
