//! A call through the relay under test: two clients of it, a message each way over both relayed addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use service::anybody::Anybody;
use stun_types::attribute::{AttributeWrite, ErrorCode, Nonce, Realm, Username};
use stun_types::message::{
    IntegrityAlgorithm, LongTermKeyCredentials, Message, MessageClass, MessageIntegrityCredentials, MessageType,
    MessageWrite, MessageWriteExt, MessageWriteVec, Method, TransactionId,
};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;
use turn_types::AddressFamily;
use turn_types::attribute::{
    ChannelNumber, Lifetime, RequestedAddressFamily, RequestedTransport, XorPeerAddress, XorRelayedAddress,
};
use turn_types::message::{ALLOCATE, CHANNEL_BIND, REFRESH};

use super::PATIENCE;
use crate::signalling::ice::Credentials;

/// What each client says to the other one.
const WORDS: &[u8] = b"turn-server doctor";
/// The channel that both bind.
const CHANNEL: u16 = 0x4000;

/// How the clients reach the relay.
#[derive(Debug, Clone, Copy)]
pub(super) enum Over<'a> {
    Udp,
    Tcp,
    /// The certificate must be the one of this file, if there is one.
    Tls(Option<&'a Path>),
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

enum Link {
    Datagrams(UdpSocket),
    Stream(Box<dyn Stream>),
}

/// One side of the call.
struct Side {
    link: Link,
    credentials: Credentials,
    realm: String,
    nonce: String,
    relayed: SocketAddr,
}

/// What kind of call the relay can carry.
#[derive(Clone, Copy)]
pub(super) struct Kind {
    /// The family to ask for, where the relay has not that of who asks for none.
    pub(super) family: Option<AddressFamily>,
    /// Whether clients may reach each other.
    pub(super) meet: bool,
}

/// Makes the call. Whatever becomes of it, both sides leave.
pub(super) async fn call(
    at: SocketAddr,
    over: Over<'_>,
    credentials: &Credentials,
    kind: Kind,
) -> Result<String, String> {
    let mut first = in_time(Side::allocate(at, over, credentials, kind.family)).await?;
    let result = match in_time(Side::allocate(at, over, credentials, kind.family)).await {
        Ok(mut second) => {
            let met = if kind.meet { in_time(meet(&mut first, &mut second)).await } else { Ok(()) };
            met.and(in_time(second.leave()).await)
        }
        Err(why) => Err(why),
    };
    let relayed = first.relayed.ip();
    let left = in_time(first.leave()).await;
    result.and(left)?;
    Ok(match kind.meet {
        true => format!("relays both ways, by {relayed}"),
        false => format!("allocates at {relayed}; nothing sent, as peers = \"media-only\""),
    })
}

async fn in_time<T>(work: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    timeout(PATIENCE, work).await.unwrap_or_else(|_| Err(format!("no answer in {} s", PATIENCE.as_secs())))
}

async fn meet(first: &mut Side, second: &mut Side) -> Result<(), String> {
    first.bind(second.relayed).await?;
    second.bind(first.relayed).await?;
    first.say().await?;
    second.hear().await?;
    second.say().await?;
    first.hear().await
}

async fn link(at: SocketAddr, over: Over<'_>) -> Result<Link, String> {
    let text = |error: std::io::Error| error.to_string();
    if let Over::Udp = over {
        let local: IpAddr = if at.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let socket = UdpSocket::bind((local, 0)).await.map_err(text)?;
        socket.connect(at).await.map_err(text)?;
        return Ok(Link::Datagrams(socket));
    }
    let stream = TcpStream::connect(at).await.map_err(text)?;
    let Over::Tls(file) = over else { return Ok(Link::Stream(Box::new(stream))) };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = Arc::new(Anybody::new(&provider));
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(client));
    let stream = connector.connect(at.ip().into(), stream).await.map_err(text)?;
    let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    if let Some(file) = file {
        let wanted = CertificateDer::from_pem_file(file).map_err(|error| format!("{}: {error}", file.display()))?;
        if shown != Some(&wanted) {
            return Err(format!("shows another certificate than {}: was it reloaded?", file.display()));
        }
    }
    Ok(Link::Stream(Box::new(stream)))
}

impl Side {
    async fn allocate(
        at: SocketAddr,
        over: Over<'_>,
        credentials: &Credentials,
        family: Option<AddressFamily>,
    ) -> Result<Self, String> {
        let link = link(at, over).await?;
        let (realm, nonce) = (String::new(), String::new());
        let mut side = Self { link, credentials: credentials.clone(), realm, nonce, relayed: at };
        let transport = RequestedTransport::new(RequestedTransport::UDP);
        let challenge = side.ask(ALLOCATE, TransactionId::generate(), &[&transport]).await?;
        let challenge = Message::from_bytes(&challenge).map_err(|error| error.to_string())?;
        side.realm = challenge.attribute::<Realm>().map_err(|_| "no realm in the answer")?.realm().into();
        side.nonce = challenge.attribute::<Nonce>().map_err(|_| "no nonce in the answer")?.nonce().into();
        let family = family.map(RequestedAddressFamily::new);
        let mut wishes: Vec<&dyn AttributeWrite> = vec![&transport];
        wishes.extend(family.iter().map(|family| family as &dyn AttributeWrite));
        let answer = side.demand(ALLOCATE, TransactionId::generate(), &wishes).await?;
        let answer = Message::from_bytes(&answer).map_err(|error| error.to_string())?;
        let relayed = answer.attribute::<XorRelayedAddress>().map_err(|_| "no relayed address in the answer")?;
        side.relayed = relayed.addr(answer.transaction_id());
        Ok(side)
    }

