//! ICE over TCP (RFC 6544), the passive side: connections that clients open, with frames of RFC 4571 in them.
//!
//! Framing and buffers only. A connection that does not speak in time, or speaks nonsense, is closed; one that does not
//! read loses packets, as UDP would.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};
use sfu::{Path, Protocol};

use crate::sfu::worker::LISTENER;

/// Connections of a worker.
const MAX_CONNECTIONS: usize = 1024;
/// Connections from one address: a few browsers behind one NAT.
const MAX_PER_ADDRESS: usize = 64;
/// Frames that are longer are no datagrams of ours.
const MAX_FRAME: usize = 2048;
/// Bytes that wait for a slow reader.
const MAX_WAITING: usize = 256 * 1024;
/// Bytes read of one connection in one round.
const READ: usize = 64 * 1024;
/// Without a frame for this long a connection is closed: ICE asks for consent every few seconds (RFC 7675).
const IDLE: Duration = Duration::from_secs(45);
/// How often idle ones are looked for.
const SWEEP: Duration = Duration::from_secs(5);

struct Connection {
    stream: TcpStream,
    path: Path,
    readable: bool,
    heard: Instant,
    input: Vec<u8>,
    output: VecDeque<u8>,
}

/// All connections of a worker.
pub(super) struct Tcp {
    listener: TcpListener,
    registry: Registry,
    acceptable: bool,
    connections: BTreeMap<Token, Connection>,
    by_path: BTreeMap<Path, Token>,
    next: usize,
    swept: Option<Instant>,
}

impl Tcp {
    pub(super) fn new(listener: std::net::TcpListener, registry: Registry) -> io::Result<Self> {
        let mut listener = TcpListener::from_std(listener);
        registry.register(&mut listener, LISTENER, Interest::READABLE)?;
        let (connections, by_path) = (BTreeMap::new(), BTreeMap::new());
        Ok(Self { listener, registry, acceptable: true, connections, by_path, next: LISTENER.0 + 1, swept: None })
    }

    pub(super) fn connections(&self) -> usize {
        self.connections.len()
    }

    pub(super) fn handle_event(&mut self, token: Token, event: &Event) {
        if token == LISTENER {
            self.acceptable = true;
        } else if let Some(connection) = self.connections.get_mut(&token) {
            connection.readable |= event.is_readable() || event.is_read_closed() || event.is_error();
            if event.is_writable() && connection.write().is_err() {
                self.close(token);
            }
        }
    }

    /// Accepts and reads; every frame goes to `take`. Returns whether there may be more.
    pub(super) fn receive(&mut self, now: Instant, mut take: impl FnMut(Path, &[u8])) -> bool {
        self.accept(now);
        let mut more = false;
        let mut closed = Vec::new();
        for (token, connection) in self.connections.iter_mut().filter(|(_, connection)| connection.readable) {
            match connection.read(now, &mut take) {
                Ok(again) => more |= again,
                Err(_) => closed.push(*token),
            }
        }
        if self.swept.is_none_or(|at| now.saturating_duration_since(at) >= SWEEP) {
            self.swept = Some(now);
            let idle = |c: &Connection| now.saturating_duration_since(c.heard) >= IDLE;
            closed.extend(self.connections.iter().filter(|(_, c)| idle(c)).map(|(token, _)| *token));
        }
        closed.into_iter().for_each(|token| self.close(token));
        more
    }

    /// Queues a datagram as a frame; `false`: the connection is gone, or its reader too slow.
    pub(super) fn send(&mut self, path: Path, bytes: &[u8]) -> bool {
        let connection = self.by_path.get(&path).and_then(|token| self.connections.get_mut(token));
        let (Some(connection), Ok(length)) = (connection, u16::try_from(bytes.len())) else { return false };
        if connection.output.len() + bytes.len() + 2 > MAX_WAITING {
            return false;
        }
        connection.output.extend(length.to_be_bytes());
        connection.output.extend(bytes);
        true
    }

    /// Writes what waits, as far as the kernel takes it.
    pub(super) fn flush(&mut self) {
        let waiting = self.connections.iter_mut().filter(|(_, c)| !c.output.is_empty());
        let failed: Vec<Token> = waiting.filter_map(|(token, c)| c.write().is_err().then_some(*token)).collect();
        failed.into_iter().for_each(|token| self.close(token));
    }

    fn accept(&mut self, now: Instant) {
        while self.acceptable {
            match self.listener.accept() {
                Ok((stream, remote)) => self.add(stream, remote, now),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.acceptable = false,
                // A client that went away, or no file descriptors: the next event tries again.
                Err(_) => return,
            }
        }
    }

