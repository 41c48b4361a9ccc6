//! The page as a person meets it: lobby, layout, keyboard, words. What flows in a call is in call.rs.

mod recordings;

use tests::browser::{Browser, DEADLINE, Size};
use tests::guest::Guest;
use tests::stack::Stack;

#[tokio::test]
async fn a_browser_runs_scripts_and_tells_its_errors() {
    let browser = Browser::launch().await.expect("chromium starts");
    let page = browser.open("data:text/html,<h1>Tern</h1>").await.expect("opens");
    let title: String = page.wait_until("document.querySelector('h1')?.textContent", DEADLINE).await.expect("a title");
    assert_eq!(title, "Tern");
    page.eval::<()>("(console.error('broken', 7), setTimeout(() => { throw new Error('late') }), null)")
        .await
        .expect("runs");
    page.wait_until::<bool>("new Promise(done => setTimeout(() => done(true)))", DEADLINE).await.expect("a turn");
    let errors = page.take_errors();
    assert_eq!(errors.len(), 2, "{errors:?}");
    page.close().await.expect("clean after its errors were taken");
}

#[tokio::test]
async fn the_page_asks_nobody_but_its_server() {
    let stack = Stack::start().await;
    let browser = Browser::launch().await.expect("chromium starts");
    let guest = Guest::join(&browser, &stack.origin(), "demo", "Ada", "").await.expect("joins");
    guest.until("document.querySelector('#room-name').textContent === 'demo'").await.expect("in the room");
    let host = stack.origin().replace("http://", "");
    let own = |url: &String| {
        let rest = url.strip_prefix("http://").or(url.strip_prefix("ws://"));
        rest.is_some_and(|rest| rest.starts_with(&host)) || url.starts_with("data:") || url.starts_with("blob:")
    };
    let strange: Vec<_> = guest.page.requests().into_iter().filter(|url| !own(url)).collect();
    assert!(strange.is_empty(), "{strange:?}");
    assert!(guest.page.requests().len() > 20, "all modules were seen");
    guest.page.close().await.expect("no errors");
}

#[tokio::test]
async fn another_site_builds_on_the_library() {
    let stack = Stack::start().await;
    let origin = stack.origin();
    let browser = Browser::launch().await.expect("chromium starts");
    let elsewhere = format!("{}/v1/info", origin.replace("127.0.0.1", "localhost"));
    let page = browser.open(&elsewhere).await.expect("opens");
    let join = format!(
        "import('{origin}/tern.js')
            .then(({{ connect }}) => connect({{ url: '{origin}', room: 'elsewhere', name: 'Ada' }}))
            .then((room) => room.info.name)"
    );
    assert_eq!(page.eval::<String>(&join).await.expect("joins"), "elsewhere");
}

#[tokio::test]
async fn a_call_is_joined_and_left_by_keyboard() {
    let stack = Stack::start().await;
    let browser = Browser::launch().await.expect("chromium starts");
    let guest = Guest::in_lobby(&browser, &stack.origin(), "", "", "").await.expect("a lobby");
    let page = &guest.page;
    let focus = "document.activeElement.id";
    assert_eq!(page.eval::<String>(focus).await.expect("an id"), "name");
    page.type_text("Ada").await.expect("types");
    page.press("Tab").await.expect("a key");
    assert_eq!(page.eval::<String>(focus).await.expect("an id"), "room");
    page.eval::<()>("document.activeElement.select()").await.expect("selects");
    page.type_text("by keyboard!").await.expect("types");
    page.press("Enter").await.expect("a key");
    guest.until("document.body.dataset.view === 'call'").await.expect("joins");
    guest.until("document.querySelector('#room-name').textContent === 'by-keyboard'").await.expect("a clean name");
    for (key, button, off) in [("m", "#mic", "Unmute microphone"), ("v", "#camera", "Turn camera on")] {
        page.press(key).await.expect("a key");
        let label = format!("document.querySelector('{button}').getAttribute('aria-label') === '{off}'");
        guest.until(&label).await.expect("switched off");
        page.press(key).await.expect("a key");
        guest.until(&format!("!({label})")).await.expect("switched on again");
    }
    page.press("L").await.expect("a key");
    guest.until("document.body.dataset.view === 'lobby'").await.expect("left");
    guest.until("document.querySelector('#notice').textContent.includes('You left')").await.expect("says so");
    guest.page.close().await.expect("no errors");
}

