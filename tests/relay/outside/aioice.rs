//! aioice, the ICE library of Python's WebRTC.

use std::process::Command;

use tests::pki::Pki;
use tests::program::{Finished, finish, in_workspace};
use tests::relay::{SECRET, USER, start, with_tls};
use tests::ways::{self, Target};

fn aioice(target: &Target, transport: &str, login: &[&str]) -> Finished {
    let mut command = Command::new(in_workspace(".cache/python/bin/python"));
    command.arg(in_workspace("tests/clients/aioice_client.py"));
    command.arg(transport).arg(target.server.to_string()).arg(target.peer()).args(login);
    finish(command)
}

#[track_caller]
fn echoes(target: &Target, transport: &str, login: &[&str]) {
    let output = aioice(target, transport, login).expect_success();
    assert!(output.contains("echoed 20"), "{output}");
}

#[test]
fn relays_both_ways() {
    let pki = Pki::new();
    let root = pki.root().to_string_lossy().into_owned();
    ways::both(
        |config| with_tls(&pki, config),
        |target| {
            for transport in ["udp", "tcp", "tls"] {
                echoes(target, transport, &["--ca", &root, "--user", USER.0, "--password", USER.1]);
                echoes(target, transport, &["--ca", &root, "--user", "alice", "--secret", SECRET]);
            }
        },
    );
}

#[test]
fn wrong_and_expired_credentials_are_refused() {
    let (relay, server) = start(|_| {});
    let target = Target { server, echo: None, space: None };
    let expired = ["--user", "alice", "--secret", SECRET, "--ttl", "-10"];
    let wrong = ["--user", USER.0, "--password", "wrong"];
    let stranger = ["--user", "alice", "--secret", "west"];
    for login in [&expired[..], &wrong, &stranger] {
        for transport in ["udp", "tcp"] {
            let run = aioice(&target, transport, login);
            assert!(!run.success && run.output.contains("refused 401"), "{login:?} over {transport}: {}", run.output);
        }
    }
    assert_eq!(relay.stats().core.allocations_made, 0);
}
