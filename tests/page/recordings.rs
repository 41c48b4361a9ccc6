//! The recordings of a room on the page: what is shown while one grows and is stored, play, delete, pause, on a phone, too.
//! The recorder is by hand, so that every state stays as long as it is looked at; the real one is in call/recorded.rs.

use serde_json::{Value, json};
use tests::browser::{Browser, Page, Size};
use tests::guest::Guest;
use tests::recorder_link::{Link, wait_for};
use tests::s3::S3Server;
use tests::server::Server;
use turn_server::config::{Config, Guests};

async fn moderated() -> Server {
    Server::start_with(|config| config.rooms.guests = Guests::Moderate).await
}

async fn said(link: &mut Link, id: &str, state: &str, bytes: u64, stored: u64) {
    let progress = json!({ "bytes": bytes, "stored": stored, "participants": 1 });
    link.say(json!({ "t": "state", "recording": id, "state": state, "progress": progress })).await;
}

/// Everything of the dialog is inside the window, and the page does not scroll sideways.
async fn fits(page: &Page, what: &str) {
    let outside: Vec<String> = page
        .eval(
            "[...document.querySelectorAll('dialog[open], dialog[open] *')]
                .filter(e => e.checkVisibility({visibilityProperty: true, opacityProperty: true}) && !e.matches('.unseen'))
                .map(e => ({e, r: e.getBoundingClientRect()}))
                .filter(({r}) => r.width > 0 && (r.left < 0 || r.right > innerWidth + 0.5))
                .map(({e, r}) => `${e.tagName} ${e.className} ${e.textContent.slice(0, 30)}: ${r.left} to ${r.right}`)
                .concat([...document.querySelectorAll('dialog[open]')].filter(d => d.scrollWidth > d.clientWidth).map(d => `${d.id} scrolls`))",
        )
        .await
        .expect("a list");
    assert!(outside.is_empty(), "{what}: {outside:#?}");
}

