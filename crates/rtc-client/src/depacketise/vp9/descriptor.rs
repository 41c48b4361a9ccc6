//! The payload descriptor in front of every VP9 payload (RFC 9628, 4.2).

/// What it says that a receiver of whole pictures needs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Descriptor {
    /// P: the frame is predicted from earlier pictures.
    pub(super) predicted: bool,
    /// B: a layer frame begins.
    pub(super) begins: bool,
    /// E: a layer frame ends.
    pub(super) ends: bool,
    /// SID: the spatial layer.
    pub(super) spatial: u8,
    /// Width and height of the highest layer, where a scalability structure says them.
    pub(super) size: Option<(u16, u16)>,
    /// Bytes of the descriptor.
    pub(super) length: usize,
}

impl Descriptor {
    /// Reads a descriptor; `None`: it is cut short.
    pub(super) fn parse(payload: &[u8]) -> Option<Self> {
        let mut take = Take { bytes: payload, at: 0 };
        let first = take.byte()?;
        let (layers, flexible) = (first & 0x20 != 0, first & 0x10 != 0);
        let mut descriptor = Self {
            predicted: first & 0x40 != 0,
            begins: first & 0x08 != 0,
            ends: first & 0x04 != 0,
            ..Self::default()
        };
        // M: the PictureID has 15 bits.
        if first & 0x80 != 0 && take.byte()? & 0x80 != 0 {
            take.byte()?;
        }
        if layers {
            descriptor.spatial = take.byte()? >> 1 & 7;
            if !flexible {
                // TL0PICIDX.
                take.byte()?;
            }
        }
        if flexible && descriptor.predicted {
            // Up to three P_DIFF; N says that one more follows.
            let mut more = 3;
            while more > 0 && take.byte()? & 1 != 0 {
                more -= 1;
            }
        }
        if first & 0x02 != 0 {
            descriptor.size = take.structure()?;
        }
        descriptor.length = take.at;
        Some(descriptor)
    }
}

struct Take<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Take<'_> {
    fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn number(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes([self.byte()?, self.byte()?]))
    }

    /// The scalability structure (RFC 9628, 4.2.1); gives the last layer's size.
    fn structure(&mut self) -> Option<Option<(u16, u16)>> {
        let first = self.byte()?;
        let mut size = None;
        if first & 0x10 != 0 {
            for _ in 0..=first >> 5 {
                size = Some((self.number()?, self.number()?));
            }
        }
        if first & 0x08 != 0 {
            for _ in 0..self.byte()? {
                let references = self.byte()? >> 2 & 3;
                (0..references).try_for_each(|_| self.byte().map(drop))?;
            }
        }
        Some(size)
    }
}

#[cfg(test)]
mod tests {
    use super::Descriptor;

    #[test]
    fn every_form_is_read_to_its_end() {
        let plain = Descriptor { begins: true, length: 1, ..Descriptor::default() };
        let forms: [(&[u8], Descriptor); 7] = [
            (&[0x08], plain),
            (&[0x88, 0x11], Descriptor { length: 2, ..plain }),
            (&[0x88, 0x91, 0x22], Descriptor { length: 3, ..plain }),
            // Layers: non-flexible with TL0PICIDX, flexible without.
            (&[0xa8, 0x11, 0x44, 7], Descriptor { spatial: 2, length: 4, ..plain }),
            (&[0xb8, 0x11, 0x42], Descriptor { spatial: 1, length: 3, ..plain }),
            // Flexible and predicted from two pictures.
            (&[0xd8, 0x11, 0x03, 0x04], Descriptor { predicted: true, length: 4, ..plain }),
            // Two layers with sizes, and two pictures of a group, one with a reference.
            (
                &[0x8a, 0x11, 0x38, 1, 64, 0, 180, 2, 128, 1, 104, 2, 0x00, 0x24, 1],
                Descriptor { size: Some((640, 360)), length: 15, ..plain },
            ),
        ];
        for (bytes, expected) in forms {
            assert_eq!(Descriptor::parse(bytes), Some(expected), "{bytes:x?}");
            for end in 0..bytes.len() {
                assert_eq!(Descriptor::parse(&bytes[..end]), None, "{:x?}", &bytes[..end]);
            }
        }
    }
}
