//! A second network namespace, joined to ours by a pair of veth devices. Needs root, as CI and containers have it.

use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering};

/// A namespace that is deleted when this is dropped.
pub struct Namespace {
    name: String,
    device: String,
    /// Our end's address.
    pub here: std::net::Ipv4Addr,
    /// Its end's address.
    pub there: std::net::Ipv4Addr,
}

impl Namespace {
    /// Makes a namespace with an address, and a way to it.
    pub fn new() -> Self {
        static COUNT: AtomicU8 = AtomicU8::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let pid = std::process::id();
        // A /30 of a private range, by process and count, so that tests beside us have others.
        let network = (pid % 1024) * 64 + u32::from(count % 16) * 4;
        let at = |host: u32| std::net::Ipv4Addr::from_bits(0x0AC8_0000 + network + host);
        let name = format!("tern-{pid}-{count}");
        let device = format!("tn{:x}{count}", pid & 0xF_FFFF);
        let space = Self { name, device, here: at(1), there: at(2) };
        space.build();
        space
    }

    fn build(&self) {
        let (name, near, far) = (&self.name, format!("{}a", self.device), format!("{}b", self.device));
        ip(&["netns", "add", name]);
        ip(&["link", "add", &near, "type", "veth", "peer", "name", &far, "netns", name]);
        ip(&["addr", "add", &format!("{}/30", self.here), "dev", &near]);
        ip(&["link", "set", &near, "up"]);
        ip(&["-n", name, "addr", "add", &format!("{}/30", self.there), "dev", &far]);
        ip(&["-n", name, "link", "set", &far, "up"]);
        ip(&["-n", name, "link", "set", "lo", "up"]);
    }

    /// Changes the size of packets that fit between the two.
    pub fn set_mtu(&self, mtu: u16) {
        let mtu = mtu.to_string();
        ip(&["link", "set", &format!("{}a", self.device), "mtu", &mtu]);
        ip(&["-n", &self.name, "link", "set", &format!("{}b", self.device), "mtu", &mtu]);
    }

    /// A command that runs inside.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]);
        command
    }
}

impl Default for Namespace {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // Takes both devices along.
        let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
    }
}

fn ip(arguments: &[&str]) {
    let output = Command::new("ip").args(arguments).output().expect("ip (iproute2) is installed");
    let why = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {}: {why}", arguments.join(" "));
}
