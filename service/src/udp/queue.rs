//! What waits to be sent in this turn of a loop: neighbours that share destination and size leave as one run.
//! Not a buffer between turns: what the kernel does not take is dropped and counted, as UDP does.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

use quinn_udp::Transmit;

/// The kernel takes at most 64 segments, and 64 KiB with headers, in one call.
const MAX_SEGMENTS: usize = 64;
const MAX_RUN: usize = 65_000;
/// Segments above this may exceed the path's MTU, and runs of them are refused as a whole.
const MAX_SEGMENT: usize = 1472;
/// Refused runs in a row after which the queue stops trying.
const GIVE_UP: u32 = 64;

/// Datagrams to send, in order; `K` names the socket of each.
pub struct SendQueue<K> {
    bytes: Vec<u8>,
    runs: Vec<Run<K>>,
    refused: u32,
}

struct Run<K> {
    socket: K,
    to: SocketAddr,
    source: Option<IpAddr>,
    range: Range<usize>,
    segment: usize,
    count: usize,
    /// A shorter segment ends its run.
    closed: bool,
}

/// What a flush did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sent {
    /// Datagrams that the kernel took.
    pub datagrams: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Calls that it took.
    pub calls: u64,
    /// Datagrams that the kernel refused, for whatever reason.
    pub dropped: u64,
}

impl<K> Default for SendQueue<K> {
    fn default() -> Self {
        Self { bytes: Vec::with_capacity(1 << 18), runs: Vec::with_capacity(256), refused: 0 }
    }
}

impl<K: Copy + PartialEq> SendQueue<K> {
    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Payload bytes that wait; flush before it grows beyond what you want to hold.
    pub fn len_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Queues one datagram, the concatenation of `parts`. `source` is the local address that it shall come from, if the
    /// socket has more than one.
    pub fn push(&mut self, socket: K, to: SocketAddr, source: Option<IpAddr>, parts: &[&[u8]]) {
        let start = self.bytes.len();
        for part in parts {
            self.bytes.extend_from_slice(part);
        }
        let end = self.bytes.len();
        let size = end - start;
        if let Some(run) = self.runs.last_mut() {
            let same = run.socket == socket && run.to == to && run.source == source;
            let fits = size <= run.segment && size > 0 && end - run.range.start <= MAX_RUN;
            if same && fits && !run.closed && run.count < MAX_SEGMENTS && run.segment <= MAX_SEGMENT {
                run.range.end = end;
                run.count += 1;
                run.closed = size < run.segment;
                return;
            }
        }
        self.runs.push(Run { socket, to, source, range: start..end, segment: size, count: 1, closed: false });
    }

    /// Sends everything through `send` and leaves the queue empty.
    pub fn flush(&mut self, mut send: impl FnMut(K, &Transmit<'_>) -> io::Result<()>) -> Sent {
        let mut sent = Sent::default();
        for run in &self.runs {
            let bytes = &self.bytes[run.range.clone()];
            let whole = self.refused < GIVE_UP || run.count == 1;
            if whole {
                sent.calls += 1;
                let outcome = send(run.socket, &run.transmit(bytes, run.segment));
                let failed_run = outcome.is_err() && run.count > 1;
                match outcome {
                    Ok(()) => {
                        sent.datagrams += run.count as u64;
                        sent.bytes += bytes.len() as u64;
                        self.refused = if run.count > 1 { 0 } else { self.refused };
                        continue;
                    }
                    Err(error) if !failed_run || error.kind() == io::ErrorKind::WouldBlock => {
                        sent.dropped += run.count as u64;
                        continue;
                    }
                    Err(_) => self.refused += 1,
                }
            }
            // No run fits this path or device: one by one.
            for segment in bytes.chunks(run.segment.max(1)) {
                sent.calls += 1;
                match send(run.socket, &run.transmit(segment, segment.len())) {
                    Ok(()) => {
                        sent.datagrams += 1;
                        sent.bytes += segment.len() as u64;
                    }
                    Err(_) => sent.dropped += 1,
                }
            }
        }
        self.runs.clear();
        self.bytes.clear();
        sent
    }
}

impl<K> Run<K> {
    fn transmit<'a>(&self, contents: &'a [u8], segment: usize) -> Transmit<'a> {
        let segment_size = (segment < contents.len()).then_some(segment);
        Transmit { destination: self.to, ecn: None, contents, segment_size, src_ip: self.source }
    }
}