async fn names(page: &Page) -> Vec<String> {
    page.eval("[...document.querySelectorAll('#recordings-list button')].map(b => b.getAttribute('aria-label'))")
        .await
        .expect("names")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recording_is_followed_until_it_is_ready_played_and_deleted() {
    let server = moderated().await;
    let storage = server.folder.path().join("recordings");
    let mut link = Link::open(&server, "rec1", 2, &[]).await;
    let browser = Browser::launch().await.expect("chromium starts");
    let origin = server.url("");
    let ada = Guest::join(&browser, &origin, "demo", "Ada", "").await.expect("joins");
    let page = &ada.page;
    page.click("#record").await.expect("a click");
    let job = link.hear().await;
    let id = job["recording"].as_str().expect("an id").to_owned();
    said(&mut link, &id, "recording", 1_500_000, 0).await;
    ada.until("document.querySelector('#recording-text').textContent === 'Recording'").await.expect("red");
    page.click("#show-recordings").await.expect("a click");
    let row = format!("document.querySelector('[data-recording=\"{id}\"]')");
    ada.until(&format!("{row}.dataset.state === 'recording' && {row}.textContent.includes('1.5 MB')"))
        .await
        .expect("grows");
    ada.until(&format!("{row}.textContent.includes('Ada') && {row}.textContent.includes('1 person recorded')"))
        .await
        .expect("who");
    // It follows by itself, and tells what changed to who cannot see it.
    said(&mut link, &id, "recording", 2_500_000, 0).await;
    ada.until(&format!("{row}.textContent.includes('2.5 MB')")).await.expect("grows on");
    assert!(names(page).await.is_empty(), "what is on can be neither played nor deleted");
    assert_eq!(server.ask("DELETE", "/v1/rooms/demo/recording", None).await.status, 202);
    said(&mut link, &id, "finalising", 4_000_000, 0).await;
    said(&mut link, &id, "uploading", 4_000_000, 1_000_000).await;
    ada.until(&format!("{row}.querySelector('progress')?.value === 25")).await.expect("a bar");
    ada.until(&format!("{row}.querySelector('progress').getAttribute('aria-label') === 'Saving, 25 %'"))
        .await
        .expect("named");
    ada.until("document.querySelector('#recordings-status').textContent.includes('Saving')").await.expect("said");
    page.resize(Size::PHONE).await.expect("resizes");
    fits(page, "saving").await;
    link.finish(&storage, &job, b"media").await;
    ada.until(&format!("{row}.dataset.state === 'ready' && !{row}.querySelector('progress')")).await.expect("ready");
    fits(page, "ready").await;
    let labels = names(page).await;
    assert!(labels[0].starts_with("Delete the recording of Today, "), "{labels:?}");
    assert_eq!(labels[1..], ["Play Ada: camera and microphone", "Download Ada: camera and microphone"]);
    // The bytes are no media: no dead player stays, and it is said what can be done.
    page.click("#recordings-list [aria-label^=Play]").await.expect("a click");
    ada.until("document.querySelector('#toasts').textContent.includes('cannot play the file. Download it')")
        .await
        .expect("said");
    ada.until("document.querySelector('#player').hidden").await.expect("the player is gone");
    page.click(".remove").await.expect("a click");
    let focus = "document.activeElement.textContent";
    assert_eq!(page.eval::<String>(focus).await.expect("text"), "Cancel", "what does no harm has the focus");
    fits(page, "the question").await;
    page.press("Escape").await.expect("a key");
    ada.until("!document.querySelector('#confirm').open && document.querySelector('#recordings').open")
        .await
        .expect("kept");
    wait_for(&server, &id, "ready").await;
    page.click(".remove").await.expect("a click");
    page.click("#confirm-yes").await.expect("a click");
    ada.until(&format!("!{row} && !document.querySelector('#recordings-empty').hidden")).await.expect("gone");
    assert_eq!(server.ask("GET", &format!("/v1/recordings/{id}"), None).await.status, 404);
    let errors = page.take_errors();
    assert!(errors.is_empty(), "{errors:?}");
    ada.page.close().await.expect("no errors");
}

/// The button for pauses can be pressed and says that it does this.
fn ready_to(name: &str) -> String {
    format!(
        "(b => !b.hidden && !b.disabled && b.getAttribute('aria-label') === '{name}')(document.querySelector('#pause'))"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_moderator_pauses_and_everybody_sees_it() {
    let server = moderated().await;
    let mut link = Link::open(&server, "rec1", 2, &[]).await;
    let browser = Browser::launch().await.expect("chromium starts");
    let origin = server.url("");
    let ada = Guest::join(&browser, &origin, "demo", "Ada", "").await.expect("joins");
    let token = server.token("demo", json!({ "identity": "bob" })).await;
    let bob = Guest::join(&browser, &origin, "demo", "Bob", &format!("token={token}")).await.expect("joins");
    ada.until("document.querySelector('#pause').hidden").await.expect("there is nothing to pause");
    ada.page.press("r").await.expect("a key");
    let id = link.hear().await["recording"].as_str().expect("an id").to_owned();
    link.state(&id, "recording").await;
    ada.until(&ready_to("Pause recording")).await.expect("a button");
    for (order, state, light, name) in [
        ("pause", "paused", "Recording paused", "Resume recording"),
        ("resume", "recording", "Recording", "Pause recording"),
    ] {
        ada.page.press("p").await.expect("a key");
        assert_eq!(link.hear().await, json!({ "t": order, "recording": id }));
        link.state(&id, state).await;
        for guest in [&ada, &bob] {
            guest
                .until(&format!("document.querySelector('#recording-text').textContent === '{light}'"))
                .await
                .expect("seen");
        }
        ada.until(&ready_to(name)).await.expect("named");
        // On a phone there is no room for `Recording`, but who is not recorded must be able to read so.
        bob.page.resize(Size::PHONE).await.expect("resizes");
        let shown: bool = bob.page.eval("document.querySelector('#recording-text').checkVisibility() && getComputedStyle(document.querySelector('#recording-text')).clipPath === 'none'").await.expect("a truth");
        assert_eq!(shown, state == "paused", "{state}");
    }
    bob.until("document.querySelector('#pause').hidden && document.querySelector('#record').hidden")
        .await
        .expect("not Bob's");
    assert_eq!(server.ask("DELETE", "/v1/rooms/demo/recording", None).await.status, 202);
    assert_eq!(link.hear().await["t"], "stop");
    link.say(json!({ "t": "state", "recording": id, "state": "failed", "code": "recording_failed" })).await;
    wait_for(&server, &id, "failed").await;
    bob.page.click("#show-recordings").await.expect("a click");
    bob.until("!!document.querySelector('[data-state=failed]')").await.expect("listed");
    let buttons: Value =
        bob.page.eval("document.querySelectorAll('#recordings-list button').length").await.expect("a number");
    assert_eq!(buttons, 0, "he may look, not delete");
    ada.page.close().await.expect("no errors");
    bob.page.close().await.expect("no errors");
}

/// A recording as an earlier run of a server left it: its file is whatever these bytes are.
fn kept(storage: &std::path::Path, n: usize, sources: &Value, file: &[u8]) {
    let id = format!("00{n:03}");
    let place = storage.join("room1").join(&id);
    std::fs::create_dir_all(&place).expect("a folder");
    let name = "p1-x-0.webm";
    std::fs::write(place.join(name), file).expect("written");
    let folder = format!("room1/{id}");
    let segment = json!({ "v": 1, "recorder": "rec1", "recording": id, "room": "demo", "room_id": "room1", "folder": folder,
        "started_ms": 1, "ended_ms": 1000, "files": [{ "name": name, "size": file.len(), "container": "webm",
        "codecs": ["opus"], "participant": "p1", "participant_name": "Ada", "sources": sources, "start_ms": 0, "end_ms": 1000 }] });
    let manifest = json!({ "v": 1, "id": id, "room": "demo", "room_id": "room1", "folder": folder, "state": "ready",
        "started_ms": 1, "ended_ms": 1001, "segments": [segment] });
    std::fs::write(place.join("recording.json"), manifest.to_string()).expect("written");
}

/// What another server answers is never shown in place of the call.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_of_another_server_opens_beside_the_call() {
    let bucket = tempfile::tempdir().expect("a folder");
    let s3 = S3Server::start(bucket.path()).await.expect("serves");
    // The files of s3s-fs are the objects.
    kept(&bucket.path().join("recordings/tests"), 1, &json!(["mic"]), b"no media");
    let config = s3.config("tests");
    let moderated = |server: &mut Config| (server.storage, server.rooms.guests) = (config, Guests::Moderate);
    let server = Server::start_with(moderated).await;
    wait_for(&server, "00001", "ready").await;
    let browser = Browser::launch().await.expect("chromium starts");
    let ada = Guest::join(&browser, &server.url(""), "demo", "Ada", "").await.expect("joins");
    ada.page
        .eval::<()>("(HTMLAnchorElement.prototype.click = function () { window.clicked = [this.origin, this.target, this.rel] }, null)")
        .await
        .expect("set");
    ada.page.click("#show-recordings").await.expect("a click");
    ada.until("!!document.querySelector('[data-state=ready]')").await.expect("listed");
    ada.page.click("#recordings-list [aria-label^=Download]").await.expect("a click");
    ada.until("!!window.clicked").await.expect("a link");
    let clicked: [String; 3] = ada.page.eval("window.clicked").await.expect("a link");
    assert_eq!(clicked, [format!("http://{}", s3.address()), "_blank".to_owned(), "noopener".to_owned()]);
    ada.page.close().await.expect("no errors");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_list_is_read_to_its_end_and_follows_what_begins() {
    let home = tempfile::tempdir().expect("a folder");
    for n in 0..102 {
        let sources = if n == 101 { json!(["screen_audio"]) } else { json!(["mic"]) };
        kept(&home.path().join("recordings"), n, &sources, b"no media");
    }
    let server = Server::start_in(home, |config| config.rooms.guests = Guests::Moderate).await;
    wait_for(&server, "00000", "ready").await;
    let mut link = Link::open(&server, "rec1", 2, &[]).await;
    let browser = Browser::launch().await.expect("chromium starts");
    let ada = Guest::join(&browser, &server.url(""), "demo", "Ada", "").await.expect("joins");
    let page = &ada.page;
    page.click("#show-recordings").await.expect("a click");
    let rows = |count: usize, hidden: bool| {
        format!(
            "document.querySelectorAll('#recordings-list > li').length === {count} && document.querySelector('#recordings-more').hidden === {hidden}"
        )
    };
    ada.until(&rows(100, false)).await.expect("the latest");
    let first =
        "document.querySelector('#recordings-list > li .what').textContent.startsWith('Ada: sound of the screen')";
    ada.until(first).await.expect("what is in it, not what it is called");
    page.click("#recordings-more").await.expect("a click");
    ada.until(&rows(102, true)).await.expect("all of them");
    // Somebody switches it on while she looks.
    assert_eq!(server.ask("POST", "/v1/rooms/demo/recording", None).await.status, 201);
    let id = link.hear().await["recording"].as_str().expect("an id").to_owned();
    ada.until(&format!("document.querySelector('#recordings-list > li').dataset.recording === '{id}'"))
        .await
        .expect("it appears");
    ada.until(&rows(103, true)).await.expect("and the older ones stay");
    // The light counts from the server's clock, whatever ours says.
    page.eval::<()>("(Date.now = () => 0, null)").await.expect("set");
    link.state(&id, "recording").await;
    ada.until("/^00:[0-5][0-9]$/.test(document.querySelector('#recording-time').textContent)").await.expect("counts");
    ada.until("document.querySelector('#recording-time').textContent > '00:00'").await.expect("and goes on");
    // Exactly a page of them: that there is no other one is learned by asking, once.
    for n in 0..3 {
        assert_eq!(server.ask("DELETE", &format!("/v1/recordings/00{n:03}"), None).await.status, 204);
    }
    page.eval::<()>("(document.querySelector('#recordings').close(), null)").await.expect("closed");
    page.click("#show-recordings").await.expect("a click");
    ada.until(&rows(100, false)).await.expect("a page");
    page.click("#recordings-more").await.expect("a click");
    ada.until(&rows(100, true)).await.expect("no more");
    said(&mut link, &id, "recording", 9_000_000, 0).await;
    ada.until("document.querySelector('#recordings-list > li').textContent.includes('9.0 MB')").await.expect("grows");
    assert!(page.eval::<bool>(&rows(100, true)).await.expect("a truth"), "asked again and again");
    // Closed before the link comes, nothing plays. Whatever follows from an answer has happened a turn after it was read.
    page.eval::<()>(
        "(window.played = window.answered = 0, HTMLMediaElement.prototype.play = async () => { window.played += 1 }, (json => {
            Response.prototype.json = async function () {
                const body = await json.call(this);
                if (/recordings.00101$/.test(this.url)) setTimeout(() => { window.answered += 1 });
                return body;
            };
        })(Response.prototype.json), null)",
    )
    .await
    .expect("set");
    let play = "document.querySelector('#recordings-list [aria-label^=Play]').click()";
    page.eval::<()>(&format!("({play}, document.querySelector('#recordings').close(), null)")).await.expect("a click");
    ada.until("window.answered === 1").await.expect("the link came");
    assert_eq!(page.eval::<u64>("window.played").await.expect("a number"), 0);
    ada.page.close().await.expect("no errors");
}
