//! The few formats of the data path, read and written by hand: STUN headers, ChannelData, Send and Data indications.
//! Requests and responses go through the codec crates.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

use crate::framing::{CHANNEL_HEADER, MAGIC_COOKIE, STUN_HEADER};

/// A message that begins a transaction or belongs to none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    Request,
    Indication,
    Response,
}

/// What a datagram or frame holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content {
    /// A STUN message whose header is sound.
    Stun { class: Class, method: u16 },
    /// ChannelData with its payload.
    Channel { number: u16, payload: Range<usize> },
}

impl Content {
    /// ChannelData or a Send indication.
    pub(crate) fn is_data(&self) -> bool {
        matches!(self, Self::Channel { .. } | Self::Stun { class: Class::Indication, method: SEND })
    }
}

/// Looks at the first bytes (RFC 7983). `None`: nothing that a TURN server takes.
pub(crate) fn classify(bytes: &[u8]) -> Option<Content> {
    match bytes.first()? {
        0..=3 => classify_stun(bytes),
        // Up to 0x4F by RFC 8656; the rest is what RFC 5766 allowed, and is bound only where that is wanted.
        0x40..=0x7F => {
            let number = u16_at(bytes, 0)?;
            let len = usize::from(u16_at(bytes, 2)?);
            let payload = CHANNEL_HEADER..CHANNEL_HEADER + len;
            // RFC 8656 section 12.6: a length beyond the datagram is dropped; bytes after it are padding.
            (payload.end <= bytes.len()).then_some(Content::Channel { number, payload })
        }
        _ => None,
    }
}

fn classify_stun(bytes: &[u8]) -> Option<Content> {
    let kind = u16_at(bytes, 0)?;
    let len = usize::from(u16_at(bytes, 2)?);
    // RFC 8489 section 6.3: the cookie, and a length that is a multiple of 4 and that of the datagram.
    let sound = bytes.get(4..8)? == MAGIC_COOKIE && len % 4 == 0 && bytes.len() == STUN_HEADER + len;
    let class = match kind & 0x0110 {
        0 => Class::Request,
        0x0010 => Class::Indication,
        _ => Class::Response,
    };
    // RFC 8489 section 5: the method's bits lie around the class's.
    let method = kind & 0xF | (kind & 0xE0) >> 1 | (kind & 0x3E00) >> 2;
    sound.then_some(Content::Stun { class, method })
}

/// Method of Send indications.
pub(crate) const SEND: u16 = 0x0006;
/// Type of a Data indication: method 0x007, class indication.
const DATA_INDICATION: u16 = 0x0017;
const XOR_PEER_ADDRESS: u16 = 0x0012;
const DATA: u16 = 0x0013;
const DONT_FRAGMENT: u16 = 0x001A;
const MESSAGE_INTEGRITY: u16 = 0x0008;
const FINGERPRINT: u16 = 0x8028;

/// What a Send indication says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Send {
    pub(crate) peer: SocketAddr,
    /// The payload's place.
    pub(crate) payload: Range<usize>,
    pub(crate) dont_fragment: bool,
}

/// Reads a Send indication whose header is sound (RFC 8656 section 11.2).
/// `None`: something required is missing, malformed, or not understood; such an indication is dropped.
pub(crate) fn send_indication(bytes: &[u8]) -> Option<Send> {
    let mut peer = None;
    let mut data = None;
    let mut dont_fragment = false;
    let mut at = STUN_HEADER;
    while at < bytes.len() {
        let kind = u16_at(bytes, at)?;
        let value = at + 4..at + 4 + usize::from(u16_at(bytes, at + 2)?);
        at = value.end.next_multiple_of(4);
        if at > bytes.len() {
            return None;
        }
        match kind {
            // RFC 8489 section 14: of duplicates the first one counts.
            XOR_PEER_ADDRESS if peer.is_none() => peer = Some(xor_address(bytes, value)?),
            DATA if data.is_none() => data = Some(value),
            XOR_PEER_ADDRESS | DATA => {}
            DONT_FRAGMENT => dont_fragment = true,
            // RFC 8489 section 14.5: nothing after it counts.
            MESSAGE_INTEGRITY | FINGERPRINT => break,
            // Comprehension required and not understood: drop the indication (RFC 8489 section 6.3.2).
            0..=0x7FFF => return None,
            _ => {}
        }
    }
    Some(Send { peer: peer?, payload: data?, dont_fragment })
}

