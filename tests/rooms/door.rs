//! Entering a room: guests, tokens, devices, locks, limits.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tests::server::Server;
use tests::wire::Wire;
use turn_server::config::Guests;

async fn try_join(server: &Server, room: &str, fields: Value) -> Value {
    Wire::open(server.http(), room).await.try_join(fields).await
}

async fn code(server: &Server, room: &str, fields: Value) -> String {
    let reply = try_join(server, room, fields).await;
    assert_eq!(reply["t"], "err", "{reply}");
    reply["code"].as_str().expect("a code").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_joins_and_others_see_it_come_and_go() {
    let server = Server::start().await;
    let (mut ada, ok) = Wire::join(server.http(), "demo", json!({ "name": "Ada" })).await;
    assert_eq!(ok["room"]["name"], "demo");
    assert_eq!(ok["peers"], json!([]));
    assert_eq!(ok["grants"]["moderate"], false);
    let turn = ok["ice"][1].clone();
    let host = format!("turn:127.0.0.1:{}?transport=udp", server.running.addresses().relay[0].port());
    assert_eq!(turn["urls"][0], host);
    assert!(turn["username"].as_str().expect("a name").ends_with(ok["me"].as_str().expect("an id")));
    let (mut bob, ok) = Wire::join(server.http(), "demo", json!({ "name": "Bob" })).await;
    assert_eq!(ok["peers"][0]["name"], "Ada");
    let came = ada.event("peer").await;
    assert_eq!((&came["peer"]["name"], &came["gone"]), (&json!("Bob"), &Value::Null));
    assert_eq!(came["seq"], 1);
    assert_eq!(bob.ask("bye", json!({})).await["t"], "ok");
    assert!(bob.frame().await.is_none(), "bye ends the socket");
    assert_eq!(ada.event("peer").await["gone"], true);
    // A socket that breaks ends its session, too.
    let (carol, _) = Wire::join(server.http(), "demo", json!({ "name": "Carol" })).await;
    assert_eq!(ada.event("peer").await["peer"]["name"], "Carol");
    drop(carol);
    assert_eq!(ada.event("peer").await["gone"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_guests_a_token_is_needed_and_checked() {
    let server = Server::start_with(|config| config.rooms.guests = Guests::Off).await;
    assert_eq!(code(&server, "demo", json!({})).await, "unauthorized");
    assert_eq!(code(&server, "demo", json!({ "token": "x.y.z" })).await, "unauthorized");
    let token = server.token("demo", json!({ "identity": "alice", "name": "Alice" })).await;
    assert_eq!(code(&server, "other", json!({ "token": token })).await, "forbidden");
    let (_alice, ok) = Wire::join(server.http(), "demo", json!({ "token": token })).await;
    let (_bob, seen) =
        Wire::join(server.http(), "demo", json!({ "token": server.token("demo", json!({ "identity": "bob" })).await }))
            .await;
    assert_eq!(seen["peers"][0]["name"], "Alice");
    // What the participant gets for the API does not join.
    let api_token = ok["api_token"].as_str().expect("a token");
    assert_eq!(code(&server, "demo", json!({ "token": api_token })).await, "forbidden");
    // A token of yesterday.
    let old = tests::server::sign(&json!({ "sub": "x", "room": "demo", "exp": 1 }));
    assert_eq!(code(&server, "demo", json!({ "token": old })).await, "token_expired");
}

#[tokio::test(flavor = "multi_thread")]
async fn grants_are_enforced() {
    let server = Server::start().await;
    let grants = json!({ "publish": ["mic"], "subscribe": true });
    let token = server.token("demo", json!({ "identity": "a", "grants": grants })).await;
    let (mut quiet, _) = Wire::join(server.http(), "demo", json!({ "token": token })).await;
    assert_eq!(quiet.refused("msg", json!({ "topic": "x", "data": 1 })).await, "forbidden");
    assert_eq!(quiet.refused("mod", json!({ "action": "lock", "locked": true })).await, "forbidden");
    assert_eq!(
        quiet.refused("offer", json!({ "epoch": 1, "pc": "two", "peer": "p1", "sdp": "v=0" })).await,
        "forbidden"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn rooms_are_locked_full_and_closed() {
    let server = Server::start_with(|config| {
        config.rooms.create_on_join = false;
        config.rooms.guests = Guests::Moderate;
    })
    .await;
    assert_eq!(code(&server, "demo", json!({})).await, "room_not_found");
    let made = server.ask("POST", "/v1/rooms", Some(json!({ "name": "demo", "max_participants": 2 }))).await;
    assert_eq!(made.status, 201, "{made:?}");
    let (mut ada, _) = Wire::join(server.http(), "demo", json!({})).await;
    assert_eq!(ada.ask("mod", json!({ "action": "lock", "locked": true })).await["t"], "ok");
    assert_eq!(ada.event("room").await["room"]["locked"], true);
    assert_eq!(code(&server, "demo", json!({})).await, "room_locked");
    let open = server.ask("PATCH", "/v1/rooms/demo", Some(json!({ "locked": false }))).await;
    assert_eq!((open.status, &open.body["locked"]), (200, &json!(false)));
    let (_bob, _) = Wire::join(server.http(), "demo", json!({})).await;
    assert_eq!(code(&server, "demo", json!({})).await, "room_full");
    // A hidden participant does not count and is not seen.
    let grants = json!({ "publish": [], "subscribe": true, "hidden": true, "recorder": true });
    let token = server.token("demo", json!({ "identity": "r", "grants": grants })).await;
    let (_hidden, _) = Wire::join(server.http(), "demo", json!({ "token": token })).await;
    let seen = server.ask("GET", "/v1/rooms/demo/participants", None).await;
    assert_eq!(seen.body["participants"].as_array().map(Vec::len), Some(3), "{seen:?}");
    assert_eq!(server.ask("DELETE", "/v1/rooms/demo", None).await.status, 204);
    let last = ada.event("leave").await;
    assert_eq!((&last["reason"], &last["action"]), (&json!("room_not_found"), &json!("stop")));
    assert!(ada.frame().await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_kicked_does_not_come_back() {
    let server = Server::start().await;
    let moderator = json!({ "identity": "m", "grants": { "publish": [], "subscribe": true, "moderate": true } });
    let moderator = server.token("demo", moderator).await;
    let token = server.token("demo", json!({ "identity": "mallory" })).await;
    let (mut m, _) = Wire::join(server.http(), "demo", json!({ "token": moderator })).await;
    let (mut mallory, ok) = Wire::join(server.http(), "demo", json!({ "token": token })).await;
    let api_token = ok["api_token"].as_str().expect("a token").to_owned();
    assert_eq!(server.ask_as(&api_token, "GET", "/v1/rooms/demo", None).await.status, 200);
    assert_eq!(m.refused("mod", json!({ "action": "kick", "peer": "p999" })).await, "peer_not_found");
    assert_eq!(m.ask("mod", json!({ "action": "kick", "peer": ok["me"] })).await["t"], "ok");
    let last = mallory.event("leave").await;
    assert_eq!((&last["reason"], &last["action"]), (&json!("token_revoked"), &json!("stop")));
    assert!(mallory.frame().await.is_none());
    assert_eq!(code(&server, "demo", json!({ "token": token })).await, "token_revoked");
    let fresh = server.token("demo", json!({ "identity": "mallory" })).await;
    assert_eq!(code(&server, "demo", json!({ "token": fresh })).await, "token_revoked");
    let answer = server.ask_as(&api_token, "GET", "/v1/rooms/demo", None).await;
    assert_eq!((answer.status, answer.code()), (401, "token_revoked"));
}

/// A device's key, as WebCrypto would make it.
struct Device(rcgen::KeyPair);

impl Device {
    fn new() -> Self {
        Self(rcgen::KeyPair::generate().expect("a P-256 key"))
    }

    fn coordinates(&self) -> (String, String) {
        let point = self.0.public_key_raw();
        (URL_SAFE_NO_PAD.encode(&point[1..33]), URL_SAFE_NO_PAD.encode(&point[33..65]))
    }

    fn jwk(&self) -> Value {
        let (x, y) = self.coordinates();
        json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y })
    }

    fn thumbprint(&self) -> String {
        use sha2::Digest as _;
        let (x, y) = self.coordinates();
        let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        URL_SAFE_NO_PAD.encode(sha2::Sha256::digest(canonical))
    }

    fn sign(&self, nonce: &str) -> String {
        use rcgen::SigningKey as _;
        let der = self.0.sign(nonce.as_bytes()).expect("signs");
        URL_SAFE_NO_PAD.encode(raw_signature(&der))
    }
}

/// The two integers of a DER signature as 64 bytes, as RFC 7518 section 3.4 wants them.
fn raw_signature(der: &[u8]) -> Vec<u8> {
    let mut raw = Vec::new();
    let mut rest = &der[2..];
    for _ in 0..2 {
        let length = usize::from(rest[1]);
        let number = &rest[2..2 + length];
        let number = &number[number.len().saturating_sub(32)..];
        raw.extend(std::iter::repeat_n(0, 32 - number.len()));
        raw.extend_from_slice(number);
        rest = &rest[2 + length..];
    }
    raw
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bound_token_is_good_on_its_device_only() {
    let server = Server::start().await;
    let (device, thief) = (Device::new(), Device::new());
    let body = json!({ "identity": "alice", "device": device.thumbprint() });
    let token = server.token("demo", body).await;
    let join = |wire: &Wire, device: &Device| {
        let nonce = wire.hello["nonce"].as_str().expect("a nonce");
        json!({ "token": token, "key": device.jwk(), "proof": device.sign(nonce) })
    };
    assert_eq!(code(&server, "demo", json!({ "token": token })).await, "device_mismatch");
    let mut stolen = Wire::open(server.http(), "demo").await;
    let fields = join(&stolen, &thief);
    assert_eq!(stolen.try_join(fields).await["code"], "device_mismatch");
    let mut first = Wire::open(server.http(), "demo").await;
    let fields = join(&first, &device);
    assert_eq!(first.try_join(fields.clone()).await["t"], "ok");
    // The proof was for that socket: it cannot be replayed on another.
    assert_eq!(code(&server, "demo", fields).await, "device_mismatch");
    // Another device with the same identity is refused while the first is there.
    let other = server.token("demo", json!({ "identity": "alice" })).await;
    assert_eq!(code(&server, "demo", json!({ "token": other })).await, "peer_exists");
    // The same device takes over.
    let mut second = Wire::open(server.http(), "demo").await;
    let fields = join(&second, &device);
    assert_eq!(second.try_join(fields).await["t"], "ok");
    let last = first.event("leave").await;
    assert_eq!((&last["reason"], &last["action"]), (&json!("superseded"), &json!("stop")));
    // The API cannot ask for a proof, so a bound token is no bearer.
    let answer = server.ask_as(&token, "GET", "/v1/rooms/demo", None).await;
    assert_eq!((answer.status, answer.code()), (403, "device_mismatch"));
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_rooms_and_states_are_checked() {
    let server = Server::start().await;
    assert_eq!(code(&server, "demo", json!({ "v": 2 })).await, "unsupported_version");
    assert_eq!(code(&server, "demo", json!({ "room": "other" })).await, "bad_request");
    assert_eq!(code(&server, "demo", json!({ "name": "x".repeat(129) })).await, "bad_request");
    let mut wire = Wire::open(server.http(), "demo").await;
    assert_eq!(wire.refused("mute", json!({ "track": "t1", "muted": true })).await, "not_in_room");
    assert_eq!(wire.refused("resume", json!({ "session": "x", "resume": "y", "last": 0 })).await, "session_gone");
    assert_eq!(wire.try_join(json!({})).await["t"], "ok");
    assert_eq!(wire.refused("join", json!({ "v": 1, "room": "demo" })).await, "already_in_room");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_rooms_says_so() {
    let server = Server::start_with(|config| config.rooms.enabled = false).await;
    assert_eq!(code(&server, "demo", json!({})).await, "sfu_disabled");
    assert_eq!(server.ask("POST", "/v1/rooms", Some(json!({}))).await.code(), "sfu_disabled");
}
