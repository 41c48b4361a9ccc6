//! What a client outside had said, with bits turned by zzuf, said again from elsewhere: by datagram and by stream, each
//! seed a run that can be repeated.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::process::{Command, Stdio};

use tests::relay::{USER, start};
use tests::turn_client::TurnClient;
use tests::ways::Target;

use super::turn_proto::{self, Kind};

const SEEDS: u32 = 60;

/// The frames, one after the other, as zzuf changes them.
fn mutated(frames: &[u8], seed: u32) -> Vec<u8> {
    let mut zzuf = Command::new("zzuf");
    // From a bit in a thousand to one in twenty.
    zzuf.args(["-s", &seed.to_string(), "-r", "0.001:0.05"]);
    let mut child = zzuf.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("zzuf is installed");
    let mut stdin = child.stdin.take().expect("piped above");
    stdin.write_all(frames).expect("it reads");
    drop(stdin);
    let output = child.wait_with_output().expect("the child is ours");
    assert_eq!((output.status.success(), output.stdout.len()), (true, frames.len()));
    output.stdout
}

fn by_datagram(server: SocketAddr, bytes: &[u8], lengths: impl Iterator<Item = usize>) {
    let socket = UdpSocket::bind((server.ip(), 0)).expect("a free port");
    let mut rest = bytes;
    for length in lengths {
        let (frame, after) = rest.split_at(length);
        socket.send_to(frame, server).expect("sent");
        rest = after;
    }
}

#[test]
fn turned_bits_harm_nobody() {
    let (relay, server) = start(|_| {});
    let target = Target { server, echo: None, space: None };
    let mut frames = turn_proto::said(&target, Kind::Udp);
    // A request that waited for long was said again, with the transaction id of the first time.
    let mut transactions = std::collections::HashSet::new();
    frames.retain(|frame| transactions.insert(frame.get(4..20).map(<[u8]>::to_vec)));
    // Two allocations with their challenges, a channel, data on it, two ends.
    assert_eq!(frames.len(), 8);
    let together = frames.concat();
    let mut bystander = TurnClient::udp(server, USER.0, USER.1);
    bystander.allocate().expect("an allocation");
    let before = relay.stats().core;
    for seed in 0..SEEDS {
        let bytes = mutated(&together, seed);
        by_datagram(server, &bytes, frames.iter().map(Vec::len));
        let mut stream = TcpStream::connect(server).expect("a listener");
        // It may be hung up on in the middle.
        let _ = stream.write_all(&bytes);
        assert_eq!(bystander.binding(), bystander.local_addr(), "after seed {seed}");
    }
    assert_eq!(bystander.refresh(600), 0);
    let after = relay.stats().core;
    assert_eq!((after.allocations, after.allocations_made), (1, before.allocations_made));
    let looked_into = |code| after.errors_with(code) > before.errors_with(code);
    assert!(looked_into(400) && looked_into(401), "{after:?}");
    assert!(after.dropped_for(turn::Drop::Malformed) > before.dropped_for(turn::Drop::Malformed), "{after:?}");
}
