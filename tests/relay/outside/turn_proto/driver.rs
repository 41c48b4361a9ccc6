//! Sockets and time for turn-client-proto.

use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use turn_client_proto::api::{Transmit, TurnConfig, TurnEvent, TurnPeerData, TurnPollRet, TurnRecvRet};
use turn_client_proto::client::TurnClient;
use turn_client_proto::prelude::TurnClientApi as _;
use turn_client_proto::stun;
use turn_client_proto::tcp::TurnClientTcp;
use turn_client_proto::udp::TurnClientUdp;
use turn_types::TransportType;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// How the relay is reached.
#[derive(Debug, Clone, Copy)]
pub(in super::super) enum Kind {
    Udp,
    Tcp,
}

enum Way {
    Udp(UdpSocket),
    Tcp(TcpStream),
}

/// An ICMP message that the relay passed on: peer, type, code, data.
pub(super) type Icmp = (SocketAddr, u8, u8, u32);

/// A client, its socket and what came for it.
pub(super) struct Driver {
    client: TurnClient,
    way: Way,
    started: Instant,
    data: VecDeque<(SocketAddr, Vec<u8>)>,
    icmp: VecDeque<Icmp>,
    ignored: VecDeque<Vec<u8>>,
    closed: bool,
    /// Every message that was sent.
    pub(super) said: Vec<Vec<u8>>,
}

impl Driver {
    /// Begins to allocate.
    pub(super) fn start(server: SocketAddr, kind: Kind, config: TurnConfig) -> Self {
        let tick = Some(Duration::from_millis(10));
        let (way, client) = match kind {
            Kind::Udp => {
                let socket = UdpSocket::bind((server.ip(), 0)).expect("a free port");
                socket.connect(server).expect("a local address");
                socket.set_read_timeout(tick).expect("not zero");
                let local = socket.local_addr().expect("bound");
                (Way::Udp(socket), TurnClient::from(TurnClientUdp::allocate(local, server, config)))
            }
            Kind::Tcp => {
                let stream = TcpStream::connect(server).expect("a listener");
                stream.set_read_timeout(tick).expect("not zero");
                let local = stream.local_addr().expect("bound");
                (Way::Tcp(stream), TurnClient::from(TurnClientTcp::allocate(local, server, config)))
            }
        };
        Self {
            client,
            way,
            started: Instant::now(),
            data: VecDeque::new(),
            icmp: VecDeque::new(),
            ignored: VecDeque::new(),
            closed: false,
            said: Vec::new(),
        }
    }

    fn now(&self) -> stun::Instant {
        stun::Instant::from_nanos(self.started.elapsed().as_nanos() as i64)
    }

    fn write(&mut self, bytes: &[u8]) {
        self.said.push(bytes.to_vec());
        match &mut self.way {
            Way::Udp(socket) => drop(socket.send(bytes).expect("sent")),
            Way::Tcp(stream) => stream.write_all(bytes).expect("sent"),
        }
    }

    fn keep(&mut self, data: &TurnPeerData<impl AsRef<[u8]> + std::fmt::Debug>) {
        self.data.push_back((data.peer, data.data().to_vec()));
    }

    /// One round: time, what is to be sent, what has come.
    fn turn(&mut self) {
        let now = self.now();
        self.closed |= matches!(self.client.poll(now), TurnPollRet::Closed);
        while let Some(transmit) = self.client.poll_transmit(now) {
            self.write(&transmit.data);
        }
        let mut bytes = vec![0; 65_536];
        let read = match &mut self.way {
            Way::Udp(socket) => socket.recv(&mut bytes),
            Way::Tcp(stream) => stream.read(&mut bytes),
        };
        // Nothing in this tick.
        let Ok(length) = read else { return };
        bytes.truncate(length);
        let transport = match self.way {
            Way::Udp(_) => TransportType::Udp,
            Way::Tcp(_) => TransportType::Tcp,
        };
        let transmit = Transmit::new(bytes, transport, self.client.remote_addr(), self.client.local_addr());
        match self.client.recv(transmit, self.now()) {
            TurnRecvRet::Handled => {}
            TurnRecvRet::Ignored(transmit) => self.ignored.push_back(transmit.data),
            TurnRecvRet::PeerData(data) => self.keep(&data),
            TurnRecvRet::PeerIcmp { peer, icmp_type, icmp_code, icmp_data, .. } => {
                self.icmp.push_back((peer, icmp_type, icmp_code, icmp_data));
            }
        }
        while let Some(data) = self.client.poll_recv(self.now()) {
            self.keep(&data);
        }
    }

    /// Goes on until there is something.
    fn until<T>(&mut self, what: &str, mut look: impl FnMut(&mut Self) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = look(self) {
                return found;
            }
            assert!(Instant::now() < deadline, "no {what} in time; ignored: {:02x?}", self.ignored);
            self.turn();
        }
    }

    /// The next event.
    pub(super) fn event(&mut self) -> TurnEvent {
        self.until("event", |driver| driver.client.poll_event())
    }

    /// The next data from a peer.
    pub(super) fn receive(&mut self) -> (SocketAddr, Vec<u8>) {
        self.until("data", |driver| driver.data.pop_front())
    }

    /// The next error of the network: peer, type, code, data.
    pub(super) fn icmp(&mut self) -> Icmp {
        self.until("ICMP", |driver| driver.icmp.pop_front())
    }

    /// The next message that the client makes nothing of.
    pub(super) fn ignored(&mut self) -> Vec<u8> {
        self.until("message that is ignored", |driver| driver.ignored.pop_front())
    }

    /// Has a permission for an address.
    pub(super) fn permit(&mut self, peer: IpAddr) {
        self.client.create_permission(TransportType::Udp, peer, self.now()).expect("an allocation");
        let event = self.event();
        assert!(matches!(event, TurnEvent::PermissionCreated(_, ip) if ip == peer), "{event:?}");
    }

    /// Has a channel to a peer.
    pub(super) fn bind(&mut self, peer: SocketAddr) {
        self.client.bind_channel(TransportType::Udp, peer, self.now()).expect("an allocation");
        let mut event = self.event();
        // A channel brings a permission.
        if matches!(event, TurnEvent::PermissionCreated(..)) {
            event = self.event();
        }
        assert!(matches!(event, TurnEvent::ChannelCreated(_, bound) if bound == peer), "{event:?}");
    }

    /// Sends over the channel if there is one.
    pub(super) fn send(&mut self, peer: SocketAddr, data: &[u8]) {
        let transmit = self.client.send_to(TransportType::Udp, peer, data, self.now()).expect("a permission");
        let bytes = transmit.expect("something to send").build();
        self.write(&bytes.data);
    }

    /// Ends the allocation, as a good client does, and waits until the relay has answered.
    pub(super) fn delete(&mut self) {
        self.client.delete(self.now()).expect("an allocation");
        self.until("end", |driver| driver.closed.then_some(()));
    }
}
