//! The engine: str0m in RTP mode behind the seam's verbs.
//!
//! str0m holds one thing at a time: what is not drained before the next change is lost without an error. So nothing
//! outside this file touches it, and every change here ends in [`Transport::drain`]. Its panics are caught: one peer is
//! lost, not the worker.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant, SystemTime};

use ::str0m::change::SdpOffer;
use ::str0m::channel::ChannelId;
use ::str0m::config::DtlsCert;
use ::str0m::media::KeyframeRequestKind;
use ::str0m::net::{Protocol as EngineProtocol, Receive, TcpType};
use ::str0m::rtp::{ExtensionValues, RtpPacket, RtpWrite};
use ::str0m::{Candidate, Event, Input, Output as EngineOutput, Rtc};
use rtp::Timestamps;

use crate::codec::Picture;
use crate::engine::lines::{Section, scan};
use crate::engine::negotiate::{Sender, complete, engine, format, with_senders};
use crate::engine::{Format, Line, Output, Packet, Path, Protocol, Refusal, Report, Rewrite, Why};

/// The label of the data channel that messages take.
const CHANNEL: &str = "tern";
/// Text that may wait in a data channel; beyond, unreliable messages are dropped.
const MAX_BUFFERED: usize = 256 * 1024;
/// Payload of a packet that still fits a datagram with everything that is put around it.
const MAX_PAYLOAD: usize = 1460;
/// Packets kept for retransmission on each video slot: about 1 s of 5 Mbit/s.
const VIDEO_HISTORY: usize = 512;
/// The same for audio: 4 s, a recorder asks late.
const AUDIO_HISTORY: usize = 200;
/// And for how long.
const HISTORY: Duration = Duration::from_secs(3);
/// The largest share of what is sent that may be sent again: enough for a bad network, not for a client that only asks.
const RESEND_SHARE: f32 = 0.5;
/// Sources that are remembered; a browser has 3 layers and their RTX on at most 12 m-lines.
const MAX_SOURCES: usize = 128;
/// Own addresses that a transport may use; a host has few.
const MAX_LOCAL: usize = 32;

/// The identification of an m-line, as in [`crate::command::Intent::mid`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Mid(::str0m::media::Mid);

impl std::fmt::Display for Mid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for Mid {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

/// The name of a simulcast layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Rid(::str0m::media::Rid);

impl From<&str> for Rid {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

/// Header extensions that a receiver gets as the sender sent them.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Extensions {
    level: Option<i8>,
    voice: Option<bool>,
}

/// What all transports of a worker prove themselves with.
#[derive(Clone)]
pub(crate) struct Certificate(DtlsCert);

impl Certificate {
    /// A new one.
    pub(crate) fn generate() -> Option<Self> {
        ::str0m::crypto::from_feature_flags().dtls_provider.generate_certificate().map(Self)
    }
}

/// One peer connection.
pub(crate) struct Transport {
    rtc: Rtc,
    outputs: VecDeque<Output>,
    timeout: Instant,
    over: bool,
    local: Vec<Path>,
    /// Slots whose history is set.
    histories: Vec<Mid>,
    sources: Vec<(u32, Mid, Option<Rid>)>,
    timestamps: Timestamps,
    channel: Option<ChannelId>,
    /// Whether packets wait that [`Transport::flush`] sends.
    queued: bool,
}

impl Transport {
    pub(crate) fn new(certificate: &Certificate, now: Instant) -> Self {
        Self {
            rtc: engine(&certificate.0, now),
            outputs: VecDeque::new(),
            timeout: now,
            over: false,
            local: Vec::new(),
            histories: Vec::new(),
            sources: Vec::new(),
            timestamps: Timestamps::default(),
            channel: None,
            queued: false,
        }
    }

    /// Looks at an offer without taking it: its lines, before negotiation.
    pub(crate) fn preview(sdp: &str, limit: usize) -> Result<Vec<Line>, Refusal> {
        Ok(scan(sdp, limit)?.iter().map(|section| line(section, Vec::new())).collect())
    }

