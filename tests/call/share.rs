//! Sharing a screen beside the camera.

use tests::browser::{Browser, DEADLINE};
use tests::guest::Guest;
use tests::stack::Stack;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shared_screen_is_large_and_goes_away_again() {
    let stack = Stack::start().await;
    let browser = Browser::launch().await.expect("chromium starts");
    let ada = Guest::join(&browser, &stack.origin(), "share", "Ada", "").await.expect("Ada joins");
    let bob = Guest::join(&browser, &stack.origin(), "share", "Bob", "").await.expect("Bob joins");
    ada.sees("Bob", 10).await.expect("a moving picture");
    bob.page.press("s").await.expect("a key");
    let frames = "document.querySelector('.tile.screen.showing video').getVideoPlaybackQuality().totalVideoFrames";
    ada.page.wait_until::<u32>(&format!("{frames} > 3 && {frames}"), DEADLINE).await.expect("the screen moves");
    ada.until("document.querySelector('.tile.screen').getBoundingClientRect().width > innerWidth / 2")
        .await
        .expect("large");
    ada.sees("Bob", 10).await.expect("the camera goes on");
    bob.until("document.querySelector('#share').getAttribute('aria-label') === 'Stop sharing your screen'")
        .await
        .expect("on");
    bob.page.press("s").await.expect("a key");
    ada.until("!document.querySelector('.tile.screen')").await.expect("the screen is gone");
    ada.sees("Bob", 10).await.expect("the camera still goes on");
    ada.page.close().await.expect("no errors");
    bob.page.close().await.expect("no errors");
}
