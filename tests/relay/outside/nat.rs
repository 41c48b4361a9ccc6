//! What a relay is for: two people behind translators of the wrong kinds, one symmetric and one port-restricted, who
//! cannot reach each other by what a STUN server tells them, and can through the relay. The translators are the kernel's.

use std::net::SocketAddr;

use serde::Deserialize;
use serde_json::{Value, json};
use tests::browser::{Browser, Page};
use tests::nat::{Lab, Nat, PUBLIC};
use tests::relay::{USER, start};
use turn_server::relay::Relay;

const END: &str = include_str!("../../clients/end.js");

#[derive(Debug, Deserialize)]
struct Pair {
    local: String,
    remote: String,
}

/// Somebody at home, with an empty page and two ends: `direct` knows the STUN server only, `relayed` the relay too.
async fn person(browser: &Browser, server: SocketAddr) -> Page {
    let page = browser.blank().await.expect("a page");
    let stun = json!({ "urls": format!("stun:{server}") });
    let turn = json!({ "urls": format!("turn:{server}"), "username": USER.0, "credential": USER.1 });
    let script = format!(
        "(() => {{ {END}
            window.direct = new End({{ iceServers: [{stun}] }});
            window.relayed = new End({{ iceServers: [{stun}, {turn}] }});
        }})()"
    );
    page.eval::<Value>(&script).await.expect("a script");
    page
}

/// Exchanges descriptions between the ends of that name.
async fn introduce(one: &Page, other: &Page, end: &str) {
    let offer: String = one.eval(&format!("{end}.offer()")).await.expect("an offer");
    assert!(offer.contains("typ srflx"), "the STUN server does not answer: {offer}");
    let answer: String = other.eval(&format!("{end}.answer({})", json!(offer))).await.expect("an answer");
    assert!(answer.contains("typ srflx"), "the STUN server does not answer: {answer}");
    one.eval::<Value>(&format!("{end}.accept({})", json!(answer))).await.expect("accepted");
}

/// A network, its relay and two people.
struct Meeting {
    relay: Relay,
    ada: Page,
    bob: Page,
    _browsers: [Browser; 2],
    /// Last: everything else lives there.
    _lab: Lab,
}

impl Meeting {
    async fn behind(nats: [Nat; 2]) -> Self {
        let lab = Lab::new(nats);
        let public = SocketAddr::new(PUBLIC.parse().expect("an address"), 3478);
        let (relay, server) = lab.public.within(|| {
            start(|config| {
                config.listen = vec![public];
                config.relay_addresses = vec![public.ip()];
            })
        });
        let (one, other) = tokio::join!(Browser::launch_on(&lab.homes[0]), Browser::launch_on(&lab.homes[1]));
        let (one, other) = (one.expect("chromium starts"), other.expect("chromium starts"));
        let (ada, bob) = tokio::join!(person(&one, server), person(&other, server));
        Self { relay, ada, bob, _browsers: [one, other], _lab: lab }
    }

    /// What becomes of the ends that know the STUN server only.
    async fn outcome(&self) -> [String; 2] {
        let outcome = "direct.outcome()";
        let (one, other) = tokio::join!(self.ada.eval(outcome), self.bob.eval(outcome));
        [one.expect("an outcome"), other.expect("an outcome")]
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn homes_that_cannot_reach_each_other_meet_at_the_relay() {
    let meeting = Meeting::behind([Nat::Symmetric, Nat::PortRestricted]).await;
    let Meeting { relay, ada, bob, .. } = &meeting;
    introduce(ada, bob, "direct").await;
    introduce(ada, bob, "relayed").await;

    ada.eval::<Value>("relayed.hearsItsEcho()").await.expect("an echo");
    bob.eval::<Value>("relayed.sees(25)").await.expect("a moving picture");
    for page in [ada, bob] {
        let pair: Pair = page.eval("relayed.pair()").await.expect("a pair");
        assert!(pair.local == "relay" || pair.remote == "relay", "{pair:?}");
    }
    let stats = relay.stats();
    // Which pair is chosen is the browsers' business: with a relay at one end only, data goes through the kernel.
    assert!(stats.core.to_peers.packets > 50 && stats.sent_to_peers > 0, "{stats:?}");

    // It takes a browser a quarter of a minute to give up.
    assert_eq!(meeting.outcome().await, ["failed", "failed"], "these homes need no relay: the test shows nothing");
}

/// The network itself is whole: where translators keep their ports, a STUN server is enough.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn homes_with_gentler_translators_need_no_relay() {
    let meeting = Meeting::behind([Nat::PortRestricted, Nat::PortRestricted]).await;
    introduce(&meeting.ada, &meeting.bob, "direct").await;
    assert_eq!(meeting.outcome().await, ["connected", "connected"]);
    assert_eq!(meeting.relay.stats().core.allocations_made, 0);
}