    /// Takes an offer: the answer, with the given candidates, and the lines as they are now.
    pub(crate) fn accept_offer(
        &mut self,
        sdp: &str,
        limit: usize,
        candidates: &[(Protocol, std::net::SocketAddr)],
        now: Instant,
    ) -> Result<(String, Vec<Line>), Refusal> {
        let sections = scan(sdp, limit)?;
        // The parser is the engine's and the text is hostile.
        let offer = catch_unwind(|| SdpOffer::from_sdp_string(sdp))
            .map_err(|_| Refusal::Sdp("it cannot be read".into()))?
            .map_err(|e| Refusal::Sdp(e.to_string()))?;
        self.sources.clear();
        let answer = self.guard(|rtc| rtc.sdp_api().accept_offer(offer));
        let answer = answer.ok_or_else(|| Refusal::Sdp("the engine failed".into()))?;
        let answer = answer.map_err(|e| Refusal::Sdp(e.to_string()))?;
        let lines = sections.iter().map(|section| line(section, self.formats(section))).collect();
        let declared = sections.iter().filter_map(|section| self.declare_sender(section)).collect::<Vec<_>>();
        sections.iter().for_each(|section| self.set_history(section));
        self.drain();
        self.handle_timeout(now);
        let answer = with_senders(&answer.to_sdp_string(), &declared);
        Ok((complete(&answer, &sections, candidates), lines))
    }

    /// Where a client sends simulcast and receives, the engine expects simulcast the other way, too, and makes no
    /// stream. A slot carries one encoding.
    fn declare_sender(&mut self, section: &Section) -> Option<Sender> {
        let mid = ::str0m::media::Mid::from(section.mid.as_str());
        let sending = self.rtc.media(mid).is_some_and(|media| media.direction().is_sending());
        if !sending || section.rids.is_empty() {
            return None;
        }
        self.guard(|rtc| {
            let mut api = rtc.direct_api();
            if api.stream_tx_by_mid(mid, None).is_some() {
                return None;
            }
            let (ssrc, rtx) = (api.new_ssrc(), api.new_ssrc());
            api.declare_stream_tx(ssrc, Some(rtx), mid, None);
            Some(Sender { mid: section.mid.clone(), ssrc: *ssrc, rtx: *rtx })
        })?
    }

    /// How much is kept for retransmission on a slot, once.
    fn set_history(&mut self, section: &Section) {
        let mid = ::str0m::media::Mid::from(section.mid.as_str());
        if self.histories.contains(&Mid(mid)) {
            return;
        }
        let size = if section.audio { AUDIO_HISTORY } else { VIDEO_HISTORY };
        let set = self.guard(|rtc| {
            let mut api = rtc.direct_api();
            let stream = api.stream_tx_by_mid(mid, None);
            stream.map(|stream| stream.set_rtx_cache(size, HISTORY, Some(RESEND_SHARE))).is_some()
        });
        if set == Some(true) {
            self.histories.push(Mid(mid));
        }
    }

    /// The user name fragment that the client's STUN requests carry (RFC 8445, 7.2.2).
    pub(crate) fn ufrag(&mut self) -> String {
        self.rtc.direct_api().local_ice_credentials().ufrag
    }

    pub(crate) fn handle_datagram(&mut self, path: Path, bytes: &[u8], now: Instant) {
        if !self.local.contains(&path.local_end()) {
            self.add_local(path);
        }
        let Ok(receive) = Receive::new(protocol(path.protocol), path.remote, path.local, bytes) else { return };
        self.input(Input::Receive(now, receive));
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.queued = false;
        self.input(Input::Timeout(now));
    }

    /// Sends what [`Transport::send`] queued.
    pub(crate) fn flush(&mut self, now: Instant) {
        if self.queued {
            self.handle_timeout(now);
        }
    }

    /// When [`Transport::handle_timeout`] is due.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        (!self.over).then_some(self.timeout)
    }

    pub(crate) fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Queues a packet for the receiver of a slot; [`Transport::flush`] sends it. `false`: it cannot go there.
    pub(crate) fn send(&mut self, mid: Mid, packet: &Packet, rewrite: &Rewrite) -> bool {
        let Some(pt) = self.payload_type(mid, packet.format) else { return false };
        let payload = match packet.picture.patched(&packet.payload, rewrite) {
            Some(patched) => patched.into(),
            None => packet.payload.clone(),
        };
        let extensions = ExtensionValues {
            audio_level: packet.extensions.level,
            voice_activity: packet.extensions.voice,
            ..ExtensionValues::default()
        };
        let write = RtpWrite::new(pt, rewrite.sequence.into(), rewrite.timestamp, packet.captured, payload)
            .marker(packet.marker)
            .ext_vals(extensions)
            .nackable(true);
        let sent = self.guard(|rtc| {
            rtc.direct_api().stream_tx_by_mid(mid.0, None).map(|stream| stream.write_rtp(write)).is_some()
        });
        self.queued = true;
        self.drain();
        sent == Some(true)
    }

