//! Chromium and Firefox, each with two ends of a call that may use nothing but the relay: a data channel and a picture.

use std::net::SocketAddr;

use serde::Deserialize;
use serde_json::json;
use tests::browser::Browser;
use tests::firefox::Firefox;
use tests::pki::Pki;
use tests::relay::{USER, start, with_tls};

const END: &str = include_str!("../../clients/end.js");

/// The chosen pair of an end.
#[derive(Debug, PartialEq, Deserialize)]
struct Pair {
    local: String,
    protocol: String,
    remote: String,
}

impl Pair {
    fn relayed(protocol: &str) -> Self {
        Self { local: "relay".into(), protocol: protocol.into(), remote: "relay".into() }
    }
}

/// The script that makes a call over the relay, which is reached by this protocol.
fn call(server: SocketAddr, protocol: &str) -> String {
    let url = match protocol {
        "tls" => format!("turns:localhost:{}?transport=tcp", server.port()),
        _ => format!("turn:{server}?transport={protocol}"),
    };
    let servers = json!([{ "urls": url, "username": USER.0, "credential": USER.1 }]);
    format!("(() => {{ {END}\nreturn relayedCall({servers}); }})()")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chromium_calls_over_the_relay() {
    let pki = Pki::new();
    let (relay, server) = start(|config| with_tls(&pki, config));
    let browser = Browser::launch().await.expect("chromium starts");
    let page = browser.blank().await.expect("a page");
    for protocol in ["udp", "tcp", "tls"] {
        let call = call(server, protocol);
        let pairs: [Pair; 2] = page.eval(&call).await.expect("a call");
        assert_eq!(pairs, [Pair::relayed(protocol), Pair::relayed(protocol)]);
    }
    let stats = relay.stats();
    assert!(stats.handed_over > 100 && stats.sent_to_peers == 0, "{stats:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn firefox_calls_over_the_relay() {
    let pki = Pki::new();
    let (relay, server) = start(|config| with_tls(&pki, config));
    let mut browser = Firefox::launch().await.expect("firefox starts");
    for protocol in ["udp", "tcp", "tls"] {
        let call = call(server, protocol);
        let pairs: [Pair; 2] = browser.eval(&call).await.expect("a call");
        assert_eq!(pairs, [Pair::relayed(protocol), Pair::relayed(protocol)]);
    }
    let stats = relay.stats();
    assert!(stats.handed_over > 100 && stats.sent_to_peers == 0, "{stats:?}");
}
