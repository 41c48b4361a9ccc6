//! What one receive call brought: buffers, and the datagrams in them. Not how it was received.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};

use quinn_udp::RecvMeta;

/// A buffer takes the longest run that the kernel joins (GRO).
const BUFFER: usize = 1 << 16;

/// Buffers for one receive call, used again and again.
pub struct RecvBatch {
    bytes: Box<[u8]>,
    meta: [RecvMeta; Self::SIZE],
    filled: usize,
}

/// A received datagram.
#[derive(Debug, Clone, Copy)]
pub struct Datagram<'a> {
    /// Who sent it.
    pub from: SocketAddr,
    /// The local address it was sent to, where the socket asks for it.
    pub local: Option<IpAddr>,
    /// The payload.
    pub bytes: &'a [u8],
}

impl Default for RecvBatch {
    fn default() -> Self {
        Self { bytes: vec![0; BUFFER * Self::SIZE].into_boxed_slice(), meta: Default::default(), filled: 0 }
    }
}

impl RecvBatch {
    /// Buffers in a batch: each holds a datagram, or a run of them from one sender.
    pub const SIZE: usize = 16;

    pub(super) fn fill(
        &mut self,
        receive: impl FnOnce(&mut [IoSliceMut<'_>], &mut [RecvMeta]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        self.filled = 0;
        let mut chunks = self.bytes.chunks_exact_mut(BUFFER);
        let mut buffers: [IoSliceMut<'_>; Self::SIZE] =
            std::array::from_fn(|_| IoSliceMut::new(chunks.next().unwrap_or_default()));
        self.filled = receive(&mut buffers, &mut self.meta)?;
        Ok(self.filled)
    }

    /// The datagrams of the last receive call, in their order.
    pub fn datagrams(&self) -> impl Iterator<Item = Datagram<'_>> {
        let filled = self.meta.iter().zip(self.bytes.chunks_exact(BUFFER)).take(self.filled);
        // Nobody can answer to port 0: such a source is forged, and sending to it fails in ways that look like ours.
        filled.filter(|(meta, _)| meta.addr.port() != 0).flat_map(|(meta, buffer)| {
            let run = &buffer[..meta.len.min(BUFFER)];
            // An empty datagram is a datagram.
            let empty = run.is_empty().then_some(run);
            let segments = run.chunks(meta.stride.max(1)).chain(empty);
            segments.map(|bytes| Datagram { from: meta.addr, local: meta.dst_ip, bytes })
        })
    }
}
