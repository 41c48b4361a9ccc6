//! Structure out of raw bytes: short reads give what is left, so that every input means something.

/// What is left of the bytes.
pub(crate) struct Input<'a>(pub(crate) &'a [u8]);

impl<'a> Input<'a> {
    /// The next byte.
    pub(crate) fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// The next two bytes, as a number in network order.
    pub(crate) fn number(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes([self.byte()?, self.byte()?]))
    }

    /// The next `len` bytes, or what there is.
    pub(crate) fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// Bytes with their length, two bytes, in front: what fills a packet.
    pub(crate) fn long_chunk(&mut self) -> Option<&'a [u8]> {
        let len = self.number()?;
        Some(self.take(usize::from(len)))
    }

    /// Bytes with their length, one byte, in front.
    pub(crate) fn chunk(&mut self) -> Option<&'a [u8]> {
        let len = self.byte()?;
        Some(self.take(usize::from(len)))
    }
}

/// Some moment: the targets count from it, and never wait.
pub(crate) fn some_instant() -> std::time::Instant {
    std::time::Instant::now()
}