/// Everything that is shown and can be pressed must be in the window and must have a name.
const MISPLACED: &str = "[...document.querySelectorAll('button, input, select, a')]
    .filter(e => e.checkVisibility({visibilityProperty: true, opacityProperty: true}))
    .map(e => ({e, r: e.getBoundingClientRect()}))
    .filter(({e, r}) => r.left < 0 || r.top < 0 || r.right > innerWidth + 0.5 || r.bottom > innerHeight + 0.5
        || !(e.ariaLabel || e.textContent.trim() || e.labels?.length))
    .map(({e, r}) => `${e.id || e.textContent}: ${r.left},${r.top},${r.right},${r.bottom}`)
    .concat(document.documentElement.scrollWidth > innerWidth ? ['the page scrolls sideways'] : [])";

#[tokio::test]
async fn everything_fits_a_narrow_phone() {
    let stack = Stack::start().await;
    let browser = Browser::launch().await.expect("chromium starts");
    let guest = Guest::in_lobby(&browser, &stack.origin(), "demo", "Ada", "").await.expect("a lobby");
    let page = &guest.page;
    page.resize(Size::PHONE).await.expect("resizes");
    let misplaced: Vec<String> = page.eval(MISPLACED).await.expect("a list");
    assert!(misplaced.is_empty(), "lobby: {misplaced:?}");
    page.click("#join").await.expect("a click");
    guest.until("document.body.dataset.view === 'call'").await.expect("joins");
    for size in [Size::PHONE, Size { width: 740, height: 360, mobile: true }, Size::LAPTOP] {
        page.resize(size).await.expect("resizes");
        let settled =
            format!("innerWidth === {} && document.querySelector('.tile').getAnimations().length === 0", size.width);
        guest.until(&settled).await.expect("laid out");
        let misplaced: Vec<String> = page.eval(MISPLACED).await.expect("a list");
        assert!(misplaced.is_empty(), "{size:?}: {misplaced:?}");
    }
    page.resize(Size::PHONE).await.expect("resizes");
    page.click("#show-settings").await.expect("a click");
    let dialog: [f64; 4] = page
        .eval("(r => [r.left, r.top, innerWidth - r.right, innerHeight - r.bottom])(document.querySelector('#settings').getBoundingClientRect())")
        .await
        .expect("a rectangle");
    assert!(dialog.iter().all(|margin| *margin >= 0.0), "{dialog:?}");
    guest.page.close().await.expect("no errors");
}

#[tokio::test]
async fn tiles_fill_the_window_and_never_overlap() {
    let stack = Stack::start().await;
    let browser = Browser::launch().await.expect("chromium starts");
    let page = browser.open(&stack.origin()).await.expect("opens");
    let faults: Vec<String> = page
        .eval(
            "import('/page/pack.js').then(({ pack, spotlight }) => {
                const faults = [];
                const check = (rects, area, what) => rects.forEach((a, n) => {
                    if (a.x < area.x - 0.01 || a.y < area.y - 0.01 || a.x + a.w > area.x + area.w + 0.01
                        || a.y + a.h > area.y + area.h + 0.01 || !(a.w > 40 && a.h > 40)) faults.push(`${what}: ${n} outside or tiny`);
                    rects.slice(n + 1).forEach((b, m) => {
                        if (a.x < b.x + b.w && b.x < a.x + a.w && a.y < b.y + b.h && b.y < a.y + a.h) faults.push(`${what}: ${n} on ${n + m + 1}`);
                    });
                });
                for (const [w, h] of [[1260, 660], [348, 610], [720, 240], [1900, 950]]) {
                    const area = { x: 0, y: 0, w, h };
                    for (let n = 1; n <= 16; n++) {
                        const rects = pack(n, area, 8);
                        check(rects, area, `${n} in ${w}x${h}`);
                        const used = rects.reduce((sum, r) => sum + r.w * r.h, 0) / (w * h);
                        if (n <= 9 && used < 0.45) faults.push(`${n} in ${w}x${h} use only ${used.toFixed(2)}`);
                        const { large, small } = spotlight(1, n, area, 8);
                        if (n <= 9) check([...large, ...small], area, `screen and ${n} in ${w}x${h}`);
                    }
                }
                return faults;
            })",
        )
        .await
        .expect("runs");
    assert!(faults.is_empty(), "{faults:#?}");
    page.close().await.expect("no errors");
}

