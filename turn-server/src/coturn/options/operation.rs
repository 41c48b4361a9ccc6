//! Logs, metrics, consoles, and how the process runs.

use super::super::values::{Set, address, port, text};
use super::{Fate, Known, flag, ignored, ignored_flag, refused, refused_flag, value};
use crate::coturn::draft::Verbosity;

const STDERR: &str = "the log goes to stderr, a line an event with its time; systemd or docker keep it";
const NO_CONSOLE: &str = "there is no telnet console; ask the REST API or /metrics";
const NO_WEB_ADMIN: &str = "there is no web interface for administrators; ask the REST API or /metrics";
const FOREGROUND: &str = "the program stays in the foreground; systemd or docker start it";
const AS_USER: &str = "start the program as that user (User= and Group= in its systemd unit), not as root";
const PLAIN_METRICS: &str = "metrics are served without TLS under --coturn; use our own configuration and [api] tls";

pub(super) const OPTIONS: &[Known] = &[
    flag("prometheus", |draft, on| draft.metrics = Some(on)),
    value("prometheus-port", |draft, line| {
        draft.metrics_port = Some(line.set(port)?);
        Ok(())
    }),
    value("prometheus-address", |draft, line| {
        draft.metrics_address = Some(line.set(address)?);
        Ok(())
    }),
    value("prometheus-path", |draft, line| {
        draft.metrics_path = Some(line.set(text)?);
        Ok(())
    }),
    ignored_flag("prometheus-username-labels", "metrics have no label for users, of whom there may be any number"),
    refused_flag("prometheus-tls", PLAIN_METRICS),
    refused("prometheus-cert", PLAIN_METRICS),
    refused("prometheus-key", PLAIN_METRICS),
    ignored("redis-statsdb", "usage is in /metrics and in the REST API, not in Redis"),
    flag("verbose", |draft, on| verbosity(draft, on, Verbosity::Info)),
    flag("Verbose", |draft, on| verbosity(draft, on, Verbosity::Debug)),
    value("log-min-level", |draft, line| {
        draft.verbosity = Some(line.set(Verbosity::read)?);
        Ok(())
    }),
    ignored("log-file", STDERR),
    ignored_flag("no-stdout-log", STDERR),
    ignored_flag("syslog", STDERR),
    ignored("syslog-facility", STDERR),
    ignored_flag("simple-log", STDERR),
    ignored_flag("new-log-timestamp", STDERR),
    ignored("new-log-timestamp-format", STDERR),
    ignored_flag("log-binding", "Binding requests are counted in the metrics"),
    ignored_flag("no-cli", NO_CONSOLE),
    ignored_flag("cli", NO_CONSOLE),
    ignored("cli-ip", NO_CONSOLE),
    ignored("cli-port", NO_CONSOLE),
    ignored("cli-password", NO_CONSOLE),
    ignored("cli-max-output-sessions", NO_CONSOLE),
    ignored_flag("web-admin", NO_WEB_ADMIN),
    ignored("web-admin-ip", NO_WEB_ADMIN),
    ignored("web-admin-port", NO_WEB_ADMIN),
    ignored_flag("web-admin-listen-on-workers", NO_WEB_ADMIN),
    ignored("acme-redirect", "requests for certificates are for a web server"),
    ignored_flag("daemon", FOREGROUND),
    ignored("pidfile", FOREGROUND),
    Known { fate: Fate::RefusedAsRoot(AS_USER), ..ignored("proc-user", AS_USER) },
    Known { fate: Fate::RefusedAsRoot(AS_USER), ..ignored("proc-group", AS_USER) },
    ignored_flag("version", "see turn-server --version"),
];

fn verbosity(draft: &mut super::Draft, on: Set<bool>, verbosity: Verbosity) {
    if on.value {
        draft.verbosity = Some(Set { line: on.line, value: verbosity });
    }
}
