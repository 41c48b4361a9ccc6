//! What is negotiated: the engine's configuration, codecs by payload type, and the candidates in an answer.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ::str0m::config::{DtlsCert, DtlsVersion};
use ::str0m::format::{Codec, CodecConfig, FormatParams, PayloadParams};
use ::str0m::media::{Frequency, Pt};
use ::str0m::rtp::Extension;
use ::str0m::{Rtc, RtcConfig};

use crate::engine::lines::Section;
use crate::engine::{Format, Protocol};

/// H264 as browsers offer it: payload type, its RTX, packetization-mode 1?, profile-level-id.
const H264: [(u8, u8, bool, u32); 7] = [
    (127, 121, true, 0x42001f),
    (125, 107, false, 0x42001f),
    (108, 109, true, 0x42e01f),
    (124, 120, false, 0x42e01f),
    (123, 119, true, 0x4d001f),
    (35, 36, false, 0x4d001f),
    (114, 115, true, 0x64001f),
];

/// Header extensions. Without video orientation (3GPP TS 26.114, 7.4.5) among them: a sender then turns its pixels, and who
/// records or does not know the extension sees the picture upright, too.
const EXTENSIONS: [(u8, Extension); 6] = [
    (1, Extension::AudioLevel),
    (2, Extension::AbsoluteSendTime),
    (3, Extension::TransportSequenceNumber),
    (4, Extension::RtpMid),
    (10, Extension::RtpStreamId),
    (11, Extension::RepairedRtpStreamId),
];

/// An engine that answers offers. ICE-lite: the client finds us, we need no candidates of it.
pub(super) fn engine(certificate: &DtlsCert, now: Instant) -> Rtc {
    let mut config = RtcConfig::new()
        .set_rtp_mode(true)
        .set_ice_lite(true)
        .set_dtls_cert(certificate.clone())
        // The ClientHello decides; 1.3 saves a round trip.
        .set_dtls_version(DtlsVersion::Auto)
        // Receivers align sound and picture by reports: the first ones must come soon.
        .set_rtcp_report_interval_audio(Duration::from_secs(1))
        .set_rtcp_report_interval_video(Duration::from_secs(1))
        .clear_codecs()
        .clear_extension_map();
    for (id, extension) in EXTENSIONS {
        config = config.set_extension(id, extension);
    }
    codecs(config.codec_config());
    config.build(now)
}

/// In the order of our preference, which the answer keeps. Opus has an RTX payload type, because a recorder asks for
/// lost sound again and the engine resends nothing without one; browsers do not offer it, so it falls out for them.
fn codecs(config: &mut CodecConfig) {
    let plain = FormatParams::default();
    let opus = FormatParams { min_p_time: Some(10), use_inband_fec: Some(true), ..plain };
    config.add_config(111.into(), Some(112.into()), Codec::Opus, Frequency::FORTY_EIGHT_KHZ, Some(2), opus);
    let mut video = |pt: u8, rtx: u8, codec, format| {
        config.add_config(Pt::from(pt), Some(Pt::from(rtx)), codec, Frequency::NINETY_KHZ, None, format);
    };
    video(96, 97, Codec::Vp8, plain);
    video(98, 99, Codec::Vp9, FormatParams { profile_id: Some(0), ..plain });
    video(100, 101, Codec::Vp9, FormatParams { profile_id: Some(2), ..plain });
    video(45, 46, Codec::Av1, plain);
    for (pt, rtx, mode, profile) in H264 {
        config.add_h264(pt.into(), Some(rtx.into()), mode, profile);
    }
}

/// Our name for what a payload type carries.
pub(super) fn format(params: &PayloadParams) -> Option<Format> {
    let spec = params.spec();
    Some(match spec.codec {
        Codec::Opus => Format::Opus,
        Codec::Vp8 => Format::Vp8,
        Codec::Vp9 => Format::Vp9(spec.format.profile_id.unwrap_or(0) as u8),
        Codec::H264 => {
            // RFC 6184, 8.1: Baseline, level 1 if absent.
            let profile = spec.format.profile_level_id.unwrap_or(0x42000a) >> 8;
            Format::H264(spec.format.packetization_mode.unwrap_or(0), profile as u16)
        }
        Codec::Av1 => Format::Av1,
        _ => return None,
    })
}

/// Completes the engine's answer: our candidates (RFC 8839, RFC 6544) in the first m-line, in the place of the engine's
/// own, and codecs in the order of the offer, so that the client's preference decides what it sends.
pub(super) fn complete(answer: &str, sections: &[Section], candidates: &[(Protocol, SocketAddr)]) -> String {
    let mut out = String::with_capacity(answer.len() + candidates.len() * 80);
    let mut sections = sections.iter();
    let mut todo = true;
    for line in answer.lines().filter(|line| !line.starts_with("a=candidate:")) {
        match sections.as_slice().first().filter(|s| line.starts_with(if s.audio { "m=audio" } else { "m=video" })) {
            Some(section) => {
                out.push_str(&in_order(line, &section.preference));
                sections.next();
            }
            None => out.push_str(line),
        }
        out.push_str("\r\n");
        if todo && line.starts_with("a=ice-pwd:") {
            todo = false;
            for (index, (protocol, address)) in candidates.iter().enumerate() {
                out.push_str(&candidate(index, *protocol, *address));
            }
            out.push_str("a=end-of-candidates\r\n");
        }
    }
    out
}

