//! libnice, the ICE library of GNOME, GStreamer and Janus: two agents that may use nothing but the relay, or one that
//! may not and another in a network that only the relay reaches.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use tests::foreign::{self, Built};
use tests::relay::USER;
use tests::ways::{self, Target};

/// A running agent, ended when dropped.
struct Agent {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Agent {
    fn start(mut command: Command, transport: &str, target: &Target, local: &str, role: &str) -> Self {
        command.args([transport, &target.server.to_string(), local, USER.0, USER.1, role]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it was built");
        let stdin = child.stdin.take().expect("piped above");
        let stdout = BufReader::new(child.stdout.take().expect("piped above"));
        Self { child, stdin, stdout }
    }

    /// The session description, with the dot at its end.
    fn description(&mut self) -> String {
        let mut text = String::new();
        while !text.ends_with("\n.\n") {
            let length = self.stdout.read_line(&mut text).expect("text");
            assert!(length > 0, "the agent ended: {text}");
        }
        text
    }

    fn hear_of(&mut self, description: &str) {
        self.stdin.write_all(description.as_bytes()).expect("the agent reads");
    }

    /// What it says until it ends: the program has a deadline of its own.
    fn rest(&mut self) -> String {
        let mut text = String::new();
        self.stdout.read_to_string(&mut text).expect("text");
        text
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn talk(program: &Built, target: &Target, transport: &str) {
    let mut one = Agent::start(Command::new(&program.path), transport, target, "127.0.0.1", "ask");
    let mut other = match &target.space {
        None => Agent::start(Command::new(&program.path), transport, target, "127.0.0.1", "answer"),
        Some(space) => {
            let command = space.command(program.path.to_str().expect("a plain name"));
            Agent::start(command, "none", target, &space.there.to_string(), "answer")
        }
    };
    let (here, there) = (one.description(), other.description());
    one.hear_of(&there);
    other.hear_of(&here);
    let said = one.rest();
    let pair = if target.space.is_none() { "relay to relay" } else { "relay to direct" };
    assert!(said.contains(pair) && said.contains("echoed 20"), "over {transport}: {said}");
}

#[test]
fn relays_both_ways() {
    let program = foreign::c("libnice_client.c", "nice");
    ways::both(
        |_| {},
        |target| {
            for transport in ["udp", "tcp"] {
                talk(&program, target, transport);
            }
        },
    );
}
