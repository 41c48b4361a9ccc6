//! Two sockets on loopback.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use super::*;

fn receive(socket: &UdpSocket, wanted: usize) -> Vec<(SocketAddr, Option<IpAddr>, Vec<u8>)> {
    let mut batch = RecvBatch::default();
    let mut got = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(5);
    while got.len() < wanted && Instant::now() < deadline {
        if socket.recv(&mut batch).is_ok() {
            got.extend(batch.datagrams().map(|datagram| (datagram.from, datagram.local, datagram.bytes.to_vec())));
        } else {
            std::thread::yield_now();
        }
    }
    got
}

#[test]
fn a_run_and_single_datagrams_arrive_as_they_were_pushed() {
    let server = UdpSocket::bind(SocketAddr::from(([0, 0, 0, 0], 0)), true).unwrap();
    let client = UdpSocket::bind_small(SocketAddr::from(([127, 0, 0, 1], 0)), &Offload::probe().unwrap()).unwrap();
    let to = SocketAddr::from((Ipv4Addr::LOCALHOST, server.local_addr().port()));

    let mut queue = SendQueue::default();
    let sizes = [1200, 1200, 1200, 700, 1200, 0, 3000];
    for (index, size) in sizes.iter().enumerate() {
        let body = vec![index as u8; *size];
        let (head, tail) = body.split_at(size / 2);
        queue.push((), to, None, &[head, tail]);
    }
    let sent = queue.flush(|(), transmit| client.try_send(transmit));
    assert_eq!(sent, Sent { datagrams: 7, bytes: 8500, calls: 4, dropped: 0 });
    assert!(queue.is_empty());

    let got = receive(&server, sizes.len());
    assert_eq!(got.iter().map(|(_, _, bytes)| bytes.len()).collect::<Vec<_>>(), sizes);
    for (index, (from, local, bytes)) in got.iter().enumerate() {
        assert_eq!(*from, client.local_addr());
        assert_eq!(*local, Some(IpAddr::from(Ipv4Addr::LOCALHOST)));
        assert!(bytes.iter().all(|byte| usize::from(*byte) == index));
    }
}

#[test]
fn a_refused_run_is_sent_one_by_one() {
    let mut queue = SendQueue::default();
    let to = SocketAddr::from(([127, 0, 0, 1], 9));
    for _ in 0..3 {
        queue.push((), to, None, &[&[0; 100]]);
    }
    let mut seen = Vec::new();
    let sent = queue.flush(|(), transmit| {
        seen.push((transmit.contents.len(), transmit.segment_size));
        let refuse = transmit.segment_size.is_some();
        if refuse { Err(io::Error::from_raw_os_error(libc::EIO)) } else { Ok(()) }
    });
    assert_eq!(seen, [(300, Some(100)), (100, None), (100, None), (100, None)]);
    assert_eq!((sent.datagrams, sent.dropped), (3, 0));
}

#[test]
fn an_answer_leaves_from_the_address_that_was_asked() {
    let server = UdpSocket::bind(SocketAddr::from(([0, 0, 0, 0], 0)), false).unwrap();
    let client = UdpSocket::bind(SocketAddr::from(([127, 0, 0, 1], 0)), false).unwrap();
    let mut queue = SendQueue::default();
    let source = IpAddr::from([127, 0, 0, 7]);
    queue.push((), client.local_addr(), Some(source), &[b"hello"]);
    assert_eq!(queue.flush(|(), transmit| server.try_send(transmit)).datagrams, 1);
    let got = receive(&client, 1);
    assert_eq!(got[0].0, SocketAddr::new(source, server.local_addr().port()));
}

#[test]
fn what_the_network_says_of_a_datagram_is_told() {
    let offload = Offload::probe().unwrap();
    for ip in [IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(std::net::Ipv6Addr::LOCALHOST)] {
        let socket = UdpSocket::bind_small(SocketAddr::new(ip, 0), &offload).unwrap();
        let closed = std::net::UdpSocket::bind((ip, 0)).unwrap().local_addr().unwrap();
        assert_eq!(socket.next_error(), None);
        let mut queue = SendQueue::default();
        queue.push((), closed, None, &[b"hello"]);
        assert_eq!(queue.flush(|(), transmit| socket.try_send(transmit)).datagrams, 1);
        // Loopback answers before the call returns.
        let (kind, code) = if ip.is_ipv4() { (3, 3) } else { (1, 4) };
        assert_eq!(socket.next_error(), Some(NetworkError { destination: closed, kind, code, mtu: 0 }));
        assert_eq!(socket.next_error(), None);
    }
}
