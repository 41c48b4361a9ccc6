//! One client's stream: bytes in, cut into frames; frames out through its outbox. A proxy's header may come before, and
//! TLS lies between where the first byte says so; who may connect, and for how long, is `connections`'.

use std::io::{self, Read as _};
use std::sync::Arc;

use mio::net::TcpStream;
use rustls::{ServerConfig, ServerConnection};
use service::log::Address;
use turn::framing::{FramingError, first_frame};
use turn::proxy::{self, first_header};
use turn::{FiveTuple, Transport};

use super::idle::Watch;
use super::outbox::Outbox;
use super::tls_stream;

/// The largest frame before there is an allocation: requests with credentials are smaller, and nothing else has a use.
const LIMIT_BEFORE: usize = 8192;
/// And after: ChannelData or an indication with any length that its header can hold.
const LIMIT_AFTER: usize = 20 + 65_535;
/// Room for the begun frame and a long read.
pub(super) const SCRATCH: usize = LIMIT_AFTER + (1 << 16);
/// Memory that an idle connection may keep for what it reads.
const KEEP: usize = 4096;
/// The first byte of TLS: a handshake record (RFC 8446 section 5.1). No STUN message and no ChannelData begins so.
const TLS_HANDSHAKE: u8 = 0x16;

/// What the client's bytes come in.
enum Layer {
    /// A proxy says first who the client is.
    Proxied,
    /// Nothing has come yet.
    Unknown,
    Plain,
    Tls(Box<ServerConnection>),
}

/// See the module.
pub(super) struct Connection {
    pub(super) stream: TcpStream,
    pub(super) tuple: FiveTuple,
    pub(super) outbox: Outbox,
    pub(super) watch: Watch,
    /// The peer's connection that it is joined with: what comes is for that one, and no message any more.
    pub(super) joined: Option<usize>,
    pub(super) readable: bool,
    pub(super) dirty: bool,
    layer: Layer,
    /// Nothing more will be written after what waits.
    ending: bool,
    /// The beginning of a frame whose rest has not come.
    rest: Vec<u8>,
}

/// What one read did.
pub(super) enum ReadOutcome {
    /// The scratch space begins with this many bytes to look at.
    Filled(usize),
    /// The client is known by another 5-tuple from now on.
    Renamed(FiveTuple),
    /// Nothing to look at, but more may have come.
    Later,
    /// Nothing for now.
    Nothing,
    /// The client will send nothing more.
    Closed,
    /// The stream is over, both ways.
    Broken,
}

impl Connection {
    /// `proxied`: by a proxy that is believed.
    pub(super) fn new(stream: TcpStream, tuple: FiveTuple, proxied: bool, watch: Watch) -> Self {
        Self {
            stream,
            tuple,
            outbox: Outbox::default(),
            watch,
            joined: None,
            readable: true,
            dirty: false,
            layer: if proxied { Layer::Proxied } else { Layer::Unknown },
            ending: false,
            rest: Vec::new(),
        }
    }