fn xor_address(bytes: &[u8], value: Range<usize>) -> Option<SocketAddr> {
    let value = bytes.get(value)?;
    let port = u16_at(value, 2)? ^ u16::from_be_bytes([MAGIC_COOKIE[0], MAGIC_COOKIE[1]]);
    let mask = bytes.get(4..STUN_HEADER)?;
    let ip: IpAddr = match (value.get(1)?, value.get(4..)?) {
        (1, ip) => unmask::<4>(ip, mask)?.into(),
        (2, ip) => unmask::<16>(ip, mask)?.into(),
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

fn unmask<const N: usize>(ip: &[u8], mask: &[u8]) -> Option<[u8; N]> {
    let ip: [u8; N] = ip.try_into().ok()?;
    Some(std::array::from_fn(|index| ip[index] ^ mask[index]))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2).map(|two| u16::from_be_bytes([two[0], two[1]]))
}

/// The longest header: STUN, XOR-PEER-ADDRESS with IPv6, the header of DATA.
const MAX_HEAD: usize = STUN_HEADER + 24 + 4;

/// Bytes to send before a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    bytes: [u8; MAX_HEAD],
    len: u8,
    padding: u8,
}

impl Head {
    /// ChannelData of `payload` bytes; padded where the transport is a stream (RFC 8656 section 12.5).
    pub(crate) fn channel(number: u16, payload: u16, stream: bool) -> Self {
        let mut head = Self { bytes: [0; MAX_HEAD], len: 0, padding: if stream { padding(payload) } else { 0 } };
        head.push(&number.to_be_bytes());
        head.push(&payload.to_be_bytes());
        head
    }

    /// A Data indication of `payload` bytes from `peer` (RFC 8656 section 11.4).
    pub(crate) fn data_indication(peer: SocketAddr, payload: u16, transaction: [u8; 12]) -> Self {
        let mut head = Self { bytes: [0; MAX_HEAD], len: 0, padding: padding(payload) };
        let address = if peer.is_ipv4() { 8 } else { 20u16 };
        let body = usize::from(4 + address + 4) + usize::from(payload) + usize::from(head.padding);
        head.push(&DATA_INDICATION.to_be_bytes());
        head.push(&(body as u16).to_be_bytes());
        head.push(&MAGIC_COOKIE);
        head.push(&transaction);
        let mut mask = [0; 16];
        mask.copy_from_slice(&head.bytes[4..STUN_HEADER]);
        head.push(&XOR_PEER_ADDRESS.to_be_bytes());
        head.push(&address.to_be_bytes());
        head.push(&[0, if peer.is_ipv4() { 1 } else { 2 }]);
        head.push(&(peer.port() ^ u16::from_be_bytes([MAGIC_COOKIE[0], MAGIC_COOKIE[1]])).to_be_bytes());
        let xor = |(byte, mask): (&u8, &u8)| byte ^ mask;
        match peer.ip() {
            IpAddr::V4(ip) => ip.octets().iter().zip(&mask).for_each(|pair| head.push(&[xor(pair)])),
            IpAddr::V6(ip) => ip.octets().iter().zip(&mask).for_each(|pair| head.push(&[xor(pair)])),
        }
        head.push(&DATA.to_be_bytes());
        head.push(&payload.to_be_bytes());
        head
    }

    fn push(&mut self, bytes: &[u8]) {
        let start = usize::from(self.len);
        self.bytes[start..start + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len() as u8;
    }

    /// What to send before the payload.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// What to send after the payload: zeros (memory that was never written leaked here elsewhere, CVE-2020-4067).
    pub fn padding(&self) -> &'static [u8] {
        &[0; 3][..usize::from(self.padding)]
    }
}

/// The largest payload that fits a Data indication's 16-bit length.
pub(crate) const MAX_PAYLOAD: usize = u16::MAX as usize - MAX_HEAD - 3;

fn padding(payload: u16) -> u8 {
    (payload.wrapping_neg() & 3) as u8
}

#[cfg(test)]
mod tests {
    use stun_types::attribute::AttributeStaticType as _;
    use stun_types::message::{Message, MessageWrite, MessageWriteExt, MessageWriteVec};
    use turn_types::attribute::{Data, XorPeerAddress};
    use turn_types::message;

    use super::*;

