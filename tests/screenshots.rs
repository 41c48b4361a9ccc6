//! Takes pictures of the page, in a real call of up to nine drawn people: `screenshots FOLDER`.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tests::browser::{Browser, DEADLINE, Page, Size};
use tests::stack::Stack;

const NAMES: [&str; 9] = [
    "Ada Lovelace",
    "Grace Hopper",
    "Alan Turing",
    "Katherine Johnson",
    "Edsger Dijkstra",
    "Margaret Hamilton",
    "Tim Berners-Lee",
    "Радия Перлман",
    "Linus",
];
/// A toast would hide what the picture is about.
const NO_TOASTS: &str = "document.querySelectorAll('.toast button:last-child').forEach(b => b.click())";

#[tokio::main]
async fn main() -> io::Result<()> {
    let Some(folder) = std::env::args_os().nth(1).map(PathBuf::from) else {
        return Err(io::Error::other("usage: screenshots FOLDER"));
    };
    std::fs::create_dir_all(&folder)?;
    let stack = Stack::start_recording().await;
    let browser = Browser::launch().await?;
    let first = lobby(&browser, &stack, 0).await?;
    shoot(&first, &folder, "lobby").await?;
    enter(&first, 1).await?;
    shoot(&first, &folder, "alone").await?;
    let mut others = Vec::new();
    for number in 1..NAMES.len() {
        let other = lobby(&browser, &stack, number).await?;
        enter(&other, number + 1).await?;
        others.push(other);
        // One without a camera, one without a voice.
        match number {
            2 => others[1].press("v").await?,
            3 => others[2].press("m").await?,
            _ => {}
        }
        moving(&first, number + if number >= 2 { 0 } else { 1 }).await?;
        match number {
            1 => shoot(&first, &folder, "two").await?,
            2 => shoot(&first, &folder, "three").await?,
            4 => {
                shoot(&first, &folder, "five").await?;
                share_and_record(&first, &others[0], &folder).await?;
            }
            _ => {}
        }
    }
    shoot(&first, &folder, "nine").await
}

async fn share_and_record(first: &Page, sharer: &Page, folder: &Path) -> io::Result<()> {
    first.click("#record").await?;
    first.wait_until::<bool>("document.querySelector('#recording-text').textContent === 'Recording'", DEADLINE).await?;
    shoot(first, folder, "recording").await?;
    first.press("p").await?;
    first.wait_until::<bool>("!!document.querySelector('.recording-paused')", DEADLINE).await?;
    shoot(first, folder, "paused").await?;
    first.press("p").await?;
    sharer.press("s").await?;
    first.wait_until::<bool>("!!document.querySelector('.tile.screen.showing')", DEADLINE).await?;
    first.wait_until::<bool>("document.querySelector('.tile.screen video').videoWidth >= 640", DEADLINE).await?;
    first.wait_until::<bool>("document.querySelector('#recording-time').textContent >= '00:08'", DEADLINE).await?;
    shoot(first, folder, "sharing").await?;
    sharer.press("s").await?;
    first.wait_until::<bool>("!document.querySelector('.tile.screen')", DEADLINE).await?;
    first.click("#record").await?;
    first.wait_until::<bool>("!document.body.matches('.recording-live')", DEADLINE).await?;
    first.click("#show-recordings").await?;
    first.wait_until::<bool>("!!document.querySelector('[data-state=\"ready\"]')", DEADLINE).await?;
    shoot(first, folder, "recordings").await?;
    first.press("Escape").await?;
    first.click("#show-settings").await?;
    shoot(first, folder, "settings").await?;
    first.press("Escape").await
}

async fn lobby(browser: &Browser, stack: &Stack, number: usize) -> io::Result<Page> {
    let page = browser.blank().await?;
    let people = include_str!("screenshots/people.js").replace("HUE", &(number * 40 + 195).to_string());
    page.inject(&people).await?;
    page.goto(&format!("{}/#demo", stack.origin())).await?;
    page.eval::<()>("document.querySelector('#name').focus()").await?;
    page.type_text(NAMES[number]).await?;
    page.wait_until::<bool>("document.querySelector('#preview').videoWidth > 0", DEADLINE).await?;
    Ok(page)
}

async fn enter(page: &Page, people: usize) -> io::Result<()> {
    page.click("#join").await?;
    page.wait_until::<bool>(&format!("document.querySelectorAll('.tile').length === {people}"), DEADLINE).await?;
    Ok(())
}

/// So many tiles show a picture.
async fn moving(page: &Page, tiles: usize) -> io::Result<()> {
    let showing = "[...document.querySelectorAll('.tile.showing video')].filter(v => v.videoWidth > 0).length";
    page.wait_until::<bool>(&format!("{showing} >= {tiles}"), DEADLINE).await?;
    Ok(())
}

async fn shoot(page: &Page, folder: &Path, name: &str) -> io::Result<()> {
    for (suffix, size) in [("", Size::LAPTOP), ("-phone", Size::PHONE)] {
        page.resize(size).await?;
        page.eval::<()>(&format!("void ({NO_TOASTS})")).await?;
        // Tiles glide to their places.
        let settled = format!(
            "innerWidth === {} && document.getAnimations().every(a => a.effect.getTiming().iterations === Infinity)",
            size.width
        );
        page.wait_until::<bool>(&settled, Duration::from_secs(5)).await?;
        page.screenshot(&folder.join(format!("{name}{suffix}.png"))).await?;
    }
    page.resize(Size::LAPTOP).await
}
