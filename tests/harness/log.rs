//! What the product logs in this process, as the JSON lines that an operator's machine would read.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use serde_json::Value;
use service::log::{LogConfig, LogFormat};

/// How long a line may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// All that was logged since the first call of [`capture`]. Tests that share a process share it.
#[derive(Clone, Default)]
pub struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no writer panics").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Logs as JSON at `info` into memory from now on.
pub fn capture() -> Lines {
    static LINES: OnceLock<Lines> = OnceLock::new();
    let start = || {
        let (lines, config) = (Lines::default(), LogConfig { format: LogFormat::Json, ..LogConfig::default() });
        let writer = lines.clone();
        let started = service::log::start_to(&config, false, move || writer.clone()).expect("a good level");
        assert!(started.is_some(), "nobody else logs in a process of tests");
        lines
    };
    LINES.get_or_init(start).clone()
}

impl Lines {
    /// The fields of all lines with this message. Each line must be JSON.
    pub fn all(&self, message: &str) -> Vec<Value> {
        let bytes = self.0.lock().expect("no writer panics").clone();
        let text = String::from_utf8(bytes).expect("lines are UTF-8");
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let fields = whole.lines().map(|line| {
            let line: Value = serde_json::from_str(line).expect("a line is one JSON object");
            line["fields"].clone()
        });
        fields.filter(|fields| fields["message"] == message).collect()
    }

    /// How many lines there are.
    pub fn count(&self) -> usize {
        self.0.lock().expect("no writer panics").iter().filter(|byte| **byte == b'\n').count()
    }

    /// The fields of the first line with this message that `is` it; waits for it.
    pub fn wait(&self, message: &str, is: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(fields) = self.all(message).into_iter().find(&is) {
                return fields;
            }
            assert!(Instant::now() < deadline, "a line {message:?} is logged");
            std::thread::yield_now();
        }
    }
}
