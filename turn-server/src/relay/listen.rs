//! Taking the client sockets: each worker gets its own on every address, and a taken port is seen before any runs.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use mio::net::TcpListener;
use service::udp::UdpSocket;
use socket2::{Domain, Protocol, Socket, Type};

use super::settings::RelayError;
use super::worker::WAKER;
use crate::handover::{Lane, LaneEnd, lane};

/// Tries to find a port that is free for UDP and TCP, where the configuration says 0.
const ANY_PORT_TRIES: u32 = 32;
/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;

/// What a worker polls, before it runs.
pub(super) struct WorkerSockets {
    pub(super) poll: mio::Poll,
    pub(super) lane: Lane,
    pub(super) lane_end: LaneEnd,
    pub(super) listeners: Vec<Listener>,
}

/// An address to take, and whether for TCP as well.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) address: SocketAddr,
    pub(super) tcp: bool,
}

/// One address, one worker.
pub(super) struct Listener {
    /// IP as configured, with the port that was taken.
    pub(super) address: SocketAddr,
    pub(super) udp: UdpSocket,
    /// None where only UDP is taken.
    pub(super) tcp: Option<TcpListener>,
}

pub(super) fn bind(places: &[Place], workers: usize) -> Result<(Vec<SocketAddr>, Vec<WorkerSockets>), RelayError> {
    let mut sockets = Vec::new();
    for _ in 0..workers {
        let poll = mio::Poll::new().map_err(RelayError::System)?;
        let waker = Arc::new(mio::Waker::new(poll.registry(), WAKER).map_err(RelayError::System)?);
        let (lane, lane_end) = lane(waker);
        sockets.push(WorkerSockets { poll, lane, lane_end, listeners: Vec::new() });
    }
    let mut addresses = Vec::new();
    for place in places {
        let group = bind_group(*place, workers)?;
        addresses.extend(group.first().map(|listener| listener.address));
        for (listener, worker) in group.into_iter().zip(&mut sockets) {
            worker.listeners.push(listener);
        }
    }
    Ok((addresses, sockets))
}

/// The sockets of all workers on one address.
fn bind_group(place: Place, workers: usize) -> Result<Vec<Listener>, RelayError> {
    let mut tries = 0;
    loop {
        tries += 1;
        match try_bind_group(place, workers) {
            // Another program has the TCP port of the UDP port that we were given: take another pair.
            Err((_, error)) if place.address.port() == 0 && tries < ANY_PORT_TRIES && is_taken(&error) => {}
            outcome => return outcome.map_err(|(protocol, error)| sentence(protocol, place.address, &error)),
        }
    }
}

fn try_bind_group(place: Place, workers: usize) -> Result<Vec<Listener>, (&'static str, io::Error)> {
    let udp_failed = |error| ("UDP", error);
    let tcp_failed = |error| ("TCP", error);
    // Two programs of one user may share a port with SO_REUSEPORT, and each would get half of the clients. A socket
    // without it finds out whether anybody has the port.
    let probe = UdpSocket::bind(place.address, false).map_err(udp_failed)?;
    let address = probe.local_addr();
    drop(probe);
    let tcp = |share_port| place.tcp.then(|| listen_tcp(address, share_port)).transpose().map_err(tcp_failed);
    drop(tcp(false)?);
    let mut group = Vec::new();
    for _ in 0..workers {
        let udp = UdpSocket::bind(address, true).map_err(udp_failed)?;
        group.push(Listener { address, udp, tcp: tcp(true)? });
    }
    Ok(group)
}

fn listen_tcp(address: SocketAddr, share_port: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    // Connections of the last run that linger must not keep the port.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(share_port)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(TcpListener::from_std(socket.into()))
}

fn is_taken(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrInUse
}

fn sentence(protocol: &'static str, address: SocketAddr, error: &io::Error) -> RelayError {
    let why = match error.kind() {
        io::ErrorKind::AddrInUse => "another program (perhaps another turn-server) has this port".into(),
        io::ErrorKind::AddrNotAvailable => "no interface of this host has this address".into(),
        io::ErrorKind::PermissionDenied => "ports below 1024 need the capability NET_BIND_SERVICE".into(),
        _ => error.to_string(),
    };
    RelayError::Listen { protocol, address, why }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both(address: SocketAddr) -> Place {
        Place { address, tcp: true }
    }

    #[test]
    fn a_taken_port_is_one_sentence() {
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        let (addresses, first) = bind(&[both(loopback)], 2).unwrap();
        assert_eq!(first.len(), 2);
        let taken = bind(&[both(addresses[0])], 1).err().unwrap().to_string();
        let wanted = "another program (perhaps another turn-server) has this port";
        assert_eq!(taken, format!("cannot listen on UDP {}: {wanted}", addresses[0]));

        // Its port of UDP must be free: it is tried first.
        let tcp_ports = std::iter::repeat_with(|| std::net::TcpListener::bind(loopback).unwrap());
        let is_free = |tcp: &std::net::TcpListener| std::net::UdpSocket::bind(tcp.local_addr().unwrap()).is_ok();
        let tcp_only = tcp_ports.take(100).find(is_free).unwrap();
        let address = tcp_only.local_addr().unwrap();
        let taken = bind(&[both(address)], 1).err().unwrap().to_string();
        assert_eq!(taken, format!("cannot listen on TCP {address}: {wanted}"));
        // A web server may keep it.
        let (_, udp_only) = bind(&[Place { address, tcp: false }], 1).unwrap();
        assert!(udp_only[0].listeners[0].tcp.is_none());
    }

    #[test]
    fn both_families_share_a_port() {
        let any_v4 = SocketAddr::from(([0, 0, 0, 0], 0));
        let (addresses, _v4) = bind(&[both(any_v4)], 2).unwrap();
        let any_v6 = SocketAddr::from(([0; 8], addresses[0].port()));
        let (v6_addresses, v6) = bind(&[both(any_v6)], 2).unwrap();
        assert_eq!((v6_addresses, v6.len()), (vec![any_v6], 2));
    }

    #[test]
    fn an_address_that_is_not_ours_is_one_sentence() {
        let address = SocketAddr::from(([192, 0, 2, 1], 3478));
        let error = bind(&[both(address)], 1).err().unwrap().to_string();
        assert_eq!(error, "cannot listen on UDP 192.0.2.1:3478: no interface of this host has this address");
    }
}
