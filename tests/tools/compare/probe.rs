//! A client that sends exactly the bytes that a row wants, and reads answers without believing them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use stun_types::attribute::{AttributeType, RawAttribute};
use stun_types::message::{
    IntegrityAlgorithm, LongTermKeyCredentials, Message, MessageClass, MessageIntegrityCredentials, MessageType,
    MessageWrite, MessageWriteExt, MessageWriteVec, Method, TransactionId,
};

/// How long an answer may take: both servers answer within a millisecond.
const PATIENCE: Duration = Duration::from_millis(400);
const COOKIE: u32 = 0x2112_A442;

pub(crate) const BINDING: u16 = 1;
pub(crate) const ALLOCATE: u16 = 3;
pub(crate) const REFRESH: u16 = 4;
pub(crate) const SEND: u16 = 6;
pub(crate) const CREATE_PERMISSION: u16 = 8;
pub(crate) const CHANNEL_BIND: u16 = 9;

pub(crate) const USERNAME: u16 = 0x0006;
pub(crate) const CHANNEL_NUMBER: u16 = 0x000C;
pub(crate) const LIFETIME: u16 = 0x000D;
pub(crate) const PEER: u16 = 0x0012;
pub(crate) const DATA: u16 = 0x0013;
pub(crate) const REALM: u16 = 0x0014;
pub(crate) const NONCE: u16 = 0x0015;
pub(crate) const RELAYED: u16 = 0x0016;
pub(crate) const FAMILY: u16 = 0x0017;
pub(crate) const EVEN_PORT: u16 = 0x0018;
pub(crate) const TRANSPORT: u16 = 0x0019;
pub(crate) const DONT_FRAGMENT: u16 = 0x001A;
pub(crate) const PASSWORD_ALGORITHM: u16 = 0x001D;
pub(crate) const MAPPED: u16 = 0x0020;
pub(crate) const TOKEN: u16 = 0x0022;
pub(crate) const ADDITIONAL_FAMILY: u16 = 0x8000;
pub(crate) const PASSWORD_ALGORITHMS: u16 = 0x8002;
pub(crate) const ICMP: u16 = 0x8004;

/// An attribute of a request.
#[derive(Clone)]
pub(crate) enum Attr {
    Raw(u16, Vec<u8>),
    /// XOR-PEER-ADDRESS
    Peer(SocketAddr),
}

pub(crate) fn raw(kind: u16, value: &[u8]) -> Attr {
    Attr::Raw(kind, value.to_vec())
}

pub(crate) fn udp_transport() -> Attr {
    raw(TRANSPORT, &[17, 0, 0, 0])
}

pub(crate) fn family(number: u8) -> Attr {
    raw(FAMILY, &[number, 0, 0, 0])
}

/// What came back.
#[derive(Clone)]
pub(crate) struct Answer(pub(crate) Vec<u8>);

impl Answer {
    pub(crate) fn attributes(&self) -> Vec<(u16, Vec<u8>)> {
        let mut found = Vec::new();
        let mut rest = self.0.get(20..).unwrap_or_default();
        while let [a, b, c, d, more @ ..] = rest {
            let length = usize::from(u16::from_be_bytes([*c, *d]));
            let Some(value) = more.get(..length) else { break };
            found.push((u16::from_be_bytes([*a, *b]), value.to_vec()));
            rest = more.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
        found
    }

    pub(crate) fn get(&self, kind: u16) -> Option<Vec<u8>> {
        self.attributes().into_iter().find(|(found, _)| *found == kind).map(|(_, value)| value)
    }

    pub(crate) fn text(&self, kind: u16) -> String {
        self.get(kind).map_or(String::new(), |value| String::from_utf8_lossy(&value).into_owned())
    }

    /// 0 for success.
    pub(crate) fn code(&self) -> u16 {
        match (self.0.first().map(|byte| byte & 1), self.get(9)) {
            (_, Some(error)) if error.len() >= 4 => u16::from(error[2] & 7) * 100 + u16::from(error[3]),
            _ => 0,
        }
    }

    /// The addresses of all attributes of this kind, which are XORed.
    pub(crate) fn addresses(&self, kind: u16) -> Vec<SocketAddr> {
        let of_kind = self.attributes().into_iter().filter(|(found, _)| *found == kind);
        of_kind.filter_map(|(_, value)| self.unmask(&value)).collect()
    }

    fn unmask(&self, value: &[u8]) -> Option<SocketAddr> {
        let mask = self.0.get(4..20)?;
        let port = u16::from_be_bytes([value.get(2)? ^ mask[0], value.get(3)? ^ mask[1]]);
        let bytes: Vec<u8> = value[4..].iter().zip(mask).map(|(byte, mask)| byte ^ mask).collect();
        let ip = match bytes.len() {
            4 => IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?)),
            _ => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?)),
        };
        Some(SocketAddr::new(ip, port))
    }
}

fn mask(peer: SocketAddr, transaction: u128) -> Vec<u8> {
    let cookie = COOKIE.to_be_bytes();
    let mask: Vec<u8> = cookie.into_iter().chain(transaction.to_be_bytes()[4..].iter().copied()).collect();
    let (family, ip) = match peer.ip() {
        IpAddr::V4(ip) => (1, ip.octets().to_vec()),
        IpAddr::V6(ip) => (2, ip.octets().to_vec()),
    };
    let port = (peer.port() ^ (COOKIE >> 16) as u16).to_be_bytes();
    let mut value = vec![0, family, port[0], port[1]];
    value.extend(ip.iter().zip(mask).map(|(byte, mask)| byte ^ mask));
    value
}

