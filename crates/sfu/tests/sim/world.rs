//! The worker, its participants and the network between them, moved forward by one clock.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use netsim::{Datagram, Network};
use sfu::command::{Mode, Offer, Permissions, RoomSettings, Source};
use sfu::{Command, Config, Error, Output, ParticipantId, Path, Protocol, RequestId, RoomId, Success, Worker};

use crate::client::Client;

pub(crate) const ROOM: RoomId = RoomId(1);
pub(crate) const CALL: [Source; 2] = [Source::Mic, Source::Camera];

pub(crate) struct World {
    pub(crate) epoch: Instant,
    pub(crate) now: Instant,
    pub(crate) worker: Worker,
    pub(crate) network: Network,
    pub(crate) clients: Vec<Client>,
    /// Bytes of the SDP of the last answer to a join.
    pub(crate) last_answer: usize,
    /// What came to the worker, if a test wants to have it.
    pub(crate) tapped: Option<Vec<(Path, Vec<u8>)>>,
    media: SocketAddr,
    replies: BTreeMap<RequestId, Result<Success, Error>>,
    next: u64,
}

pub(crate) fn everything() -> Permissions {
    Permissions {
        publish: vec![Source::Mic, Source::Camera, Source::Screen, Source::ScreenAudio],
        data: true,
        subscribe: true,
        moderate: true,
        hidden: false,
        recorder: false,
    }
}

