//! One transport: an offer and its answer, ICE, DTLS, SRTP, and RTP in both directions.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rtp::Timestamps;
use str0m::change::{SdpAnswer, SdpPendingOffer};
use str0m::channel::{ChannelConfig, ChannelId, Reliability};
use str0m::media::{Direction, KeyframeRequestKind, MediaKind, Rid, Simulcast, SimulcastLayer};
use str0m::net::{Protocol, Receive};
use str0m::rtp::{ExtensionValues, RtpPacket as EnginePacket, RtpWrite};
use str0m::{Candidate, Event, IceConnectionState, Input, Output as EngineOutput, Rtc};

use crate::config::{Config, Kind, Publication};
use crate::engine;
use crate::error::Error;
use crate::packet::{Codec, Mid, RtpPacket, SenderReport};
use crate::packetise::Packetiser;

/// Largest frame that is sent, bytes; far above any picture that a room carries.
const MAX_FRAME: usize = 4 << 20;
/// Sources that are remembered at once; more than any answer announces.
const MAX_SOURCES: usize = 256;

/// Packets kept for retransmission on each publication, and for how long.
const HISTORY: usize = 512;
const HISTORY_AGE: Duration = Duration::from_secs(3);
/// The largest share of what is sent that may be sent again: enough for a bad network.
const RESEND_SHARE: f32 = 0.5;

/// An m-line of the transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line {
    /// Its identification.
    pub mid: Mid,
    /// Sound or picture.
    pub kind: Kind,
    /// Whether tracks may arrive on it: it is a slot.
    pub receives: bool,
    /// Whether it was made for a [`Publication`].
    pub sends: bool,
}

/// A frame to send.
#[derive(Debug, Clone, Copy)]
pub struct Frame<'a> {
    /// On which m-line.
    pub mid: Mid,
    /// As which simulcast layer.
    pub rid: Option<&'a str>,
    /// What it is.
    pub codec: Codec,
    /// The whole frame, as [`Packetiser::packets`] takes it.
    pub data: &'a [u8],
    /// In ticks of the codec's clock.
    pub timestamp: u32,
    /// When it was taken, for sender reports; not in the future.
    pub captured: Instant,
    /// Loudness in dBov, 0 to -127 (RFC 6464).
    pub level: Option<i8>,
}

/// What a transport says.
#[derive(Debug)]
pub enum Output {
    /// A datagram for the network.
    Transmit {
        /// From which of [`Config::local`].
        from: SocketAddr,
        /// To whom.
        to: SocketAddr,
        /// What.
        bytes: Vec<u8>,
    },
    /// Media.
    Packet(RtpPacket),
    /// Media can flow: ICE and DTLS are done.
    Connected,
    /// ICE lost the other side (`false`) or found it again (`true`).
    Reachable(bool),
    /// The receiver of a publication wants a key frame.
    KeyFrameWanted {
        /// Which publication.
        mid: Mid,
        /// Which layer of it.
        rid: Option<Arc<str>>,
    },
    /// The data channel is open.
    ChannelOpen,
    /// A message from the data channel.
    ChannelData(Vec<u8>),
    /// The transport is over, for this reason; nothing follows.
    Closed(String),
}

/// One WebRTC transport of a participant.
///
/// After every call that may have changed something, drain [`Transport::poll_output`] and look at
/// [`Transport::poll_timeout`] again.
pub struct Transport {
    rtc: Rtc,
    config: Config,
    lines: Vec<Line>,
    pending: Option<SdpPendingOffer>,
    channel: Option<ChannelId>,
    channel_open: bool,
    outputs: VecDeque<Output>,
    timeout: Instant,
    sources: BTreeMap<u32, (Mid, Option<Arc<str>>)>,
    timestamps: Timestamps,
    packetisers: BTreeMap<(Mid, Option<Arc<str>>), Packetiser>,
    /// Publications whose history is set.
    histories: usize,
    failed: bool,
}

