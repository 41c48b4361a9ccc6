//! A TURN client of a few lines that says exactly what a test wants it to say. Written with the codec, not with our
//! server's code.

use std::io::{Read, Write as _};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, ClientConnection, StreamOwned};
use stun_types::attribute::{
    Attribute as _, AttributeStaticType as _, AttributeType, AttributeWrite, ErrorCode, Nonce, RawAttribute, Realm,
    Username, XorMappedAddress,
};
use stun_types::message::{
    BINDING, IntegrityAlgorithm, LongTermKeyCredentials, Message, MessageClass, MessageIntegrityCredentials,
    MessageType, MessageWrite, MessageWriteExt, MessageWriteVec, Method, TransactionId,
};
use turn_types::attribute::{ChannelNumber, Data, Lifetime, RequestedTransport, XorPeerAddress, XorRelayedAddress};
use turn_types::message::{ALLOCATE, CHANNEL_BIND, CREATE_PERMISSION, REFRESH, SEND};

use crate::dtls::DtlsSocket;
use crate::pki::Pki;

/// How long an answer may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

enum Way {
    Udp(UdpSocket),
    Tcp(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
    Dtls(Box<DtlsSocket>, Duration),
}

/// A client with one 5-tuple.
pub struct TurnClient {
    way: Way,
    name: String,
    password: String,
    realm: String,
    nonce: String,
}

impl TurnClient {
    /// Over UDP.
    pub fn udp(server: SocketAddr, name: &str, password: &str) -> Self {
        Self::over_udp(UdpSocket::bind((server.ip(), 0)).expect("a free port"), server, name, password)
    }

    /// Over a UDP socket that is there already.
    pub fn over_udp(socket: UdpSocket, server: SocketAddr, name: &str, password: &str) -> Self {
        socket.connect(server).expect("a local address");
        socket.set_read_timeout(Some(PATIENCE)).expect("not zero");
        Self::over(Way::Udp(socket), name, password)
    }

    /// Over TCP.
    pub fn tcp(server: SocketAddr, name: &str, password: &str) -> Self {
        Self::over_tcp(TcpStream::connect(server).expect("a listener"), name, password)
    }

