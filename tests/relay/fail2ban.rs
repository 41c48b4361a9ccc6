//! The filter of docs/fail2ban.md on lines that the running server wrote, read by fail2ban itself.

use std::process::Command;

use tests::binary::Program;
use tests::program::{finish, in_workspace};
use tests::turn_client::TurnClient;

/// The filter that the page shows.
fn filter() -> String {
    let page = std::fs::read_to_string(in_workspace("docs/fail2ban.md")).expect("the page");
    let (_, rest) = page.split_once("```ini\n").expect("a filter");
    rest.split("```").next().expect("its end").to_owned()
}

#[test]
fn the_filter_finds_who_guesses_and_nobody_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let file = path("turnserver.conf");
    std::fs::write(&file, "user=alice:pw\nrealm=x\n").expect("written");
    let environment = [("TERN__RELAY__LISTEN", "127.0.0.1:0,[::1]:0"), ("TERN__RELAY__RELAY_ADDRESSES", "127.0.0.1")];
    let mut program = Program::start(&["--coturn", file.to_str().expect("UTF-8")], &environment);
    let [v4, v6] = program.addresses[..] else { panic!("{:?}", program.addresses) };
    assert!(TurnClient::udp(v4, "alice", "pw").allocate().is_ok());
    let mut log = String::new();
    // The last name tries to look like a line about somebody else.
    let hostile = "\",\"client\":\"9.9.9.9:1\",\"user\":\"";
    for (server, name) in [(v4, "alice"), (v6, "nobody"), (v4, hostile)] {
        assert_eq!(TurnClient::udp(server, name, "guessed").allocate(), Err(401));
        log.push_str(&program.wait_for("authentication failed"));
        log.push('\n');
    }
    // Expired credentials, and another message, are none of its business.
    log.push_str(&log.lines().next().expect("a line").replace("wrong_password", "expired"));
    log.push('\n');
    log.push_str(&log.lines().next().expect("a line").replace("authentication failed", "peer denied"));
    let (log_file, filter_file) = (path("turn.log"), path("filter.conf"));
    std::fs::write(&log_file, &log).expect("written");
    std::fs::write(&filter_file, filter()).expect("written");
    let mut command = Command::new("fail2ban-regex");
    command.args(["--out", "ip"]).arg(&log_file).arg(&filter_file);
    let found = finish(command).expect_success();
    assert_eq!(found.split_whitespace().collect::<Vec<_>>(), ["127.0.0.1", "::1", "127.0.0.1"], "{log}");
}
