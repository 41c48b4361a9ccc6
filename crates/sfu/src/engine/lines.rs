//! A first look at an offer, before the engine sees it: its m-lines, their kinds and directions, and its limits.
//!
//! Not a parser of SDP: it finds what the rooms need to refuse an offer before anything is changed by it.

use crate::engine::Refusal;

/// Largest offer, bytes. A browser's with 3 + 25 slots has 137 kB.
const MAX_OFFER: usize = 256 * 1024;
/// m-lines of any kind that are looked at; far above what a transport may have.
const MAX_SECTIONS: usize = 128;
/// Simulcast layers of an m-line.
const MAX_RIDS: usize = 4;

/// An m-line of an offer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Section {
    pub(super) audio: bool,
    pub(super) mid: String,
    /// The client sends on it.
    pub(super) sends: bool,
    /// The client receives on it.
    pub(super) receives: bool,
    /// rids that the client sends.
    pub(super) rids: Vec<String>,
    /// Payload types as the client prefers them.
    pub(super) preference: Vec<String>,
    pub(super) rejected: bool,
    pub(super) codecs: bool,
}

/// The audio and video m-lines of an offer.
///
/// # Errors
/// More than `limit` of them, one without a codec of ours, or what is no SDP at all.
pub(super) fn scan(sdp: &str, limit: usize) -> Result<Vec<Section>, Refusal> {
    if sdp.len() > MAX_OFFER {
        return Err(Refusal::Sdp(format!("more than {MAX_OFFER} bytes")));
    }
    if !sdp.starts_with("v=0") {
        return Err(Refusal::Sdp("it does not begin with v=0 (RFC 8866, 5.1)".into()));
    }
    let mut sections = Vec::new();
    let mut media = false;
    for line in sdp.lines() {
        if let Some(m) = line.strip_prefix("m=") {
            if sections.len() > MAX_SECTIONS {
                return Err(Refusal::TooMany(limit));
            }
            let (kind, rest) = m.split_once(' ').unwrap_or((m, ""));
            media = matches!(kind, "audio" | "video");
            if media {
                let rejected = rest.starts_with("0 ");
                let (sends, receives) = (true, true);
                // m=<media> <port> <proto> <fmt> ... (RFC 8866, 5.14)
                let preference = rest.split(' ').skip(2).map(str::to_owned).collect();
                let audio = kind == "audio";
                sections.push(Section { audio, rejected, sends, receives, preference, ..Section::default() });
            }
        } else if let (true, Some(section), Some(a)) = (media, sections.last_mut(), line.strip_prefix("a=")) {
            attribute(section, a);
        }
    }
    check(&sections, limit)?;
    Ok(sections)
}

fn attribute(section: &mut Section, a: &str) {
    let (name, value) = a.split_once(':').unwrap_or((a, ""));
    match name {
        "mid" => section.mid = value.to_owned(),
        "sendrecv" => (section.sends, section.receives) = (true, true),
        "sendonly" => (section.sends, section.receives) = (true, false),
        "recvonly" => (section.sends, section.receives) = (false, true),
        "inactive" => (section.sends, section.receives) = (false, false),
        "rid" => {
            let mut words = value.split(' ');
            if let (Some(rid), Some("send")) = (words.next(), words.next()) {
                section.rids.push(rid.to_owned());
            }
        }
        "rtpmap" => {
            let codec = value.split_once(' ').and_then(|(_, codec)| codec.split('/').next()).unwrap_or_default();
            let ours: &[&str] = if section.audio { &["opus"] } else { &["VP8", "VP9", "H264", "AV1"] };
            section.codecs |= ours.iter().any(|name| name.eq_ignore_ascii_case(codec));
        }
        _ => {}
    }
}

fn check(sections: &[Section], limit: usize) -> Result<(), Refusal> {
    let live = || sections.iter().filter(|s| !s.rejected);
    if live().count() > limit {
        return Err(Refusal::TooMany(limit));
    }
    for section in sections {
        // The engine keeps 16 bytes of these letters; anything else would come back changed.
        let plain = section.mid.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !plain || section.mid.is_empty() || section.mid.len() > 16 {
            return Err(Refusal::Sdp(format!("a=mid of {} bytes: 1 to 16 letters and digits", section.mid.len())));
        }
        if section.rids.len() > MAX_RIDS {
            return Err(Refusal::Sdp(format!("more than {MAX_RIDS} rids on {}", section.mid)));
        }
    }
    match live().find(|s| !s.codecs) {
        Some(section) => Err(Refusal::Codec(section.mid.clone())),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFER: &str = "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=sendrecv\r\na=rtpmap:111 opus/48000/2\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\na=sendonly\r\na=rtpmap:96 VP8/90000\r\na=rid:q send\r\na=rid:h send\r\n\
        m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:2\r\n";

    #[test]
    fn the_lines_of_an_offer_are_found() {
        let sections = scan(OFFER, 2).expect("fine");
        let seen: Vec<_> =
            sections.iter().map(|s| (s.mid.as_str(), s.audio, s.sends, s.receives, s.rids.len())).collect();
        assert_eq!(seen, [("0", true, true, true, 0), ("1", false, true, false, 2)]);
    }

    #[test]
    fn what_exceeds_a_limit_is_refused() {
        assert_eq!(scan(OFFER, 1), Err(Refusal::TooMany(1)));
        assert!(matches!(scan(&OFFER.repeat(100), 1000), Err(Refusal::TooMany(_))));
        assert!(matches!(scan(&"x".repeat(MAX_OFFER + 1), 12), Err(Refusal::Sdp(_))));
        assert_eq!(scan(&OFFER.replace("VP8", "H265"), 12), Err(Refusal::Codec("1".into())));
        assert!(matches!(scan(&OFFER.replace("mid:1", "mid:a-b"), 12), Err(Refusal::Sdp(_))));
        assert!(matches!(scan(&OFFER.replace("a=mid:0\r\n", ""), 12), Err(Refusal::Sdp(_))));
    }
}
