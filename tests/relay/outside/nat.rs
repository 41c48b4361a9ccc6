//! What a relay is for: two people behind translators of the wrong kinds, one symmetric and one port-restricted, who
//! cannot reach each other by what a STUN server tells them, and can through the relay. The translators are the kernel's.

use std::net::SocketAddr;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tests::browser::{Browser, Page};
use tests::firefox::Firefox;
use tests::nat::{Lab, Nat, PUBLIC};
use tests::netns::Host;
use tests::relay::{USER, start};
use turn_server::relay::Relay;

const END: &str = include_str!("../../clients/end.js");

#[derive(Debug, Deserialize)]
struct Pair {
    local: String,
    remote: String,
}

/// Somebody at home with an empty page.
enum Person {
    Chromium { page: Page, _browser: Box<Browser> },
    Firefox(Box<Firefox>),
}

impl Person {
    async fn with_chromium(host: &Host) -> Self {
        let browser = Browser::launch_on(host).await.expect("chromium starts");
        let page = browser.blank().await.expect("a page");
        Self::Chromium { page, _browser: Box::new(browser) }
    }

    async fn with_firefox(host: &Host) -> Self {
        Self::Firefox(Box::new(Firefox::launch_on(host).await.expect("firefox starts")))
    }

    async fn eval<T: DeserializeOwned>(&mut self, expression: &str) -> T {
        match self {
            Self::Chromium { page, .. } => page.eval(expression).await,
            Self::Firefox(browser) => browser.eval(expression).await,
        }
        .expect("it is whole")
    }

    /// Gives them two ends of calls: `direct` knows the STUN server only, `relayed` the relay too.
    async fn prepare(&mut self, server: SocketAddr) {
        let stun = json!({ "urls": format!("stun:{server}") });
        let turn = json!({ "urls": format!("turn:{server}"), "username": USER.0, "credential": USER.1 });
        let script = format!(
            "(() => {{ {END}
                window.direct = new End({{ iceServers: [{stun}] }});
                window.relayed = new End({{ iceServers: [{stun}, {turn}] }});
            }})()"
        );
        self.eval::<Value>(&script).await;
    }

    /// What becomes of the end that knows the STUN server only.
    async fn outcome(&mut self) -> String {
        self.eval("direct.outcome()").await
    }
}

/// Exchanges descriptions between the ends of that name.
async fn introduce(one: &mut Person, other: &mut Person, end: &str) {
    let offer: String = one.eval(&format!("{end}.offer()")).await;
    assert!(offer.contains("typ srflx"), "the STUN server does not answer: {offer}");
    let answer: String = other.eval(&format!("{end}.answer({})", json!(offer))).await;
    assert!(answer.contains("typ srflx"), "the STUN server does not answer: {answer}");
    one.eval::<Value>(&format!("{end}.accept({})", json!(answer))).await;
}

/// Starts a relay on the public host.
fn public_relay(lab: &Lab) -> (Relay, SocketAddr) {
    let public = SocketAddr::new(PUBLIC.parse().expect("an address"), 3478);
    lab.public.within(|| {
        start(|config| {
            config.listen = vec![public];
            config.relay_addresses = vec![public.ip()];
        })
    })
}

/// The two meet over the ends that know the relay, and data goes through it.
async fn meet_at(relay: &Relay, one: &mut Person, other: &mut Person) {
    introduce(one, other, "relayed").await;
    one.eval::<Value>("relayed.hearsItsEcho()").await;
    other.eval::<Value>("relayed.sees(25)").await;
    for person in [one, other] {
        let pair: Pair = person.eval("relayed.pair()").await;
        assert!(pair.local == "relay" || pair.remote == "relay", "{pair:?}");
    }
    let stats = relay.stats();
    // Which pair is chosen is the browsers' business: with a relay at one end only, data goes through the kernel.
    assert!(stats.core.to_peers.packets > 50 && stats.sent_to_peers > 0, "{stats:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn homes_that_cannot_reach_each_other_meet_at_the_relay() {
    let lab = Lab::new([Nat::Symmetric, Nat::PortRestricted]);
    let (relay, server) = public_relay(&lab);
    let (mut ada, mut bob) = tokio::join!(Person::with_chromium(&lab.homes[0]), Person::with_chromium(&lab.homes[1]));
    tokio::join!(ada.prepare(server), bob.prepare(server));
    introduce(&mut ada, &mut bob, "direct").await;
    meet_at(&relay, &mut ada, &mut bob).await;
    // It takes a browser a quarter of a minute to give up.
    let outcomes = tokio::join!(ada.outcome(), bob.outcome());
    let failed = "failed".to_owned();
    assert_eq!(outcomes, (failed.clone(), failed), "these homes need no relay: the test shows nothing");
}

/// As above, with a browser of another house behind the harder translator.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn firefox_meets_chromium_at_the_relay() {
    let lab = Lab::new([Nat::Symmetric, Nat::PortRestricted]);
    let (relay, server) = public_relay(&lab);
    let (mut ada, mut bob) = tokio::join!(Person::with_firefox(&lab.homes[0]), Person::with_chromium(&lab.homes[1]));
    tokio::join!(ada.prepare(server), bob.prepare(server));
    meet_at(&relay, &mut ada, &mut bob).await;
}

/// The network itself is whole: where translators keep their ports, a STUN server is enough.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn homes_with_gentler_translators_need_no_relay() {
    let lab = Lab::new([Nat::PortRestricted, Nat::PortRestricted]);
    let (relay, server) = public_relay(&lab);
    let (mut ada, mut bob) = tokio::join!(Person::with_chromium(&lab.homes[0]), Person::with_chromium(&lab.homes[1]));
    tokio::join!(ada.prepare(server), bob.prepare(server));
    introduce(&mut ada, &mut bob, "direct").await;
    let outcomes = tokio::join!(ada.outcome(), bob.outcome());
    let connected = "connected".to_owned();
    assert_eq!(outcomes, (connected.clone(), connected));
    assert_eq!(relay.stats().core.allocations_made, 0);
}
