//! Batched UDP for the workers: receive many datagrams at once (recvmmsg and GRO), send runs of them at once (GSO).
//!
//! Nothing here knows a protocol. The caller polls with mio (edge-triggered: receive until `WouldBlock`, or remember
//! that the socket is still ready) or looks now and then, pushes what it wants to send to a [`SendQueue`] and flushes once a loop.

mod batch;
mod errors;
mod queue;
mod sockopt;

use std::cell::Cell;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsFd as _;
use std::sync::Arc;

use quinn_udp::{Transmit, UdpSocketState};
use socket2::{Domain, Protocol, Socket, Type};

pub use batch::{Datagram, RecvBatch};
pub use errors::NetworkError;
pub use queue::{SendQueue, Sent};

/// Kernel buffers of a socket that serves many peers. The kernel caps it at `net.core.{r,w}mem_max`.
const SHARED_BUFFER: usize = 4 << 20;

/// A non-blocking UDP socket, ready to be registered with mio.
pub struct UdpSocket {
    io: mio::net::UdpSocket,
    local: SocketAddr,
    state: Arc<UdpSocketState>,
    /// Where the last datagram was to go that had to stay whole: the kernel's own errors do not say.
    whole_to: Cell<Option<SocketAddr>>,
}

/// What is known about the kernel's offloads; sockets of one family may share it, and then cost few system calls.
#[derive(Clone)]
pub struct Offload(Arc<UdpSocketState>);

impl Offload {
    /// Asks the kernel once.
    ///
    /// # Errors
    /// No socket can be made at all.
    pub fn probe() -> io::Result<Self> {
        let probe = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        Ok(Self(Arc::new(UdpSocketState::new((&probe).into())?)))
    }
}

impl UdpSocket {
    /// Binds a socket that serves many peers: large buffers, and datagrams tell the local address they came to.
    /// With `share_port` several sockets of this user may bind the address; the kernel then keeps each 5-tuple on one.
    ///
    /// An IPv6 socket takes no IPv4, so addresses are never IPv4-mapped.
    ///
    /// # Errors
    /// The address is taken, not ours, or not allowed.
    pub fn bind(address: SocketAddr, share_port: bool) -> io::Result<Self> {
        let socket = open(address)?;
        socket.set_reuse_port(share_port)?;
        socket.bind(&address.into())?;
        // Best effort: a small buffer costs packets under load, not correctness.
        let _ = socket.set_recv_buffer_size(SHARED_BUFFER);
        let _ = socket.set_send_buffer_size(SHARED_BUFFER);
        let io: std::net::UdpSocket = socket.into();
        let state = UdpSocketState::new((&io).into())?;
        sockopt::allow_fragments(io.as_fd(), address)?;
        sockopt::no_timestamps(io.as_fd())?;
        Self::from_parts(io, Arc::new(state))
    }

    /// Binds a socket for few peers at a concrete address, with the kernel's default buffers and few system calls.
    ///
    /// # Errors
    /// The address is taken, not ours, or not allowed.
    pub fn bind_small(address: SocketAddr, offload: &Offload) -> io::Result<Self> {
        let socket = open(address)?;
        socket.bind(&address.into())?;
        let io: std::net::UdpSocket = socket.into();
        sockopt::allow_fragments(io.as_fd(), address)?;
        sockopt::receive_runs(io.as_fd())?;
        sockopt::report_errors(io.as_fd(), address)?;
        Self::from_parts(io, Arc::clone(&offload.0))
    }

    fn from_parts(io: std::net::UdpSocket, state: Arc<UdpSocketState>) -> io::Result<Self> {
        let local = io.local_addr()?;
        Ok(Self { io: mio::net::UdpSocket::from_std(io), local, state, whole_to: Cell::default() })
    }

    /// Where the socket is bound; the IP is unspecified if it was bound so.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Fills the batch with what waits, up to its size; returns how many buffers were filled (fewer than
    /// [`RecvBatch::SIZE`] means that the socket is very likely empty).
    ///
    /// # Errors
    /// `WouldBlock` when nothing waits.
    pub fn recv(&self, batch: &mut RecvBatch) -> io::Result<usize> {
        batch.fill(|buffers, meta| self.state.recv((&self.io).into(), buffers, meta))
    }

    /// Sends one datagram by itself.
    ///
    /// # Errors
    /// `WouldBlock` when the kernel's buffer is full.
    pub fn send_to(&self, to: SocketAddr, bytes: &[u8]) -> io::Result<()> {
        self.io.send_to(bytes, to).map(drop)
    }

    /// Sends one datagram, or a run of them of `segment_size` each (the last may be shorter).
    ///
    /// # Errors
    /// `WouldBlock` when the kernel's buffer is full; `EMSGSIZE`, `EINVAL` or `EIO` when it cannot send runs here.
    pub fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.state.try_send((&self.io).into(), transmit)
    }
}

impl UdpSocket {
    /// What the network says of a datagram that [`UdpSocket::bind_small`]'s socket has sent; `None`: nothing more. The
    /// poller reports such a socket as failed; a receive or send may fail once before, for the same reason.
    pub fn next_error(&self) -> Option<NetworkError> {
        loop {
            match errors::next(self.io.as_fd()) {
                Ok(Some(error)) if error.destination.port() != 0 => return Some(error),
                Ok(Some(error)) => {
                    let to = self.whole_to.get().filter(|to| to.ip() == error.destination.ip());
                    return Some(NetworkError { destination: to.unwrap_or(error.destination), ..error });
                }
                // Something that is not about the network.
                Ok(None) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return None,
            }
        }
    }

    /// Sends one datagram that no router may cut into fragments. If it is too large for the way, [`UdpSocket::next_error`]
    /// says so.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn send_whole(&self, to: SocketAddr, bytes: &[u8]) -> io::Result<()> {
        sockopt::forbid_fragments(self.io.as_fd(), to)?;
        self.whole_to.set(Some(to));
        let sent = self.io.send_to(bytes, to);
        sockopt::allow_fragments(self.io.as_fd(), to)?;
        sent.map(drop)
    }
}

impl mio::event::Source for UdpSocket {
    fn register(&mut self, registry: &mio::Registry, token: mio::Token, interest: mio::Interest) -> io::Result<()> {
        self.io.register(registry, token, interest)
    }

    fn reregister(&mut self, registry: &mio::Registry, token: mio::Token, interest: mio::Interest) -> io::Result<()> {
        self.io.reregister(registry, token, interest)
    }

    fn deregister(&mut self, registry: &mio::Registry) -> io::Result<()> {
        self.io.deregister(registry)
    }
}

fn open(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}

#[cfg(test)]
mod tests;
