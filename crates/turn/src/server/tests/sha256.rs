//! What RFC 8489 has beyond RFC 5389: password algorithms, SHA-256, names as hashes. Requests are signed by the codec.

use stun_types::attribute::{
    AttributeWrite, MessageIntegrity, MessageIntegritySha256, Nonce, PasswordAlgorithm,
    PasswordAlgorithmValue as Value, PasswordAlgorithms, RawAttribute, Realm, Userhash, Username,
};
use stun_types::message::{
    IntegrityAlgorithm, LongTermKeyCredentials, Message, MessageIntegrityCredentials, MessageWrite, MessageWriteExt,
    MessageWriteVec,
};
use stun_types::prelude::AttributeStaticType as _;
use turn_types::attribute::RequestedTransport;
use turn_types::message::ALLOCATE;

use super::rig::*;

/// How a request names its user and is signed.
struct Way {
    offered: Option<Vec<Value>>,
    chosen: Option<Value>,
    hashed: bool,
    signature: IntegrityAlgorithm,
}

impl Way {
    fn new(chosen: Option<Value>, signature: IntegrityAlgorithm) -> Self {
        let offered = chosen.map(|_| vec![Value::SHA256, Value::MD5]);
        Self { offered, chosen, hashed: false, signature }
    }

    fn request(&self, user: &TestClient) -> Vec<u8> {
        let mut write = Message::builder_request(ALLOCATE, MessageWriteVec::new());
        write.add_attribute(&RequestedTransport::new(RequestedTransport::UDP)).unwrap();
        if self.hashed {
            write.add_attribute(&Userhash::new(Userhash::compute(&user.name, "tern"))).unwrap();
        } else {
            write.add_attribute(&Username::new(&user.name).unwrap()).unwrap();
        }
        write.add_attribute(&Realm::new("tern").unwrap()).unwrap();
        write.add_attribute(&Nonce::new(&user.nonce).unwrap()).unwrap();
        if let Some(offered) = &self.offered {
            write.add_attribute(&PasswordAlgorithms::new(offered)).unwrap();
        }
        if let Some(chosen) = self.chosen {
            write.add_attribute(&PasswordAlgorithm::new(chosen)).unwrap();
        }
        write.add_message_integrity(&user.credentials(), self.signature).unwrap();
        write.finish()
    }
}

fn client() -> (Rig, TestClient) {
    let mut rig = Rig::new();
    let mut user = TestClient::new(udp(), "alice", "pw");
    user.greet(&mut rig);
    (rig, user)
}

fn has<A: stun_types::prelude::AttributeStaticType>(answer: &Answer) -> bool {
    answer.message().has_attribute(A::TYPE)
}

/// Rule: stun-nonce-cookie
#[test]
fn a_challenge_says_what_can_be_done() {
    let (mut rig, user) = client();
    let challenge = rig.ask(&user, Message::builder_request(ALLOCATE, MessageWriteVec::new()).finish());
    let message = challenge.message();
    let offered = message.attribute::<PasswordAlgorithms>().unwrap();
    assert_eq!(offered.algorithms(), [Value::SHA256, Value::MD5]);
    assert!(challenge.nonce().starts_with("obMatJos2AAAB"), "the lowest bit: password algorithms");
    assert!(!has::<MessageIntegrity>(&challenge) && !has::<MessageIntegritySha256>(&challenge));
    rig.server.options.anonymity = true;
    let challenge = rig.ask(&user, Message::builder_request(ALLOCATE, MessageWriteVec::new()).finish());
    assert!(challenge.nonce().starts_with("obMatJos2AAAD"), "the next bit: names as hashes");
}

/// Rule: stun-answer-integrity, stun-userhash
#[test]
fn each_way_to_sign_is_answered_alike() {
    use IntegrityAlgorithm::{Sha1, Sha256};
    // Chosen algorithm and signature of the request; whether the answer has SHA-1, SHA-256.
    for (chosen, signature, sha1, sha256) in
        [(None, Sha1, true, false), (Some(Value::SHA256), Sha256, false, true), (Some(Value::MD5), Sha1, true, true)]
    {
        for hashed in [false, true] {
            let (mut rig, user) = client();
            let way = Way { hashed, ..Way::new(chosen, signature) };
            let answer = rig.ask(&user, way.request(&user));
            assert_eq!(answer.code(), 0, "{chosen:?} {hashed}");
            assert_eq!((has::<MessageIntegrity>(&answer), has::<MessageIntegritySha256>(&answer)), (sha1, sha256));
            assert!(answer.message().validate_integrity_with_key(&user.credentials().make_key(signature)).is_ok());
            // A request on the allocation, whose name and key are known now.
            let again = rig.ask(&user, way.request(&user));
            assert_eq!(again.code(), 437, "{chosen:?} {hashed}");
            assert!(again.message().validate_integrity_with_key(&user.credentials().make_key(signature)).is_ok());
            assert_eq!(rig.permit(&user, &[PEER]), 0, "another way to sign is as good");
        }
    }
}

