//! The program `turn-server` itself, as an operator starts it.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long it may take to start, or to say something.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a subcommand printed.
#[derive(Debug)]
pub struct Printed {
    /// Exit code.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

/// A running program, killed when it is dropped.
pub struct Program {
    child: Child,
    log: Receiver<String>,
    /// The first address of its relay.
    pub relay: SocketAddr,
    /// All of them: those of `listen`, then those of `tls_listen`.
    pub addresses: Vec<SocketAddr>,
}

/// The release binary: beside our own tools, and one above tests.
fn binary() -> PathBuf {
    let own = std::env::current_exe().expect("this program");
    let folder = own.parent().expect("a program is in a folder");
    let folder = if folder.ends_with("deps") { folder.parent().expect("deps has a parent") } else { folder };
    folder.join("turn-server")
}

fn command(arguments: &[&str], environment: &[(&str, &str)]) -> Command {
    let mut command = Command::new(binary());
    command.args(arguments).envs(environment.iter().copied()).stdin(Stdio::null());
    command
}

/// Runs a subcommand to its end.
pub fn run(arguments: &[&str], environment: &[(&str, &str)]) -> Printed {
    let output = command(arguments, environment).output().expect("turn-server is built: cargo build --release --bins");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    Printed { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
}

impl Program {
    /// Starts it with a JSON log, and waits for its relay.
    pub fn start(arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut command = command(arguments, environment);
        command.env("TERN__LOG__FORMAT", "json").stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("turn-server is built: cargo build --release --bins");
        let stderr = BufReader::new(child.stderr.take().expect("piped above"));
        let (sender, log) = channel();
        std::thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let mut program = Self { child, log, relay: SocketAddr::from(([0, 0, 0, 0], 0)), addresses: Vec::new() };
        let started = program.wait_for("relay started");
        let started: Value = serde_json::from_str(&started).expect("a line of JSON");
        let addresses = started["fields"]["addresses"].as_str().or(started["addresses"].as_str()).expect("addresses");
        let listed = addresses.trim_matches(['[', ']']).split(", ");
        program.addresses = listed.map(|address| address.parse().expect("an address")).collect();
        program.relay = program.addresses[0];
        program
    }

    /// The next line of its log that holds `text`.
    pub fn wait_for(&mut self, text: &str) -> String {
        self.line_with(text).expect("the log has a line with that text")
    }

    /// An error has the lines that came instead.
    fn line_with(&mut self, text: &str) -> Result<String, String> {
        let deadline = Instant::now() + PATIENCE;
        let mut seen = String::new();
        while let Ok(line) = self.log.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            if line.contains(text) {
                return Ok(line);
            }
            seen = format!("{seen}{line}\n");
        }
        Err(format!("no line with {text:?}:\n{seen}"))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