    /// Asks the publisher on an m-line for a key frame.
    pub(crate) fn request_key_frame(&mut self, mid: Mid, rid: Option<Rid>, now: Instant) {
        self.guard(|rtc| {
            if let Some(stream) = rtc.direct_api().stream_rx_by_mid(mid.0, rid.map(|r| r.0)) {
                stream.request_keyframe(KeyframeRequestKind::Pli);
            }
        });
        self.drain();
        self.handle_timeout(now);
    }

    /// Sends text over the data channel; `false`: it is not open, or too much waits in it.
    pub(crate) fn send_text(&mut self, text: &str, now: Instant) -> bool {
        let Some(id) = self.channel else { return false };
        let sent = self.guard(|rtc| {
            let mut channel = rtc.channel(id)?;
            (channel.buffered_amount() < MAX_BUFFERED).then(|| channel.write(false, text.as_bytes()).unwrap_or(false))
        });
        self.drain();
        self.handle_timeout(now);
        sent.flatten() == Some(true)
    }

    /// Tells the client that the transport is over; its last datagrams are in the outputs.
    pub(crate) fn close(&mut self, now: Instant) {
        let _ = self.guard(|rtc| rtc.close());
        self.drain();
        self.handle_timeout(now);
    }

    fn formats(&self, section: &Section) -> Vec<Format> {
        let mid = ::str0m::media::Mid::from(section.mid.as_str());
        let remote = self.rtc.media(mid).map(|media| media.remote_pts()).unwrap_or_default();
        let params = self.rtc.codec_config().params().iter();
        params.filter(|p| remote.contains(&p.pt())).filter_map(format).collect()
    }

    /// The payload type of a format on an m-line, if its client can decode it.
    fn payload_type(&self, mid: Mid, wanted: Format) -> Option<::str0m::media::Pt> {
        let remote = self.rtc.media(mid.0)?.remote_pts();
        let params = self.rtc.codec_config().params();
        params.iter().find(|p| format(p) == Some(wanted) && remote.contains(&p.pt())).map(|p| p.pt())
    }

    /// The engine answers only where it has a candidate; ours are wherever datagrams arrive.
    fn add_local(&mut self, path: Path) {
        if self.local.len() >= MAX_LOCAL {
            return;
        }
        self.local.push(path.local_end());
        let candidate = match path.protocol {
            Protocol::Udp => Candidate::host(path.local, "udp"),
            Protocol::Tcp => Candidate::builder().tcp().host(path.local).tcptype(TcpType::Passive).build(),
        };
        if let Ok(candidate) = candidate {
            self.guard(|rtc| rtc.add_local_candidate(candidate).is_some());
            self.drain();
        }
    }

    fn input(&mut self, input: Input<'_>) {
        if self.over {
            return;
        }
        if let Some(Err(_)) = self.guard(|rtc| rtc.handle_input(input)) {
            self.end(Why::Failed);
        }
        self.drain();
    }

    /// Takes everything out of the engine.
    fn drain(&mut self) {
        while !self.over {
            match self.guard(Rtc::poll_output) {
                Some(Ok(EngineOutput::Timeout(at))) => {
                    self.timeout = at;
                    if !self.rtc.is_alive() {
                        self.end(Why::Remote);
                    }
                    return;
                }
                Some(Ok(EngineOutput::Transmit(t))) => {
                    let protocol = if t.proto == EngineProtocol::Udp { Protocol::Udp } else { Protocol::Tcp };
                    let path = Path { protocol, local: t.source, remote: t.destination };
                    self.outputs.push_back(Output::Transmit { path, bytes: t.contents.into() });
                }
                Some(Ok(EngineOutput::Event(event))) => self.event(event),
                Some(Err(_)) => self.end(Why::Failed),
                None => return,
            }
        }
    }

