//! What a moderator does on the page, as the other side sees it.

use tests::browser::Browser;
use tests::guest::Guest;
use tests::stack::Stack;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_moderator_mutes_and_removes() {
    let stack = Stack::start().await;
    let browser = Browser::launch().await.expect("chromium starts");
    let ada = Guest::join(&browser, &stack.origin(), "order", "Ada", "").await.expect("Ada joins");
    let bob = Guest::join(&browser, &stack.origin(), "order", "Bob", "").await.expect("Bob joins");
    ada.sees("Bob", 10).await.expect("a moving picture");

    choose(&ada, "Mute microphone").await;
    bob.until("document.querySelector('#mic').getAttribute('aria-label') === 'Unmute microphone'")
        .await
        .expect("muted");
    bob.until("document.querySelector('#toasts').textContent.includes('A moderator has muted')")
        .await
        .expect("is told");
    bob.page.press("m").await.expect("a key");
    bob.until("document.querySelector('#toasts').textContent.includes('Ask to be unmuted')")
        .await
        .expect("stays muted");
    choose(&ada, "Allow microphone again").await;
    ada.until("document.querySelector('.tile:not(.own)').getAttribute('aria-label') === 'Bob, muted'")
        .await
        .expect("being allowed opens no microphone");

    choose(&ada, "Remove from the room").await;
    bob.until("document.body.dataset.view === 'lobby'").await.expect("out");
    bob.until("document.querySelector('#notice').textContent === 'A moderator removed you from this room.'")
        .await
        .expect("is told why");
    ada.until("document.querySelectorAll('.tile').length === 1").await.expect("Bob is gone");
    ada.page.close().await.expect("no errors");
    bob.page.close().await.expect("no errors");
}

async fn choose(moderator: &Guest, item: &str) {
    moderator.page.click(".tile:not(.own) .menu-button").await.expect("the menu opens");
    let click = format!(
        "(i => {{ if (!i) return false; i.click(); return true }})([...document.querySelectorAll('.menu button')].find(i => i.textContent === '{item}'))"
    );
    moderator.until(&click).await.expect("the item is there");
}
