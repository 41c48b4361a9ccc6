//! The page in a real browser: what a person sees and does, without a call.

use tests::browser::{Browser, DEADLINE};

#[tokio::test]
async fn a_browser_runs_scripts_and_tells_its_errors() {
    let browser = Browser::launch().await.expect("chromium starts");
    let page = browser.open("data:text/html,<h1>Tern</h1>").await.expect("opens");
    let title: String = page.wait_until("document.querySelector('h1')?.textContent", DEADLINE).await.expect("a title");
    assert_eq!(title, "Tern");
    let camera: u32 = page.eval("navigator.mediaDevices?.getUserMedia ? 1 : 0").await.expect("a value");
    assert_eq!(camera, 0, "a data: URL is no secure context");
    page.eval::<()>("(console.error('broken', 7), setTimeout(() => { throw new Error('late') }), null)")
        .await
        .expect("runs");
    page.wait_until::<bool>("new Promise(done => setTimeout(() => done(true)))", DEADLINE).await.expect("a turn");
    let errors = page.take_errors();
    assert_eq!(errors.len(), 2, "{errors:?}");
    page.close().await.expect("clean after its errors were taken");
}
