//! Logging: one line an event, to stderr, as text or JSON.

use std::fmt;
use std::io::IsTerminal as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};

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
    /// Write of addresses of clients and their peers the network only: /24, or /48 of IPv6.
    pub anonymize: bool,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { level: "info".into(), format: LogFormat::Text, anonymize: false }
    }
}

/// Changes the log while the program runs.
#[derive(Clone)]
pub struct LogHandle(tracing_subscriber::reload::Handle<EnvFilter, Registry>);

impl LogHandle {
    /// Follows a new configuration from now on; its format counts at the next start only.
    ///
    /// # Errors
    /// What is wrong with the level; everything stays as it was.
    pub fn follow(&self, config: &LogConfig) -> Result<(), String> {
        self.0.reload(filter(&config.level)?).map_err(|error| error.to_string())?;
        ANONYMIZE.store(config.anonymize, Ordering::Relaxed);
        Ok(())
    }
}

/// There is one log in a process.
static ANONYMIZE: AtomicBool = AtomicBool::new(false);

/// An address of a person, as the log may show it: whole, or its network if that is wanted (`[log] anonymize`).
pub struct Address<T>(pub T);

impl fmt::Display for Address<SocketAddr> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if ANONYMIZE.load(Ordering::Relaxed) { write_network(self.0.ip(), f) } else { self.0.fmt(f) }
    }
}

impl fmt::Display for Address<IpAddr> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if ANONYMIZE.load(Ordering::Relaxed) { write_network(self.0, f) } else { self.0.fmt(f) }
    }
}

/// The networks that providers give to one customer or a few hundred.
fn write_network(ip: IpAddr, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match ip.to_canonical() {
        IpAddr::V4(ip) => write!(f, "{}/24", Ipv4Addr::from_bits(ip.to_bits() & (u32::MAX << 8))),
        IpAddr::V6(ip) => write!(f, "{}/48", Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << 80))),
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
    if started {
        ANONYMIZE.store(config.anonymize, Ordering::Relaxed);
    }
    Ok(started.then_some(LogHandle(handle)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(ip: &str) -> String {
        struct Network(IpAddr);
        impl fmt::Display for Network {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_network(self.0, f)
            }
        }
        Network(ip.parse().unwrap()).to_string()
    }

    #[test]
    fn of_an_anonymous_address_the_network_is_left() {
        assert_eq!(network("203.0.113.77"), "203.0.113.0/24");
        assert_eq!(network("::ffff:203.0.113.77"), "203.0.113.0/24");
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), "2001:db8:1::/48");
    }
}