    /// Over a connection that is there already.
    pub fn over_tcp(stream: TcpStream, name: &str, password: &str) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).expect("not zero");
        Self::over(Way::Tcp(stream), name, password)
    }

    /// Over TLS, to a server whose certificate is this authority's.
    pub fn tls(server: SocketAddr, pki: &Pki, name: &str, password: &str) -> Self {
        Self::over_tls(TcpStream::connect(server).expect("a listener"), pki.client(&[]), name, password)
    }

    /// Over TLS through a connection that is there already; the handshake is over when this returns.
    pub fn over_tls(mut stream: TcpStream, client: Arc<ClientConfig>, name: &str, password: &str) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).expect("not zero");
        let server = stream.peer_addr().expect("connected").ip().into();
        let mut tls = ClientConnection::new(client, server).expect("a good configuration");
        while tls.is_handshaking() {
            tls.complete_io(&mut stream).expect("a handshake");
        }
        Self::over(Way::Tls(Box::new(StreamOwned::new(tls, stream))), name, password)
    }

    /// Over DTLS, whoever the server is.
    pub fn dtls(server: SocketAddr, name: &str, password: &str) -> Self {
        Self::over_dtls(DtlsSocket::connect(server), name, password)
    }

    /// Over a DTLS session that is there already.
    pub fn over_dtls(socket: DtlsSocket, name: &str, password: &str) -> Self {
        Self::over(Way::Dtls(Box::new(socket), PATIENCE), name, password)
    }

    /// What TLS agreed on, if it is used.
    pub fn alpn(&self) -> Option<&[u8]> {
        match &self.way {
            Way::Tls(tls) => tls.conn.alpn_protocol(),
            Way::Udp(_) | Way::Tcp(_) | Way::Dtls(..) => None,
        }
    }

    fn over(way: Way, name: &str, password: &str) -> Self {
        Self { way, name: name.into(), password: password.into(), realm: String::new(), nonce: String::new() }
    }

    /// Our address, as the server sees it on loopback.
    pub fn local_addr(&self) -> SocketAddr {
        match &self.way {
            Way::Udp(socket) => socket.local_addr(),
            Way::Tcp(stream) => stream.local_addr(),
            Way::Tls(tls) => tls.sock.local_addr(),
            Way::Dtls(dtls, _) => dtls.socket.local_addr(),
        }
        .expect("bound")
    }

    /// Sends bytes as they are.
    pub fn send_raw(&mut self, bytes: &[u8]) {
        match &mut self.way {
            Way::Udp(socket) => drop(socket.send(bytes).expect("sent")),
            Way::Tcp(stream) => stream.write_all(bytes).expect("sent"),
            Way::Tls(tls) => tls.write_all(bytes).expect("sent"),
            Way::Dtls(dtls, _) => dtls.send(bytes),
        }
    }

    /// The next datagram, or the next `STUN` message or ChannelData of the stream; `None`: nothing came in time.
    pub fn receive(&mut self) -> Option<Vec<u8>> {
        match &mut self.way {
            Way::Udp(socket) => {
                let mut bytes = vec![0; 65_536];
                let length = socket.recv(&mut bytes).ok()?;
                bytes.truncate(length);
                Some(bytes)
            }
            Way::Tcp(stream) => read_frame(stream),
            Way::Tls(tls) => read_frame(tls),
            Way::Dtls(dtls, patience) => dtls.receive(*patience),
        }
    }

    /// Whether nothing comes for `time`.
    pub fn is_silent_for(&mut self, time: Duration) -> bool {
        self.set_patience(time);
        let silent = self.receive().is_none();
        self.set_patience(PATIENCE);
        silent
    }

    fn set_patience(&mut self, time: Duration) {
        match &mut self.way {
            Way::Udp(socket) => socket.set_read_timeout(Some(time)),
            Way::Tcp(stream) => stream.set_read_timeout(Some(time)),
            Way::Tls(tls) => tls.sock.set_read_timeout(Some(time)),
            Way::Dtls(_, patience) => {
                *patience = time;
                Ok(())
            }
        }
        .expect("not zero");
    }

    fn exchange(&mut self, request: &[u8]) -> Vec<u8> {
        self.send_raw(request);
        loop {
            let answer = self.receive().expect("an answer in time");
            // Data may come between.
            if answer.get(4..20) == request.get(4..20) {
                return answer;
            }
        }
    }

    /// A Binding request: the address that the server sees. Also proves that everything sent before was looked at.
    pub fn binding(&mut self) -> SocketAddr {
        let request = Message::builder_request(BINDING, MessageWriteVec::new()).finish();
        let answer = self.exchange(&request);
        let message = Message::from_bytes(&answer).expect("a STUN message");
        message.attribute::<XorMappedAddress>().expect("an address").addr(message.transaction_id())
    }

    fn request(&mut self, transaction: TransactionId, method: Method, attributes: &[&dyn AttributeWrite]) -> Vec<u8> {
        let request = self.written(transaction, method, attributes);
        self.exchange(&request)
    }

    /// A request as it is sent.
    pub fn written(&self, transaction: TransactionId, method: Method, attributes: &[&dyn AttributeWrite]) -> Vec<u8> {
        let kind = MessageType::from_class_method(MessageClass::Request, method);
        let mut write = Message::builder(kind, transaction, MessageWriteVec::new());
        for attribute in attributes {
            write.add_attribute(*attribute).expect("fits");
        }
        if !self.nonce.is_empty() {
            write.add_attribute(&Username::new(&self.name).expect("short")).expect("fits");
            write.add_attribute(&Realm::new(&self.realm).expect("short")).expect("fits");
            write.add_attribute(&Nonce::new(&self.nonce).expect("short")).expect("fits");
            let key = LongTermKeyCredentials::new(self.name.clone(), self.password.clone(), self.realm.clone());
            let key = MessageIntegrityCredentials::from(key);
            write.add_message_integrity(&key, IntegrityAlgorithm::Sha1).expect("fits");
        }
        write.finish()
    }

    /// An Allocate request, with the challenge before it: the relayed address, or the error code.
    pub fn allocate(&mut self) -> Result<SocketAddr, u16> {
        self.allocate_with(&[]).map(|addresses| addresses[0])
    }

    /// An Allocate request with more attributes: the relayed addresses, or the error code.
    pub fn allocate_with(&mut self, more: &[&dyn AttributeWrite]) -> Result<Vec<SocketAddr>, u16> {
        let answer = self.ask_allocate(more);
        let message = Message::from_bytes(&answer).expect("a STUN message");
        let address = |raw| XorRelayedAddress::try_from(&raw).expect("an address").addr(message.transaction_id());
        let relayed = message.iter_attributes().filter(|(_, raw)| raw.get_type() == XorRelayedAddress::TYPE);
        match code(&message) {
            0 => Ok(relayed.map(|(_, raw)| address(raw)).collect()),
            code => Err(code),
        }
    }

    /// Gets realm and nonce.
    pub fn greet(&mut self) {
        self.nonce.clear();
        let transport = RequestedTransport::new(RequestedTransport::UDP);
        let challenge = self.ask(ALLOCATE, &[&transport]);
        let message = Message::from_bytes(&challenge).expect("a STUN message");
        self.realm = message.attribute::<Realm>().expect("a realm").realm().into();
        self.set_nonce(message.attribute::<Nonce>().expect("a nonce").nonce());
    }

    /// Takes another nonce.
    pub fn set_nonce(&mut self, nonce: &str) {
        self.nonce = nonce.into();
    }

    fn ask_allocate(&mut self, more: &[&dyn AttributeWrite]) -> Vec<u8> {
        self.greet();
        let transport = RequestedTransport::new(RequestedTransport::UDP);
        self.ask(ALLOCATE, &[&[&transport as &dyn AttributeWrite], more].concat())
    }

    /// An Allocate request that asks for a ticket (RFC 8016): the relayed address and the ticket.
    pub fn allocate_mobile(&mut self) -> (SocketAddr, Vec<u8>) {
        let kind = AttributeType::new(0x8030);
        let answer = self.ask_allocate(&[&RawAttribute::new(kind, &[])]);
        let message = Message::from_bytes(&answer).expect("a STUN message");
        let relayed = message.attribute::<XorRelayedAddress>().expect("an address").addr(message.transaction_id());
        (relayed, message.raw_attribute(kind).expect("a ticket").value.to_vec())
    }

    /// Any request, signed once there is a nonce: the whole answer.
    pub fn ask(&mut self, method: Method, attributes: &[&dyn AttributeWrite]) -> Vec<u8> {
        self.request(TransactionId::generate(), method, attributes)
    }

    /// The same with a transaction id that attributes were made for.
    pub fn ask_as(
        &mut self,
        transaction: TransactionId,
        method: Method,
        attributes: &[&dyn AttributeWrite],
    ) -> Vec<u8> {
        self.request(transaction, method, attributes)
    }

    /// The TLS stream, for whoever goes on without messages.
    pub fn into_tls(self) -> StreamOwned<ClientConnection, TcpStream> {
        match self.way {
            Way::Tls(tls) => *tls,
            _ => unreachable!("a client over TLS"),
        }
    }

    /// Its stream, for bytes that are no messages.
    pub fn into_stream(self) -> TcpStream {
        match self.way {
            Way::Tcp(stream) => stream,
            _ => unreachable!("a client over TCP"),
        }
    }

    /// A CreatePermission request: its error code, 0 for success.
    pub fn permit(&mut self, peer: SocketAddr) -> u16 {
        let transaction = TransactionId::generate();
        let answer = self.request(transaction, CREATE_PERMISSION, &[&XorPeerAddress::new(peer, transaction)]);
        code(&Message::from_bytes(&answer).expect("a STUN message"))
    }

    /// A ChannelBind request: its error code, 0 for success.
    pub fn bind(&mut self, number: u16, peer: SocketAddr) -> u16 {
        let transaction = TransactionId::generate();
        let peer = XorPeerAddress::new(peer, transaction);
        let answer = self.request(transaction, CHANNEL_BIND, &[&ChannelNumber::new(number), &peer]);
        code(&Message::from_bytes(&answer).expect("a STUN message"))
    }

    /// A Refresh request: its error code, 0 for success.
    pub fn refresh(&mut self, seconds: u32) -> u16 {
        let answer = self.request(TransactionId::generate(), REFRESH, &[&Lifetime::new(seconds)]);
        code(&Message::from_bytes(&answer).expect("a STUN message"))
    }

    /// A Send indication.
    pub fn send(&mut self, peer: SocketAddr, data: &[u8]) {
        self.send_with(peer, &[&Data::new(data)]);
    }

    /// A Send indication with these attributes beside the peer.
    pub fn send_with(&mut self, peer: SocketAddr, attributes: &[&dyn AttributeWrite]) {
        let mut write = Message::builder_indication(SEND, MessageWriteVec::new());
        let peer = XorPeerAddress::new(peer, write.transaction_id());
        write.add_attribute(&peer).expect("fits");
        attributes.iter().for_each(|attribute| write.add_attribute(*attribute).expect("fits"));
        self.send_raw(&write.finish());
    }

    /// ChannelData, padded where the stream needs it.
    pub fn send_channel(&mut self, number: u16, data: &[u8]) {
        let mut bytes = number.to_be_bytes().to_vec();
        bytes.extend((data.len() as u16).to_be_bytes());
        bytes.extend(data);
        if matches!(self.way, Way::Tcp(_) | Way::Tls(_)) {
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        self.send_raw(&bytes);
    }
}

fn read_frame(stream: &mut impl Read) -> Option<Vec<u8>> {
    let mut bytes = vec![0; 4];
    stream.read_exact(&mut bytes).ok()?;
    let length = usize::from(u16::from_be_bytes([bytes[2], bytes[3]]));
    let (whole, padded) = match bytes[0] {
        0..=3 => (20 + length, 20 + length),
        _ => (4 + length, 4 + length.next_multiple_of(4)),
    };
    bytes.resize(padded, 0);
    stream.read_exact(&mut bytes[4..]).ok()?;
    bytes.truncate(whole);
    Some(bytes)
}

fn code(message: &Message<'_>) -> u16 {
    if message.class() == MessageClass::Success {
        return 0;
    }
    message.attribute::<ErrorCode>().expect("an error code").code()
}