    async fn bind(&mut self, peer: SocketAddr) -> Result<(), String> {
        let transaction = TransactionId::generate();
        let (channel, peer) = (ChannelNumber::new(CHANNEL), XorPeerAddress::new(peer, transaction));
        self.demand(CHANNEL_BIND, transaction, &[&channel, &peer]).await.map(drop)
    }

    async fn leave(mut self) -> Result<(), String> {
        self.demand(REFRESH, TransactionId::generate(), &[&Lifetime::new(0)]).await.map(drop)
    }

    async fn say(&mut self) -> Result<(), String> {
        let mut bytes = CHANNEL.to_be_bytes().to_vec();
        bytes.extend((WORDS.len() as u16).to_be_bytes());
        bytes.extend(WORDS);
        // Padding, which datagrams may have and streams must.
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        self.send(&bytes).await
    }

    async fn hear(&mut self) -> Result<(), String> {
        loop {
            let bytes = self.receive().await?;
            if bytes.starts_with(&CHANNEL.to_be_bytes()) {
                let same = bytes.get(4..4 + WORDS.len()) == Some(WORDS);
                return if same { Ok(()) } else { Err("other bytes arrive than were sent".into()) };
            }
        }
    }

    /// Asks for something that must be granted.
    async fn demand(
        &mut self,
        method: Method,
        transaction: TransactionId,
        attributes: &[&dyn AttributeWrite],
    ) -> Result<Vec<u8>, String> {
        let answer = self.ask(method, transaction, attributes).await?;
        let message = Message::from_bytes(&answer).map_err(|error| error.to_string())?;
        if message.class() == MessageClass::Success {
            return Ok(answer);
        }
        let error = message.attribute::<ErrorCode>().map_err(|_| "an error without a code")?;
        let name = match method {
            ALLOCATE => "an allocation",
            CHANNEL_BIND => "a channel",
            _ => "a refresh",
        };
        Err(format!("{name} is refused: {} {}", error.code(), error.reason()))
    }

    async fn ask(
        &mut self,
        method: Method,
        transaction: TransactionId,
        attributes: &[&dyn AttributeWrite],
    ) -> Result<Vec<u8>, String> {
        let request = self.request(method, transaction, attributes).map_err(|error| error.to_string())?;
        self.send(&request).await?;
        loop {
            let answer = match &self.link {
                // UDP may lose a packet on its way, also on a healthy host.
                Link::Datagrams(_) => match timeout(PATIENCE / 4, self.receive()).await {
                    Ok(answer) => answer?,
                    Err(_) => {
                        self.send(&request).await?;
                        continue;
                    }
                },
                Link::Stream(_) => self.receive().await?,
            };
            if answer.get(4..20) == request.get(4..20) {
                return Ok(answer);
            }
        }
    }

    fn request(
        &self,
        method: Method,
        transaction: TransactionId,
        attributes: &[&dyn AttributeWrite],
    ) -> Result<Vec<u8>, stun_types::message::StunWriteError> {
        let kind = MessageType::from_class_method(MessageClass::Request, method);
        let mut write = Message::builder(kind, transaction, MessageWriteVec::new());
        for attribute in attributes {
            write.add_attribute(*attribute)?;
        }
        let texts = (Username::new(&self.credentials.username), Realm::new(&self.realm), Nonce::new(&self.nonce));
        if let (Ok(username), Ok(realm), Ok(nonce)) = texts
            && !self.nonce.is_empty()
        {
            write.add_attribute(&username)?;
            write.add_attribute(&realm)?;
            write.add_attribute(&nonce)?;
            let Credentials { username, password } = self.credentials.clone();
            let key =
                MessageIntegrityCredentials::from(LongTermKeyCredentials::new(username, password, self.realm.clone()));
            write.add_message_integrity(&key, IntegrityAlgorithm::Sha1)?;
        }
        Ok(write.finish())
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        match &mut self.link {
            Link::Datagrams(socket) => socket.send(bytes).await.map(drop),
            Link::Stream(stream) => stream.write_all(bytes).await,
        }
        .map_err(|error| error.to_string())
    }

    async fn receive(&mut self) -> Result<Vec<u8>, String> {
        let received = match &mut self.link {
            Link::Datagrams(socket) => {
                let mut bytes = vec![0; 2048];
                socket.recv(&mut bytes).await.map(|length| {
                    bytes.truncate(length);
                    bytes
                })
            }
            Link::Stream(stream) => receive_frame(stream).await,
        };
        received.map_err(|error| error.to_string())
    }
}

/// The next STUN message, or ChannelData with its padding.
async fn receive_frame(stream: &mut Box<dyn Stream>) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![0; 4];
    stream.read_exact(&mut bytes).await?;
    let length = usize::from(u16::from_be_bytes([bytes[2], bytes[3]]));
    let is_stun = bytes[0] < 4;
    bytes.resize(if is_stun { 20 + length } else { 4 + length.next_multiple_of(4) }, 0);
    stream.read_exact(&mut bytes[4..]).await?;
    Ok(bytes)
}