    /// What came of a frame that is not whole, for whom the stream belongs to from now on.
    pub(super) fn take_rest(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.rest)
    }

    /// Whether the client still owes what comes before its first message: a proxy's header, the handshake of TLS.
    pub(super) fn is_opening(&self) -> bool {
        match &self.layer {
            Layer::Proxied => true,
            Layer::Tls(tls) => tls.is_handshaking(),
            Layer::Unknown | Layer::Plain => false,
        }
    }

    /// Reads once into `scratch`, behind what was left over of a frame. `encryption`: for a stream that begins with TLS.
    pub(super) fn read(&mut self, scratch: &mut [u8], encryption: Option<&Arc<ServerConfig>>) -> ReadOutcome {
        let start = self.rest.len();
        scratch[..start].copy_from_slice(&self.rest);
        let outcome = match &mut self.layer {
            Layer::Proxied => return self.take_header(scratch),
            Layer::Unknown => return self.open(encryption),
            Layer::Plain => retry(|| self.stream.read(&mut scratch[start..])).map(Some),
            Layer::Tls(tls) => tls_stream::read(tls, &mut self.stream, &mut scratch[start..]),
        };
        match outcome {
            Ok(Some(length)) if length > 0 => {
                self.rest.clear();
                ReadOutcome::Filled(start + length)
            }
            Ok(None) => ReadOutcome::Later,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => ReadOutcome::Nothing,
            // TLS that ends without a good-bye.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => ReadOutcome::Closed,
            Err(error) => {
                tracing::debug!(client = %Address(self.tuple.client), %error, "connection broken");
                ReadOutcome::Broken
            }
            Ok(Some(_)) => ReadOutcome::Closed,
        }
    }

    /// Takes the proxy's header, once it is whole; until then it stays in the stream.
    fn take_header(&mut self, scratch: &mut [u8]) -> ReadOutcome {
        let scratch = &mut scratch[..proxy::MAX_HEADER];
        let seen = match retry(|| self.stream.peek(scratch)) {
            Ok(length) if length > 0 => length,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return ReadOutcome::Nothing,
            _ => return ReadOutcome::Closed,
        };
        let header = match first_header(&scratch[..seen]) {
            Ok(Some(header)) => header,
            // More will be an event.
            Ok(None) => return ReadOutcome::Nothing,
            Err(error) => {
                tracing::debug!(proxy = %Address(self.tuple.client), %error, "connection closed");
                return ReadOutcome::Closed;
            }
        };
        // All of it was there to look at, so all of it is there to read.
        if !matches!(retry(|| self.stream.read(&mut scratch[..header.len])), Ok(length) if length == header.len) {
            return ReadOutcome::Closed;
        }
        self.layer = Layer::Unknown;
        match header.client {
            Some(client) => ReadOutcome::Renamed(FiveTuple { client, ..self.tuple }),
            None => ReadOutcome::Later,
        }
    }

    /// Tells TLS from plain TCP by the first byte, which stays in the stream.
    fn open(&mut self, encryption: Option<&Arc<ServerConfig>>) -> ReadOutcome {
        let mut first = [0];
        match retry(|| self.stream.peek(&mut first)) {
            Ok(0) => return ReadOutcome::Closed,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return ReadOutcome::Nothing,
            Err(_) => return ReadOutcome::Closed,
        }
        let Some(encryption) = encryption.filter(|_| first == [TLS_HANDSHAKE]) else {
            // TLS where it is off is refused as everything that is no frame.
            self.layer = Layer::Plain;
            return ReadOutcome::Later;
        };
        match ServerConnection::new(Arc::clone(encryption)) {
            Ok(tls) => {
                self.layer = Layer::Tls(Box::new(tls));
                ReadOutcome::Renamed(FiveTuple { transport: Transport::Tls, ..self.tuple })
            }
            Err(error) => {
                tracing::warn!(%error, "TLS cannot be spoken");
                ReadOutcome::Closed
            }
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
        first_frame(bytes, if self.watch.allocated { LIMIT_AFTER } else { LIMIT_BEFORE })
    }

    /// Bytes that wait to be written; what TLS holds, a record at most, counts as one.
    pub(super) fn waiting(&self) -> usize {
        let sealed = matches!(&self.layer, Layer::Tls(tls) if tls.wants_write());
        self.outbox.len() + usize::from(sealed)
    }

    /// Whether something waits to be written.
    pub(super) fn has_output(&self) -> bool {
        !self.outbox.is_empty() || matches!(&self.layer, Layer::Tls(tls) if tls.wants_write())
    }

    /// Says that nothing more will be written, once what waits has gone, and goes on reading.
    pub(super) fn end_writing(&mut self) {
        if let Layer::Tls(tls) = &mut self.layer {
            tls.send_close_notify();
        }
        self.ending = true;
        // A stream that is broken says so when it is read.
        let _ = self.write();
    }

    /// Says that the end is meant (RFC 8446 section 6.1), as far as the kernel takes it at once.
    pub(super) fn farewell(mut self) {
        if let Layer::Tls(tls) = &mut self.layer {
            tls.send_close_notify();
            let _ = tls.write_tls(&mut self.stream);
        }
    }

    /// Writes what waits.
    pub(super) fn write(&mut self) -> io::Result<()> {
        match &mut self.layer {
            Layer::Tls(tls) => tls_stream::write(tls, &mut self.stream, &mut self.outbox)?,
            Layer::Proxied | Layer::Unknown | Layer::Plain => self.outbox.write_to(&mut self.stream)?,
        }
        if self.ending && !self.has_output() {
            self.ending = false;
            self.stream.shutdown(std::net::Shutdown::Write)?;
        }
        Ok(())
    }
}

/// Calls again where a signal came between.
fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            outcome => return outcome,
        }
    }
}