    #[test]
    fn the_codec_reads_our_data_indication() {
        for peer in ["192.0.2.7:5000", "[2001:db8::7]:5001"] {
            let peer: SocketAddr = peer.parse().unwrap();
            for size in 0..9u16 {
                let payload: Vec<u8> = (0..size as u8).collect();
                let head = Head::data_indication(peer, size, *b"abcdefghijkl");
                let bytes = [head.bytes(), &payload, head.padding()].concat();
                let read = Message::from_bytes(&bytes).unwrap();
                assert_eq!(read.method(), message::DATA);
                let address = read.attribute::<XorPeerAddress>().unwrap().addr(read.transaction_id());
                assert_eq!(address, peer);
                assert_eq!(read.attribute::<Data<'_>>().unwrap().data(), payload);
                assert_eq!(classify(&bytes), Some(Content::Stun { class: Class::Indication, method: 7 }));
            }
        }
    }

    #[test]
    fn we_read_the_codecs_send_indication() {
        for peer in ["192.0.2.7:5000", "[2001:db8::7]:5001"] {
            let peer: SocketAddr = peer.parse().unwrap();
            let mut write = Message::builder_indication(message::SEND, MessageWriteVec::new());
            let transaction = write.transaction_id();
            write.add_attribute(&XorPeerAddress::new(peer, transaction)).unwrap();
            write.add_attribute(&Data::new(b"hello")).unwrap();
            write.add_fingerprint().unwrap();
            let bytes = write.finish();
            let read = send_indication(&bytes).unwrap();
            assert_eq!((read.peer, &bytes[read.payload]), (peer, &b"hello"[..]));
            assert_eq!(XorPeerAddress::TYPE.value(), XOR_PEER_ADDRESS);
        }
    }

    /// Rule: stun-duplicate, stun-unknown-indication, abuse-9
    #[test]
    fn the_first_of_duplicates_counts_and_unknown_attributes_drop() {
        let attribute = |kind: u16, value: &[u8]| {
            let mut bytes = kind.to_be_bytes().to_vec();
            bytes.extend((value.len() as u16).to_be_bytes());
            bytes.extend(value);
            bytes.resize(bytes.len().next_multiple_of(4), 0xEE);
            bytes
        };
        let message = |parts: &[Vec<u8>]| {
            let body = parts.concat();
            let mut bytes = vec![0, 0x16];
            bytes.extend((body.len() as u16).to_be_bytes());
            bytes.extend(MAGIC_COOKIE);
            bytes.extend([0; 12]);
            bytes.extend(body);
            bytes
        };
        let peer = |last: u8| attribute(XOR_PEER_ADDRESS, &[0, 1, 0x21 ^ 1, 0x12, 0x21, 0x12, 0xA4, 0x42 ^ last]);
        let data = attribute(DATA, b"abc");
        let read = |parts: &[Vec<u8>]| send_indication(&message(parts)).map(|send| send.peer.to_string());
        assert_eq!(read(&[peer(1), peer(2), data.clone()]), Some("0.0.0.1:256".into()));
        assert_eq!(read(&[peer(1)]), None);
        assert_eq!(read(std::slice::from_ref(&data)), None);
        let whole = [peer(1), attribute(DONT_FRAGMENT, &[]), data.clone()];
        assert!(send_indication(&message(&whole)).unwrap().dont_fragment);
        assert!(!send_indication(&message(&[peer(1), data.clone()])).unwrap().dont_fragment);
        assert_eq!(read(&[peer(1), attribute(0x7FFF, &[]), data.clone()]), None, "it is not understood");
        assert!(read(&[peer(1), attribute(0x8022, b"software"), data.clone()]).is_some());
        assert_eq!(read(&[peer(1), attribute(MESSAGE_INTEGRITY, &[0; 20]), data.clone()]), None);
        assert_eq!(read(&[attribute(XOR_PEER_ADDRESS, &[0, 1, 0, 0, 0]), data.clone()]), None);
        assert_eq!(read(&[attribute(XOR_PEER_ADDRESS, &[0, 3, 0, 0, 0, 0, 0, 0]), data]), None);
    }

    /// Rule: turn-channel-lengths
    #[test]
    fn channel_data_may_be_empty_and_must_not_claim_too_much() {
        assert_eq!(classify(&[0x40, 1, 0, 0]), Some(Content::Channel { number: 0x4001, payload: 4..4 }));
        assert_eq!(classify(&[0x40, 1, 0, 1, 9, 0, 0]), Some(Content::Channel { number: 0x4001, payload: 4..5 }));
        for bytes in [&[0x40, 1, 0, 1][..], &[0x40, 1, 0], &[0x80, 0, 0, 0], &[]] {
            assert_eq!(classify(bytes), None);
        }
    }
}
