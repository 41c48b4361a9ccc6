//! What a media worker did and has, for metrics.

/// Of one worker; counters count from its start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// What the core did.
    pub counters: sfu::Counters,
    /// What the core has.
    pub load: sfu::Load,
    /// Datagrams received: UDP, TCP frames, handed over.
    pub datagrams_in: u64,
    /// Datagrams sent, by any way.
    pub datagrams_out: u64,
    /// Datagrams that the kernel, a full lane or a slow TCP connection did not take.
    pub datagrams_dropped: u64,
    /// Open TCP connections.
    pub connections: usize,
    /// Participants put out because the shell did not take their events in time.
    pub participants_dropped: u64,
    /// Whether the thread has ended.
    pub ended: bool,
}