impl Transport {
    /// A transport that has offered nothing yet.
    ///
    /// # Errors
    /// [`Error::Candidate`] if a local address cannot be one.
    pub fn new(config: Config, now: Instant) -> Result<Self, Error> {
        let mut rtc = engine::build(&config.codecs, now);
        for &address in &config.local {
            let candidate = Candidate::host(address, "udp").map_err(|_| Error::Candidate(address))?;
            rtc.add_local_candidate(candidate);
        }
        let mut transport = Self {
            rtc,
            config,
            lines: Vec::new(),
            pending: None,
            channel: None,
            channel_open: false,
            outputs: VecDeque::new(),
            timeout: now,
            sources: BTreeMap::new(),
            timestamps: Timestamps::default(),
            packetisers: BTreeMap::new(),
            histories: 0,
            failed: false,
        };
        transport.handle_timeout(now);
        Ok(transport)
    }

    /// Makes an offer: the first one of everything in the configuration, a later one of what was added since.
    ///
    /// # Errors
    /// [`Error::Order`] if an offer still waits for its answer or nothing changed.
    pub fn create_offer(&mut self) -> Result<String, Error> {
        if self.pending.is_some() {
            return Err(Error::Order("an offer waits for its answer"));
        }
        let mut sdp = self.rtc.sdp_api();
        let have = |sends, kind| self.lines.iter().filter(|l| l.sends == sends && l.kind == kind).count();
        let published = have(true, Kind::Audio) + have(true, Kind::Video);
        let mut new = Vec::new();
        for publication in self.config.publish.iter().skip(published) {
            let direction = if publication.receive { Direction::SendRecv } else { Direction::SendOnly };
            let mid = sdp.add_media(media_kind(publication.kind), direction, None, None, simulcast(publication));
            new.push(Line { mid: Mid(mid), kind: publication.kind, receives: publication.receive, sends: true });
        }
        for (kind, wanted) in [(Kind::Audio, self.config.audio_slots), (Kind::Video, self.config.video_slots)] {
            for _ in have(false, kind)..wanted {
                let mid = sdp.add_media(media_kind(kind), Direction::RecvOnly, None, None, None);
                new.push(Line { mid: Mid(mid), kind, receives: true, sends: false });
            }
        }
        if let (Some(label), None) = (&self.config.channel, self.channel) {
            let reliability = Reliability::MaxRetransmits { retransmits: 0 };
            let config = ChannelConfig { label: label.clone(), ordered: false, reliability, ..Default::default() };
            self.channel = Some(sdp.add_channel_with_config(config));
        }
        let (offer, pending) = sdp.apply().ok_or(Error::Order("nothing changed"))?;
        self.pending = Some(pending);
        self.lines.extend(new);
        Ok(offer.to_sdp_string())
    }

    /// Asks for more slots; takes effect with the next offer. Never fewer than there are.
    pub fn set_slots(&mut self, audio: usize, video: usize) {
        self.config.audio_slots = self.config.audio_slots.max(audio);
        self.config.video_slots = self.config.video_slots.max(video);
    }

    /// Adds a track to send; takes effect with the next offer.
    pub fn publish(&mut self, publication: Publication) {
        self.config.publish.push(publication);
    }

    /// Takes the answer to the last offer.
    ///
    /// # Errors
    /// [`Error::Order`] without an offer; [`Error::Answer`] if it cannot be used: the offer must be made again.
    pub fn handle_answer(&mut self, sdp: &str, now: Instant) -> Result<(), Error> {
        let pending = self.pending.take().ok_or(Error::Order("nothing was offered"))?;
        let answer = SdpAnswer::from_sdp_string(sdp).map_err(|e| Error::Answer(e.to_string()))?;
        self.rtc.sdp_api().accept_answer(pending, answer).map_err(|e| Error::Answer(e.to_string()))?;
        self.set_histories();
        self.drain();
        self.handle_timeout(now);
        Ok(())
    }

    /// The m-lines, in the order of the offer.
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// Takes a datagram that arrived on the local address `to`. What is not ours or not valid is ignored.
    pub fn handle_datagram(&mut self, from: SocketAddr, to: SocketAddr, bytes: &[u8], now: Instant) {
        let Ok(receive) = Receive::new(Protocol::Udp, from, to, bytes) else { return };
        self.input(Input::Receive(now, receive));
    }

