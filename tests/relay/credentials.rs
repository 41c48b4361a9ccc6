//! Who may use a running relay: rotation, forms of names, strict expiry, taking back, the operator's own check, and what
//! the log says of those who may not.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use stun_types::attribute::{AttributeType, Nonce, RawAttribute, Realm};
use stun_types::message::{
    IntegrityAlgorithm, LongTermKeyCredentials, Message, MessageIntegrityCredentials, MessageWrite as _,
    MessageWriteExt as _, MessageWriteVec,
};
use tests::auth_service::AuthService;
use tests::relay::{USER, start};
use tests::turn_client::TurnClient;
use turn::{AuthFailure, Secret};
use turn_server::config::{RelayConfig, RestNames};
use turn_server::relay::Relay;
use turn_types::attribute::Lifetime;
use turn_types::message::{ALLOCATE, REFRESH};

fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

/// A client of whoever minted with this secret, as an application of its own would.
fn minted(address: SocketAddr, secret: &str, name: &str) -> TurnClient {
    TurnClient::udp(address, name, &Secret::new("here", secret).password(name))
}

/// A relay, and the configuration that it was started with.
fn start_with(edit: impl FnOnce(&mut RelayConfig)) -> (Relay, SocketAddr, RelayConfig) {
    let mut config = None;
    let (relay, address) = start(|relay| {
        edit(relay);
        config = Some(relay.clone());
    });
    (relay, address, config.expect("edited"))
}

/// Rule: abuse-12
#[test]
fn secrets_rotate_without_ending_calls_unless_that_is_strict() {
    let secrets = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let (relay, address, mut config) = start_with(|config| config.secrets = secrets(&["2025:old"]));
    let name = format!("{}:@dora:example.org", unix_now() + 60);
    let mut dora = minted(address, "old", &name);
    dora.allocate().expect("an allocation");

    config.secrets = secrets(&["2026:new", "2025:old"]);
    relay.reload(&config).expect("a good configuration");
    assert!(minted(address, "old", &name).allocate().is_ok(), "both are good");
    let mut new = minted(address, "new", &name);
    new.allocate().expect("an allocation");
    let ours = relay.credentials("bob", 60, unix_now()).expect("a secret");
    assert_eq!(Secret::new("x", "new").password(&ours.username), ours.password, "the first one signs ours");
    let mut ids: Vec<_> = relay.allocations().into_iter().map(|info| format!("{:?}", info.snapshot.origin)).collect();
    ids.sort();
    assert_eq!(ids, ["Secret(\"2025\")", "Secret(\"2025\")", "Secret(\"2026\")"]);

    config.secrets = secrets(&["2026:new"]);
    relay.reload(&config).expect("a good configuration");
    assert_eq!(minted(address, "old", &name).allocate(), Err(401));
    assert_eq!((dora.refresh(600), new.refresh(600)), (0, 0), "calls go on");
    config.strict_expiry = true;
    relay.reload(&config).expect("a good configuration");
    assert_eq!((dora.refresh(600), new.refresh(600)), (401, 0));
    assert_eq!(relay.stats().core.allocations, 1);

    config.secrets = secrets(&["a secret: with a colon"]);
    let why = relay.reload(&config).expect_err("refused").to_string();
    assert!(why.starts_with("[relay] secrets: must be secret, or id:secret"), "{why}");
    config.secrets = secrets(&["2026:new"]);
    config.realm = "elsewhere".into();
    assert!(relay.reload(&config).expect_err("refused").to_string().contains("realm"));
}

