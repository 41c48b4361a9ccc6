//! What becomes of allocations and requests when credentials expire, are taken back or change; and what is reported.

use turn_types::attribute::Lifetime;
use turn_types::message::REFRESH;

use super::rig::*;
use crate::auth::AuthFailure;
use crate::report::Report;
use crate::secret::Secret;
use crate::server::*;
use crate::{Credentials, Key, Revocations, Transport};

/// A client with a name that lives for `seconds` from now.
fn limited(rig: &mut Rig, port: u16, id: &str, seconds: u64) -> TestClient {
    let minted = rig.credentials.mint(id, seconds, UNIX).unwrap();
    let tuple = five_tuple(&format!("198.20.0.1:{port}"), Transport::Udp);
    let mut user = TestClient::new(tuple, &minted.username, &minted.password);
    user.greet(rig);
    user
}

fn allocate(rig: &mut Rig, user: &TestClient) -> u16 {
    let request = user.allocate(&[]);
    rig.ask(user, request).code()
}

fn refresh(rig: &mut Rig, user: &TestClient) -> u16 {
    let request = user.request(REFRESH, &[&Lifetime::new(600)]);
    rig.ask(user, request).code()
}

/// Rule: abuse-11
#[test]
fn a_call_outlives_its_credentials_unless_expiry_is_strict() {
    for strict in [false, true] {
        let mut rig = Rig::new();
        rig.server.options.strict_expiry = strict;
        let user = limited(&mut rig, 1, "bob", 60);
        let alice = rig.allocated(udp(), "alice", "pw");
        assert_eq!(allocate(&mut rig, &user), 0);
        rig.advance_to(59.0);
        assert_eq!((refresh(&mut rig, &user), rig.permit(&user, &[PEER]), rig.bind(&user, 0x4000, PEER)), (0, 0, 0));
        rig.advance_to(60.0);
        let code = if strict { 401 } else { 0 };
        let codes = (refresh(&mut rig, &user), rig.permit(&user, &[PEER]), rig.bind(&user, 0x4000, PEER));
        assert_eq!(codes, (code, code, code), "strict: {strict}");
        assert_eq!(refresh(&mut rig, &alice), 0, "long-term users have no end");
        let expired = rig.server.stats().auth_failures_by(AuthFailure::Expired);
        assert_eq!(expired, if strict { 3 } else { 0 });
        let data = rig.client(user.tuple, &channel_data(0x4000, b"x"));
        assert!(matches!(data, Handled::Relay(_)), "what was permitted runs to its end");
    }
}

#[test]
fn a_user_that_is_taken_back_loses_its_allocations_and_gets_no_new_ones() {
    let mut rig = Rig::new();
    let (one, two) = (limited(&mut rig, 1, "bob", 60), limited(&mut rig, 2, "bob", 90));
    let other = limited(&mut rig, 3, "bobby", 60);
    for user in [&one, &two, &other] {
        assert_eq!(allocate(&mut rig, user), 0);
    }
    rig.revoked.revoke("bob", 100, UNIX);
    assert_eq!(rig.server.handle_end_user("bob"), 2);
    rig.drain();
    assert_eq!((rig.sockets.len(), rig.server.stats().allocations), (1, 1));
    assert_eq!(refresh(&mut rig, &one), 401, "nor with an allocation that is no more");
    assert_eq!((allocate(&mut rig, &one), allocate(&mut rig, &two)), (401, 401));
    assert_eq!(refresh(&mut rig, &other), 0);
    let again = limited(&mut rig, 1, "bob", 101);
    assert_eq!(allocate(&mut rig, &again), 0, "made after it");
    assert_eq!(rig.server.stats().auth_failures_by(AuthFailure::Revoked), 3);
}

/// Rule: abuse-12
#[test]
fn a_secret_that_is_gone_makes_nothing_new_and_ends_what_is_there_only_where_that_is_strict() {
    for strict in [false, true] {
        let mut rig = Rig::new();
        rig.server.options.strict_expiry = strict;
        let (user, late) = (limited(&mut rig, 1, "bob", 600), limited(&mut rig, 2, "bob", 600));
        let alice = rig.allocated(udp(), "alice", "pw");
        assert_eq!(allocate(&mut rig, &user), 0);
        // The same id, another secret: what counts is whether the key is still good.
        let alices = ("alice", Key::of_password("alice", "tern", "pw"));
        rig.credentials = Credentials::new("tern", [alices], [Secret::new("first", "another")]);
        rig.server.handle_credentials(&rig.credentials);
        rig.drain();
        assert_eq!(allocate(&mut rig, &late), 401);
        assert_eq!(rig.server.stats().allocations, if strict { 1 } else { 2 });
        assert_eq!(refresh(&mut rig, &user), if strict { 401 } else { 0 });
        assert_eq!(refresh(&mut rig, &alice), 0);
    }
}

