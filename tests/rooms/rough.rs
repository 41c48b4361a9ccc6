//! Bad input on every door: an answer with our code where one is possible, and a server that is unharmed.

use std::time::{Duration, Instant};

use serde_json::json;
use signalling::message::Source;
use tests::bot::{Bot, Feed};
use tests::media_source::Sound;
use tests::server::Server;
use tests::wire::{DEADLINE, Wire};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

async fn is_well(server: &Server) {
    assert_eq!(server.ask_as("", "GET", "/healthz", None).await.status, 200);
    let (mut wire, _) = Wire::join(server.http(), "well", json!({})).await;
    assert_eq!(wire.ask("bye", json!({})).await["t"], "ok");
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_that_cannot_be_read_are_answered_and_harmless() {
    let server = Server::start().await;
    let (mut wire, _) = Wire::join(server.http(), "demo", json!({})).await;
    for (frame, id) in [
        ("", 0),
        ("nonsense", 0),
        ("[]", 0),
        ("{}", 0),
        ("null", 0),
        (r#"{"t":"sub"}"#, 0),
        (r#"{"t":"nothing","id":3}"#, 3),
        (r#"{"t":"sub","id":4,"tracks":7}"#, 4),
        (r#"{"t":"sub","id":-4,"tracks":[]}"#, 0),
        (r#"{"t":"mod","id":5,"action":"explode"}"#, 5),
        (r#"{"t":"mute","id":6,"track":"../x","muted":true}"#, 6),
    ] {
        wire.send_raw(frame).await;
        let reply = wire.frame().await.expect("a reply");
        assert_eq!(
            (&reply["t"], &reply["id"], &reply["code"]),
            (&json!("err"), &json!(id), &json!("bad_request")),
            "{frame}"
        );
    }
    let deep = format!(r#"{{"t":"msg","id":7,"topic":"x","data":{}1{}}}"#, "[".repeat(10_000), "]".repeat(10_000));
    wire.send_raw(deep).await;
    assert_eq!(wire.frame().await.expect("a reply")["code"], "bad_request");
    wire.send(Message::binary(vec![0xff; 100])).await.expect("sent");
    assert_eq!(wire.frame().await.expect("a reply")["code"], "bad_request");
    assert_eq!(wire.ask("msg", json!({ "topic": "x", "data": 1 })).await["t"], "ok");
    is_well(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_too_large_ends_its_socket_only() {
    let server = Server::start().await;
    let (mut wire, _) = Wire::join(server.http(), "demo", json!({})).await;
    let (mut other, _) = Wire::join(server.http(), "demo", json!({})).await;
    // The server may hang up before all of it is sent.
    let _ = wire.send(Message::text("x".repeat(300 * 1024))).await;
    let frames = wire.rest().await;
    assert!(frames.iter().any(|frame| frame["code"] == "too_large" && frame["id"] == 0), "{frames:?}");
    assert_eq!(other.event("peer").await["gone"], true);
    is_well(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_requests_are_told_to_come_back() {
    let server = Server::start().await;
    let (mut wire, _) = Wire::join(server.http(), "demo", json!({})).await;
    for _ in 0..400 {
        wire.request("sub", json!({ "tracks": [] })).await;
    }
    let mut refused = None;
    for _ in 0..400 {
        let reply = wire.frame().await.expect("a reply");
        if reply["code"] == "rate_limited" {
            refused = Some(reply);
        }
    }
    let refused = refused.expect("one of 400 at once is refused");
    assert!(refused["retry_ms"].as_u64().is_some_and(|ms| ms > 0), "{refused}");
    let server = Server::start_with(|config| config.rooms.joins_per_second = 1).await;
    let mut wire = Wire::open(server.http(), "demo").await;
    for _ in 0..4 {
        assert_eq!(wire.try_join(json!({ "v": 9 })).await["code"], "unsupported_version");
    }
    assert_eq!(wire.try_join(json!({})).await["code"], "rate_limited");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_join_is_shown_the_door() {
    let server = Server::start().await;
    let mut wire = Wire::open(server.http(), "demo").await;
    let opened = Instant::now();
    let last = wire.frame().await.expect("a goodbye");
    assert_eq!((&last["t"], &last["reason"], &last["action"]), (&json!("leave"), &json!("timeout"), &json!("rejoin")));
    assert!(opened.elapsed() > Duration::from_secs(8), "{:?}", opened.elapsed());
    assert!(wire.frame().await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_sent_to_the_http_port_it_stays_well() {
    let server = Server::start().await;
    for garbage in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        &b"\x00\x01\x00\x00\x21\x12\xa4\x42aaaaaaaaaaaa"[..],
        &b"GET / HTTP/9.9\r\n\r\n"[..],
        &b"POST /v1/rooms HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n"[..],
        &b"GET /v1/rooms/demo/ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n"[..],
        &[0; 70_000][..],
    ] {
        let mut stream = TcpStream::connect(server.http()).await.expect("connects");
        // The server may hang up while we still write.
        let _ = stream.write_all(garbage).await;
        let _ = stream.shutdown().await;
        let mut answer = Vec::new();
        let _ = timeout(DEADLINE, stream.read_to_end(&mut answer)).await.expect("an end in time");
    }
    let plain = server.ask_as("", "GET", "/v1/rooms/demo/ws", None).await;
    assert_eq!((plain.status, plain.code()), (426, "bad_request"));
    is_well(&server).await;
}

/// Datagrams that are nothing, that look like STUN, DTLS, RTP and RTCP, and frames of ICE-TCP that lie about their length.
fn noise() -> Vec<Vec<u8>> {
    let mut noise: Vec<Vec<u8>> = [1_usize, 12, 20, 28, 1200, 1500, 60_000]
        .iter()
        .flat_map(|size| [0_u8, 1, 20, 63, 64, 128, 144, 200, 255].map(|first| (first, *size)))
        .map(|(first, size)| [vec![first], (1..size).map(|_| rand::random()).collect()].concat())
        .collect();
    noise.push([&[0, 1, 0, 8, 0x21, 0x12, 0xa4, 0x42][..], &[7; 12], &[0, 6, 0, 200, 1, 2, 3, 4]].concat());
    noise.push([&[0xff, 0xff][..], &[1; 400]].concat());
    noise
}

async fn media_packets(server: &Server) -> u64 {
    let text = server.request("GET", "/metrics").send().await.expect("an answer").text().await.expect("text");
    let line = text.lines().find_map(|line| line.strip_prefix("tern_media_packets_in_total ")).expect("the counter");
    line.parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_sent_to_the_media_port_calls_go_on() {
    let server = Server::start().await;
    let sound = || Feed { source: Source::Mic, media: Sound::Tone.opus(2.0).expect("ffmpeg encodes") };
    let mut ada = Bot::join(server.http(), "demo", None, vec![sound()]).await.expect("joins");
    ada.connected().await.expect("media flows");
    let media = server.running.addresses().media[0];
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
    for bytes in noise() {
        socket.send_to(&bytes, media).await.expect("sent");
        let mut stream = TcpStream::connect(media).await.expect("a listener");
        // The server may hang up while we still write.
        let _ = stream.write_all(&bytes).await;
    }
    let mut bob = Bot::join(server.http(), "demo", None, vec![sound()]).await.expect("joins");
    bob.connected().await.expect("media flows");
    let before = media_packets(&server).await;
    let until = Instant::now() + DEADLINE;
    while media_packets(&server).await < before + 100 {
        assert!(Instant::now() < until, "no media arrives any more");
    }
    let open = server.ask("GET", "/v1/rooms/demo/participants", None).await;
    assert_eq!(open.body["participants"].as_array().map(Vec::len), Some(2), "{open:?}");
    ada.leave().await;
    bob.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_request_is_cut_off() {
    let server = Server::start_with(|config| config.api.idle_timeout_s = 2).await;
    let mut stream = TcpStream::connect(server.http()).await.expect("connects");
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ").await.expect("written");
    let started = Instant::now();
    let mut answer = Vec::new();
    let _ = timeout(DEADLINE, stream.read_to_end(&mut answer)).await.expect("an end in time");
    assert!(started.elapsed() > Duration::from_secs(1), "{:?}", started.elapsed());
    is_well(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_and_sockets_are_counted() {
    let server = Server::start_with(|config| {
        config.api.max_sockets = 1;
        config.api.max_connections = 3;
    })
    .await;
    let (wire, _) = Wire::join(server.http(), "demo", json!({})).await;
    let full = server
        .request("GET", "/v1/rooms/demo/ws")
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .send()
        .await
        .expect("an answer");
    assert_eq!(full.status(), 503);
    // A socket is open, and the connection of the request may be: two more fit at most, the next is closed at once.
    let _second = TcpStream::connect(server.http()).await.expect("connects");
    let _third = TcpStream::connect(server.http()).await.expect("connects");
    let mut fourth = TcpStream::connect(server.http()).await.expect("connects");
    let mut answer = Vec::new();
    let _ = timeout(DEADLINE, fourth.read_to_end(&mut answer)).await.expect("an end in time");
    assert!(answer.is_empty());
    drop(wire);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_is_cut_off_and_nobody_else_is() {
    let server = Server::start().await;
    let (deaf, _) = Wire::join(server.http(), "demo", json!({})).await;
    let (mut loud, _) = Wire::join(server.http(), "demo", json!({})).await;
    let data = "x".repeat(60_000);
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        assert!(Instant::now() < until, "the deaf one was never cut off");
        let reply = loud.ask("msg", json!({ "topic": "x", "data": data })).await;
        if let Some(wait) = reply["retry_ms"].as_u64() {
            tokio::time::sleep(Duration::from_millis(wait)).await;
        }
        let people = server.ask("GET", "/v1/rooms/demo", None).await;
        if people.body["participants"] == 1 {
            break;
        }
    }
    drop(deaf);
    is_well(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_drains_takes_nobody_new_and_says_goodbye() {
    let server = Server::start().await;
    let (mut inside, _) = Wire::join(server.http(), "demo", json!({})).await;
    let mut waiting = Wire::open(server.http(), "demo").await;
    let Server { running, folder, .. } = server;
    let drained = tokio::spawn(running.drain(Duration::from_secs(4)));
    let last = inside.event("leave").await;
    assert_eq!((&last["reason"], &last["action"]), (&json!("draining"), &json!("rejoin")));
    assert_eq!(waiting.try_join(json!({})).await["code"], "draining");
    drained.await.expect("drained");
    drop(folder);
}
