use sfu::command::*;
use sfu::*;
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use turn_server::handover::*;

fn main() {
    let config = turn_server::config::RoomsConfig { listen: "0.0.0.0:0".parse().unwrap(), ..Default::default() };
    let bound = turn_server::sfu::bind(&config).unwrap();
    let handover = Handover {
        live: Arc::new(LivePorts::default()),
        relay: Arc::from([]),
        media: bound.media().into(),
        own: Arc::new(OwnAddresses::default()),
    };
    let (tx, mut rx) = tokio::sync::mpsc::channel(4096);
    let sfu = bound.start(&handover, &tx).unwrap();
    let tcp_only = std::env::var("TCP_ONLY").is_ok();
    sfu.send(
        0,
        Command::OpenRoom {
            room: RoomId(1),
            settings: RoomSettings { mode: Mode::Sfu, max_participants: 50, locked: false },
        },
    )
    .unwrap();
    let replies: Arc<Mutex<HashMap<u64, Result<Success, sfu::Error>>>> = Arc::default();
    let events: Arc<Mutex<HashMap<u64, Vec<String>>>> = Arc::default();
    {
        let (r, e) = (replies.clone(), events.clone());
        std::thread::spawn(move || {
            while let Some(o) = rx.blocking_recv() {
                match o {
                    turn_server::sfu::Output::Reply { request, result } => {
                        r.lock().unwrap().insert(request.0, result);
                    }
                    turn_server::sfu::Output::Event { participant, event } => {
                        e.lock().unwrap().entry(participant.0).or_default().push(format!("{event:?}"))
                    }
                    turn_server::sfu::Output::Text { participant, text } => println!("TEXT {participant} {text}"),
                }
            }
        });
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    println!("PAGE http://127.0.0.1:{}/", listener.local_addr().unwrap().port());
    let html = std::fs::read(std::env::args().nth(1).unwrap()).unwrap();
    let mut next = 0u64;
    for stream in listener.incoming() {
        let mut s = stream.unwrap();
        s.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        let mut req = Vec::new();
        let mut b = [0; 65536];
        let (head, body) = loop {
            let n = s.read(&mut b).unwrap_or(0);
            req.extend_from_slice(&b[..n]);
            let t = String::from_utf8_lossy(&req).to_string();
            if let Some(i) = t.find("\r\n\r\n") {
                let len = t
                    .lines()
                    .find_map(|l| {
                        l.to_lowercase().strip_prefix("content-length: ").map(|v| v.trim().parse::<usize>().unwrap())
                    })
                    .unwrap_or(0);
                if req.len() >= i + 4 + len {
                    break (t[..i].to_string(), t[i + 4..].to_string());
                }
            }
            if n == 0 {
                break (String::new(), String::new());
            }
        };
        let path = head.split(' ').nth(1).unwrap_or("/").to_string();
        let reply = |v: serde_json::Value| serde_json::to_vec(&v).unwrap();
        let wait = |id: u64| loop {
            if let Some(r) = replies.lock().unwrap().remove(&id) {
                break r;
            }
            std::thread::sleep(Duration::from_millis(1));
        };
        let out = if path == "/" || path.starts_with("/?") {
            html.clone()
        } else if path == "/join" || path == "/offer" {
            let v: serde_json::Value = serde_json::from_str(&body).unwrap();
            next += 1;
            let tracks = v["tracks"]
                .as_array()
                .unwrap()
                .iter()
                .map(|t| Intent {
                    mid: t["mid"].as_str().unwrap().into(),
                    source: match t["src"].as_str().unwrap() {
                        "mic" => Source::Mic,
                        "camera" => Source::Camera,
                        "screen" => Source::Screen,
                        _ => Source::ScreenAudio,
                    },
                    muted: false,
                })
                .collect();
            let offer = Offer {
                transport: "main".into(),
                epoch: v["epoch"].as_u64().unwrap(),
                only: None,
                sdp: Some(v["sdp"].as_str().unwrap().into()),
                tracks,
            };
            let p = v["p"].as_u64().unwrap_or(next);
            let cmd = if path == "/join" {
                Command::Join {
                    request: RequestId(next),
                    room: RoomId(1),
                    participant: ParticipantId(p),
                    name: "x".into(),
                    permissions: Permissions {
                        publish: vec![Source::Mic, Source::Camera, Source::Screen, Source::ScreenAudio],
                        data: true,
                        subscribe: true,
                        moderate: true,
                        hidden: false,
                        recorder: false,
                    },
                    offer: Some(offer),
                }
            } else {
                Command::Offer { request: RequestId(next), participant: ParticipantId(p), offer }
            };
            sfu.send(0, cmd).unwrap();
            match wait(next) {
                Ok(Success::Joined { answer: Some(a), .. }) | Ok(Success::Answered { answer: Some(a), .. }) => {
                    let sdp = if tcp_only {
                        a.sdp
                            .lines()
                            .filter(|l| !(l.starts_with("a=candidate") && l.contains(" udp ")))
                            .map(|l| format!("{l}\r\n"))
                            .collect()
                    } else {
                        a.sdp
                    };
                    reply(
                        serde_json::json!({"p": p, "sdp": sdp, "slots": a.slots.iter().map(|s| format!("{s:?}")).collect::<Vec<_>>()}),
                    )
                }
                other => {
                    println!("REFUSED {other:?}");
                    reply(serde_json::json!({"error": format!("{other:?}")}))
                }
            }
        } else if let Some(p) = path.strip_prefix("/events/") {
            let e = events.lock().unwrap().remove(&p.parse().unwrap()).unwrap_or_default();
            reply(serde_json::json!(e))
        } else if path == "/log" {
            println!("{body}");
            if body.contains("DONE") {
                println!("{:#?}", sfu.stats());
                std::process::exit(0);
            }
            b"{}".to_vec()
        } else if let Some(t) = path.strip_prefix("/mute/") {
            next += 1;
            let (t, m) = t.split_once('/').unwrap();
            sfu.send(
                0,
                Command::ModerateMute {
                    request: RequestId(next),
                    by: None,
                    room: RoomId(1),
                    track: TrackId(t.parse().unwrap()),
                    muted: m == "1",
                },
            )
            .unwrap();
            reply(serde_json::json!(format!("{:?}", wait(next))))
        } else if path.starts_with("/msg/") {
            next += 1;
            let p: u64 = path[5..].parse().unwrap();
            sfu.send(
                0,
                Command::Message {
                    request: RequestId(next),
                    from: ParticipantId(p),
                    to: vec![],
                    topic: "t".into(),
                    data: "1".into(),
                    unreliable: Some("{\"t\":\"msg\"}".into()),
                },
            )
            .unwrap();
            reply(serde_json::json!(format!("{:?}", wait(next))))
        } else {
            b"{}".to_vec()
        };
        let ct = if path == "/" || path.starts_with("/?") { "text/html" } else { "application/json" };
        let _ = write!(
            s,
            "HTTP/1.1 200 OK\r\ncontent-type: {ct}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            out.len()
        );
        let _ = s.write_all(&out);
    }
}
