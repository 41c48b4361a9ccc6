//! The threads with real sockets: participants on loopback, over UDP and handed over by the relay.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rtc_client::{Codec, Config, Frame, Kind, Output as ClientOutput, Publication, Transport};
use sfu::command::{Intent, Mode, Offer, Permissions, RoomSettings, Source};
use sfu::{Command, ParticipantId, RequestId, RoomId, Success};
use tokio::sync::mpsc;

use super::*;
use crate::handover::{LivePorts, OwnAddresses, Packet};

/// What a step may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(20);
const ROOM: RoomId = RoomId(1);

/// How a participant's datagrams travel.
enum Way {
    Socket(UdpSocket),
    /// As through a relay: the test is the relay worker.
    Relayed {
        media: SocketAddr,
        lane: Lane,
        end: LaneEnd,
    },
}

struct Participant {
    way: Way,
    address: SocketAddr,
    transport: Transport,
    connected: bool,
    heard: usize,
    sent: u32,
    mic: Option<rtc_client::Mid>,
}

struct Stage {
    sfu: Option<Sfu>,
    outputs: mpsc::Receiver<Output>,
    media: SocketAddr,
    lane: Lane,
    relay: Option<LaneEnd>,
    live: Arc<LivePorts>,
    next: u64,
}

fn stage() -> Stage {
    let config = RoomsConfig { listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), ..RoomsConfig::default() };
    let bound = bind(&config).expect("free ports");
    let (media, lane_in) = (bound.addresses()[0], bound.media()[0].1.clone());
    let poll = mio::Poll::new().expect("epoll");
    let waker = Arc::new(mio::Waker::new(poll.registry(), WAKER).expect("an event fd"));
    let (relay, end) = lane(waker);
    let live = Arc::new(LivePorts::default());
    let handover = Handover {
        live: live.clone(),
        relay: Arc::from([relay]),
        media: bound.media().into(),
        own: Arc::new(OwnAddresses::default()),
    };
    let (sender, outputs) = mpsc::channel(256);
    let sfu = bound.start(&handover, &sender).expect("threads");
    let settings = RoomSettings { mode: Mode::Sfu, max_participants: 9, locked: false };
    sfu.send(0, Command::OpenRoom { room: ROOM, settings }).expect("room for a command");
    Stage { sfu: Some(sfu), outputs, media, lane: lane_in, relay: Some(end), live, next: 0 }
}

impl Stage {
    fn reply(&mut self) -> Result<Success, Error> {
        let deadline = Instant::now() + LIMIT;
        while Instant::now() < deadline {
            match self.outputs.try_recv() {
                Ok(Output::Reply { result, .. }) => return result,
                Ok(_) => {}
                Err(_) => std::thread::yield_now(),
            }
        }
        panic!("no reply within {LIMIT:?}");
    }

    fn join(&mut self, way: Way, address: SocketAddr) -> Participant {
        let microphone = Publication { kind: Kind::Audio, rids: Vec::new(), receive: false };
        let config = Config { local: vec![address], audio_slots: 1, publish: vec![microphone], ..Config::default() };
        let mut transport = Transport::new(config, Instant::now()).expect("an address");
        let sdp = transport.create_offer().expect("an offer");
        let mic = transport.lines().iter().find(|line| line.sends).expect("a microphone").mid;
        self.next += 1;
        let offer = Offer {
            transport: "main".into(),
            epoch: 1,
            only: None,
            sdp: Some(sdp),
            tracks: vec![Intent { mid: mic.to_string(), source: Source::Mic, muted: false }],
        };
        let permissions = Permissions {
            publish: vec![Source::Mic],
            data: true,
            subscribe: true,
            moderate: false,
            hidden: false,
            recorder: false,
        };
        let (request, participant) = (RequestId(self.next), ParticipantId(self.next));
        let name = participant.to_string();
        let join = Command::Join { request, room: ROOM, participant, name, permissions, offer: Some(offer) };
        self.sfu.as_ref().expect("running").send(0, join).expect("room for a command");
        let Ok(Success::Joined { answer: Some(answer), .. }) = self.reply() else { panic!("not joined") };
        transport.handle_answer(&answer.sdp, Instant::now()).expect("a good answer");
        Participant { way, address, transport, connected: false, heard: 0, sent: 0, mic: Some(mic) }
    }

    fn join_by_udp(&mut self) -> Participant {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        socket.set_nonblocking(true).expect("non-blocking");
        let address = socket.local_addr().expect("bound");
        self.join(Way::Socket(socket), address)
    }

