//! A participant that publishes real media over a real network: rooms/1 over a WebSocket, one transport on a UDP port.
//!
//! Its media was encoded before by ffmpeg (`media_source`), so a key frame cannot be made on demand: sources have one often.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use rtc_client::{Config, Kind, Mid, Output, Publication, Transport};
use signalling::message::client::{Join, Media, Mute};
use signalling::message::server::{Answer, Welcome};
use signalling::message::{ClientFrame, Reply, ReplyFrame, Request, Source, TrackIntent, VERSION};
use signalling::{PcId, RoomName, TrackId};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::{mpsc, watch};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::media_source::Encoded;

/// How long a step of joining may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What a bot publishes.
#[derive(Debug, Clone)]
pub struct Feed {
    pub source: Source,
    pub media: Vec<Encoded>,
}

impl Feed {
    /// How long one round takes: the last frame lasts as long as the one before it.
    fn round(&self) -> Duration {
        let at = |back: usize| self.media.len().checked_sub(back).map_or(Duration::ZERO, |place| self.media[place].at);
        at(1) + (at(1) - at(2))
    }
}

#[derive(Debug)]
enum Do {
    Mute(TrackId, bool),
    /// Send nothing of this source (`true`), or again.
    Hold(Source, bool),
    Leave,
}

/// A bot in a room. It leaves when told to, or falls silent when dropped.
pub struct Bot {
    commands: mpsc::UnboundedSender<Do>,
    connected: watch::Receiver<Option<Instant>>,
    sent: watch::Receiver<Option<Instant>>,
    task: tokio::task::JoinHandle<()>,
    /// Its welcome.
    pub welcome: Welcome,
    tracks: Vec<(Source, TrackId)>,
}

pub(crate) type Socket = WebSocketStream<TcpStream>;

impl Bot {
    /// Joins and publishes the feeds, from their starts on, as soon as media can flow.
    ///
    /// # Errors
    /// Whatever the server or the network says.
    pub async fn join(server: SocketAddr, room: &str, token: Option<&str>, feeds: Vec<Feed>) -> io::Result<Self> {
        tokio::time::timeout(TIMEOUT, Self::enter(server, room, token, feeds)).await.map_err(io::Error::other)?
    }

    async fn enter(server: SocketAddr, room: &str, token: Option<&str>, feeds: Vec<Feed>) -> io::Result<Self> {
        let tcp = TcpStream::connect(server).await?;
        let udp = UdpSocket::bind((tcp.local_addr()?.ip(), 0)).await?;
        // A new socket takes datagrams only after the reactor has seen it once.
        udp.writable().await?;
        let Entered { sender, socket, welcome, tracks } =
            Entered::through(tcp, room, token, feeds, udp.local_addr()?).await?;
        let (commands, todo) = mpsc::unbounded_channel();
        let (tell, connected) = watch::channel(None);
        let (tell_sent, sent) = watch::channel(None);
        let player = Player { sender, udp, socket, next_id: 2, tell, tell_sent };
        let task = tokio::spawn(player.run(todo));
        Ok(Self { commands, connected, sent, task, welcome, tracks })
    }

    /// Waits until media flows; returns when its feeds began.
    ///
    /// # Errors
    /// If it does not.
    pub async fn connected(&mut self) -> io::Result<Instant> {
        let connected = self.connected.wait_for(Option::is_some);
        let began =
            tokio::time::timeout(TIMEOUT, connected).await.map_err(io::Error::other)?.map_err(io::Error::other)?;
        began.ok_or_else(|| io::Error::other("it did not begin"))
    }

    /// Until when everything that was due has been sent: on a busy machine, not quite until now. `None`: nothing was yet.
    pub fn sent_until(&self) -> Option<Instant> {
        *self.sent.borrow()
    }

    /// The id of an own track.
    pub fn track(&self, source: Source) -> Option<&TrackId> {
        self.tracks.iter().find(|(of, _)| *of == source).map(|(_, track)| track)
    }

    /// Mutes or unmutes an own track, and stops or goes on sending it.
    pub fn mute(&self, source: Source, muted: bool) {
        if let Some(track) = self.track(source) {
            let _ = self.commands.send(Do::Mute(track.clone(), muted));
            let _ = self.commands.send(Do::Hold(source, muted));
        }
    }

