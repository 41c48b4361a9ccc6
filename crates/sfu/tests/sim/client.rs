//! A participant of a test: transport, slots, what it publishes, what it saw and heard.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rtc_client::depacketise::{Assembler, Ordered, Picture, Reorder};
use rtc_client::{Codec, Config, Frame, Kind, Mid, Output, Publication, RtpPacket, Transport};
use sfu::command::{Intent, Offer, Source};
use sfu::event::{Answer, Event, Slot};
use sfu::{ParticipantId, TrackId};

use crate::media::{Publishing, Stamp};

/// What a receiver made of one m-line.
#[derive(Default)]
pub(crate) struct Reception {
    pub(crate) packets: Vec<RtpPacket>,
    pub(crate) pictures: Vec<(Instant, Stamp, Picture)>,
    pub(crate) sounds: Vec<(Instant, Stamp, RtpPacket)>,
    pub(crate) lost: u64,
    pub(crate) assembler: Assembler,
    reorder: Option<Reorder>,
    stuck: Option<Instant>,
}

pub(crate) struct Client {
    pub(crate) id: ParticipantId,
    pub(crate) address: SocketAddr,
    pub(crate) name: &'static str,
    pub(crate) transport: Transport,
    pub(crate) epoch: u64,
    pub(crate) only: Option<ParticipantId>,
    pub(crate) slots: BTreeMap<String, Slot>,
    pub(crate) publishing: Vec<Publishing>,
    pub(crate) tracks: Vec<TrackId>,
    pub(crate) receptions: BTreeMap<Mid, Reception>,
    pub(crate) events: Vec<Event>,
    pub(crate) texts: Vec<String>,
    pub(crate) connected: Option<Instant>,
    pub(crate) channel: bool,
    pub(crate) closed: bool,
    /// When it last lost the server.
    pub(crate) lost: Option<Instant>,
    pub(crate) alive: bool,
}

impl Client {
    pub(crate) fn new(id: ParticipantId, address: SocketAddr, config: Config, now: Instant) -> Self {
        let config = Config { local: vec![address], ..config };
        Self {
            id,
            address,
            name: "main",
            transport: Transport::new(config, now).expect("a local address"),
            epoch: 0,
            only: None,
            slots: BTreeMap::new(),
            publishing: Vec::new(),
            tracks: Vec::new(),
            receptions: BTreeMap::new(),
            events: Vec::new(),
            texts: Vec::new(),
            connected: None,
            channel: false,
            closed: false,
            lost: None,
            alive: true,
        }
    }

    /// The next offer, with the given sources on the publications in their order.
    pub(crate) fn offer(&mut self, sources: &[Source]) -> Offer {
        let sdp = self.transport.create_offer().expect("an offer");
        let lines = self.transport.lines().iter().filter(|line| line.sends);
        let tracks = lines.zip(sources).map(|(l, &source)| Intent { mid: l.mid.to_string(), source, muted: false });
        self.epoch += 1;
        Offer {
            transport: self.name.into(),
            epoch: self.epoch,
            only: self.only,
            sdp: Some(sdp),
            tracks: tracks.collect(),
        }
    }

    pub(crate) fn answer(&mut self, answer: Answer, now: Instant) {
        self.transport.handle_answer(&answer.sdp, now).expect("a good answer");
        self.slots = answer.slots.into_iter().map(|slot| (slot.mid.clone(), slot)).collect();
    }

    /// Begins to send on the publications.
    pub(crate) fn publish(&mut self, sources: &[Source], rids: &[&'static str], now: Instant) {
        let lines: Vec<_> = self.transport.lines().iter().filter(|line| line.sends).copied().collect();
        for (line, &source) in lines.iter().zip(sources).skip(self.publishing.len()) {
            let rids = if line.kind == Kind::Video { rids } else { &[] };
            self.publishing.push(Publishing::new(line.mid, source, rids, now));
        }
    }

    pub(crate) fn handle_event(&mut self, event: Event) {
        if let Event::Slots { slots, .. } = &event {
            for slot in slots {
                self.slots.insert(slot.mid.clone(), slot.clone());
            }
        }
        self.events.push(event);
    }

    /// When something is due.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let media = self.publishing.iter().map(Publishing::due).filter(|_| self.connected.is_some());
        self.transport.poll_timeout().into_iter().chain(media).filter(|_| self.alive).min()
    }

