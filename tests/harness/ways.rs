//! The two ways that data take through a relay, each for a client that we did not write: handed over inside the process
//! from allocation to allocation, and through the kernel to a peer elsewhere. The relay's counters prove which it was.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use turn_server::config::RelayConfig;

use crate::netns::Namespace;
use crate::relay::start;
use crate::turn_tools::EchoPeer;

/// What a client is run against.
pub struct Target {
    /// The relay, over UDP and TCP.
    pub server: SocketAddr,
    /// Who sends everything back; `None`: the client makes two allocations, and they talk to each other.
    pub echo: Option<SocketAddr>,
    /// The namespace of the echo.
    pub space: Option<Namespace>,
}

impl Target {
    /// A client program called as all of ours are: `PROGRAM TRANSPORT SERVER PEER`, where PEER is an address or `pair`.
    pub fn command(&self, program: &Path, transport: &str) -> Command {
        let mut command = Command::new(program);
        command.arg(transport).arg(self.server.to_string()).arg(self.peer());
        command
    }

    /// The argument that names the peer.
    pub fn peer(&self) -> String {
        self.echo.map_or("pair".into(), |peer| peer.to_string())
    }
}

/// Runs a client once for each way, against a relay that `edit` configured.
#[track_caller]
pub fn both(edit: impl Fn(&mut RelayConfig), client: impl Fn(&Target)) {
    handed_over(&edit, &client);
    through_kernel(&edit, &client);
}

#[track_caller]
fn handed_over(edit: impl Fn(&mut RelayConfig), client: impl Fn(&Target)) {
    let (relay, server) = start(edit);
    client(&Target { server, echo: None, space: None });
    let stats = relay.stats();
    assert!(stats.handed_over > 0, "between allocations of one relay, packets do not take the kernel's way: {stats:?}");
    assert_eq!(stats.sent_to_peers, 0);
}

/// Runs a client against a relay and an echo that only the relay reaches.
#[track_caller]
pub fn through_kernel(edit: impl Fn(&mut RelayConfig), client: impl Fn(&Target)) {
    let space = Namespace::new();
    let peer = EchoPeer::start(&space);
    let (relay, server) = start(|config| {
        config.relay_addresses = vec![space.here.into()];
        config.allow_peers = vec![format!("{}/32", space.there)];
        edit(config);
    });
    client(&Target { server, echo: Some(peer.address), space: Some(space) });
    let stats = relay.stats();
    assert_eq!(stats.handed_over, 0);
    assert!(stats.sent_to_peers > 0 && stats.received_from_peers > 0, "{stats:?}");
    assert_eq!(stats.send_dropped + stats.tcp_dropped, 0);
}
