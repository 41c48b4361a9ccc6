//! Opus packets (RFC 7587: an RTP payload is one Opus packet): how much sound one holds, and what lies between two.

/// Samples of an Opus packet at 48 kHz (RFC 6716, 3.1 and 3.2); `None`: malformed.
pub fn duration(packet: &[u8]) -> Option<u32> {
    let toc = *packet.first()?;
    let config = toc >> 3;
    let frame = match config {
        // SILK: 10, 20, 40, 60 ms.
        0..=11 => [480, 960, 1920, 2880][usize::from(config % 4)],
        // Hybrid: 10, 20 ms.
        12..=15 => [480, 960][usize::from(config % 2)],
        // CELT: 2.5, 5, 10, 20 ms.
        _ => [120, 240, 480, 960][usize::from(config % 4)],
    };
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u32::from(*packet.get(1)? & 0x3f),
    };
    // RFC 6716, 3.2.5 [R5]: at least one frame, at most 120 ms.
    (frames > 0 && frames * frame <= 5760).then_some(frames * frame)
}

#[cfg(test)]
mod tests {
    use super::duration;

    #[test]
    fn a_packet_says_how_long_it_sounds() {
        // TOC 0xf8: CELT full band 20 ms; code 3 with two frames; SILK 60 ms; hybrid 10 ms twice.
        for (packet, samples) in [(&[0xf8][..], 960), (&[0xfb, 2], 1920), (&[0x18], 2880), (&[0x61], 960)] {
            assert_eq!(duration(packet), Some(samples), "{packet:x?}");
        }
        for bad in [&[][..], &[0xfb], &[0xfb, 0], &[0x1b, 3]] {
            assert_eq!(duration(bad), None, "{bad:x?}");
        }
    }
}
