//! Programs that are not ours, run to their end: what they printed, within a deadline.

use std::io::{BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The longest run of a program.
const DEADLINE: Duration = Duration::from_secs(60);

/// A program that ended, or was ended at the deadline.
#[derive(Debug)]
pub struct Finished {
    /// It ended by itself with code 0.
    pub success: bool,
    /// Everything that it printed, errors last.
    pub output: String,
}

impl Finished {
    /// Fails unless the program said that all is well; returns what it printed.
    #[track_caller]
    pub fn expect_success(self) -> String {
        assert!(self.success, "{}", self.output);
        self.output
    }
}

/// Runs a program to its end.
///
/// # Panics
/// When it is not installed (`scripts/install-tools.sh`).
pub fn finish(command: Command) -> Finished {
    finish_within(command, DEADLINE)
}

/// Runs a program to its end, which comes at this time at the latest.
///
/// # Panics
/// As [`finish`].
pub fn finish_within(mut command: Command, time: Duration) -> Finished {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("scripts/install-tools.sh has installed it");
    let stdout = drain(child.stdout.take().expect("piped above"));
    let stderr = drain(child.stderr.take().expect("piped above"));
    let deadline = Instant::now() + time;
    let success = loop {
        match child.try_wait().expect("the child is ours") {
            Some(status) => break status.success(),
            None if Instant::now() > deadline => {
                let _ = child.kill();
                let _ = child.wait();
                break false;
            }
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    };
    let mut output = stdout.join().expect("the reader does not panic");
    output.extend(stderr.join().expect("the reader does not panic"));
    Finished { success, output: String::from_utf8_lossy(&output).into_owned() }
}

/// Reads beside us, so that a full pipe stops nobody.
fn drain(mut from: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = from.read_to_end(&mut bytes);
        bytes
    })
}

/// A running program that has printed the port that it listens at. Killed when it is dropped.
pub struct Listening {
    child: Child,
    /// The port.
    pub port: u16,
}

impl Listening {
    /// Starts it, and waits for its first line.
    pub fn start(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("it is installed");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
        Self { child, port: line.trim().parse().expect("a port") }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A file or folder of the workspace, by its path from there.
pub fn in_workspace(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the workspace").join(path)
}
