//! A DTLS client on a UDP socket of its own: datagrams in and out, nothing of TURN.

use std::collections::VecDeque;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dimpl::{Config, Dtls, DtlsCertificate, Output};

/// How long a handshake may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);

/// A socket with a session.
pub struct DtlsSocket {
    /// The socket below.
    pub socket: UdpSocket,
    /// The server's certificate, DER.
    pub certificate: Vec<u8>,
    engine: Dtls,
    timer: Option<Instant>,
    connected: bool,
    received: VecDeque<Vec<u8>>,
}

fn client() -> Dtls {
    let made = rcgen::generate_simple_self_signed(Vec::new()).expect("a certificate");
    let (certificate, private_key) = (made.cert.der().to_vec(), made.signing_key.serialize_der());
    let config = Arc::new(Config::default());
    let mut engine = Dtls::new_12(config, DtlsCertificate { certificate, private_key }, Instant::now());
    engine.set_active(true);
    engine.handle_timeout(Instant::now()).expect("nothing happened yet");
    engine
}

/// The hello that a client begins with, a new one each time.
pub fn first_hello() -> Vec<u8> {
    let mut buffer = vec![0; 2048];
    match client().poll_output(&mut buffer) {
        Output::Packet(packet) => packet.to_vec(),
        _ => unreachable!("a client speaks first"),
    }
}

/// The hello that answers a HelloVerifyRequest: the first one with the cookie.
pub fn second_hello(first: &[u8], challenge: &[u8]) -> Vec<u8> {
    let cookie = &challenge[28..];
    let session_id = 25 + 2 + 32;
    let at = session_id + 1 + usize::from(first[session_id]);
    let mut hello = [&first[..at], &[cookie.len() as u8], cookie, &first[at + 1..]].concat();
    let grown = cookie.len() as u16;
    // Record number and message number 1; lengths of record, message and fragment (behind 0 of 24 bits).
    (hello[10], hello[18]) = (1, 1);
    for place in [11, 15, 23] {
        let length = u16::from_be_bytes([hello[place], hello[place + 1]]) + grown;
        hello[place..place + 2].copy_from_slice(&length.to_be_bytes());
    }
    hello
}

impl DtlsSocket {
    /// Shakes hands with a server.
    pub fn connect(server: SocketAddr) -> Self {
        let socket = UdpSocket::bind((server.ip(), 0)).expect("a free port");
        socket.connect(server).expect("a local address");
        Self::on(socket).expect("a handshake in time")
    }

    /// Shakes hands over a connected socket; `None`: there is no answer, or a bad one.
    pub fn on(socket: UdpSocket) -> Option<Self> {
        let (certificate, timer, received) = (Vec::new(), None, VecDeque::new());
        let mut client = Self { socket, certificate, engine: client(), timer, connected: false, received };
        client.drain();
        let deadline = Instant::now() + PATIENCE;
        while !client.connected {
            client.step(deadline)?;
        }
        Some(client)
    }

    /// Encrypts and sends a datagram.
    pub fn send(&mut self, bytes: &[u8]) {
        self.engine.send_application_data(bytes).expect("the session lives");
        self.drain();
    }

    /// The next datagram; `None`: nothing came in time, or the session is over.
    pub fn receive(&mut self, patience: Duration) -> Option<Vec<u8>> {
        let deadline = Instant::now() + patience;
        while self.received.is_empty() {
            self.step(deadline)?;
        }
        self.received.pop_front()
    }

    /// Says good-bye.
    pub fn close(&mut self) {
        self.engine.close().expect("the session lives");
        self.drain();
    }

    /// Waits for a packet or a timer.
    fn step(&mut self, deadline: Instant) -> Option<()> {
        let now = Instant::now();
        let until = self.timer.map_or(deadline, |timer| timer.min(deadline));
        if now >= deadline {
            return None;
        }
        let wait = until.saturating_duration_since(now).max(Duration::from_millis(1));
        self.socket.set_read_timeout(Some(wait)).expect("not zero");
        let mut datagram = [0; 65_536];
        let length = self.socket.recv(&mut datagram);
        self.engine.handle_timeout(Instant::now()).ok()?;
        if let Ok(length) = length {
            self.engine.handle_packet(&datagram[..length]).ok()?;
        }
        self.drain();
        Some(())
    }

    fn drain(&mut self) {
        let mut buffer = vec![0; 65_536];
        loop {
            match self.engine.poll_output(&mut buffer) {
                // Refused by a server that has gone: seen when nothing comes.
                Output::Packet(packet) => drop(self.socket.send(packet)),
                Output::ApplicationData(bytes) => self.received.push_back(bytes.to_vec()),
                Output::PeerCert(bytes) => self.certificate = bytes.to_vec(),
                Output::Connected => self.connected = true,
                Output::Timeout(at) => {
                    self.timer = Some(at);
                    return;
                }
                _ => {}
            }
        }
    }
}