#[test]
fn names_end_with_their_time_where_that_is_switched_on() {
    let name = format!("@dora:example.org:{}", unix_now() + 60);
    let (_strict, address, _) = start_with(|_| {});
    assert_eq!(minted(address, "north", &name).allocate(), Err(401));
    let (relay, address, _) = start_with(|config| config.rest_names = RestNames::Either);
    for name in [name, format!("{}:@dora:example.org", unix_now() + 60)] {
        assert!(minted(address, "north", &name).allocate().is_ok(), "{name}");
    }
    let late = format!("@dora:example.org:{}", unix_now() - 1);
    assert_eq!(minted(address, "north", &late).allocate(), Err(401));
    assert!(TurnClient::udp(address, USER.0, USER.1).allocate().is_ok(), "users beside them");
    let keys: Vec<_> = relay.allocations().into_iter().map(|info| info.snapshot.quota_key).collect();
    assert_eq!(keys.iter().filter(|key| *key == "@dora:example.org").count(), 2, "{keys:?}");
}

/// Rule: abuse-11
#[test]
fn strict_expiry_ends_what_can_be_asked_for() {
    let (relay, address, _) = start_with(|config| config.strict_expiry = true);
    let credentials = relay.credentials("bob", 2, unix_now()).expect("a secret");
    let mut bob = TurnClient::tcp(address, &credentials.username, &credentials.password);
    let relayed = bob.allocate().expect("an allocation");
    assert_eq!((bob.refresh(600), bob.permit(relayed), bob.bind(0x4000, relayed)), (0, 0, 0));
    let end = SystemTime::now() + Duration::from_secs(10);
    while bob.refresh(600) == 0 {
        assert!(SystemTime::now() < end, "two seconds are over");
    }
    assert_eq!((bob.permit(relayed), bob.bind(0x4000, relayed)), (401, 401));
    assert_eq!(TurnClient::udp(address, &credentials.username, &credentials.password).allocate(), Err(401));
}

#[test]
fn an_id_is_taken_back_on_all_workers() {
    let (relay, address, _) = start_with(|config| config.allocations_per_user = 0);
    let credentials = relay.credentials("bob", 3600, unix_now()).expect("a secret");
    let other = relay.credentials("bobby", 3600, unix_now()).expect("a secret");
    let mut other = TurnClient::udp(address, &other.username, &other.password);
    other.allocate().expect("an allocation");
    let mut clients = Vec::new();
    let on =
        |relay: &Relay, worker: &str| relay.allocations().iter().filter(|info| info.name.starts_with(worker)).count();
    while on(&relay, "0-") < 2 || on(&relay, "1-") < 2 {
        let way = if clients.len() % 2 == 0 { TurnClient::udp } else { TurnClient::tcp };
        let mut client = way(address, &credentials.username, &credentials.password);
        client.allocate().expect("an allocation");
        clients.push(client);
        assert!(clients.len() < 64, "the kernel spreads sources over both");
    }
    assert_eq!(relay.revoke("bob", 3600, unix_now()).ended(), clients.len());
    assert_eq!(relay.allocations().len(), 1);
    assert_eq!(other.refresh(600), 0);
    for client in &mut clients {
        assert_eq!(client.refresh(600), 401);
        assert_eq!(client.allocate(), Err(401));
    }
    // Made after it: it ends later than anything that was made before can.
    let fresh = relay.credentials("bob", 3600, unix_now() + 2).expect("a secret");
    assert!(TurnClient::udp(address, &fresh.username, &fresh.password).allocate().is_ok());
    let stats = relay.stats();
    assert_eq!(stats.core.auth_failures_by(AuthFailure::Revoked), 2 * clients.len() as u64);
    assert_eq!(stats.revocations, 1);
}

fn carols_password(question: &Value) -> Option<(u16, Value)> {
    match question["username"].as_str().expect("a name") {
        "carol" => Some((200, json!({ "password": "from elsewhere", "quota_key": "tenant 7", "ttl": 600 }))),
        // MD5 of keyed:tern:secret.
        "keyed" => Some((200, json!({ "key": "42e640ad139fba5dae26fbb7f39326cf" }))),
        "strange" => Some((200, json!({ "passwort": "x" }))),
        "broken" => Some((500, json!({}))),
        "silent" => None,
        _ => Some((403, json!({}))),
    }
}

