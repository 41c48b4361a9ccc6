//! RFC 8489: messages, authentication, nonces.

use stun_types::message::{IntegrityAlgorithm, MessageClass};

use super::super::probe::*;
use super::{Row, code, either, row};

pub(crate) fn rows() -> Vec<Row> {
    vec![
        row("RFC 8489 3", "Binding is answered with the source address", "source", |world| {
            let probe = world.user();
            let answer = probe.ask(&probe.bare(BINDING, &[]));
            either(answer.is_some_and(|answer| answer.addresses(MAPPED).len() == 1), "source", "no source")
        }),
        row("RFC 8489 6.3.1", "an unknown attribute that must be understood: 420", "420", |world| {
            world.allocate_code(&[udp_transport(), raw(0x7777, &[])])
        }),
        row("RFC 8489 14", "of an attribute that comes twice, the first one counts", "700", |world| {
            let probe = world.allocated();
            let lifetimes = [raw(LIFETIME, &700u32.to_be_bytes()), raw(LIFETIME, &800u32.to_be_bytes())];
            seconds(probe.request(REFRESH, &lifetimes))
        }),
        row("RFC 8489 6.3.1", "a retransmitted Allocate gets the same answer", "the same", |world| {
            let probe = world.greeted();
            let request = probe.signed(ALLOCATE, &[udp_transport()]);
            let relayed = |answer: Option<Answer>| answer.map(|answer| answer.addresses(RELAYED));
            let (first, second) = (relayed(probe.ask(&request)), relayed(probe.ask(&request)));
            either(first.is_some() && first == second, "the same", "another")
        }),
        row("RFC 8489 9.2.4", "without integrity: 401", "401", |world| {
            let probe = world.user();
            code(probe.ask(&probe.bare(ALLOCATE, &[udp_transport()])))
        }),
        row("RFC 8489 9.2.4", "integrity without NONCE: 400", "400", |world| {
            let probe = world.greeted();
            let request = probe.bare(ALLOCATE, &[udp_transport(), raw(USERNAME, b"user1")]);
            let request = appended(request, 8, &[0; 20]);
            code(probe.ask(&request))
        }),
        row("RFC 8489 9.2.4", "an unknown user: 401", "401", |world| {
            let mut probe = world.user();
            probe.user = "mallory".into();
            code(probe.allocate(&[]))
        }),
        row("RFC 8489 9.2.4", "a wrong password: 401", "401", |world| {
            let mut probe = world.user();
            probe.password = "wrong".into();
            code(probe.allocate(&[]))
        }),
        row("RFC 8489 9.2.4", "a stale nonce: 438", "438", |world| {
            let mut probe = world.greeted();
            probe.nonce = probe.nonce.chars().rev().collect();
            probe.code(ALLOCATE, &[udp_transport()])
        }),
        row("RFC 8656 5", "a nonce that another source address was given: 438", "438", |world| {
            let first = world.greeted();
            let mut second = world.again(&first);
            (second.realm, second.nonce) = (first.realm.clone(), first.nonce.clone());
            second.code(ALLOCATE, &[udp_transport()])
        }),
        row("RFC 8489 9.2", "the nonce says which security features there are", "cookie", |world| {
            either(world.greeted().nonce.starts_with("obMatJos2"), "cookie", "no cookie")
        }),
        row("RFC 8489 14.11", "PASSWORD-ALGORITHMS offers SHA-256", "offered", |world| {
            let offered = world.greeted().offered.unwrap_or_default();
            either(offered.chunks(4).any(|one| one == [0, 2, 0, 0]), "offered", "not offered")
        }),
        row("RFC 8489 14.6", "an Allocate that is signed with SHA-256", "0", |world| {
            let probe = world.greeted();
            let signed = Some(IntegrityAlgorithm::Sha256);
            code(probe.ask(&probe.build(MessageClass::Request, ALLOCATE, &[udp_transport()], signed)))
        }),
        row("RFC 8489 14.5, abuse B17", "LIFETIME=0 appended behind the integrity is ignored", "lives", |world| {
            let probe = world.allocated();
            let request = probe.signed(REFRESH, &[raw(LIFETIME, &600u32.to_be_bytes())]);
            let request = appended(request, LIFETIME, &[0; 4]);
            match probe.ask(&request).and_then(|answer| answer.get(LIFETIME)) {
                Some(lifetime) => either(lifetime == [0; 4], "deleted", "lives"),
                None => "refused".into(),
            }
        }),
    ]
}

/// LIFETIME of an answer.
pub(super) fn seconds(answer: Option<Answer>) -> String {
    let Some(answer) = answer else { return "none".into() };
    let lifetime = answer.get(LIFETIME).and_then(|value| <[u8; 4]>::try_from(value).ok());
    lifetime.map_or(answer.code().to_string(), |bytes| u32::from_be_bytes(bytes).to_string())
}