    fn event(&mut self, event: Event) {
        let output = match event {
            Event::Connected => Output::Connected,
            Event::RtpPacket(packet) => match self.packet(packet) {
                Some(packet) => Output::Packet(packet),
                None => return,
            },
            Event::KeyframeRequest(request) => Output::KeyFrameWanted(Mid(request.mid)),
            Event::ChannelOpen(id, label) if label == CHANNEL => {
                self.channel = Some(id);
                Output::ChannelOpen
            }
            Event::ChannelClose(id) if self.channel == Some(id) => {
                self.channel = None;
                return;
            }
            Event::ChannelData(data) if self.channel == Some(data.id) && !data.binary => {
                match String::from_utf8(data.data) {
                    Ok(text) => Output::Text(text),
                    Err(_) => return,
                }
            }
            Event::Closed => return self.end(Why::Remote),
            _ => return,
        };
        self.outputs.push_back(output);
    }

    fn packet(&mut self, packet: RtpPacket) -> Option<Packet> {
        if packet.payload.len() > MAX_PAYLOAD || !rtp::is_sequence(*packet.seq_no) {
            return None;
        }
        let (mid, rid) = self.source(&packet)?;
        let pt = packet.header.payload_type;
        let format = self.rtc.codec_config().params().iter().find(|p| p.pt() == pt).and_then(format)?;
        let timestamp = self.timestamps.extend(*packet.header.ssrc, packet.header.timestamp);
        let report = packet.last_sender_info.filter(|info| info.sender_packet_count > 0).map(|info| {
            // The engine extends its time on its own; the low 32 bits are right.
            let timestamp = rtp::beside(timestamp, info.rtp_time.numer() as u32);
            let wall = info.ntp_time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
            Report { wall, timestamp }
        });
        let extensions = packet.header.ext_vals;
        Some(Packet {
            mid,
            rid,
            ssrc: *packet.header.ssrc,
            format,
            sequence: *packet.seq_no,
            timestamp,
            marker: packet.header.marker,
            picture: Picture::parse(format, &packet.payload),
            payload: packet.payload,
            arrived: packet.timestamp,
            captured: packet.timestamp,
            report,
            level: extensions.audio_level.map(|level| level.unsigned_abs().min(127)),
            extensions: Extensions { level: extensions.audio_level, voice: extensions.voice_activity },
        })
    }

    /// The m-line and layer of a packet. Only the first packets of a stream say it; the engine knows it for all.
    fn source(&mut self, packet: &RtpPacket) -> Option<(Mid, Option<Rid>)> {
        let ssrc = packet.header.ssrc;
        if let Some(&(_, mid, rid)) = self.sources.iter().find(|(known, ..)| *known == *ssrc) {
            return Some((mid, rid));
        }
        let mut api = self.rtc.direct_api();
        let stream = api.stream_rx(&ssrc)?;
        let source = (*ssrc, Mid(stream.mid()), stream.rid().map(Rid));
        if self.sources.len() >= MAX_SOURCES {
            self.sources.remove(0);
        }
        self.sources.push(source);
        Some((source.1, source.2))
    }

    /// Runs the engine. `None`: it panicked, now or before, and is not touched again.
    fn guard<R>(&mut self, run: impl FnOnce(&mut Rtc) -> R) -> Option<R> {
        if self.over {
            return None;
        }
        let rtc = &mut self.rtc;
        // After a panic the engine is never used again, so that it may be left in any state.
        let result = catch_unwind(AssertUnwindSafe(|| run(rtc))).ok();
        if result.is_none() {
            self.end(Why::Panicked);
        }
        result
    }

    fn end(&mut self, why: Why) {
        if !self.over {
            self.over = true;
            self.outputs.push_back(Output::Closed(why));
        }
    }
}

impl Path {
    /// The part of a path that a local candidate stands for.
    fn local_end(self) -> Self {
        Self { remote: self.local, ..self }
    }
}

fn protocol(protocol: Protocol) -> EngineProtocol {
    match protocol {
        Protocol::Udp => EngineProtocol::Udp,
        Protocol::Tcp => EngineProtocol::Tcp,
    }
}

fn line(section: &Section, formats: Vec<Format>) -> Line {
    Line {
        mid: Mid::from(section.mid.as_str()),
        audio: section.audio,
        slot: section.receives,
        ingress: section.sends,
        formats,
        rids: section.rids.iter().map(|rid| Rid::from(rid.as_str())).collect(),
    }
}