    /// Time has passed; due at [`Transport::poll_timeout`], harmless earlier.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.input(Input::Timeout(now));
    }

    /// When [`Transport::handle_timeout`] is due; `None`: the transport is dead.
    pub fn poll_timeout(&self) -> Option<Instant> {
        (!self.failed && self.rtc.is_alive()).then_some(self.timeout)
    }

    /// The next output, if there is one.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Asks the sender of what arrives on an m-line for a key frame.
    pub fn request_key_frame(&mut self, mid: Mid, now: Instant) {
        if let Some(stream) = self.rtc.direct_api().stream_rx_by_mid(mid.0, None) {
            stream.request_keyframe(KeyframeRequestKind::Pli);
        }
        self.drain();
        self.handle_timeout(now);
    }

    /// Sends a frame: a whole picture, or an Opus packet.
    ///
    /// # Errors
    /// [`Error::NotSending`] if the m-line or layer is none that sends, [`Error::Codec`] if the answer refused the
    /// codec, [`Error::Frame`] if the frame is empty or too large.
    pub fn send_frame(&mut self, frame: &Frame<'_>, now: Instant) -> Result<(), Error> {
        let Frame { mid, codec, data, .. } = *frame;
        if data.is_empty() || data.len() > MAX_FRAME {
            return Err(Error::Frame(data.len()));
        }
        let pt = self.payload_type(mid, codec).ok_or(Error::Codec { mid, codec })?;
        let packets = self.packetisers.entry((mid, frame.rid.map(Arc::from))).or_default().packets(codec, data);
        let rid: Option<Rid> = frame.rid.map(Into::into);
        // RFC 6464: louder than -50 dBov counts as voice; a level without that bit is not sent.
        let voice = frame.level.map(|level| level > -50);
        let extensions =
            ExtensionValues { audio_level: frame.level, voice_activity: voice, ..ExtensionValues::default() };
        for packet in packets {
            let mut api = self.rtc.direct_api();
            let stream = api.stream_tx_by_mid(mid.0, rid).ok_or(Error::NotSending(mid))?;
            let write = RtpWrite::new(pt, packet.sequence.into(), frame.timestamp, frame.captured, packet.payload)
                .marker(packet.marker)
                .ext_vals(extensions.clone())
                .nackable(true);
            stream.write_rtp(write);
            self.drain();
        }
        self.handle_timeout(now);
        Ok(())
    }

    /// Goes on with another packetiser: its sequence number is the next one, which only somebody hostile lets leap.
    ///
    /// For tests.
    pub fn set_packetiser(&mut self, mid: Mid, rid: Option<&str>, packetiser: Packetiser) {
        self.packetisers.insert((mid, rid.map(Arc::from)), packetiser);
    }

    /// Sends text over the data channel. `false`: it is not open, or full.
    pub fn send_text(&mut self, text: &str, now: Instant) -> bool {
        let Some(mut channel) = self.channel.filter(|_| self.channel_open).and_then(|id| self.rtc.channel(id)) else {
            return false;
        };
        let taken = channel.write(false, text.as_bytes()).unwrap_or(false);
        self.drain();
        self.handle_timeout(now);
        taken
    }

    /// Says goodbye to the other side; drain the outputs once more.
    pub fn close(&mut self, now: Instant) {
        if let Err(error) = self.rtc.close() {
            self.fail(&error.to_string());
        }
        self.drain();
        self.handle_timeout(now);
    }

    /// Keeps what was sent for retransmission, on every new publication.
    fn set_histories(&mut self) {
        let sending = self.lines.iter().filter(|line| line.sends).skip(self.histories);
        for (line, publication) in sending.zip(self.config.publish.iter().skip(self.histories)) {
            let layers = publication.rids.iter().map(|rid| Some(Rid::from(rid.as_str())));
            for rid in layers.chain(publication.rids.is_empty().then_some(None)) {
                if let Some(stream) = self.rtc.direct_api().stream_tx_by_mid(line.mid.0, rid) {
                    stream.set_rtx_cache(HISTORY, HISTORY_AGE, Some(RESEND_SHARE));
                }
            }
        }
        self.histories = self.config.publish.len();
    }

    fn payload_type(&self, mid: Mid, codec: Codec) -> Option<str0m::media::Pt> {
        let remote = self.rtc.media(mid.0)?.remote_pts();
        let fits = |p: &&str0m::format::PayloadParams| {
            engine::codec(p.spec().codec) == Some(codec) && remote.contains(&p.pt())
        };
        self.rtc.codec_config().params().iter().find(fits).map(str0m::format::PayloadParams::pt)
    }

    fn input(&mut self, input: Input<'_>) {
        if self.failed {
            return;
        }
        if let Err(error) = self.rtc.handle_input(input) {
            self.fail(&error.to_string());
        }
        self.drain();
    }

    /// The engine holds one thing at a time: it must be drained after every change, or it loses what it held.
    fn drain(&mut self) {
        while !self.failed {
            match self.rtc.poll_output() {
                Ok(EngineOutput::Timeout(at)) => {
                    self.timeout = at;
                    return;
                }
                Ok(EngineOutput::Transmit(t)) => self.outputs.push_back(Output::Transmit {
                    from: t.source,
                    to: t.destination,
                    bytes: t.contents.into(),
                }),
                Ok(EngineOutput::Event(event)) => self.event(event),
                Err(error) => self.fail(&error.to_string()),
            }
        }
    }

    fn event(&mut self, event: Event) {
        let output = match event {
            Event::Connected => Output::Connected,
            Event::IceConnectionStateChange(state) => match state {
                IceConnectionState::Disconnected => Output::Reachable(false),
                IceConnectionState::Connected | IceConnectionState::Completed => Output::Reachable(true),
                _ => return,
            },
            Event::RtpPacket(packet) => match self.packet(packet) {
                Some(packet) => Output::Packet(packet),
                None => return,
            },
            Event::KeyframeRequest(request) => {
                let rid = request.rid.map(|rid| Arc::from(&*rid));
                Output::KeyFrameWanted { mid: Mid(request.mid), rid }
            }
            Event::ChannelOpen(id, _) if Some(id) == self.channel => {
                self.channel_open = true;
                Output::ChannelOpen
            }
            Event::ChannelClose(id) if Some(id) == self.channel => {
                self.channel_open = false;
                return;
            }
            Event::ChannelData(data) => Output::ChannelData(data.data),
            Event::Closed => Output::Closed("the other side closed it".to_owned()),
            _ => return,
        };
        self.outputs.push_back(output);
    }

    fn packet(&mut self, packet: EnginePacket) -> Option<RtpPacket> {
        if !rtp::is_sequence(*packet.seq_no) {
            return None;
        }
        let ssrc = packet.header.ssrc;
        // Only the first packets of a stream say their m-line; the engine knows it for all.
        if let Some(mid) = packet.header.ext_vals.mid {
            let rid = packet.header.ext_vals.rid.map(|rid| Arc::from(&*rid));
            if self.sources.len() < MAX_SOURCES {
                self.sources.insert(*ssrc, (Mid(mid), rid));
            }
        } else if !self.sources.contains_key(&ssrc) && self.sources.len() < MAX_SOURCES {
            let mut api = self.rtc.direct_api();
            let stream = api.stream_rx(&ssrc)?;
            let rid = stream.rid().map(|rid| Arc::from(&*rid));
            self.sources.insert(*ssrc, (Mid(stream.mid()), rid));
        }
        let (mid, rid) = self.sources.get(&ssrc)?.clone();
        let pt = packet.header.payload_type;
        let params = self.rtc.codec_config().params().iter().find(|p| p.pt() == pt)?;
        let codec = engine::codec(params.spec().codec)?;
        let timestamp = self.timestamps.extend(*ssrc, packet.header.timestamp);
        let report = packet.last_sender_info.map(|info| {
            // The engine extends its time on its own; the low 32 bits are right.
            let timestamp = rtp::beside(timestamp, info.rtp_time.numer() as u32);
            SenderReport { ntp: info.ntp_time, timestamp, packets: info.sender_packet_count }
        });
        Some(RtpPacket {
            mid,
            rid,
            codec,
            ssrc: *ssrc,
            sequence: *packet.seq_no,
            timestamp,
            marker: packet.header.marker,
            payload: packet.payload,
            arrived: packet.timestamp,
            report,
        })
    }

    fn fail(&mut self, why: &str) {
        self.failed = true;
        self.outputs.push_back(Output::Closed(why.to_owned()));
    }
}

fn media_kind(kind: Kind) -> MediaKind {
    match kind {
        Kind::Audio => MediaKind::Audio,
        Kind::Video => MediaKind::Video,
    }
}

fn simulcast(publication: &Publication) -> Option<Simulcast> {
    if publication.rids.is_empty() {
        return None;
    }
    let mut simulcast = Simulcast::new();
    for rid in &publication.rids {
        simulcast.add_send_layer(SimulcastLayer::new(rid));
    }
    Some(simulcast)
}