pub(crate) fn settings(mode: Mode) -> RoomSettings {
    RoomSettings { mode, max_participants: 100, locked: false }
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        #[expect(clippy::disallowed_methods, reason = "a test needs some instant to start from")]
        let epoch = Instant::now();
        let media = SocketAddr::from(([10, 0, 0, 1], 8189));
        let config = Config { candidates: vec![(Protocol::Udp, media)], worker: 0, workers: 1 };
        let mut world = Self {
            epoch,
            now: epoch,
            worker: Worker::new(config, epoch).expect("a certificate"),
            network: Network::new(seed),
            clients: Vec::new(),
            last_answer: 0,
            tapped: None,
            media,
            replies: BTreeMap::new(),
            next: 0,
        };
        world.worker.handle_command(Command::OpenRoom { room: ROOM, settings: settings(Mode::Sfu) }, epoch);
        world
    }

    pub(crate) fn media(&self) -> SocketAddr {
        self.media
    }

    /// Sends a command that has a reply.
    pub(crate) fn request(&mut self, command: impl FnOnce(RequestId) -> Command) -> Result<Success, Error> {
        self.next += 1;
        let request = RequestId(self.next);
        self.worker.handle_command(command(request), self.now);
        self.take_outputs();
        self.replies.remove(&request).expect("exactly one reply")
    }

    pub(crate) fn join_as(
        &mut self,
        permissions: Permissions,
        offer: Option<Offer>,
    ) -> (ParticipantId, Result<Success, Error>) {
        self.next += 1;
        let participant = ParticipantId(self.next);
        (participant, self.join_with(participant, permissions, offer))
    }

    pub(crate) fn join_with(
        &mut self,
        participant: ParticipantId,
        permissions: Permissions,
        offer: Option<Offer>,
    ) -> Result<Success, Error> {
        let name = format!("{participant}");
        self.request(|request| Command::Join { request, room: ROOM, participant, name, permissions, offer })
    }

    /// A participant joins with its offer and publishes the sources; its index.
    pub(crate) fn join(&mut self, config: rtc_client::Config, sources: &[Source], rids: &[&'static str]) -> usize {
        self.next += 1;
        let id = ParticipantId(self.next);
        let address = SocketAddr::from(([10, 0, 1, 1], 10_000 + id.0 as u16));
        let mut client = Client::new(id, address, config, self.now);
        let offer = client.offer(sources);
        self.clients.push(client);
        let joined = self.join_with(id, everything(), Some(offer)).expect("joined");
        let Success::Joined { answer, tracks, .. } = joined else { panic!("another reply: {joined:?}") };
        let (index, now) = (self.clients.len() - 1, self.now);
        let client = &mut self.clients[index];
        client.tracks = tracks;
        let answer = answer.expect("an answer");
        self.last_answer = answer.sdp.len();
        client.answer(answer, now);
        client.publish(sources, rids, now);
        index
    }

    /// A further transport of a participant, for another participant's tracks.
    pub(crate) fn record(&mut self, recorder: ParticipantId, whom: ParticipantId) -> usize {
        self.record_with(crate::client::recorder(), recorder, whom)
    }

    /// The same with other m-lines.
    pub(crate) fn record_with(
        &mut self,
        config: rtc_client::Config,
        recorder: ParticipantId,
        whom: ParticipantId,
    ) -> usize {
        let now = self.now;
        let address = SocketAddr::from(([10, 0, 1, 1], 30_000 + self.clients.len() as u16));
        let mut client = Client::new(recorder, address, config, now);
        client.name = Box::leak(format!("rec-{whom}").into_boxed_str());
        client.only = Some(whom);
        let offer = client.offer(&[]);
        self.clients.push(client);
        let reply = self.request(|request| Command::Offer { request, participant: recorder, offer }).expect("answered");
        let Success::Answered { answer, .. } = reply else { panic!("another reply: {reply:?}") };
        let index = self.clients.len() - 1;
        self.clients[index].answer(answer.expect("an answer"), now);
        index
    }

    pub(crate) fn leave(&mut self, index: usize) {
        let participant = self.clients[index].id;
        self.worker.handle_command(Command::Leave { participant }, self.now);
        self.take_outputs();
        self.clients[index].alive = false;
    }

    pub(crate) fn run(&mut self, time: Duration) {
        let until = self.now + time;
        while self.step(until) {}
        self.now = until;
    }

    /// Runs until it holds; panics after `limit`.
    pub(crate) fn run_until(&mut self, limit: Duration, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        let until = self.now + limit;
        while !holds(self) {
            assert!(self.step(until), "within {limit:?}: {what}");
        }
    }

    /// Moves to the next thing that is due; `false`: nothing is, before `until`.
    fn step(&mut self, until: Instant) -> bool {
        let clients = self.clients.iter().filter_map(Client::poll_timeout);
        let others = [self.network.poll_timeout(), self.worker.poll_timeout()];
        let Some(due) = clients.chain(others.into_iter().flatten()).min().filter(|due| *due <= until) else {
            return false;
        };
        self.now = self.now.max(due);
        while let Some(datagram) = self.network.poll_output(self.now) {
            self.deliver(&datagram);
        }
        if self.worker.poll_timeout().is_some_and(|due| due <= self.now) {
            self.worker.handle_timeout(self.now);
        }
        self.take_outputs();
        let (epoch, now) = (self.epoch, self.now);
        for client in self.clients.iter_mut().filter(|client| client.alive) {
            if client.poll_timeout().is_some_and(|due| due <= now) {
                client.handle_timeout(epoch, now);
            }
            while let Some((to, bytes)) = client.poll_transmit(now) {
                self.network.send(Datagram { from: client.address, to, bytes }, now);
            }
        }
        true
    }

    fn deliver(&mut self, datagram: &Datagram) {
        let Datagram { from, to, bytes } = datagram;
        if *to == self.media {
            let path = Path { protocol: Protocol::Udp, local: self.media, remote: *from };
            self.worker.handle_datagram(path, bytes, self.now);
            if let Some(tapped) = &mut self.tapped {
                tapped.push((path, bytes.clone()));
            }
            return;
        }
        let now = self.now;
        if let Some(client) = self.clients.iter_mut().find(|client| client.address == *to && client.alive) {
            client.transport.handle_datagram(*from, *to, bytes, now);
        }
    }

    fn take_outputs(&mut self) {
        while let Some(output) = self.worker.poll_output() {
            match output {
                Output::Transmit { path, bytes } => {
                    self.network.send(Datagram { from: path.local, to: path.remote, bytes }, self.now);
                }
                Output::Reply { request, result } => {
                    assert!(self.replies.insert(request, result).is_none(), "two replies to {request}");
                }
                Output::Event { participant, event } => {
                    let name = match &event {
                        sfu::Event::Slots { transport, .. } | sfu::Event::Need { transport, .. } => transport.clone(),
                        _ => "main".into(),
                    };
                    let mut clients = self.clients.iter_mut().filter(|client| client.id == participant);
                    if let Some(client) = clients.find(|client| client.name == name) {
                        client.handle_event(event);
                    }
                }
                Output::Text { participant, text } => {
                    if let Some(client) = self.clients.iter_mut().find(|client| client.id == participant) {
                        client.texts.push(format!("server: {text}"));
                    }
                }
            }
        }
    }

    /// All of them are connected.
    pub(crate) fn connect(&mut self) {
        self.run_until(Duration::from_secs(30), "all connected", |world| {
            world.clients.iter().filter(|c| c.alive).all(|client| client.connected.is_some())
        });
    }
}
