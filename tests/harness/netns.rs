//! Network namespaces: hosts of their own on this machine. Needs root, as CI and containers have it.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// A host with nothing but loopback, deleted with all its devices when this is dropped.
pub struct Host {
    name: String,
}

impl Host {
    /// Makes a host; `role` is for people who look.
    pub fn new(role: &str) -> Self {
        static COUNT: AtomicU8 = AtomicU8::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let host = Self { name: format!("tern-{}-{count}-{role}", std::process::id()) };
        ip(&["netns", "add", &host.name]);
        host.ip(&["link", "set", "lo", "up"]);
        host
    }

    /// Its name for `ip`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `ip` on this host.
    pub fn ip(&self, arguments: &[&str]) {
        ip(&[&["-n", &self.name], arguments].concat());
    }

    /// Joins this host to another one by a cable: at each end a device, and its address (`10.0.0.1/24`) if it has one.
    pub fn connect(&self, own: (&str, Option<&str>), other: &Self, far: (&str, Option<&str>)) {
        let ends = ["link", "add", own.0, "netns", &self.name, "type", "veth"];
        ip(&[&ends[..], &["peer", "name", far.0, "netns", &other.name]].concat());
        for (host, (device, address)) in [(self, own), (other, far)] {
            if let Some(address) = address {
                host.ip(&["addr", "add", address, "dev", device]);
            }
            host.ip(&["link", "set", device, "up"]);
        }
    }

    /// A command that runs on this host.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]);
        command
    }

    /// Runs a piece of this process here: sockets that it makes, and threads that it starts, belong to this host.
    pub fn within<T: Send>(&self, run: impl FnOnce() -> T + Send) -> T {
        let path = format!("/run/netns/{}", self.name);
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                let space = std::fs::File::open(path).expect("the namespace exists");
                move_into_link_name_space(std::os::fd::AsFd::as_fd(&space), Some(LinkNameSpaceType::Network))
                    .expect("root may enter it");
                run()
            });
            thread.join().expect("what ran there does not panic")
        })
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // Takes its devices along.
        let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
    }
}

/// A host with an address, and a cable from our own to it.
pub struct Namespace {
    host: Host,
    device: String,
    /// Our end's address.
    pub here: Ipv4Addr,
    /// Its end's address.
    pub there: Ipv4Addr,
}

impl Namespace {
    /// Makes a host with an address, and a way to it.
    pub fn new() -> Self {
        static COUNT: AtomicU8 = AtomicU8::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let pid = std::process::id();
        // A /30 of a private range, by process and count, so that tests beside us have others.
        let network = (pid % 1024) * 64 + u32::from(count % 16) * 4;
        let at = |host: u32| Ipv4Addr::from_bits(0x0AC8_0000 + network + host);
        let device = format!("tn{:x}{count}", pid & 0xF_FFFF);
        let (near, far) = (format!("{device}a"), format!("{device}b"));
        let space = Self { host: Host::new("far"), device, here: at(1), there: at(2) };
        ip(&["link", "add", &near, "type", "veth", "peer", "name", &far, "netns", space.host.name()]);
        ip(&["addr", "add", &format!("{}/30", space.here), "dev", &near]);
        ip(&["link", "set", &near, "up"]);
        space.host.ip(&["addr", "add", &format!("{}/30", space.there), "dev", &far]);
        space.host.ip(&["link", "set", &far, "up"]);
        space
    }

    /// Changes the size of packets that fit between the two.
    pub fn set_mtu(&self, mtu: u16) {
        let mtu = mtu.to_string();
        ip(&["link", "set", &format!("{}a", self.device), "mtu", &mtu]);
        self.host.ip(&["link", "set", &format!("{}b", self.device), "mtu", &mtu]);
    }

    /// Gives both ends an IPv6 address, too: ours, and its.
    pub fn add_ipv6(&self) -> (Ipv6Addr, Ipv6Addr) {
        let at = |v4: Ipv4Addr| Ipv6Addr::from_bits(0xFD54_6572_6E00_u128 << 80 | u128::from(v4.to_bits()));
        let ends = (at(self.here), at(self.there));
        // Nobody else is there whose address it could be: no time for that question.
        ip(&["addr", "add", &format!("{}/126", ends.0), "dev", &format!("{}a", self.device), "nodad"]);
        self.host.ip(&["addr", "add", &format!("{}/126", ends.1), "dev", &format!("{}b", self.device), "nodad"]);
        ends
    }

    /// A command that runs inside.
    pub fn command(&self, program: &str) -> Command {
        self.host.command(program)
    }

    /// As [`Host::within`].
    pub fn within<T: Send>(&self, run: impl FnOnce() -> T + Send) -> T {
        self.host.within(run)
    }
}

impl Default for Namespace {
    fn default() -> Self {
        Self::new()
    }
}

fn ip(arguments: &[&str]) {
    let output = Command::new("ip").args(arguments).output().expect("ip (iproute2) is installed");
    let why = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {}: {why}", arguments.join(" "));
}