/// The m-line with its payload types as the offer had them; RFC 3264, 6.1 wants the answerer to keep that order.
fn in_order(line: &str, preference: &[String]) -> String {
    let mut words: Vec<&str> = line.split(' ').collect();
    if let Some(types) = words.get_mut(3..) {
        types.sort_by_key(|pt| preference.iter().position(|wanted| wanted == pt).unwrap_or(usize::MAX));
    }
    words.join(" ")
}

/// A stream that we send on an m-line and that the engine's answer does not name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sender {
    pub(super) mid: String,
    pub(super) ssrc: u32,
    pub(super) rtx: u32,
}

/// Names streams (RFC 5576) at the end of their m-lines: a receiver then knows a retransmission's source.
pub(super) fn with_senders(answer: &str, senders: &[Sender]) -> String {
    let mut out = String::with_capacity(answer.len() + senders.len() * 160);
    for section in answer.split_inclusive("\r\nm=") {
        // The separator belongs to the next m-line; what we add goes before it.
        let (body, next) = section.strip_suffix("m=").map_or((section, ""), |body| (body, "m="));
        out.push_str(body);
        let mid = body.lines().find_map(|line| line.strip_prefix("a=mid:"));
        if let Some(Sender { ssrc, rtx, .. }) = senders.iter().find(|sender| Some(sender.mid.as_str()) == mid) {
            out.push_str(&format!(
                "a=ssrc-group:FID {ssrc} {rtx}\r\na=ssrc:{ssrc} cname:{ssrc}\r\na=ssrc:{rtx} cname:{ssrc}\r\n"
            ));
        }
        out.push_str(next);
    }
    out
}

fn candidate(index: usize, protocol: Protocol, address: SocketAddr) -> String {
    let (ip, port) = (address.ip(), address.port());
    // RFC 8445, 5.1.2.1: type preference 126 (host), local preference falling in our order; TCP below every UDP.
    let local = 65_535_u32.saturating_sub(index as u32);
    let (name, preference, tcp) = match protocol {
        Protocol::Udp => ("udp", 126 << 24 | local << 8 | 255, ""),
        Protocol::Tcp => ("tcp", 90 << 24 | local << 8 | 255, " tcptype passive"),
    };
    format!("a=candidate:{} 1 {name} {preference} {ip} {port} typ host{tcp}\r\n", index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sender_is_named_on_its_own_line_only() {
        let answer = "v=0\r\nm=audio 9\r\na=mid:0\r\nm=video 9\r\na=mid:1\r\nm=video 9\r\na=mid:2\r\n";
        let senders = |mid: &str| [Sender { mid: mid.into(), ssrc: 7, rtx: 8 }];
        let named = "a=ssrc-group:FID 7 8\r\na=ssrc:7 cname:7\r\na=ssrc:8 cname:7\r\n";
        for mid in ["1", "2"] {
            let line = format!("a=mid:{mid}\r\n");
            assert_eq!(with_senders(answer, &senders(mid)), answer.replace(&line, &format!("{line}{named}")));
        }
        assert_eq!(with_senders(answer, &senders("9")), answer);
    }

    #[test]
    fn an_answer_gets_our_candidates_and_the_clients_order() {
        let section = |audio, preference: &str| Section {
            audio,
            preference: preference.split(' ').map(str::to_owned).collect(),
            ..Section::default()
        };
        let sections = [section(true, "111 63"), section(false, "45 96 97")];
        let answer = "v=0\r\nm=audio 9 P 63 111\r\na=candidate:old\r\na=ice-ufrag:x\r\na=ice-pwd:y\r\n\
            m=application 9 D webrtc\r\nm=video 9 P 96 97 45\r\na=ice-pwd:y\r\n";
        let address: SocketAddr = "203.0.113.7:8189".parse().expect("an address");
        let completed = complete(answer, &sections, &[(Protocol::Udp, address), (Protocol::Tcp, address)]);
        let expected = "v=0\r\nm=audio 9 P 111 63\r\na=ice-ufrag:x\r\na=ice-pwd:y\r\n\
            a=candidate:1 1 udp 2130706431 203.0.113.7 8189 typ host\r\n\
            a=candidate:2 1 tcp 1526726399 203.0.113.7 8189 typ host tcptype passive\r\na=end-of-candidates\r\n\
            m=application 9 D webrtc\r\nm=video 9 P 45 96 97\r\na=ice-pwd:y\r\n";
        assert_eq!(completed, expected);
    }
}
