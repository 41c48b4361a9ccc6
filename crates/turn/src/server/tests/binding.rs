//! RFC 5780: the four addresses, and what a client may ask of them.

use stun_types::attribute::{AttributeType, AttributeWrite, RawAttribute, UnknownAttributes, XorMappedAddress};
use stun_types::message::{BINDING, Message, MessageWrite, MessageWriteExt, MessageWriteVec};

use super::rig::*;
use crate::Transport;
use crate::server::*;

const FOUR: [&str; 4] = ["203.0.113.5:3478", "203.0.113.5:3479", "203.0.113.6:3478", "203.0.113.6:3479"];

fn discovering() -> Rig {
    let mut rig = Rig::new();
    rig.server.alternate = Some(Alternate { primary: FOUR[0].parse().unwrap(), other: FOUR[3].parse().unwrap() });
    rig
}

fn at(server: &str) -> FiveTuple {
    FiveTuple { server: server.parse().unwrap(), ..udp() }
}

fn binding(attributes: &[(u16, &[u8])]) -> Vec<u8> {
    let mut write = Message::builder_request(BINDING, MessageWriteVec::new());
    for (kind, value) in attributes {
        let attribute = RawAttribute::new(AttributeType::new(*kind), value);
        write.add_attribute(&attribute as &dyn AttributeWrite).unwrap();
    }
    write.finish()
}

/// Where the answer comes from, where it goes, and OTHER-ADDRESS and RESPONSE-ORIGIN as it says.
fn ask(rig: &mut Rig, server: &str, attributes: &[(u16, &[u8])]) -> (String, String, Vec<u8>) {
    rig.sent.clear();
    rig.client(at(server), &binding(attributes));
    let (to, bytes) = rig.sent.pop().expect("an answer");
    (to.server.to_string(), to.client.to_string(), bytes)
}

fn address(message: &Message<'_>, kind: u16) -> Option<String> {
    let raw = message.raw_attribute(AttributeType::new(kind))?;
    let [0, 1, high, low, ip @ ..] = &raw.value[..] else { panic!("an IPv4 address") };
    Some(format!(
        "{}:{}",
        ip.iter().map(u8::to_string).collect::<Vec<_>>().join("."),
        u16::from_be_bytes([*high, *low])
    ))
}

/// Rule: behaviour
#[test]
fn each_of_the_four_addresses_can_answer_for_each() {
    let mut rig = discovering();
    for (index, server) in FOUR.into_iter().enumerate() {
        // Bit 0 of the index is the port, bit 1 the IP; so are they in CHANGE-REQUEST, one bit higher.
        for change in 0..4usize {
            let (from, to, bytes) = ask(&mut rig, server, &[(3, &((change as u32) << 1).to_be_bytes())]);
            let wanted = FOUR[index ^ change];
            assert_eq!((from.as_str(), to.as_str()), (wanted, CLIENT), "{server} {change}");
            let message = Message::from_bytes(&bytes).unwrap();
            assert_eq!(address(&message, 0x802B).as_deref(), Some(wanted));
            assert_eq!(address(&message, 0x802C).as_deref(), Some(FOUR[index ^ 3]));
            let mapped = message.attribute::<XorMappedAddress>().unwrap().addr(message.transaction_id());
            assert_eq!(mapped, CLIENT.parse().unwrap());
        }
    }
    let (_, to, _) = ask(&mut rig, FOUR[0], &[(0x27, &[0x12, 0x34, 0, 0])]);
    assert_eq!(to, "198.20.0.1:4660", "RESPONSE-PORT");
    let (.., bytes) = ask(&mut rig, FOUR[0], &[(0x26, &[0; 1400])]);
    let padding = Message::from_bytes(&bytes).unwrap().raw_attribute(AttributeType::new(0x26)).unwrap().value.len();
    assert_eq!(padding, 1400);
    let (.., bytes) = ask(&mut rig, FOUR[0], &[(0x26, &[0; 8])]);
    assert!(bytes.len() < 100, "no more than the client sent");
}

#[test]
fn what_makes_no_sense_is_refused() {
    let mut rig = discovering();
    for attributes in
        [&[(0x27, &[0x12, 0x34, 0, 0][..]), (0x26, &[0; 100])][..], &[(0x27, &[0, 0, 0, 0])], &[(3, &[0, 0])]]
    {
        let (.., bytes) = ask(&mut rig, FOUR[0], attributes);
        assert_eq!(Answer { bytes }.code(), 400);
    }
}

/// Rule: behaviour, abuse-22
#[test]
fn it_is_off_unless_wanted_and_never_on_streams_or_other_addresses() {
    let change = binding(&[(3, &[0, 0, 0, 6])]);
    let tcp = FiveTuple { transport: Transport::Tcp, ..at(FOUR[0]) };
    let elsewhere = at("203.0.113.7:3478");
    for (mut rig, client) in [(Rig::new(), at(FOUR[0])), (discovering(), tcp), (discovering(), elsewhere)] {
        rig.client(client, &change);
        let (to, bytes) = rig.sent.pop().unwrap();
        assert_eq!(to, client);
        let answer = Answer { bytes };
        assert_eq!(answer.code(), 420);
        assert!(answer.message().attribute::<UnknownAttributes>().unwrap().has_attribute(AttributeType::new(3)));
    }
    let mut rig = Rig::new();
    rig.client(at(FOUR[0]), &binding(&[]));
    assert_eq!(rig.sent.pop().unwrap().1.len(), 32, "header and XOR-MAPPED-ADDRESS");
}
