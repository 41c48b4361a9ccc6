//! What Wireshark makes of our answers, while several clients talk to us.

use std::net::UdpSocket;

use tests::capture::Capture;
use tests::relay::{USER, start};
use tests::ways::Target;
use turn_client_proto::api::TurnConfig;
use turn_client_proto::stun::auth::Feature;
use turn_types::TurnCredentials;
use turn_types::stun::message::IntegrityAlgorithm;

use super::{coturn, turn_proto};

#[test]
fn wireshark_finds_nothing_wrong_with_our_answers() {
    let (_relay, server) = start(|config| config.allocations_per_user = 100);
    let capture = Capture::start(server);
    let modes = ["-c -G", "-c -s", "", "-c -t", "-c -t -s"];
    coturn::side_by_side(&modes, |mode| {
        coturn::uclient_as_user(server, &[&coturn::PAIR, mode].concat()).assert_nothing_lost();
    });
    let mut config = TurnConfig::new(TurnCredentials::new(USER.0, USER.1));
    config.set_supported_integrity(IntegrityAlgorithm::Sha256);
    config.set_anonymous_username(Feature::Required);
    for kind in turn_proto::KINDS {
        turn_proto::talk(&Target { server, echo: None, space: None }, kind, &config);
    }
    let dissected = capture.finish();
    assert_eq!(dissected.complaints, [""; 0]);
    // Success of Binding, Allocate, Refresh, CreatePermission and ChannelBind, refusal of Allocate, Data.
    for kind in [0x0101, 0x0103, 0x0104, 0x0108, 0x0109, 0x0113, 0x0017] {
        assert!(dissected.types.contains(&kind), "no {kind:#06x} in {:x?}", dissected.types);
    }
    assert!(dissected.channel_data > 100, "{dissected:?}");
}

/// It would notice: an attribute that is longer than its message, and a checksum that is none.
#[test]
fn wireshark_complains_of_what_is_wrong() {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let capture = Capture::start(socket.local_addr().expect("bound"));
    let head = [1, 1, 0, 8, 0x21, 0x12, 0xA4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
    for attribute in [[0, 0x20, 0, 8, 0, 1, 2, 3], [0x80, 0x28, 0, 4, 1, 2, 3, 4]] {
        socket.send_to(&[&head[..], &attribute].concat(), "127.0.0.1:9").expect("sent");
    }
    let complaints = capture.finish().complaints;
    assert!(complaints.len() == 2 && complaints[0].contains("goes past the end"), "{complaints:?}");
    assert!(complaints[1].contains("Bad Fingerprint"), "{complaints:?}");
}
