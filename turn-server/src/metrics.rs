//! Every metric of turn-server: its name, its help, its labels. Labels come from closed sets, never from users.

mod threads;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::{encode, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use signalling::Code;
pub(crate) use threads::Threads;

/// What every name begins with.
const PREFIX: &str = "tern";

/// The one list of codes as a label.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct CodeLabel {
    code: &'static str,
}

impl From<Code> for CodeLabel {
    fn from(code: Code) -> Self {
        Self { code: code.as_str() }
    }
}

/// A method and the route that it hit, as the route is written in the code.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct RouteLabel {
    pub(crate) method: &'static str,
    pub(crate) route: String,
    pub(crate) status: u16,
}

/// A gauge that counts what is open.
#[derive(Debug, Clone, Default)]
pub(crate) struct Open(Gauge);

/// One more, until it is dropped.
pub(crate) struct OpenGuard(Gauge);

impl Open {
    pub(crate) fn enter(&self) -> OpenGuard {
        self.0.inc();
        OpenGuard(self.0.clone())
    }

    pub(crate) fn count(&self) -> i64 {
        self.0.get()
    }
}

impl Drop for OpenGuard {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// See the module.
pub(crate) struct Metrics {
    registry: Registry,
    pub(crate) sockets: Open,
    pub(crate) joins: Counter,
    pub(crate) joins_refused: Family<CodeLabel, Counter>,
    pub(crate) http: Family<RouteLabel, Counter>,
    pub(crate) rooms: Gauge,
    pub(crate) participants: Gauge,
    pub(crate) recorders: Gauge,
    pub(crate) recordings_live: Gauge,
    pub(crate) recordings_started: Counter,
    pub(crate) recordings_failed: Counter,
    pub(crate) webhooks_delivered: Counter,
    pub(crate) webhooks_failed: Counter,
    pub(crate) webhooks_waiting: Gauge,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix(PREFIX),
            sockets: Open::default(),
            joins: Counter::default(),
            joins_refused: Family::default(),
            http: Family::default(),
            rooms: Gauge::default(),
            participants: Gauge::default(),
            recorders: Gauge::default(),
            recordings_live: Gauge::default(),
            recordings_started: Counter::default(),
            recordings_failed: Counter::default(),
            webhooks_delivered: Counter::default(),
            webhooks_failed: Counter::default(),
            webhooks_waiting: Gauge::default(),
        };
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        let r = &mut self.registry;
        r.register("sockets", "Open rooms/1 WebSockets", self.sockets.0.clone());
        r.register("joins", "Participants that joined", self.joins.clone());
        r.register("joins_refused", "Joins refused, by code", self.joins_refused.clone());
        r.register("http_requests", "HTTP requests, by route and status", self.http.clone());
        r.register("rooms", "Rooms", self.rooms.clone());
        r.register("participants", "Participants, hidden ones too", self.participants.clone());
        r.register("recorders", "Connected recorders", self.recorders.clone());
        r.register("recordings_live", "Recordings that are on", self.recordings_live.clone());
        r.register("recordings_started", "Recordings started", self.recordings_started.clone());
        r.register("recordings_failed", "Recordings that failed", self.recordings_failed.clone());
        r.register("webhooks_delivered", "Webhooks delivered", self.webhooks_delivered.clone());
        r.register("webhooks_failed", "Webhooks given up or lost", self.webhooks_failed.clone());
        r.register("webhooks_waiting", "Webhooks that wait for their receiver", self.webhooks_waiting.clone());
    }

    /// The text that Prometheus reads: ours, then what the threads count.
    pub(crate) fn text(&self, threads: Threads) -> String {
        let mut text = String::new();
        let mut of_threads = Registry::with_prefix(PREFIX);
        of_threads.register_collector(Box::new(threads));
        // Writing to a String cannot fail.
        let _ = encode_registry(&mut text, &self.registry);
        let _ = encode(&mut text, &of_threads);
        text
    }
}
