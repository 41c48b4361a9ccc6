//! The relay as a part of another program: the example of the documentation, as it is.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use tests::program::in_workspace;
use tests::turn_client::TurnClient;

#[test]
fn the_example_relays_until_its_input_ends() {
    let tests = std::env::current_exe().expect("this test");
    let release = tests.ancestors().nth(2).expect("target/release/deps");
    let mut command = Command::new(release.join("examples/embedded_relay"));
    command.arg("127.0.0.1:0").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("examples are built with the tests");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("piped above")).read_line(&mut line).expect("a line");
    let [url, name, password] = line.split_whitespace().collect::<Vec<_>>()[..] else { panic!("{line}") };
    let address: SocketAddr = url.strip_prefix("turn:").expect("a TURN URL").parse().expect("an address");
    assert!(TurnClient::udp(address, name, password).allocate().is_ok());
    assert_eq!(TurnClient::tcp(address, name, "guessed").allocate(), Err(401));
    drop(child.stdin.take());
    assert!(child.wait().expect("ours").success());
}

#[test]
fn the_documentation_shows_the_example() {
    let example = std::fs::read_to_string(in_workspace("turn-server/examples/embedded_relay.rs")).expect("the example");
    let (_, body) = example.split_once("fn main()").expect("a main function");
    let page = std::fs::read_to_string(in_workspace("docs/embedding.md")).expect("the page");
    assert!(page.contains(body.trim_end()), "docs/embedding.md shows another example");
    let lines = body.lines().skip(1).filter(|line| *line != "}").count();
    assert!(lines <= 15, "{lines} lines");
}
