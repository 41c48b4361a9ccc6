//! Calls between real browsers through the whole product: the page, our API, our relay, our SFU, our recorder, and a
//! real S3 server. What is asserted comes from the browsers' own statistics and from the server's metrics.

mod by_hand;
mod mesh;
mod moderation;
mod recorded;
mod share;

use tests::browser::Browser;
use tests::guest::{Connection, Guest};
use tests::stack::Stack;

/// The media of a browser that relays everything.
async fn relayed(guest: &Guest, protocol: &str) -> Connection {
    let connections = guest.connections().await.expect("statistics");
    let [media] = &connections[..] else { panic!("one connection, not {connections:?}") };
    assert_eq!(media.state, "connected", "{media:?}");
    assert_eq!(media.local.as_deref(), Some("relay"), "{media:?}");
    assert_eq!(media.relay_protocol.as_deref(), Some(protocol), "{media:?}");
    media.clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_people_see_and_hear_each_other() {
    let stack = Stack::start().await;
    let browser = Browser::launch().await.expect("chromium starts");
    let ada = Guest::join(&browser, &stack.origin(), "direct", "Ada", "").await.expect("Ada joins");
    let bob = Guest::join(&browser, &stack.origin(), "direct", "Bob", "").await.expect("Bob joins");
    for (one, other) in [(&ada, "Bob"), (&bob, "Ada")] {
        one.sees(other, 15).await.expect("a moving picture");
        one.hears_something().await.expect("a beep");
        // A camera of 640x480 is sent in two layers, the full one among them, once the browser trusts the way with it.
        one.until("(await observed())[0].layers.join() === 'h,q'").await.expect("both layers");
        one.until("document.querySelector('#people').textContent === '2 people'").await.expect("counted");
    }
    bob.page.click("#leave").await.expect("a click");
    ada.until("document.querySelectorAll('.tile').length === 1").await.expect("Bob is gone");
    ada.until("!document.querySelector('#alone').hidden").await.expect("alone again");
    ada.page.close().await.expect("no errors");
    bob.page.close().await.expect("no errors");
}

/// Whoever presses Join while the browser still asks for the camera is seen once it is allowed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_camera_that_opens_after_the_join_is_published() {
    let stack = Stack::start().await;
    let browser = Browser::launch().await.expect("chromium starts");
    let ada = Guest::join(&browser, &stack.origin(), "early", "Ada", "").await.expect("Ada joins");
    let page = browser.blank().await.expect("a page");
    let asks = "(media => {
        const open = media.getUserMedia.bind(media);
        const answer = new Promise(allow => { window.allow = allow; });
        media.getUserMedia = what => answer.then(() => open(what));
    })(navigator.mediaDevices)";
    page.inject(asks).await.expect("a script");
    page.goto(&format!("{}/?name=Bob#early", stack.origin())).await.expect("the page");
    page.click("#join").await.expect("a click");
    let bob = Guest { page, name: "Bob".into() };
    bob.until("document.body.dataset.view === 'call'").await.expect("let in");
    bob.page.eval::<()>("(allow(), null)").await.expect("allowed");
    ada.sees("Bob", 10).await.expect("a moving picture");
    ada.hears_something().await.expect("a beep");
    ada.page.close().await.expect("no errors");
    bob.page.close().await.expect("no errors");
}

/// Mutes and camera switches reach the other side, and what was switched on again flows again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn muting_and_camera_are_seen_by_the_other() {
    let stack = Stack::start().await;
    let browser = Browser::launch().await.expect("chromium starts");
    let ada = Guest::join(&browser, &stack.origin(), "mute", "Ada", "").await.expect("Ada joins");
    let bob = Guest::join(&browser, &stack.origin(), "mute", "Bob", "").await.expect("Bob joins");
    ada.sees("Bob", 10).await.expect("a moving picture");
    let label = "document.querySelector('.tile:not(.own)').getAttribute('aria-label')";
    bob.page.press("m").await.expect("a key");
    ada.until(&format!("{label} === 'Bob, muted'")).await.expect("Bob is muted");
    bob.page.press("v").await.expect("a key");
    ada.sees_no_picture_of("Bob").await.expect("Bob's picture is taken away");
    ada.until(&format!("{label} === 'Bob, muted, no video'")).await.expect("and said to be");
    bob.page.press("m").await.expect("a key");
    bob.page.press("v").await.expect("a key");
    ada.sees("Bob", 10).await.expect("Bob's picture moves again");
    ada.hears_something().await.expect("Bob is heard again");
    ada.page.close().await.expect("no errors");
    bob.page.close().await.expect("no errors");
}

/// A server that goes and comes back finds its callers again, without anybody touching anything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_socket_is_joined_again() {
    let stack = Stack::start().await;
    let browser = Browser::launch().await.expect("chromium starts");
    let ada = Guest::join(&browser, &stack.origin(), "again", "Ada", "").await.expect("Ada joins");
    let bob = Guest::join(&browser, &stack.origin(), "again", "Bob", "").await.expect("Bob joins");
    ada.sees("Bob", 10).await.expect("a moving picture");
    bob.page.call("Network.emulateNetworkConditions", offline(true)).await.expect("the network goes");
    bob.page.eval::<()>("sockets.forEach(socket => socket.close())").await.expect("the socket breaks");
    bob.until("document.querySelector('#connection').textContent === 'Reconnecting…'").await.expect("says so");
    ada.until("document.querySelectorAll('.tile').length === 1").await.expect("Bob is gone");
    bob.page.call("Network.emulateNetworkConditions", offline(false)).await.expect("the network is back");
    bob.until("document.querySelector('#connection').hidden").await.expect("is back");
    ada.sees("Bob", 10).await.expect("Bob's picture moves again");
    bob.sees("Ada", 10).await.expect("Ada's picture moves again");
    bob.page.take_errors();
    ada.page.close().await.expect("no errors");
}

fn offline(offline: bool) -> serde_json::Value {
    serde_json::json!({"offline": offline, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1})
}
