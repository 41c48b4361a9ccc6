//! The client of docs/signalling.md: short, and true.

use tests::browser::{Browser, DEADLINE, Page};
use tests::stack::Stack;

const CLIENT: &str = include_str!("../../docs/rooms-client.js");
/// What a reader should be able to take in at once.
const MOST_LINES: usize = 50;

#[test]
fn the_documented_client_is_short() {
    assert!(CLIENT.lines().count() <= MOST_LINES, "{} lines", CLIENT.lines().count());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_documented_client_calls_somebody_who_uses_it_too() {
    let stack = Stack::start().await;
    let browser = Browser::launch().await.expect("chromium starts");
    let (ada, bob) = (by_hand(&browser, &stack, "Ada").await, by_hand(&browser, &stack, "Bob").await);
    for page in [&ada, &bob] {
        let moving = "(v => v?.videoWidth > 0 && v.getVideoPlaybackQuality().totalVideoFrames > 10)(document.querySelector('video'))";
        page.wait_until::<bool>(moving, DEADLINE).await.expect("a moving picture");
    }
    bob.eval::<()>("me.leave().then(() => null)").await.expect("leaves");
    ada.wait_until::<bool>("!document.querySelector('video')", DEADLINE).await.expect("the picture is blanked");
    ada.close().await.expect("no errors");
    bob.close().await.expect("no errors");
}

/// An empty page that joins with the documented client and shows each arriving picture.
async fn by_hand(browser: &Browser, stack: &Stack, name: &str) -> Page {
    let page = browser.blank().await.expect("a page");
    let script = serde_json::Value::from(CLIENT);
    let origin = stack.origin();
    let join = format!(
        "(async () => {{
            const {{ join }} = await import(URL.createObjectURL(new Blob([{script}], {{ type: 'text/javascript' }})));
            const canvas = document.createElement('canvas');
            setInterval(() => {{
                const c = canvas.getContext('2d');
                c.fillStyle = `hsl(${{performance.now() / 10}} 50% 50%)`;
                c.fillRect(0, 0, 300, 150);
            }}, 50);
            const elements = new Map();
            window.me = await join('{origin}', 'by-hand', {{
                name: '{name}',
                camera: canvas.captureStream(20).getVideoTracks()[0],
                onTrack: (stream, peer, mid) => {{
                    const video = Object.assign(document.createElement('video'), {{ srcObject: stream, autoplay: true, muted: true }});
                    elements.set(mid, video);
                    document.body.append(video);
                }},
                onBlank: (mid) => elements.get(mid)?.remove(),
            }});
            return true;
        }})()"
    );
    page.eval::<bool>(&join).await.expect("joins");
    page
}