/// A question asked before the one before it was answered is another question.
#[tokio::test]
async fn an_answer_is_to_the_question_that_is_shown() {
    let stack = Stack::start().await;
    let browser = Browser::launch().await.expect("chromium starts");
    let page = browser.open(&stack.origin()).await.expect("opens");
    let answers: Vec<bool> = page
        .eval(
            "import('/page/confirm.js').then(async ({ confirmed }) => {
                const dialog = document.querySelector('#confirm');
                const ask = (title) => confirmed({ title, text: '', action: 'Do' });
                // Escape, and before its event the next one; then one while it is open.
                const first = ask('first');
                dialog.close();
                const second = ask('second');
                const third = ask('third');
                // As a browser sends the event of the first one.
                await new Promise((done) => setTimeout(done));
                if (dialog.querySelector('#confirm-title').textContent !== 'third') throw new Error('another is shown');
                dialog.close('yes');
                return Promise.all([first, second, third]);
            })",
        )
        .await
        .expect("answers");
    assert_eq!(answers, [false, false, true]);
    page.close().await.expect("no errors");
}

#[tokio::test]
async fn without_https_the_page_says_so_and_still_joins() {
    let stack = Stack::start().await;
    let port = stack.origin().rsplit(':').next().expect("a port").to_owned();
    let browser =
        Browser::launch_with(&["--host-resolver-rules=MAP tern.test 127.0.0.1"]).await.expect("chromium starts");
    let page = browser.open(&format!("http://tern.test:{port}/?name=Ada#demo")).await.expect("opens");
    page.wait_until::<bool>("document.querySelector('#insecure').textContent.includes('need HTTPS')", DEADLINE)
        .await
        .expect("a hint");
    page.click("#join").await.expect("a click");
    page.wait_until::<bool>("document.body.dataset.view === 'call'", DEADLINE).await.expect("joins to watch");
    page.close().await.expect("no errors");
}

#[tokio::test]
async fn a_refusal_is_told_in_plain_words() {
    let stack = Stack::start().await;
    stack.create_room(r#"{"name":"small","mode":"sfu","max_participants":1}"#).await;
    let browser = Browser::launch().await.expect("chromium starts");
    let first = Guest::join(&browser, &stack.origin(), "small", "Ada", "").await.expect("joins");
    let second = Guest::in_lobby(&browser, &stack.origin(), "small", "Bob", "").await.expect("a lobby");
    second.page.click("#join").await.expect("a click");
    second.until("document.querySelector('#notice').textContent === 'This room is full.'").await.expect("a reason");
    first.page.close().await.expect("no errors");
    second.page.close().await.expect("no errors");
}

#[tokio::test]
async fn nothing_moves_for_who_wants_no_motion() {
    let stack = Stack::start().await;
    let browser = Browser::launch().await.expect("chromium starts");
    let page = browser.blank().await.expect("a page");
    page.prefer("prefers-reduced-motion", "reduce").await.expect("emulates");
    page.goto(&stack.origin()).await.expect("opens");
    let moving: u32 = page
        .eval("[...document.querySelectorAll('*')].map(e => getComputedStyle(e)).filter(s => s.animationName !== 'none' || s.transitionDuration !== '0s').length")
        .await
        .expect("a count");
    assert_eq!(moving, 0);
    page.close().await.expect("no errors");
}

/// While another microphone opens, the old one is heard; where only one can be open, it is opened again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_microphone_opens_before_the_old_one_stops() {
    const WATCH: &str = "window.mics = []; window.alive = []; window.single = false; (media => {
        const open = media.getUserMedia.bind(media);
        const live = () => mics.filter(mic => mic.readyState === 'live').length;
        media.getUserMedia = async what => {
            if (what.audio && single && live()) throw new DOMException('busy', 'NotReadableError');
            const stream = await open(what);
            if (what.audio) alive.push(live());
            mics.push(...stream.getAudioTracks());
            return stream;
        };
    })(navigator.mediaDevices)";
    let stack = Stack::start().await;
    let browser = Browser::launch().await.expect("chromium starts");
    let ada = Guest::join_with(&browser, &stack.origin(), "mics", "Ada", "", WATCH).await.expect("Ada joins");
    for (single, opened) in [(false, 2), (true, 3)] {
        let choose = format!("(single = {single}, document.querySelector('#mic-device').onchange(), null)");
        ada.page.eval::<()>(&choose).await.expect("another is chosen");
        let last = format!(
            "mics.length === {opened} && mics.every((mic, n) => (mic.readyState === 'live') === (n === {opened} - 1))"
        );
        ada.until(&last).await.expect("the new one alone is open");
    }
    assert_eq!(ada.page.eval::<Vec<u32>>("alive").await.expect("counts"), [0, 1, 0]);
    ada.page.close().await.expect("no errors");
}