    pub(crate) fn handle_timeout(&mut self, epoch: Instant, now: Instant) {
        if self.transport.poll_timeout().is_some_and(|due| due <= now) {
            self.transport.handle_timeout(now);
        }
        if self.connected.is_none() {
            self.publishing.iter_mut().for_each(|p| drop(p.make(self.id.0, epoch, now)));
            self.publishing.iter_mut().for_each(Publishing::restart);
            return;
        }
        for publishing in &mut self.publishing {
            for made in publishing.make(self.id.0, epoch, now) {
                let frame = Frame {
                    mid: publishing.mid,
                    rid: made.rid,
                    codec: made.codec,
                    data: &made.data,
                    timestamp: made.timestamp,
                    captured: made.captured,
                    level: publishing.source.is_audio().then_some(publishing.level),
                };
                self.transport.send_frame(&frame, now).expect("a sending m-line");
            }
        }
    }

    /// What goes out.
    pub(crate) fn poll_transmit(&mut self, now: Instant) -> Option<(SocketAddr, Vec<u8>)> {
        while let Some(output) = self.transport.poll_output() {
            match output {
                Output::Transmit { to, bytes, .. } => return Some((to, bytes)),
                Output::Packet(packet) => self.receive(packet, now),
                Output::Connected => self.connected = Some(now),
                Output::KeyFrameWanted { mid, rid } => {
                    for publishing in self.publishing.iter_mut().filter(|p| p.mid == mid) {
                        publishing.want_key_frame(rid.as_deref());
                    }
                }
                Output::ChannelOpen => self.channel = true,
                Output::ChannelData(data) => self.texts.push(String::from_utf8(data).expect("text")),
                Output::Closed(_) => self.closed = true,
                Output::Reachable(false) => self.lost = Some(now),
                Output::Reachable(true) => {}
            }
        }
        None
    }

    fn receive(&mut self, packet: RtpPacket, now: Instant) {
        let (mid, audio) = (packet.mid, packet.codec == Codec::Opus);
        let reception = self.receptions.entry(mid).or_default();
        reception.packets.push(packet.clone());
        let reorder = reception.reorder.get_or_insert_with(|| Reorder::new(Duration::from_millis(500)));
        reorder.handle_packet(packet);
        while let Some(ordered) = reorder.poll(now) {
            if let Ordered::Lost(count) = ordered {
                reception.lost += count;
            }
            match ordered {
                Ordered::Packet(packet) if audio => {
                    let stamp = Stamp::of_sound(&packet.payload).expect("our sound");
                    reception.sounds.push((now, stamp, packet));
                }
                Ordered::Lost(_) if audio => {}
                ordered => reception.assembler.handle(ordered),
            }
        }
        while let Some(picture) = reception.assembler.poll() {
            let stamp = Stamp::of_picture(&picture.data).expect("our picture");
            reception.pictures.push((now, stamp, picture));
        }
        // As a browser does: nothing to show for 200 ms, it says so, and again each 200 ms.
        if audio || !reception.assembler.needs_key_frame() {
            reception.stuck = None;
        } else if now - *reception.stuck.get_or_insert(now) >= Duration::from_millis(200) {
            reception.stuck = Some(now);
            self.transport.request_key_frame(mid, now);
        }
    }

    /// Whose pictures came on any m-line within a time.
    pub(crate) fn pictures(&self, from: ParticipantId) -> Vec<(Instant, Stamp)> {
        let all = self.receptions.values().flat_map(|r| r.pictures.iter().map(|(at, stamp, _)| (*at, *stamp)));
        all.filter(|(_, stamp)| u64::from(stamp.publisher) == from.0).collect()
    }

    /// Whose sound came on any m-line.
    pub(crate) fn sounds(&self, from: ParticipantId) -> Vec<(Instant, Stamp)> {
        let all = self.receptions.values().flat_map(|r| r.sounds.iter().map(|(at, stamp, _)| (*at, *stamp)));
        all.filter(|(_, stamp)| u64::from(stamp.publisher) == from.0).collect()
    }
}

/// A browser: microphone and camera on the first slots of 3 + 9.
pub(crate) fn browser(rids: &[&str]) -> Config {
    let publication = |kind, rids: &[&str]| Publication {
        kind,
        rids: rids.iter().map(|rid| (*rid).to_owned()).collect(),
        receive: rids.is_empty(),
    };
    Config {
        audio_slots: 2,
        video_slots: 8,
        publish: vec![publication(Kind::Audio, &[]), publication(Kind::Video, rids)],
        channel: Some("tern".into()),
        ..Config::default()
    }
}

/// A recorder's transport for one participant.
pub(crate) fn recorder() -> Config {
    Config { audio_slots: 2, video_slots: 2, ..Config::default() }
}
