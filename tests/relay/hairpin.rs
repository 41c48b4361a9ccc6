//! A relay behind NAT: clients know each other by its external address of either family, and meet there without leaving.

use std::net::{SocketAddr, UdpSocket};

use stun_types::attribute::AttributeWrite;
use tests::relay::{USER, start};
use tests::turn_client::TurnClient;
use turn_types::AddressFamily;
use turn_types::attribute::RequestedAddressFamily;

#[test]
fn clients_meet_at_the_external_address_of_either_family() {
    let (relay, address) = start(|config| {
        config.relay_addresses = vec!["127.0.0.1".parse().expect("an address"), "::1".parse().expect("an address")];
        config.external_addresses = vec!["2a01:4f8::7".into(), "198.20.0.1/127.0.0.1".into()];
        (config.min_port_v6, config.max_port_v6) = (40_000, 40_099);
    });
    let victim = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    victim.set_nonblocking(true).expect("a socket");
    let closed = victim.local_addr().expect("bound").port();
    let v6 = RequestedAddressFamily::new(AddressFamily::IPV6);
    let families: [(&str, &[&dyn AttributeWrite]); 2] = [("198.20.0.1", &[]), ("2a01:4f8::7", &[&v6])];
    let mut handed_over = 0;
    for (public, more) in families {
        let mut alice = TurnClient::udp(address, USER.0, USER.1);
        let mut bob = TurnClient::udp(address, USER.0, USER.1);
        let [here, there] = [&mut alice, &mut bob].map(|client| client.allocate_with(more).expect("an allocation")[0]);
        for relayed in [here, there] {
            assert_eq!(relayed.ip().to_string(), public);
            assert_eq!((40_000..=40_099).contains(&relayed.port()), relayed.is_ipv6());
        }
        assert_eq!((alice.bind(0x4000, there), bob.bind(0x4001, here)), (0, 0));
        alice.send_channel(0x4000, b"there");
        assert_eq!(bob.receive().expect("ChannelData"), b"\x40\x01\0\x05there");
        bob.send_channel(0x4001, b"and back");
        assert_eq!(alice.receive().expect("ChannelData"), b"\x40\0\0\x08and back");
        handed_over += 2;
        assert_eq!(relay.stats().handed_over, handed_over);
        // Other ports of that address are as closed as they are on the private one.
        assert_eq!(alice.permit(SocketAddr::new(here.ip(), closed)), 403);
        alice.send(SocketAddr::new(here.ip(), closed), b"x");
        alice.binding();
    }
    assert_eq!((relay.stats().handed_over, relay.stats().sent_to_peers), (handed_over, 0));
    assert!(victim.recv(&mut [0; 64]).is_err());
}