#[test]
fn an_operators_service_knows_users_that_we_do_not() {
    let service = AuthService::start(Box::new(carols_password));
    let (relay, address, mut config) = start_with(|config| {
        config.auth_hook_url = service.url();
        config.auth_hook_timeout_ms = 5000;
    });
    for way in [TurnClient::udp, TurnClient::tcp] {
        let mut carol = way(address, "carol", "from elsewhere");
        carol.allocate().expect("an allocation");
        assert_eq!(carol.refresh(600), 0);
    }
    let asked = service.asked();
    assert_eq!(asked, [json!({ "username": "carol", "realm": "tern", "client": "127.0.0.1", "transport": "udp" })]);
    assert!(relay.allocations().iter().all(|info| info.snapshot.quota_key == "tenant 7"));
    assert_eq!(TurnClient::udp(address, "carol", "guessed").allocate(), Err(401));
    for _ in 0..3 {
        assert_eq!(TurnClient::udp(address, "mallory", "x").allocate(), Err(401));
    }
    assert_eq!(service.asked().len(), 2, "refusals are remembered too");
    assert_eq!(TurnClient::udp(address, "broken", "x").allocate(), Err(500));
    assert_eq!(TurnClient::udp(address, "strange", "x").allocate(), Err(500));
    assert!(TurnClient::udp(address, USER.0, USER.1).allocate().is_ok());
    let credentials = relay.credentials("bob", 60, unix_now()).expect("a secret");
    assert!(TurnClient::udp(address, &credentials.username, &credentials.password).allocate().is_ok());
    assert_eq!(service.asked().len(), 4, "nobody is asked for names that we know");

    // One who is taken back is asked for again.
    relay.revoke("tenant 7", 3600, unix_now()).ended();
    assert!(TurnClient::udp(address, "carol", "from elsewhere").allocate().is_ok());
    assert!(TurnClient::udp(address, "keyed", "secret").allocate().is_ok(), "known by its key");
    assert_eq!(service.asked().len(), 6);

    config.auth_hook_url.clear();
    relay.reload(&config).expect("a good configuration");
    assert_eq!(TurnClient::udp(address, "carol", "from elsewhere").allocate(), Err(401));
    assert_eq!(service.asked().len(), 6);
}

#[test]
fn a_service_that_hangs_holds_up_nobody_else() {
    let service = AuthService::start(Box::new(carols_password));
    let (_relay, address, _) = start_with(|config| {
        config.auth_hook_url = service.url();
        config.auth_hook_timeout_ms = 3000;
    });
    let mut carol = TurnClient::udp(address, "carol", "from elsewhere");
    let relayed = carol.allocate().expect("an allocation");
    let waiting: Vec<_> =
        (0..8).map(|_| std::thread::spawn(move || TurnClient::udp(address, "silent", "x").allocate())).collect();
    while service.asked().len() < 9 {
        std::thread::yield_now();
    }
    // Both workers have questions open, and serve.
    let begin = std::time::Instant::now();
    for _ in 0..8 {
        let mut other = TurnClient::udp(address, USER.0, USER.1);
        other.allocate().expect("an allocation");
        assert_eq!(other.bind(0x4000, relayed), 0);
        assert!(TurnClient::udp(address, "carol", "from elsewhere").allocate().is_ok(), "what is known is not asked");
    }
    assert!(begin.elapsed() < Duration::from_millis(2500), "{:?}", begin.elapsed());
    for thread in waiting {
        assert_eq!(thread.join().expect("no panic"), Err(500), "after its time");
    }
}

#[test]
fn a_forged_source_asks_nobody() {
    let service = AuthService::start(Box::new(carols_password));
    let (_relay, address, _) = start_with(|config| config.auth_hook_url = service.url());
    let mut carol = TurnClient::udp(address, "carol", "from elsewhere");
    carol.allocate().expect("an allocation");
    // Somebody repeats her request from another address, a name in it changed: its nonce is not that one's.
    let request = signed(&carol_nonce(address), b"somebody else", "x");
    let mut other = TurnClient::udp(address, "somebody else", "x");
    other.send_raw(&request);
    let answer = other.receive().expect("an answer");
    let code = Message::from_bytes(&answer).expect("STUN").attribute::<stun_types::attribute::ErrorCode>();
    assert_eq!(code.expect("an error").code(), 438);
    assert_eq!(service.asked().len(), 1);
}

