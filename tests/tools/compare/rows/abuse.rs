//! The rest of the list of abuse that can be seen from outside.

use std::time::Duration;

use super::super::probe::*;
use super::super::world::QUOTA;
use super::{Row, code, either, row};

pub(crate) fn rows() -> Vec<Row> {
    [users(), floods(), bytes(), strangers()].into_iter().flatten().collect()
}

fn users() -> Vec<Row> {
    vec![
        row("abuse B16", "an unknown user and a wrong password get answers of one form", "the same", |world| {
            let mut seen = Vec::new();
            for (user, password) in [("user1", "wrong"), ("user0", "opensesame")] {
                let mut probe = world.user();
                (probe.user, probe.password) = (user.into(), password.into());
                let answer = probe.allocate(&[]);
                seen.push(answer.map(|answer| {
                    answer.attributes().iter().map(|(kind, value)| (*kind, value.len())).collect::<Vec<_>>()
                }));
            }
            either(seen[0].is_some() && seen[0] == seen[1], "the same", "different")
        }),
        row("abuse B18", "another user cannot delete an allocation from its 5-tuple", "lives", |world| {
            let mut probe = world.allocated();
            let owner = std::mem::replace(&mut probe.user, world.user().user);
            probe.code(REFRESH, &[raw(LIFETIME, &0u32.to_be_bytes())]);
            probe.user = owner;
            match probe.code(REFRESH, &[]).as_str() {
                "0" => "lives".into(),
                "437" => "deleted".into(),
                // No answer, or another refusal: said as it is.
                other => other.to_owned(),
            }
        }),
        quota(),
    ]
}

fn floods() -> Vec<Row> {
    vec![
        row("abuse C21", "2000 forged requests from one source are not all answered", "limited", |world| {
            let probe = world.user();
            let mut answers = 0;
            for _ in 0..20 {
                for _ in 0..100 {
                    probe.send(&probe.bare(ALLOCATE, &[udp_transport()]));
                }
                while probe.receive_within(Duration::from_millis(10)).is_some() {
                    answers += 1;
                }
            }
            either(answers >= 1900, "all answered", "limited")
        }),
        row("abuse C22", "a Binding answer has XOR-MAPPED-ADDRESS and nothing else", "32 bytes", |world| {
            let probe = world.user();
            // What the row before has used up comes back within a second.
            let deadline = std::time::Instant::now() + Duration::from_secs(5);
            loop {
                match probe.ask(&probe.bare(BINDING, &[])) {
                    Some(answer) => return format!("{} bytes", answer.0.len()),
                    None if std::time::Instant::now() > deadline => return "none".into(),
                    None => {}
                }
            }
        }),
        row("abuse C25", "answers and indications are never answered", "nothing", |world| {
            let probe = world.user();
            for kind in [0x0101u16, 0x0111, 0x0103, 0x0113, 0x0011, 0x0013, 0x0016, 0x0017] {
                let head = [&kind.to_be_bytes()[..], &[0, 0, 0x21, 0x12, 0xA4, 0x42], b"never answer"].concat();
                probe.send(&head);
            }
            either(probe.receive().is_none(), "nothing", "an answer")
        }),
    ]
}

fn bytes() -> Vec<Row> {
    vec![
        row("abuse E35", "padding is zero", "zero", |world| {
            let Some(answer) = world.user().greet() else { return "none".into() };
            let mut rest = &answer.0[20..];
            let mut zero = true;
            while rest.len() >= 4 {
                let length = usize::from(u16::from_be_bytes([rest[2], rest[3]]));
                let end = (4 + length.next_multiple_of(4)).min(rest.len());
                zero &= rest[(4 + length).min(end)..end].iter().all(|byte| *byte == 0);
                rest = &rest[end..];
            }
            either(zero, "zero", "not zero")
        }),
        row("abuse E36", "bytes of other protocols get no answer over UDP", "nothing", |world| {
            let probe = world.user();
            for bytes in
                [&b"GET / HTTP/1.1\r\n\r\n"[..], b"\x16\x03\x01\x02\0\x01", b"\x80\x60\0\x01\0\0\0\x01", b"\0\x01\0\0"]
            {
                probe.send(bytes);
            }
            either(probe.receive().is_none(), "nothing", "an answer")
        }),
    ]
}

fn strangers() -> Vec<Row> {
    vec![
        row("abuse F38", "a third party without permission does not reach the client", "nothing", |world| {
            let (victim, stranger) = (world.allocated(), world.allocated());
            let Some(to) = victim.relayed.first().copied() else { return "no allocation".into() };
            stranger.code(CREATE_PERMISSION, &[Attr::Peer(to)]);
            stranger.send_to(to, b"let me in");
            either(victim.receive().is_none(), "nothing", "reached")
        }),
        row("abuse F38", "another port of a bound peer is no ChannelData", "Data indication", |world| {
            let (victim, bound, other) = (world.allocated(), world.allocated(), world.allocated());
            let at = |probe: &Probe| probe.relayed.first().copied();
            let (Some(to), Some(peer)) = (at(&victim), at(&bound)) else { return "no allocation".into() };
            victim.code(CHANNEL_BIND, &[raw(CHANNEL_NUMBER, &[0x40, 0, 0, 0]), Attr::Peer(peer)]);
            if let Some(second) = at(&other) {
                // One of its ports is open by the channel; here a port needs its own permission.
                victim.code(CREATE_PERMISSION, &[Attr::Peer(second)]);
            }
            other.code(CREATE_PERMISSION, &[Attr::Peer(to)]);
            other.send_to(to, b"hello");
            match victim.receive() {
                Some(bytes) => either(bytes[0] < 4, "Data indication", "ChannelData"),
                None => "nothing".into(),
            }
        }),
        row("abuse F40", "no answer names its software", "nothing", |world| {
            let names = world.user().greet().and_then(|answer| answer.get(0x8022));
            names.map_or("nothing".into(), |name| String::from_utf8_lossy(&name).into_owned())
        }),
    ]
}

fn quota() -> Row {
    row("abuse D28", "allocations of one user beyond its quota of 10: 486", "486 after 10", |world| {
        let first = world.user();
        let mut held = Vec::new();
        loop {
            let mut probe = world.again(&first);
            match code(probe.allocate(&[])).as_str() {
                "0" if held.len() <= 2 * QUOTA => held.push(probe),
                code => return format!("{code} after {}", held.len()),
            }
        }
    })
}
