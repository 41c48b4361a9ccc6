//! One client's stream: bytes in, cut into frames; frames out through its outbox.

use std::io::{self, Read};
use std::time::Instant;

use mio::net::TcpStream;
use turn::FiveTuple;
use turn::framing::{FramingError, first_frame};

use super::outbox::Outbox;

/// The largest frame before there is an allocation: requests with credentials are smaller, and nothing else has a use.
const LIMIT_BEFORE: usize = 8192;
/// And after: ChannelData or an indication with any length that its header can hold.
const LIMIT_AFTER: usize = 20 + 65_535;
/// Room for the begun frame and a long read.
pub(super) const SCRATCH: usize = LIMIT_AFTER + (1 << 16);
/// Memory that an idle connection may keep for what it reads.
const KEEP: usize = 4096;

/// See the module.
pub(super) struct Connection {
    pub(super) stream: TcpStream,
    pub(super) tuple: FiveTuple,
    pub(super) outbox: Outbox,
    /// Its client has an allocation.
    pub(super) allocated: bool,
    /// When it was opened, last heard with a whole frame, or lost its allocation.
    pub(super) last_heard: Instant,
    pub(super) readable: bool,
    pub(super) dirty: bool,
    /// It has a place in the list of deadlines.
    pub(super) watched: bool,
    /// The beginning of a frame whose rest has not come.
    rest: Vec<u8>,
}

/// What one read did.
pub(super) enum ReadOutcome {
    /// The scratch space begins with this many bytes to look at.
    Filled(usize),
    /// Nothing for now.
    Nothing,
    /// The stream is over.
    Closed,
}

impl Connection {
    pub(super) fn new(stream: TcpStream, tuple: FiveTuple, now: Instant) -> Self {
        Self {
            stream,
            tuple,
            outbox: Outbox::default(),
            allocated: false,
            last_heard: now,
            readable: true,
            dirty: false,
            watched: true,
            rest: Vec::new(),
        }
    }

    /// Reads once into `scratch`, behind what was left over of a frame.
    pub(super) fn read(&mut self, scratch: &mut [u8]) -> ReadOutcome {
        let start = self.rest.len();
        scratch[..start].copy_from_slice(&self.rest);
        let outcome = loop {
            match self.stream.read(&mut scratch[start..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                outcome => break outcome,
            }
        };
        match outcome {
            Ok(length) if length > 0 => {
                self.rest.clear();
                ReadOutcome::Filled(start + length)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => ReadOutcome::Nothing,
            _ => ReadOutcome::Closed,
        }
    }

    /// Keeps the beginning of a frame until the rest comes.
    pub(super) fn keep(&mut self, bytes: &[u8]) {
        self.rest.extend_from_slice(bytes);
        if self.rest.is_empty() {
            self.rest.shrink_to(KEEP);
        }
    }

    /// The first frame of `bytes`, as long as this client may send.
    pub(super) fn first_frame(&self, bytes: &[u8]) -> Result<Option<turn::framing::Frame>, FramingError> {
        first_frame(bytes, if self.allocated { LIMIT_AFTER } else { LIMIT_BEFORE })
    }

    /// Writes what waits.
    pub(super) fn write(&mut self) -> io::Result<()> {
        self.outbox.write_to(&mut self.stream)
    }
}