    fn add(&mut self, mut stream: TcpStream, remote: SocketAddr, now: Instant) {
        let neighbours = self.by_path.keys().filter(|path| path.remote.ip() == remote.ip()).count();
        if self.connections.len() >= MAX_CONNECTIONS || neighbours >= MAX_PER_ADDRESS {
            return;
        }
        let Ok(local) = stream.local_addr() else { return };
        let path = Path { protocol: Protocol::Tcp, local, remote };
        let token = Token(self.next);
        self.next += 1;
        // Media does not wait for a full segment.
        let _ = stream.set_nodelay(true);
        if self.registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE).is_err() {
            return;
        }
        let (input, output) = (Vec::new(), VecDeque::new());
        self.connections.insert(token, Connection { stream, path, readable: true, heard: now, input, output });
        self.by_path.insert(path, token);
    }

    fn close(&mut self, token: Token) {
        if let Some(mut connection) = self.connections.remove(&token) {
            self.by_path.remove(&connection.path);
            let _ = self.registry.deregister(&mut connection.stream);
        }
    }
}

impl Connection {
    /// Reads and takes frames apart; whether there may be more.
    ///
    /// # Errors
    /// It ended, or what came is no framing.
    fn read(&mut self, now: Instant, take: &mut impl FnMut(Path, &[u8])) -> io::Result<bool> {
        let mut buffer = [0; 16 * 1024];
        let mut total = 0;
        while total < READ {
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => {
                    total += count;
                    self.input.extend_from_slice(&buffer[..count]);
                    self.frames(now, take)?;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.readable = false;
                    return Ok(false);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    fn frames(&mut self, now: Instant, take: &mut impl FnMut(Path, &[u8])) -> io::Result<()> {
        let mut at = 0;
        while let Some([high, low]) = self.input.get(at..at + 2) {
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            if length > MAX_FRAME {
                return Err(io::ErrorKind::InvalidData.into());
            }
            let Some(frame) = self.input.get(at + 2..at + 2 + length) else { break };
            take(self.path, frame);
            self.heard = now;
            at += 2 + length;
        }
        self.input.drain(..at);
        Ok(())
    }

    fn write(&mut self) -> io::Result<()> {
        while !self.output.is_empty() {
            let (front, _) = self.output.as_slices();
            match self.stream.write(front) {
                Ok(count) => drop(self.output.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    struct Stage {
        poll: mio::Poll,
        tcp: Tcp,
        client: std::net::TcpStream,
    }

    fn stage() -> Stage {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        listener.set_nonblocking(true).expect("non-blocking");
        let client = std::net::TcpStream::connect(listener.local_addr().expect("bound")).expect("accepted");
        client.set_read_timeout(Some(Duration::from_secs(10))).expect("a limit");
        let poll = mio::Poll::new().expect("epoll");
        let registry = poll.registry().try_clone().expect("a registry");
        Stage { poll, tcp: Tcp::new(listener, registry).expect("registered"), client }
    }

    impl Stage {
        /// Waits for events until `until` holds for the frames so far.
        fn frames(&mut self, mut until: impl FnMut(&[(Path, Vec<u8>)], &Tcp) -> bool) -> Vec<(Path, Vec<u8>)> {
            let mut events = mio::Events::with_capacity(8);
            let mut frames = Vec::new();
            let deadline = Instant::now() + Duration::from_secs(10);
            loop {
                self.tcp.receive(Instant::now(), |path, frame| frames.push((path, frame.to_vec())));
                if until(&frames, &self.tcp) {
                    return frames;
                }
                assert!(Instant::now() < deadline, "{frames:?}");
                self.poll.poll(&mut events, Some(Duration::from_secs(1))).expect("events");
                events.iter().for_each(|event| self.tcp.handle_event(event.token(), event));
            }
        }
    }

    #[test]
    fn frames_come_and_go_whole_however_they_are_cut() {
        let mut stage = stage();
        for piece in [&[0, 3, b'a'][..], &[b'b', b'c', 0], &[1, b'd']] {
            stage.client.write_all(piece).expect("sent");
        }
        let frames = stage.frames(|frames, _| frames.len() == 2);
        assert_eq!(frames.iter().map(|(_, frame)| frame.as_slice()).collect::<Vec<_>>(), [&b"abc"[..], b"d"]);
        assert!(stage.tcp.send(frames[0].0, b"xyz"));
        stage.tcp.flush();
        let mut got = [0; 5];
        stage.client.read_exact(&mut got).expect("a frame");
        assert_eq!(got, *b"\0\x03xyz");
    }

    #[test]
    fn nonsense_and_slow_readers_do_no_harm() {
        let mut stage = stage();
        stage.client.write_all(&[0, 1, b'a']).expect("sent");
        let path = stage.frames(|frames, _| frames.len() == 1)[0].0;
        let taken = (0..10_000).take_while(|_| stage.tcp.send(path, &[7; 1200])).count();
        assert!((100..1000).contains(&taken), "{taken}");
        stage.client.write_all(&[0xff, 0xff]).expect("sent");
        stage.frames(|_, tcp| tcp.connections() == 0);
        assert!(!stage.tcp.send(path, b"gone"));
    }
}
