//! The REST API: who may, what is answered, what the document says, and the page beside it.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};
use tests::server::{API_KEY, RECORDER_KEY, Server};
use tests::wire::Wire;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use turn_server::config::{Guests, TlsMode};

#[tokio::test(flavor = "multi_thread")]
async fn every_route_wants_to_know_who_asks() {
    let server = Server::start().await;
    let document = server.ask_as("", "GET", "/openapi.json", None).await;
    assert_eq!(document.status, 200);
    let open = ["/v1/info", "/healthz", "/readyz", "/metrics", "/v1/rooms/{room}/ws"];
    let mut asked = 0;
    for (path, verbs) in document.body["paths"].as_object().expect("paths") {
        for method in verbs.as_object().expect("verbs").keys().filter(|key| key.as_str() != "parameters") {
            if open.contains(&path.as_str()) {
                continue;
            }
            let real = path.replace("{room}", "demo").replace("{id}", "abc").replace("{name}", "p1-av-1.webm");
            for bearer in ["", "wrong", "a.b.c"] {
                let answer = server.ask_as(bearer, &method.to_uppercase(), &real, None).await;
                let got = (answer.status, answer.code().to_owned());
                // Guessing is slowed down, so that this very test may run into it.
                let refused = got == (401, "unauthorized".into()) || got == (429, "rate_limited".into());
                assert!(refused, "{method} {real} with {bearer:?}: {answer:?}");
                assert_eq!(answer.kind, "application/problem+json");
                assert_eq!(answer.body["status"], answer.status);
                asked += 1;
            }
        }
    }
    assert!(asked > 50, "{asked}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_lists_every_route() {
    let server = Server::start().await;
    let document = server.ask_as("", "GET", "/openapi.json", None).await.body;
    let paths = document["paths"].as_object().expect("paths");
    for (path, methods) in [
        ("/v1/rooms", vec!["get", "post"]),
        ("/v1/rooms/{room}", vec!["get", "patch", "delete"]),
        ("/v1/rooms/{room}/tokens", vec!["post"]),
        ("/v1/rooms/{room}/participants", vec!["get"]),
        ("/v1/rooms/{room}/participants/{id}", vec!["patch", "delete"]),
        ("/v1/rooms/{room}/tracks", vec!["get"]),
        ("/v1/rooms/{room}/recording", vec!["get", "post", "delete"]),
        ("/v1/rooms/{room}/recording/pause", vec!["post"]),
        ("/v1/rooms/{room}/recording/resume", vec!["post"]),
        ("/v1/recordings", vec!["get"]),
        ("/v1/recordings/{id}", vec!["get", "delete"]),
        ("/v1/recordings/{id}/files/{name}", vec!["get"]),
        ("/v1/turn", vec!["get"]),
        ("/v1/turn/users", vec!["get"]),
        ("/v1/turn/users/{id}", vec!["delete"]),
        ("/v1/allocations", vec!["get"]),
        ("/v1/allocations/{id}", vec!["delete"]),
        ("/v1/admin/drain", vec!["post"]),
        ("/v1/admin/reload", vec!["post"]),
        ("/v1/rooms/{room}/ws", vec!["get"]),
        ("/v1/recorders/ws", vec!["get"]),
        ("/v1/info", vec!["get"]),
        ("/healthz", vec!["get"]),
        ("/readyz", vec!["get"]),
        ("/metrics", vec!["get"]),
    ] {
        let here = paths.get(path).unwrap_or_else(|| panic!("{path} is not documented"));
        for method in methods {
            assert!(here.get(method).is_some(), "{method} {path} is not documented");
        }
    }
    assert_eq!(paths.len(), 25, "{:?}", paths.keys().collect::<Vec<_>>());
    let codes = document["components"]["schemas"]["Code"]["enum"].as_array().expect("codes");
    assert!(codes.contains(&json!("room_full")));
}

#[tokio::test(flavor = "multi_thread")]
async fn rooms_are_made_listed_changed_and_closed() {
    let server = Server::start().await;
    let made = server.ask("POST", "/v1/rooms", Some(json!({ "name": "standup", "mode": "mesh" }))).await;
    assert_eq!((made.status, &made.body["mode"]), (201, &json!("mesh")));
    let again = server.ask("POST", "/v1/rooms", Some(json!({ "name": "standup" }))).await;
    assert_eq!((again.status, again.code()), (409, "bad_request"));
    let named = server.ask("POST", "/v1/rooms", None).await;
    assert_eq!(named.status, 201, "a name is made up: {named:?}");
    let list = server.ask("GET", "/v1/rooms", None).await;
    assert_eq!(list.body["rooms"].as_array().map(Vec::len), Some(2));
    let changed =
        server.ask("PATCH", "/v1/rooms/standup", Some(json!({ "max_participants": 3, "guests": "off" }))).await;
    assert_eq!(
        (changed.status, &changed.body["max_participants"], &changed.body["guests"]),
        (200, &json!(3), &json!("off"))
    );
    for (body, why) in [
        (json!({ "max_participants": 0 }), "max_participants"),
        (json!({ "nonsense": 1 }), "nonsense"),
        (json!({ "guests": "all" }), "moderate"),
        (json!([]), "struct UpdateRoom"),
    ] {
        let refused = server.ask("PATCH", "/v1/rooms/standup", Some(body)).await;
        assert_eq!((refused.status, refused.code()), (400, "bad_request"), "{refused:?}");
        assert!(refused.body["detail"].as_str().is_some_and(|text| text.contains(why)), "{refused:?}");
    }
    assert_eq!(server.ask("GET", "/v1/rooms/absent", None).await.code(), "room_not_found");
    assert_eq!(server.ask("GET", "/v1/rooms/a%20b", None).await.code(), "bad_request");
    assert_eq!(server.ask("DELETE", "/v1/rooms/standup", None).await.status, 204);
    assert_eq!(server.ask("DELETE", "/v1/rooms/standup", None).await.status, 404);
    let huge = server.ask("POST", "/v1/rooms", Some(json!({ "name": "x".repeat(100_000) }))).await;
    assert_eq!((huge.status, huge.code()), (413, "too_large"));
    let method = server.ask("PUT", "/v1/rooms", None).await;
    assert_eq!((method.status, method.code()), (405, "bad_request"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_token_reaches_its_room_and_what_its_grants_say() {
    let server = Server::start().await;
    let (_a, ok) = Wire::join(server.http(), "demo", json!({ "name": "Ada" })).await;
    let (_b, other) = Wire::join(server.http(), "other", json!({})).await;
    let token = ok["api_token"].as_str().expect("a token");
    let me = ok["me"].as_str().expect("an id");
    assert_eq!(server.ask_as(token, "GET", "/v1/rooms/demo", None).await.body["participants"], 1);
    let people = server.ask_as(token, "GET", "/v1/rooms/demo/participants", None).await;
    assert_eq!(people.body["participants"][0]["name"], "Ada");
    for (method, path) in [
        ("GET", "/v1/rooms".to_owned()),
        ("GET", "/v1/rooms/other".to_owned()),
        ("POST", "/v1/rooms".to_owned()),
        ("POST", "/v1/rooms/demo/recording".to_owned()),
        ("DELETE", "/v1/rooms/demo/recording".to_owned()),
        ("DELETE", format!("/v1/rooms/demo/participants/{me}")),
        ("GET", "/v1/recordings?room=other".to_owned()),
        ("GET", "/v1/allocations".to_owned()),
        ("DELETE", "/v1/allocations/0-0".to_owned()),
        ("GET", "/v1/turn/users".to_owned()),
        ("DELETE", "/v1/turn/users/alice".to_owned()),
        ("POST", "/v1/admin/drain".to_owned()),
        ("POST", "/v1/admin/reload".to_owned()),
    ] {
        let refused = server.ask_as(token, method, &path, None).await;
        assert_eq!((refused.status, refused.code()), (403, "forbidden"), "{method} {path}: {refused:?}");
    }
    assert_eq!(server.ask_as(token, "GET", "/v1/recordings", None).await.body["recordings"], json!([]));
    let them = other["me"].as_str().expect("an id");
    let missing = server.ask("DELETE", &format!("/v1/rooms/demo/participants/{them}"), None).await;
    assert_eq!(missing.code(), "peer_not_found", "an id of another room is nobody here");
    assert_eq!(server.ask("DELETE", &format!("/v1/rooms/demo/participants/{me}"), None).await.status, 204);
}

#[tokio::test(flavor = "multi_thread")]
async fn relay_credentials_are_those_of_the_draft() {
    let server = Server::start_with(|config| config.relay.secrets = vec!["shared".into()]).await;
    let answer = server.ask("GET", "/v1/turn?service=turn&username=alice", None).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let username = answer.body["username"].as_str().expect("a name");
    let (expires, user) = username.split_once(':').expect("expiry:user");
    assert_eq!((user, &answer.body["ttl"]), ("alice", &json!(43_200)));
    assert!(expires.parse::<u64>().expect("a number") > 1_700_000_000);
    assert!(answer.body["uris"][0].as_str().expect("an URL").starts_with("turn:127.0.0.1:"));
    use base64::Engine as _;
    use hmac::{KeyInit as _, Mac as _};
    let mut mac = hmac::Hmac::<sha1::Sha1>::new_from_slice(b"shared").expect("a key");
    mac.update(username.as_bytes());
    let password = base64::engine::general_purpose::STANDARD.encode(mac.finalize().into_bytes());
    assert_eq!(answer.body["password"], password);
    assert_eq!(server.ask("GET", "/v1/turn?service=stun", None).await.code(), "bad_request");
}

#[tokio::test(flavor = "multi_thread")]
async fn machines_can_watch() {
    let server = Server::start().await;
    assert_eq!(server.ask_as("", "GET", "/healthz", None).await.body["status"], "ok");
    let ready = server.ask_as("", "GET", "/readyz", None).await;
    assert_eq!((ready.status, &ready.body["status"]), (200, &json!("degraded")), "no recorder is connected: {ready:?}");
    assert_eq!((&ready.body["relay"]["ok"], &ready.body["rooms"]["ok"]), (&json!(true), &json!(true)), "{ready:?}");
    let (_wire, _) = Wire::join(server.http(), "demo", json!({})).await;
    let text = server.request("GET", "/metrics").send().await.expect("an answer").text().await.expect("text");
    for line in
        ["tern_rooms 1", "tern_participants 1", "tern_sockets 1", "tern_joins_total 1", "tern_relay_allocations 0"]
    {
        assert!(text.lines().any(|have| have == line), "{line} is not in\n{text}");
    }
    assert!(text.contains("tern_http_requests_total{method=\"GET\",route=\"/healthz\",status=\"200\"} 1"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_is_inside_and_asks_nobody_else() {
    let server = Server::start_with(|config| config.rooms.guests = Guests::Moderate).await;
    let page = server.request("GET", "/").send().await.expect("a page");
    assert_eq!(page.status(), 200);
    let header =
        |name: &str| page.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    assert_eq!(header("content-type"), "text/html; charset=utf-8");
    assert!(header("content-security-policy").starts_with("default-src 'self'"));
    let tag = header("etag");
    let again = server.request("GET", "/").header("if-none-match", &tag).send().await.expect("an answer");
    assert_eq!(again.status(), 304);
    let script = server.request("GET", "/tern.js").send().await.expect("a script");
    assert_eq!(script.headers()["content-type"], "text/javascript; charset=utf-8");
    for absent in ["/absent.js", "/../Cargo.toml", "/%2e%2e/Cargo.toml"] {
        assert_eq!(server.ask_as("", "GET", absent, None).await.status, 404, "{absent}");
    }
    let info = server.ask_as("", "GET", "/v1/info", None).await.body;
    assert_eq!((&info["guests"], &info["https_port"]), (&json!("moderate"), &Value::Null));
    assert!(info["features"].as_array().expect("features").contains(&json!("recording")));
}

#[tokio::test(flavor = "multi_thread")]
async fn https_serves_the_same_with_a_certificate_of_its_own() {
    let server = Server::start_with(|config| config.api.tls = TlsMode::SelfSigned).await;
    let https = server.running.addresses().https.expect("HTTPS is served");
    let info = server.ask_as("", "GET", "/v1/info", None).await.body;
    assert_eq!(info["https_port"], https.port());
    let pem = server.folder.path().join("state/tls/cert.pem");
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(pem).expect("PEM")).expect("a certificate");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let client = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let client = client.expect("versions").with_root_certificates(roots).with_no_client_auth();
    let stream = tokio::net::TcpStream::connect(https).await.expect("connects");
    let name = https.ip().into();
    let mut stream =
        tokio_rustls::TlsConnector::from(Arc::new(client)).connect(name, stream).await.expect("a handshake");
    let request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await.expect("written");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("an answer");
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with(r#"{"status":"ok"}"#), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_origin_may_ask_with_a_bearer() {
    let server = Server::start().await;
    let asked = server
        .request("OPTIONS", "/v1/rooms")
        .header("origin", "https://app.example")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "authorization,content-type")
        .send()
        .await
        .expect("an answer");
    assert_eq!(asked.headers()["access-control-allow-origin"], "*");
    let allowed = asked.headers()["access-control-allow-headers"].to_str().expect("text").to_lowercase();
    assert!(allowed.contains("authorization"), "{allowed}");
    assert!(!server.ask(API_KEY, "/", None).await.kind.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_one_kind_open_no_other_door() {
    let server = Server::start().await;
    assert_eq!(server.ask_as(RECORDER_KEY, "GET", "/v1/rooms", None).await.status, 401);
    let upgrade = |key: &str| {
        let request = server.request("GET", "/v1/recorders/ws").bearer_auth(key);
        let request = request.header("connection", "upgrade").header("upgrade", "websocket");
        request.header("sec-websocket-version", "13").header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==").send()
    };
    assert_eq!(upgrade(API_KEY).await.expect("an answer").status(), 401);
    assert_eq!(upgrade(RECORDER_KEY).await.expect("an answer").status(), 101);
}
