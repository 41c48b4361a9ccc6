//! The media port is the one port of this host that the relay opens, and packets for it never leave the process.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tests::relay::{USER, start_beside};
use tests::turn_client::TurnClient;
use turn_server::handover::{Destination, LaneEnd, Packet, lane};

fn next(lane: &LaneEnd) -> Packet {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        match lane.try_recv() {
            Some(packet) => return packet,
            None => assert!(Instant::now() < deadline, "a packet is handed over"),
        }
        std::thread::yield_now();
    }
}

#[test]
fn media_is_handed_over_both_ways() {
    // Somebody without a lane has the port in the kernel: nothing may arrive there.
    let kernel = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    kernel.set_nonblocking(true).expect("a socket");
    let media = kernel.local_addr().expect("bound");
    let poll = mio::Poll::new().expect("epoll");
    let waker = Arc::new(mio::Waker::new(poll.registry(), mio::Token(0)).expect("an event fd"));
    let (sending, receiving) = lane(waker);
    let (relay, address, handover) = start_beside(vec![(media.port(), sending)], |_| {});

    for transport in [TurnClient::udp, TurnClient::tcp] {
        let mut client = transport(address, USER.0, USER.1);
        let relayed = client.allocate().expect("an allocation");
        let neighbour = SocketAddr::new(media.ip(), media.port() ^ 1);
        assert_eq!(client.bind(0x4000, neighbour), 403);
        assert_eq!(client.bind(0x4000, media), 0);
        client.send_channel(0x4000, b"to the sfu");
        let packet = next(&receiving);
        assert_eq!((packet.from, packet.to, &packet.bytes[..]), (relayed, media, &b"to the sfu"[..]));
        client.send(media, b"also");
        assert_eq!(next(&receiving).bytes, b"also");

        let Some(Destination::Relay(_, back)) = handover.destination(relayed) else { panic!("the port lives") };
        assert!(back.send(Packet { from: packet.to, to: packet.from, bytes: b"from the sfu".to_vec() }));
        back.wake();
        assert_eq!(client.receive().expect("ChannelData"), b"\x40\0\0\x0cfrom the sfu");

        // The same through the kernel is not the SFU, whoever it says it is.
        kernel.send_to(b"forged", relayed).expect("sent");
        client.binding();
    }
    let stats = relay.stats();
    assert_eq!((stats.handed_over, stats.received_by_handover, stats.sent_to_peers), (4, 2, 0));
    assert!(kernel.recv(&mut [0; 64]).is_err());
}
