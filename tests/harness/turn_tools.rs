//! coturn's client tools, which know nothing of us. Their exit code says nothing about lost packets, so output is read.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::netns::Namespace;
use crate::program::{Finished, finish};

/// What `turnutils_uclient` said.
#[derive(Debug)]
pub struct ClientRun {
    /// It ended by itself with code 0.
    pub success: bool,
    /// Everything that it printed.
    pub output: String,
}

impl ClientRun {
    /// Packets that came back, if it got as far as counting them.
    pub fn received(&self) -> u64 {
        let last = self.output.lines().rfind(|line| line.contains("tot_recv_msgs="));
        let number = last.and_then(|line| line.split("tot_recv_msgs=").nth(1)?.split(',').next()?.trim().parse().ok());
        number.unwrap_or(0)
    }

    /// Fails unless packets came back and none was lost.
    #[track_caller]
    pub fn assert_nothing_lost(&self) {
        let lost_none = self.output.contains("Total lost packets 0 ");
        assert!(self.success && lost_none && self.received() > 0, "{}", self.output);
    }

    /// Fails unless packets came back. Over TLS it takes one read for one message, and so misses the second of two that
    /// came in one record: what was lost, the relay's counters say.
    #[track_caller]
    pub fn assert_something_came(&self) {
        assert!(self.success && self.received() > 0, "{}", self.output);
    }

    /// Fails unless as many bytes came as were sent. Where data is a stream (`-T`) a read over TLS may end in a packet,
    /// and what it counts as packets is wrong then.
    #[track_caller]
    pub fn assert_every_byte_came(&self) {
        let last = self.output.lines().rfind(|line| line.contains("tot_send_bytes ~ "));
        let sent_and_received =
            last.and_then(|line| line.split_once("tot_send_bytes ~ ")?.1.split_once(", tot_recv_bytes ~ "));
        let all_came = sent_and_received.is_some_and(|(sent, received)| sent != "0" && sent == received.trim());
        assert!(self.success && all_came, "{}", self.output);
    }
}

/// Runs `turnutils_uclient` against a server.
pub fn uclient(server: SocketAddr, arguments: &[&str]) -> ClientRun {
    let run = uclient_once(server, arguments);
    // Against an echo it draws two channel numbers by lot, for two peers: equal ones are refused, as they must be.
    if !run.success && run.output.contains("channel bind: error 400") {
        return uclient_once(server, arguments);
    }
    run
}

fn uclient_once(server: SocketAddr, arguments: &[&str]) -> ClientRun {
    let mut command = Command::new("turnutils_uclient");
    command.args(["-p", &server.port().to_string()]).args(arguments).arg(server.ip().to_string());
    let Finished { success, output } = finish(command);
    ClientRun { success, output }
}

/// `turnutils_peer` in another namespace: sends back what it gets.
pub struct EchoPeer {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
}

impl EchoPeer {
    /// Starts it, and waits until it answers.
    pub fn start(space: &Namespace) -> Self {
        let address = SocketAddr::from((space.there, 3480));
        let mut command = space.command("turnutils_peer");
        command.args(["-L", &space.there.to_string(), "-p", "3480"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let peer = Self { child: command.spawn().expect("turnutils_peer (coturn) is installed"), address };
        let probe = std::net::UdpSocket::bind((space.here, 0)).expect("our end has an address");
        probe.set_read_timeout(Some(Duration::from_millis(50))).expect("not zero");
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            // While nobody listens, nothing comes (a socket that is not connected hears no error): it is asked again.
            let _ = probe.send_to(b"are you there?", address);
            if probe.recv(&mut [0; 64]).is_ok() {
                return peer;
            }
            assert!(Instant::now() < deadline, "turnutils_peer does not answer");
        }
    }
}

impl Drop for EchoPeer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