    /// Stops or goes on sending a source without telling anybody: lost packets, as it were.
    pub fn hold(&self, source: Source, hold: bool) {
        let _ = self.commands.send(Do::Hold(source, hold));
    }

    /// Leaves the room.
    pub async fn leave(self) {
        let _ = self.commands.send(Do::Leave);
        let _ = self.task.await;
    }
}

/// A participant whose server has said yes; nothing has flowed yet.
pub(crate) struct Entered {
    pub(crate) sender: Sender,
    pub(crate) socket: Socket,
    welcome: Welcome,
    tracks: Vec<(Source, TrackId)>,
}

impl Entered {
    /// Joins over this connection; media will come from `local`.
    pub(crate) async fn through(
        tcp: TcpStream,
        room: &str,
        token: Option<&str>,
        feeds: Vec<Feed>,
        local: SocketAddr,
    ) -> io::Result<Self> {
        let url = format!("ws://{}/v1/rooms/{room}/ws", tcp.peer_addr()?);
        let (mut socket, _) = tokio_tungstenite::client_async(url, tcp).await.map_err(io::Error::other)?;
        let kind = |feed: &Feed| if feed.source.is_audio() { Kind::Audio } else { Kind::Video };
        let publish = feeds.iter().map(|feed| Publication { kind: kind(feed), rids: Vec::new(), receive: false });
        let config = Config { local: vec![local], publish: publish.collect(), ..Config::default() };
        let mut transport = Transport::new(config, Instant::now()).map_err(io::Error::other)?;
        let sdp = transport.create_offer().map_err(io::Error::other)?;
        let mids: Vec<Mid> = transport.lines().iter().filter(|line| line.sends).map(|line| line.mid).collect();
        let intent = |(feed, mid): (&Feed, &Mid)| TrackIntent { mid: mid.to_string(), src: feed.source, muted: false };
        let media = Media {
            pc: PcId::main(),
            sdp: Some(sdp),
            tracks: feeds.iter().zip(&mids).map(intent).collect(),
            ..Media::default()
        };
        let join = Join {
            v: VERSION,
            room: RoomName::parse(room).map_err(io::Error::other)?,
            token: token.map(str::to_owned),
            name: Some("Bot".into()),
            key: None,
            proof: None,
            media,
        };
        let (welcome, answer) = join_room(&mut socket, join).await?;
        transport.handle_answer(&answer.sdp, Instant::now()).map_err(io::Error::other)?;
        let track = |mid: &Mid| answer.published.iter().find(|published| published.mid == mid.to_string());
        let tracks = feeds.iter().zip(&mids).filter_map(|(feed, mid)| Some((feed.source, track(mid)?.track.clone())));
        let tracks = tracks.collect();
        let feeds = feeds.into_iter().zip(mids).map(|(feed, mid)| Playing::new(feed, mid)).collect();
        Ok(Self { sender: Sender { transport, local, feeds }, socket, welcome, tracks })
    }
}

async fn join_room(socket: &mut Socket, join: Join) -> io::Result<(Welcome, Answer)> {
    send(socket, 1, Request::Join(join)).await?;
    while let Some(message) = socket.next().await {
        let Message::Text(text) = message.map_err(io::Error::other)? else { continue };
        let Ok(frame) = serde_json::from_str::<ReplyFrame>(&text) else { continue };
        return match frame.reply {
            Reply::Ok(success) => success
                .welcome
                .zip(success.answer)
                .ok_or_else(|| io::Error::other("the reply to join lacks a welcome or an answer")),
            Reply::Err(failure) => Err(io::Error::other(format!("{}: {}", failure.code, failure.msg))),
        };
    }
    Err(io::Error::other("the socket closed before the reply to join"))
}

async fn send(socket: &mut Socket, id: u64, request: Request) -> io::Result<()> {
    let text = serde_json::to_string(&ClientFrame { id, request })?;
    socket.send(Message::text(text)).await.map_err(io::Error::other)
}

/// A feed that is being played, round after round.
struct Playing {
    feed: Feed,
    mid: Mid,
    started: Option<Instant>,
    next: usize,
    rounds: u32,
    held: bool,
}

impl Playing {
    fn new(feed: Feed, mid: Mid) -> Self {
        Self { feed, mid, started: None, next: 0, rounds: 0, held: false }
    }

    /// Where in the feed's endless time the next frame stands.
    fn position(&self) -> Duration {
        self.feed.round() * self.rounds + self.feed.media[self.next].at
    }