/// A message with one more attribute behind all others, which nobody signed.
pub(crate) fn appended(mut message: Vec<u8>, kind: u16, value: &[u8]) -> Vec<u8> {
    message.extend([&kind.to_be_bytes()[..], &(value.len() as u16).to_be_bytes(), value].concat());
    let length = (message.len() - 20) as u16;
    message[2..4].copy_from_slice(&length.to_be_bytes());
    message
}

/// One 5-tuple over UDP.
pub(crate) struct Probe {
    socket: UdpSocket,
    pub(crate) user: String,
    pub(crate) password: String,
    pub(crate) realm: String,
    pub(crate) nonce: String,
    /// PASSWORD-ALGORITHMS of the server, if it offers any.
    pub(crate) offered: Option<Vec<u8>>,
    /// The relayed addresses, once allocated.
    pub(crate) relayed: Vec<SocketAddr>,
}

impl Probe {
    pub(crate) fn new(server: SocketAddr, user: &str, password: &str) -> Self {
        let socket = UdpSocket::bind((server.ip(), 0)).expect("a free port");
        socket.connect(server).expect("a local address");
        Self {
            socket,
            user: user.into(),
            password: password.into(),
            realm: String::new(),
            nonce: String::new(),
            offered: None,
            relayed: Vec::new(),
        }
    }

    pub(crate) fn send(&self, bytes: &[u8]) {
        // An ICMP error of before may show here.
        let _ = self.socket.send(bytes).or_else(|_| self.socket.send(bytes));
    }

    /// The next datagram.
    pub(crate) fn receive(&self) -> Option<Vec<u8>> {
        self.receive_within(PATIENCE)
    }

    pub(crate) fn receive_within(&self, time: Duration) -> Option<Vec<u8>> {
        self.socket.set_read_timeout(Some(time)).expect("not zero");
        let mut bytes = vec![0; 65_536];
        let length = self.socket.recv(&mut bytes).ok()?;
        bytes.truncate(length);
        Some(bytes)
    }

    /// The answer to a request; data may come between.
    pub(crate) fn ask(&self, request: &[u8]) -> Option<Answer> {
        self.send(request);
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(bytes) = self.receive()
                && bytes.get(8..20) == request.get(8..20)
            {
                return Some(Answer(bytes));
            }
        }
        None
    }

    /// A message with these attributes; signed where there is a nonce and `signed` says how.
    pub(crate) fn build(
        &self,
        class: MessageClass,
        method: u16,
        attributes: &[Attr],
        signed: Option<IntegrityAlgorithm>,
    ) -> Vec<u8> {
        let kind = MessageType::from_class_method(class, Method::new(method));
        let transaction = TransactionId::generate();
        let number: u128 = transaction.into();
        let mut write = Message::builder(kind, transaction, MessageWriteVec::new());
        let mut add = |kind: u16, value: &[u8]| {
            write.add_attribute(&RawAttribute::new(AttributeType::new(kind), value)).expect("fits");
        };
        for attribute in attributes {
            match attribute {
                Attr::Raw(kind, value) => add(*kind, value),
                Attr::Peer(peer) => add(PEER, &mask(*peer, number)),
            }
        }
        if let Some(algorithm) = signed {
            add(USERNAME, self.user.as_bytes());
            add(REALM, self.realm.as_bytes());
            add(NONCE, self.nonce.as_bytes());
            if algorithm == IntegrityAlgorithm::Sha256 {
                add(PASSWORD_ALGORITHMS, self.offered.as_deref().unwrap_or_default());
                add(PASSWORD_ALGORITHM, &[0, 2, 0, 0]);
            }
            let key = LongTermKeyCredentials::new(self.user.clone(), self.password.clone(), self.realm.clone());
            write.add_message_integrity(&MessageIntegrityCredentials::from(key), algorithm).expect("fits");
        }
        write.finish()
    }

    /// A request without integrity.
    pub(crate) fn bare(&self, method: u16, attributes: &[Attr]) -> Vec<u8> {
        self.build(MessageClass::Request, method, attributes, None)
    }

    /// A signed request.
    pub(crate) fn signed(&self, method: u16, attributes: &[Attr]) -> Vec<u8> {
        self.build(MessageClass::Request, method, attributes, Some(IntegrityAlgorithm::Sha1))
    }

    /// Learns realm and nonce.
    pub(crate) fn greet(&mut self) -> Option<Answer> {
        let answer = self.ask(&self.bare(ALLOCATE, &[udp_transport()]))?;
        (self.realm, self.nonce) = (answer.text(REALM), answer.text(NONCE));
        self.offered = answer.get(PASSWORD_ALGORITHMS);
        Some(answer)
    }

    /// A signed request's answer.
    pub(crate) fn request(&self, method: u16, attributes: &[Attr]) -> Option<Answer> {
        self.ask(&self.signed(method, attributes))
    }

    /// A signed request's error code, `none` without an answer.
    pub(crate) fn code(&self, method: u16, attributes: &[Attr]) -> String {
        self.request(method, attributes).map_or("none".into(), |answer| answer.code().to_string())
    }

    /// Greets and allocates with more attributes.
    pub(crate) fn allocate(&mut self, more: &[Attr]) -> Option<Answer> {
        self.greet()?;
        let answer = self.request(ALLOCATE, &[&[udp_transport()], more].concat())?;
        self.relayed = answer.addresses(RELAYED);
        Some(answer)
    }

    pub(crate) fn send_to(&self, peer: SocketAddr, data: &[u8]) {
        let bytes = self.build(MessageClass::Indication, SEND, &[Attr::Peer(peer), raw(DATA, data)], None);
        self.send(&bytes);
    }

    pub(crate) fn channel(&self, number: u16, data: &[u8]) {
        self.send(&[&number.to_be_bytes()[..], &(data.len() as u16).to_be_bytes(), data].concat());
    }
}