/// A nonce that was given to another source.
fn carol_nonce(address: SocketAddr) -> String {
    let mut client = TurnClient::udp(address, "carol", "x");
    client.send_raw(&Message::builder_request(ALLOCATE, MessageWriteVec::new()).finish());
    let answer = client.receive().expect("a challenge");
    Message::from_bytes(&answer).expect("STUN").attribute::<Nonce>().expect("a nonce").nonce().to_owned()
}

/// A Refresh whose USERNAME is these bytes.
fn signed(nonce: &str, name: &[u8], password: &str) -> Vec<u8> {
    let mut write = Message::builder_request(REFRESH, MessageWriteVec::new());
    write.add_attribute(&Lifetime::new(600)).expect("fits");
    write.add_attribute(&RawAttribute::new(AttributeType::new(0x0006), name)).expect("fits");
    write.add_attribute(&Realm::new("tern").expect("short")).expect("fits");
    write.add_attribute(&Nonce::new(nonce).expect("short")).expect("fits");
    let key = LongTermKeyCredentials::new(String::from_utf8_lossy(name).into_owned(), password.into(), "tern".into());
    write.add_message_integrity(&MessageIntegrityCredentials::from(key), IntegrityAlgorithm::Sha1).expect("fits");
    write.finish()
}

/// Rule: abuse-19
#[test]
fn names_of_any_bytes_do_no_harm_to_the_log() {
    let lines = tests::log::capture();
    let (relay, address, _) = start_with(|_| {});
    let long = "x".repeat(508);
    let names = [
        "%s%n%x{}$(id)",
        "quo\"te 'and' \\ back",
        "new\nline\r\n{\"fields\":{\"message\":\"forged\"}}",
        "nul\0 and bell\x07 and \x1b[31mred",
        "\u{202e}right to left \u{fe0f}",
        &long,
    ];
    for name in names {
        let mut client = TurnClient::tcp(address, name, "guessed");
        assert_eq!(client.allocate(), Err(401), "{name:?}");
        let line = lines.wait("authentication failed", |fields| fields["user"] == name);
        assert_eq!(line["reason"], "unknown_user");
        assert_eq!(line["client"], client.local_addr().to_string().as_str());
    }
    assert!(lines.all("forged").is_empty());
    // What is no UTF-8 is no name.
    let mut client = TurnClient::udp(address, "x", "x");
    client.send_raw(&signed(&carol_nonce(address), b"bad \xff\xfe utf-8", "x"));
    let answer = client.receive().expect("an answer");
    let code = Message::from_bytes(&answer).expect("STUN").attribute::<stun_types::attribute::ErrorCode>();
    assert_eq!(code.expect("an error").code(), 400);
    // One who signs for itself may be called anything, too.
    let evil = format!("{}:{}", unix_now() + 60, names[2]);
    assert!(minted(address, "north", &evil).allocate().is_ok());
    assert_eq!(relay.allocations()[0].snapshot.quota_key, names[2]);
}

#[test]
fn who_guesses_does_not_fill_the_log() {
    let lines = tests::log::capture();
    let (relay, address, _) = start_with(|_| {});
    let name = format!("{}:guessed-at", unix_now() + 60);
    for _ in 0..300 {
        assert_eq!(TurnClient::udp(address, &name, "x").allocate(), Err(401));
    }
    let count = lines.all("authentication failed").iter().filter(|fields| fields["user"] == name.as_str()).count();
    assert!((1..150).contains(&count), "{count} lines of 300");
    assert_eq!(relay.stats().core.auth_failures_by(AuthFailure::WrongPassword), 300);
}
