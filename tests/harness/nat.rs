//! Two homes behind address translators, and the public network between them:
//!
//! ```text
//! home ── gateway ──┐
//!                   ├── public (11.22.33.1)
//! home ── gateway ──┘
//! ```
//!
//! The public addresses are none that a relay refuses by default, and nothing here is joined to this machine's network.

use std::io::Write as _;
use std::process::{Command, Stdio};

use crate::netns::Host;

/// The address of the public host.
pub const PUBLIC: &str = "11.22.33.1";

/// How a gateway translates and filters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nat {
    /// Another port for each destination.
    Symmetric,
    /// One port for all destinations, open to those that were sent to.
    PortRestricted,
}

impl Nat {
    /// The rule by which outgoing packets get their port.
    fn masquerade(self) -> &'static str {
        match self {
            Self::Symmetric => "meta l4proto udp masquerade random,fully-random",
            Self::PortRestricted => "masquerade",
        }
    }
}

/// The whole network. Everything is deleted when it is dropped.
pub struct Lab {
    /// Where a relay can run, at [`PUBLIC`].
    pub public: Host,
    /// The two homes.
    pub homes: [Host; 2],
    _gateways: [Host; 2],
}

impl Lab {
    /// Builds the network with these gateways.
    pub fn new(nats: [Nat; 2]) -> Self {
        let public = Host::new("pub");
        let homes = ["c1", "c2"].map(Host::new);
        let gateways = ["g1", "g2"].map(Host::new);
        public.ip(&["link", "add", "net", "type", "bridge"]);
        public.ip(&["addr", "add", &format!("{PUBLIC}/24"), "dev", "net"]);
        public.ip(&["link", "set", "net", "up"]);
        for (number, ((home, gateway), nat)) in homes.iter().zip(&gateways).zip(nats).enumerate() {
            let (port, wan) = (format!("port{number}"), format!("11.22.33.{}/24", number + 11));
            home.connect(("lan", Some("192.168.1.2/24")), gateway, ("lan", Some("192.168.1.1/24")));
            home.ip(&["route", "add", "default", "via", "192.168.1.1"]);
            gateway.connect(("wan", Some(&wan)), &public, (&port, None));
            public.ip(&["link", "set", &port, "master", "net"]);
            translate(gateway, nat);
        }
        Self { public, homes, _gateways: gateways }
    }
}

/// Makes a gateway forward, translate, and let in only what belongs to what went out. It takes nothing itself either:
/// a flow that it knows from outside would take the port away that a home's own packets are to have.
fn translate(gateway: &Host, nat: Nat) {
    run(gateway, "sysctl", &["-qw", "net.ipv4.ip_forward=1"], "");
    let rules = format!(
        "table ip home {{
            chain out {{ type nat hook postrouting priority srcnat; oifname \"wan\" {}; }}
            chain through {{ type filter hook forward priority filter; iifname \"wan\" ct state new drop; }}
            chain here {{ type filter hook input priority filter; iifname \"wan\" ct state new drop; }}
        }}\n",
        nat.masquerade()
    );
    run(gateway, "nft", &["-f", "-"], &rules);
}

fn run(host: &Host, program: &str, arguments: &[&str], input: &str) {
    let mut command: Command = host.command(program);
    let mut child = command.args(arguments).stdin(Stdio::piped()).spawn().expect("ip (iproute2) is installed");
    child.stdin.take().expect("piped above").write_all(input.as_bytes()).expect("it reads");
    assert!(child.wait().expect("the child is ours").success(), "{program} {arguments:?}");
}
