//! Everything that the recorder counts; all names are here.

use std::sync::atomic::{AtomicI64, AtomicU64};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use session::Stats;

/// The recorder's counters; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    packets: Counter,
    lost: Counter,
    refused: Counter,
    key_frames: Counter,
    uploaded: Counter,
    upload_failures: Counter,
    delivered: Counter,
    broke_down: Counter,
    recordings: Gauge<i64, AtomicI64>,
    linked: Gauge<i64, AtomicI64>,
    load: Gauge<f64, AtomicU64>,
}

impl Metrics {
    /// Lists the counters under their names.
    pub fn register(&self, registry: &mut Registry) {
        let r = registry;
        r.register("recorder_packets", "Media packets received", self.packets.clone());
        r.register("recorder_packets_lost", "Media packets that never came", self.lost.clone());
        r.register("recorder_key_frames_asked", "Key frames asked for", self.key_frames.clone());
        r.register("recorder_frames_refused", "Frames that no file could hold", self.refused.clone());
        r.register("recorder_uploaded_bytes", "Bytes sent to storage", self.uploaded.clone());
        r.register("recorder_upload_failures", "Requests to storage that failed", self.upload_failures.clone());
        r.register("recorder_delivered", "Recordings that storage has", self.delivered.clone());
        r.register("recorder_breakdowns", "Tasks that broke down and were begun again", self.broke_down.clone());
        r.register("recorder_recordings", "Recordings that are not in storage yet", self.recordings.clone());
        r.register("recorder_load", "CPU time used, of all that this process may use", self.load.clone());
        r.register("recorder_linked", "1 while a server gives us work", self.linked.clone());
    }

    pub(crate) fn media(&self, now: Stats, before: Stats) {
        self.packets.inc_by(now.packets - before.packets);
        self.lost.inc_by(now.lost - before.lost);
        self.key_frames.inc_by(now.key_frames_asked - before.key_frames_asked);
        self.refused.inc_by(now.refused - before.refused);
    }

    pub(crate) fn uploaded(&self, bytes: u64) {
        self.uploaded.inc_by(bytes);
    }

    pub(crate) fn upload_failed(&self) {
        self.upload_failures.inc();
    }

    pub(crate) fn delivered(&self) {
        self.delivered.inc();
    }

    pub(crate) fn broke_down(&self) {
        self.broke_down.inc();
    }

    pub(crate) fn set_recordings(&self, count: usize) {
        self.recordings.set(count as i64);
    }

    pub(crate) fn set_load(&self, load: f64) {
        self.load.set(load);
    }

    pub(crate) fn set_linked(&self, linked: bool) {
        self.linked.set(i64::from(linked));
    }

    #[cfg(test)]
    pub(crate) fn upload_failures(&self) -> u64 {
        self.upload_failures.get()
    }

    /// Whether a server gives us work.
    pub fn is_linked(&self) -> bool {
        self.linked.get() == 1
    }
}
