//! Logging: one line an event, to stderr, as text or JSON.

use std::io::IsTerminal as _;

use serde::{Deserialize, Serialize};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, Registry};

/// How a line looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For machines: one JSON object a line.
    Json,
}

/// `[log]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// `error`, `warn`, `info`, `debug`, `trace`, or a filter such as `info,turn=debug`.
    pub level: String,
    /// Text or JSON.
    pub format: LogFormat,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { level: "info".into(), format: LogFormat::Text }
    }
}

/// Changes the filter while the program runs.
#[derive(Clone)]
pub struct LogHandle(tracing_subscriber::reload::Handle<EnvFilter, Registry>);

impl LogHandle {
    /// Filters by `level` from now on.
    ///
    /// # Errors
    /// What is wrong with `level`; the old filter stays.
    pub fn set_level(&self, level: &str) -> Result<(), String> {
        self.0.reload(filter(level)?).map_err(|error| error.to_string())
    }
}

/// Reads a filter such as `info` or `info,turn=debug`.
///
/// # Errors
/// What is wrong with it and what is allowed.
pub fn filter(level: &str) -> Result<EnvFilter, String> {
    let filter = EnvFilter::try_new(level).map_err(|error| {
        format!(
            "{level:?} is not a filter ({error}); allowed: error, warn, info, debug, trace, or such as info,turn=debug"
        )
    })?;
    // The STUN codec warns of every malformed packet: whoever floods the relay would flood the log too.
    let quiet = "stun_types=error".parse().expect("a directive");
    Ok(if level.contains("stun_types") { filter } else { filter.add_directive(quiet) })
}

/// Starts logging for the whole process; a second call in one process (tests) changes nothing and returns `None`.
///
/// # Errors
/// What is wrong with `level`.
pub fn start(config: &LogConfig) -> Result<Option<LogHandle>, String> {
    // Colours are for terminals, not for files and journals.
    start_to(config, std::io::stderr().is_terminal(), std::io::stderr)
}

/// Like [`start`], but writes each line to what `writer` gives; `colours`: in text lines.
///
/// # Errors
/// What is wrong with `level`.
pub fn start_to<W: std::io::Write + 'static>(
    config: &LogConfig,
    colours: bool,
    writer: impl Fn() -> W + Send + Sync + 'static,
) -> Result<Option<LogHandle>, String> {
    let (filter, handle) = tracing_subscriber::reload::Layer::new(filter(&config.level)?);
    let lines = match config.format {
        LogFormat::Text => tracing_subscriber::fmt::layer().with_ansi(colours).with_writer(writer).boxed(),
        LogFormat::Json => tracing_subscriber::fmt::layer().json().with_writer(writer).boxed(),
    };
    let started = Registry::default().with(filter).with(lines).try_init().is_ok();
    Ok(started.then_some(LogHandle(handle)))
}
