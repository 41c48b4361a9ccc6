//! The recorder as users run it: a process, to be stopped, frozen and killed.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

/// How long a process that was told to end may take.
const PATIENCE: Duration = Duration::from_secs(40);

/// A running recorder; it is killed with this value.
pub struct RecorderProcess {
    child: Child,
}

/// The release binary, which `cargo test` builds beside the tests because they depend on the package.
fn binary() -> io::Result<PathBuf> {
    let mut path = std::env::current_exe()?;
    path.pop();
    path.pop();
    Ok(path.join("recorder"))
}

impl RecorderProcess {
    /// Starts it with a configuration file.
    ///
    /// # Errors
    /// If it is not built (`cargo build --release --workspace --bins`).
    pub fn spawn(config: &Path) -> io::Result<Self> {
        let mut command = Command::new(binary()?);
        command.arg("--config").arg(config);
        Self::start(command)
    }

    /// Starts it with a spool on a disk of its own that holds so many megabytes. Needs root.
    ///
    /// # Errors
    /// As above, or without root.
    pub fn spawn_on_small_disk(config: &Path, spool: &Path, megabytes: u32) -> io::Result<Self> {
        let script = format!(
            "mkdir -p \"$1\" && mount -t tmpfs -o size={megabytes}m tmpfs \"$1\" && exec \"$2\" --config \"$3\""
        );
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", &script, "sh"]).arg(spool).arg(binary()?).arg(config);
        Self::start(command)
    }

    fn start(mut command: Command) -> io::Result<Self> {
        let child = command.stdin(Stdio::null()).kill_on_drop(true).spawn()?;
        Ok(Self { child })
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// If it has ended.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        let id = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        Ok(kill_process(id.ok_or_else(|| io::Error::other("it has ended"))?, signal)?)
    }

    /// Kills it, and waits until it is gone.
    ///
    /// # Errors
    /// If it had ended before.
    pub async fn kill(mut self) -> io::Result<()> {
        // Killing what has ended is no error to the system.
        if let Some(status) = self.child.try_wait()? {
            return Err(io::Error::other(format!("it had ended before: {status}")));
        }
        self.child.start_kill()?;
        self.child.wait().await.map(drop)
    }

    /// Waits until it ends by itself; whether it said that all was well.
    ///
    /// # Errors
    /// If it never does.
    pub async fn wait(mut self) -> io::Result<bool> {
        let status = tokio::time::timeout(PATIENCE, self.child.wait()).await.map_err(io::Error::other)??;
        Ok(status.success())
    }

    /// The process's id.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }
}
