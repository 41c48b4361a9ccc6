//! Cutting a byte stream into STUN messages and ChannelData (RFC 8489 section 6.2.2, RFC 8656 section 12.5).
//! What the messages say is read elsewhere.

/// The header of a STUN message.
pub const STUN_HEADER: usize = 20;
/// The header of ChannelData.
pub const CHANNEL_HEADER: usize = 4;
/// "This is STUN" (RFC 8489 section 5).
pub const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xA4, 0x42];

/// The first frame of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// Bytes of the message: what a datagram would have held.
    pub len: usize,
    /// Bytes to remove from the stream: the message and its padding.
    pub consumed: usize,
}

/// Why a stream cannot be cut any further: nothing after this point can be trusted, so the connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    /// Neither a STUN message nor ChannelData starts here.
    #[error("neither STUN nor ChannelData")]
    NotOurs,
    /// The message is longer than allowed at this stage.
    #[error("a message of {len} bytes where {limit} are allowed")]
    TooLong {
        /// Of the message.
        len: usize,
        /// In force.
        limit: usize,
    },
}

/// Finds the first frame of `stream`; `None`: more bytes are needed.
///
/// # Errors
/// The bytes are no frame, as early as that can be told, or a frame longer than `limit`.
pub fn first_frame(stream: &[u8], limit: usize) -> Result<Option<Frame>, FramingError> {
    let Some(first) = stream.first() else { return Ok(None) };
    let (len, consumed) = match first {
        // RFC 8489 section 5: the top two bits are 0. Methods of TURN and classes fit the lower bits.
        0..=3 => {
            let cookie = stream.get(4..stream.len().min(8)).unwrap_or_default();
            if cookie != &MAGIC_COOKIE[..cookie.len()] {
                return Err(FramingError::NotOurs);
            }
            let Some(body) = length(stream) else { return Ok(None) };
            if body % 4 != 0 {
                return Err(FramingError::NotOurs);
            }
            (STUN_HEADER + body, STUN_HEADER + body)
        }
        // Channel numbers of RFC 8656 section 12 and of RFC 5766. Over a stream, padded to a multiple of 4.
        0x40..=0x7F => {
            let Some(body) = length(stream) else { return Ok(None) };
            (CHANNEL_HEADER + body, CHANNEL_HEADER + body.next_multiple_of(4))
        }
        _ => return Err(FramingError::NotOurs),
    };
    if len > limit {
        return Err(FramingError::TooLong { len, limit });
    }
    Ok((stream.len() >= consumed).then_some(Frame { len, consumed }))
}

fn length(stream: &[u8]) -> Option<usize> {
    stream.get(2..4).map(|bytes| usize::from(u16::from_be_bytes([bytes[0], bytes[1]])))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stun(body: u16) -> Vec<u8> {
        let mut bytes = vec![0, 1];
        bytes.extend(body.to_be_bytes());
        bytes.extend(MAGIC_COOKIE);
        bytes.resize(STUN_HEADER + usize::from(body), 7);
        bytes
    }

    /// Rule: stun-framing, abuse-34
    #[test]
    fn a_stream_in_pieces_gives_the_same_frames() {
        let mut stream = stun(8);
        stream.extend([0x40, 0, 0, 5, 1, 2, 3, 4, 5, 0, 0, 0]);
        stream.extend([0x4F, 0xFF, 0, 0]);
        stream.extend(stun(0));
        for piece in 1..=stream.len() {
            let mut buffer = Vec::new();
            let mut frames = Vec::new();
            for bytes in stream.chunks(piece) {
                buffer.extend_from_slice(bytes);
                while let Some(frame) = first_frame(&buffer, 1000).unwrap() {
                    frames.push(buffer[..frame.len].to_vec());
                    buffer.drain(..frame.consumed);
                }
            }
            assert!(buffer.is_empty());
            assert_eq!(frames.iter().map(Vec::len).collect::<Vec<_>>(), [28, 9, 4, 20], "pieces of {piece}");
        }
    }

    #[test]
    fn what_is_not_ours_is_seen_at_once() {
        for bytes in [&b"\x16\x03\x01"[..], b"\x80\x60", b"\x04"] {
            assert_eq!(first_frame(bytes, 1000), Err(FramingError::NotOurs), "{bytes:?}");
        }
        // These begin like ChannelData, of a length that nobody may send before it has an allocation.
        for bytes in [&b"GET / HTTP/1.1"[..], b"POST / HTTP/1.1", b"SSH-2.0-x", b"OPTIONS sip:", b"INVITE sip:"] {
            assert!(matches!(first_frame(bytes, 8192), Err(FramingError::TooLong { .. })), "{bytes:?}");
        }
        assert_eq!(first_frame(&[0, 1, 0, 0, 0x21, 0x13], 1000), Err(FramingError::NotOurs));
        assert_eq!(first_frame(&[0, 1, 0, 3], 1000), Err(FramingError::NotOurs));
        assert_eq!(first_frame(&[0, 1, 0xFF, 0xFC], 1000), Err(FramingError::TooLong { len: 65_552, limit: 1000 }));
        assert_eq!(first_frame(&[], 1000), Ok(None));
        assert_eq!(first_frame(&[0], 1000), Ok(None));
    }
}