    fn due(&self) -> Option<Instant> {
        Some(self.started? + self.position())
    }

    fn step(&mut self) {
        self.next += 1;
        if self.next == self.feed.media.len() {
            self.next = 0;
            self.rounds += 1;
        }
    }
}

/// A transport and what it sends, without a socket.
pub(crate) struct Sender {
    transport: Transport,
    local: SocketAddr,
    feeds: Vec<Playing>,
}

impl Sender {
    /// A datagram came.
    pub(crate) fn receive(&mut self, from: SocketAddr, bytes: &[u8]) {
        self.transport.handle_datagram(from, self.local, bytes, Instant::now());
    }

    /// When something is due next.
    pub(crate) fn wake(&mut self, now: Instant) -> Instant {
        let timer = self.transport.poll_timeout().unwrap_or(now + Duration::from_secs(1));
        self.due().map_or(timer, |due| due.min(timer))
    }

    /// When the next frame is due.
    fn due(&self) -> Option<Instant> {
        self.feeds.iter().filter_map(Playing::due).min()
    }

    /// Does what is due, and gives out datagrams; `true`: media flows from now on.
    pub(crate) fn turn(&mut self, now: Instant, mut transmit: impl FnMut(SocketAddr, &[u8])) -> bool {
        if self.transport.poll_timeout().is_some_and(|at| now >= at) {
            self.transport.handle_timeout(now);
        }
        for playing in &mut self.feeds {
            while let Some(due) = playing.due().filter(|due| *due <= now) {
                if !playing.held {
                    let codec = playing.feed.media[playing.next].codec;
                    let ticks = playing.position().as_micros() as u64 * u64::from(codec.clock_rate()) / 1_000_000;
                    let frame = rtc_client::Frame {
                        mid: playing.mid,
                        rid: None,
                        codec,
                        data: &playing.feed.media[playing.next].data,
                        timestamp: ticks as u32,
                        captured: due,
                        level: codec.is_audio().then_some(-20),
                    };
                    // A frame that the transport does not take shows in what is recorded.
                    let _ = self.transport.send_frame(&frame, now);
                }
                playing.step();
            }
        }
        let mut connected = false;
        while let Some(output) = self.transport.poll_output() {
            match output {
                Output::Transmit { to, bytes, .. } => transmit(to, &bytes),
                Output::Connected => {
                    // One moment for all feeds, so that flash and beep leave together.
                    self.feeds.iter_mut().for_each(|playing| playing.started = Some(now));
                    connected = true;
                }
                _ => {}
            }
        }
        connected
    }
}

struct Player {
    sender: Sender,
    udp: UdpSocket,
    socket: Socket,
    next_id: u64,
    tell: watch::Sender<Option<Instant>>,
    tell_sent: watch::Sender<Option<Instant>>,
}

impl Player {
    async fn run(mut self, mut todo: mpsc::UnboundedReceiver<Do>) {
        let mut buffer = vec![0; 2048];
        loop {
            let now = Instant::now();
            if self.sender.turn(now, |to, bytes| drop(self.udp.try_send_to(bytes, to))) {
                self.tell.send_replace(Some(now));
            }
            self.tell_sent.send_replace(self.sender.due());
            let wake = self.sender.wake(now);
            tokio::select! {
                received = self.udp.recv_from(&mut buffer) => if let Ok((len, from)) = received {
                    self.sender.receive(from, &buffer[..len]);
                },
                // Only pings matter here, and the library answers them.
                message = self.socket.next() => if !matches!(message, Some(Ok(_))) {
                    return;
                },
                command = todo.recv() => match command {
                    Some(Do::Mute(track, muted)) => {
                        let id = self.next_id;
                        self.next_id += 1;
                        if send(&mut self.socket, id, Request::Mute(Mute { track, muted })).await.is_err() {
                            return;
                        }
                    }
                    Some(Do::Hold(source, held)) => {
                        for feed in self.sender.feeds.iter_mut().filter(|playing| playing.feed.source == source) {
                            feed.held = held;
                        }
                    }
                    Some(Do::Leave) | None => {
                        let bye = Request::Bye(signalling::message::client::Bye { reason: String::new() });
                        let _ = send(&mut self.socket, self.next_id, bye).await;
                        let _ = self.socket.close(None).await;
                        return;
                    }
                },
                () = tokio::time::sleep_until(wake.into()) => {}
            }
        }
    }
}