    /// Behind a relayed address of ours that exists only in the table of live ports.
    fn join_by_relay(&mut self) -> Participant {
        let relayed = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
        self.live.set(relayed, 0);
        let end = self.relay.take().expect("one relayed participant");
        let way = Way::Relayed { media: self.media, lane: self.lane.clone(), end };
        self.join(way, relayed)
    }
}

impl Participant {
    fn send(&mut self, to: SocketAddr, bytes: Vec<u8>) {
        match &self.way {
            Way::Socket(socket) => drop(socket.send_to(&bytes, to)),
            Way::Relayed { media, lane, .. } => {
                assert_eq!(to, *media);
                lane.send(Packet { from: self.address, to, bytes });
                lane.wake();
            }
        }
    }

    fn receive(&mut self) -> Option<(SocketAddr, Vec<u8>)> {
        match &self.way {
            Way::Socket(socket) => {
                let mut buffer = [0; 2048];
                let (length, from) = socket.recv_from(&mut buffer).ok()?;
                Some((from, buffer[..length].to_vec()))
            }
            Way::Relayed { end, .. } => {
                let packet = end.try_recv()?;
                assert_eq!(packet.to, self.address);
                Some((packet.from, packet.bytes))
            }
        }
    }

    /// Everything that can be done now; sends sound each 20 ms once connected.
    fn step(&mut self, now: Instant, start: Instant) {
        while let Some((from, bytes)) = self.receive() {
            self.transport.handle_datagram(from, self.address, &bytes, now);
        }
        if self.transport.poll_timeout().is_some_and(|due| due <= now) {
            self.transport.handle_timeout(now);
        }
        let due = start + Duration::from_millis(20) * self.sent;
        if let Some(mid) = self.mic.filter(|_| self.connected && due <= now) {
            self.sent += 1;
            let timestamp = self.sent * 960;
            let frame = Frame {
                mid,
                rid: None,
                codec: Codec::Opus,
                data: &[0xf8, 1, 2],
                timestamp,
                captured: now,
                level: None,
            };
            self.transport.send_frame(&frame, now).expect("a microphone");
        }
        while let Some(output) = self.transport.poll_output() {
            match output {
                ClientOutput::Transmit { to, bytes, .. } => self.send(to, bytes),
                ClientOutput::Connected => self.connected = true,
                ClientOutput::Packet(_) => self.heard += 1,
                _ => {}
            }
        }
    }
}

/// Runs until both heard so many packets of the other.
fn talk(a: &mut Participant, b: &mut Participant, packets: usize) {
    let start = Instant::now();
    while a.heard < packets || b.heard < packets {
        let now = Instant::now();
        assert!(now < start + LIMIT, "heard {} and {} packets of {packets}", a.heard, b.heard);
        a.step(now, start);
        b.step(now, start);
        std::thread::yield_now();
    }
}

#[test]
fn two_hear_each_other_over_udp() {
    let mut stage = stage();
    let (mut a, mut b) = (stage.join_by_udp(), stage.join_by_udp());
    talk(&mut a, &mut b, 20);
    let sfu = stage.sfu.take().expect("running");
    assert_eq!(sfu.workers(), 1);
    sfu.stop();
}

#[test]
fn a_relayed_one_is_reached_through_the_lanes_only() {
    let mut stage = stage();
    let (mut a, mut b) = (stage.join_by_relay(), stage.join_by_udp());
    talk(&mut a, &mut b, 20);
    let (handed, dropped) = stage.lane.counts();
    assert!(handed > 20 && dropped == 0, "{handed} handed over, {dropped} dropped");
    stage.sfu.take().expect("running").stop();
}

#[test]
fn stopping_tells_everybody() {
    let mut stage = stage();
    stage.join_by_udp();
    stage.sfu.take().expect("running").stop();
    let mut left = false;
    while let Some(output) = stage.outputs.blocking_recv() {
        left |= matches!(output, Output::Event { event: Event::Left(sfu::event::LeftWhy::RoomClosed), .. });
    }
    assert!(left);
}

#[test]
fn a_taken_port_is_named() {
    let taken = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let listen = taken.local_addr().expect("bound");
    let error = bind(&RoomsConfig { listen, ..RoomsConfig::default() }).err().expect("taken");
    assert!(error.to_string().contains(&listen.to_string()), "{error}");
    assert!(matches!(bind(&RoomsConfig { workers: 0, ..RoomsConfig::default() }), Err(BindError::Workers)));
}