/// Rule: stun-password-algorithms, abuse-15
#[test]
fn an_offer_that_was_changed_on_the_way_is_refused() {
    use IntegrityAlgorithm::{Sha1, Sha256};
    let cases = [
        (Some(vec![Value::MD5]), Some(Value::MD5), Sha1),
        (Some(vec![Value::MD5, Value::SHA256]), Some(Value::SHA256), Sha256),
        (None, Some(Value::SHA256), Sha256),
        (Some(vec![Value::SHA256, Value::MD5]), None, Sha1),
    ];
    for (offered, chosen, signature) in cases {
        let (mut rig, user) = client();
        let way = Way { offered, chosen, hashed: false, signature };
        let answer = rig.ask(&user, way.request(&user));
        assert_eq!((answer.code(), rig.registrar.ports_used()), (400, 0));
    }
    let (mut rig, user) = client();
    let unknown = RawAttribute::new(PasswordAlgorithm::TYPE, &[0, 9, 0, 0]);
    let offered = PasswordAlgorithms::new(&[Value::SHA256, Value::MD5]);
    let attributes: [&dyn AttributeWrite; 2] = [&offered, &unknown];
    let request = user.allocate(&attributes);
    assert_eq!(rig.ask(&user, request).code(), 400);
}

#[test]
fn a_wrong_key_is_refused_whatever_it_is_hashed_with() {
    use IntegrityAlgorithm::{Sha1, Sha256};
    for (chosen, signature) in [(None, Sha1), (Some(Value::MD5), Sha1), (Some(Value::SHA256), Sha256)] {
        for (name, password) in [("alice", "wrong"), ("mallory", "pw")] {
            for hashed in [false, true] {
                let (mut rig, mut user) = client();
                (user.name, user.password) = (name.into(), password.into());
                let way = Way { hashed, ..Way::new(chosen, signature) };
                let answer = rig.ask(&user, way.request(&user));
                assert_eq!((answer.code(), answer.bytes.len()), (401, 84), "{name} {chosen:?} {hashed}");
            }
        }
    }
}

/// RFC 8489 section 14.6: a truncated MAC has 16 to 32 bytes, in fours.
/// Rule: stun-sha256-length, abuse-15
#[test]
fn a_truncated_mac_counts_from_16_bytes_on() {
    let (mut rig, user) = client();
    let key = LongTermKeyCredentials::new("alice".into(), "pw".into(), "tern".into());
    let key = MessageIntegrityCredentials::from(key).make_key(IntegrityAlgorithm::Sha256);
    let mut codes = Vec::new();
    for len in [0, 8, 12, 15, 16, 20, 30, 32] {
        let way = Way::new(Some(Value::SHA256), IntegrityAlgorithm::Sha256);
        let whole = way.request(&user);
        let at = whole.len() - 36;
        // The length in the header covers the attribute as it is sent.
        let mut request = whole[..at].to_vec();
        let padded = (len as usize).next_multiple_of(4);
        request[2..4].copy_from_slice(&((at + 4 + padded - 20) as u16).to_be_bytes());
        let mac = MessageIntegritySha256::compute(&[&request], &key).unwrap();
        request.extend(MessageIntegritySha256::TYPE.value().to_be_bytes());
        request.extend((len as u16).to_be_bytes());
        request.extend(&mac[..len as usize]);
        request.resize(at + 4 + padded, 0);
        codes.push((len, rig.ask(&user, request).code()));
        let id = rig.server.table.id_of(user.tuple);
        id.into_iter().for_each(|id| assert!(rig.server.handle_end(id)));
        rig.drain();
    }
    assert_eq!(codes, [(0, 401), (8, 401), (12, 401), (15, 401), (16, 0), (20, 0), (30, 401), (32, 0)]);
}