/// Rule: abuse-16
#[test]
fn each_failure_is_reported_with_its_reason_and_answered_alike() {
    let mut rig = Rig::new();
    let good = limited(&mut rig, 1, "bob", 60);
    let expired = limited(&mut rig, 1, "bob", 0);
    let mut nobody = limited(&mut rig, 1, "bob", 60);
    (nobody.name, nobody.password) = ("nobody".into(), "pw".into());
    let mut wrong = limited(&mut rig, 1, "bob", 60);
    wrong.password = "guessed".into();
    let mut late_guess = limited(&mut rig, 1, "bob", 0);
    late_guess.password = "guessed".into();
    let taken = limited(&mut rig, 1, "eve", 60);
    rig.revoked.revoke("eve", 60, UNIX);
    let clients = [expired, nobody, wrong, late_guess, taken];
    let answers: Vec<_> = clients
        .iter()
        .map(|user| {
            let request = user.allocate(&[]);
            let answer = rig.ask(user, request);
            (answer.code(), answer.bytes.len())
        })
        .collect();
    assert!(answers.iter().all(|answer| *answer == answers[0] && answer.0 == 401), "{answers:?}");
    let reasons: Vec<_> = rig
        .reports
        .iter()
        .map(|report| {
            let Report::AuthenticationFailed { client, username, reason } = report else { panic!("{report:?}") };
            assert_eq!(*client, good.tuple);
            (username.clone(), *reason)
        })
        .collect();
    let wanted = [
        AuthFailure::Expired,
        AuthFailure::UnknownUser,
        AuthFailure::WrongPassword,
        AuthFailure::WrongPassword,
        AuthFailure::Revoked,
    ];
    assert_eq!(reasons, clients.iter().map(|user| user.name.clone()).zip(wanted).collect::<Vec<_>>());
    rig.reports.clear();
    assert_eq!(allocate(&mut rig, &good), 0);
    assert!(rig.reports.is_empty(), "neither a challenge nor a success is a failure");
}

#[test]
fn a_forged_source_is_not_reported() {
    let mut rig = Rig::new();
    let mut forged = limited(&mut rig, 1, "bob", 60);
    forged.password = "guessed".into();
    forged.nonce = forged.nonce.chars().rev().collect();
    let request = forged.allocate(&[]);
    assert_eq!(rig.ask(&forged, request).code(), 401);
    assert!(rig.reports.is_empty(), "whoever sent it need not be there");
}

#[test]
fn who_cannot_be_asked_is_500_and_no_stale_nonce_asks_anybody() {
    let mut rig = Rig::new();
    rig.server.options.ask_only_our_own_sources = true;
    let mut user = limited(&mut rig, 1, "bob", 60);
    let open = rig.open.clone();
    let context = Context { now: rig.now, open: &open };
    rig.server.handle_client(context, user.tuple, &user.allocate(&[]));
    let Some(Output::NeedKey { request, .. }) = rig.server.poll_output() else { panic!("a question") };
    rig.server.handle_no_key(request);
    rig.drain();
    let (_, bytes) = rig.sent.pop().expect("an answer");
    assert_eq!(Answer { bytes }.code(), 500);
    assert_eq!(allocate(&mut rig, &user), 0, "nothing is kept of it");

    user.tuple = five_tuple("198.20.0.66:9", Transport::Udp);
    rig.server.handle_client(context, user.tuple, &user.allocate(&[]));
    assert!(matches!(rig.server.poll_output(), Some(Output::Transmit { .. })), "another source's nonce: 438 at once");
    rig.server.options.ask_only_our_own_sources = false;
    rig.server.handle_client(context, user.tuple, &user.allocate(&[]));
    assert!(matches!(rig.server.poll_output(), Some(Output::NeedKey { .. })));
}

#[test]
fn somebody_elsewhere_may_know_a_user() {
    let mut rig = Rig::new();
    rig.server.options.strict_expiry = true;
    let mut user = TestClient::new(udp(), "carol", "from elsewhere");
    user.greet(&mut rig);
    let open = rig.open.clone();
    let start = rig.now;
    let context = Context { now: start, open: &open };
    rig.server.handle_client(context, user.tuple, &user.allocate(&[]));
    let Some(Output::NeedKey { request, .. }) = rig.server.poll_output() else { panic!("a question") };
    let key = Key::of_password("carol", "tern", "from elsewhere");
    let known = crate::Candidates::known_elsewhere("carol", key, crate::QuotaKey::new("tenant"), Some(60));
    rig.server.handle_key(context, request, known);
    rig.drain();
    assert_eq!(rig.server.snapshots(start)[0].quota_key, "tenant");
    rig.server.handle_credentials(&rig.credentials);
    assert_eq!(refresh(&mut rig, &user), 0, "a change of ours is none of theirs");
    rig.advance_to(60.0);
    assert_eq!(refresh(&mut rig, &user), 401);

    let denied = crate::Candidates::denied_elsewhere("dave", "tern");
    let mut dave = TestClient::new(five_tuple("198.20.0.3:1", Transport::Udp), "dave", "");
    dave.greet(&mut rig);
    let context = Context { now: rig.now, open: &open };
    rig.server.handle_client(context, dave.tuple, &dave.allocate(&[]));
    let Some(Output::NeedKey { request, .. }) = rig.server.poll_output() else { panic!("a question") };
    rig.server.handle_key(context, request, denied);
    rig.drain();
    assert_eq!(rig.server.stats().auth_failures_by(AuthFailure::Denied), 1);
    assert!(Revocations::default().is_empty());
}
