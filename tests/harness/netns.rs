//! Network namespaces: hosts of their own on this machine. Needs root, as CI and containers have it.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// The device at either end of a cable.
const CABLE: &str = "cable";

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
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                self.enter();
                run()
            });
            thread.join().expect("what ran there does not panic")
        })
    }

    /// Moves this thread here.
    fn enter(&self) {
        let space = std::fs::File::open(format!("/run/netns/{}", self.name)).expect("the namespace exists");
        move_into_link_name_space(std::os::fd::AsFd::as_fd(&space), Some(LinkNameSpaceType::Network))
            .expect("root may enter it");
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // Takes its devices along.
        let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
    }
}

/// A host with an address, and a cable to it from one that this test has for itself: what comes and goes here changes
/// nothing in the network of the machine, where browsers of other tests would drop their connections.
pub struct Namespace {
    near: Host,
    far: Host,
    /// Our end's address.
    pub here: Ipv4Addr,
    /// Its end's address.
    pub there: Ipv4Addr,
}

impl Namespace {
    /// Makes both hosts. This thread is on ours from now on, with whatever it starts later: make it first.
    pub fn new() -> Self {
        let (near, far) = (Host::new("near"), Host::new("far"));
        let (here, there) = (Ipv4Addr::new(10, 200, 0, 1), Ipv4Addr::new(10, 200, 0, 2));
        let ends = [here, there].map(|address| format!("{address}/30"));
        near.connect((CABLE, Some(&ends[0])), &far, (CABLE, Some(&ends[1])));
        // The kernel tells one host of six errors at once and then of one a second: who waits for one may wait in vain.
        let unlimited = far.command("sysctl").args(["-qw", "net.ipv4.icmp_ratelimit=0"]).status();
        assert!(unlimited.is_ok_and(|status| status.success()), "sysctl (procps) is installed");
        near.enter();
        Self { near, far, here, there }
    }

    /// Changes the size of packets that fit between the two.
    pub fn set_mtu(&self, mtu: u16) {
        for host in [&self.near, &self.far] {
            host.ip(&["link", "set", CABLE, "mtu", &mtu.to_string()]);
        }
    }

    /// Sends what is for this network (`10.201.0.0/24`) to the other end, where nobody has its addresses.
    pub fn add_route(&self, network: &str) {
        self.near.ip(&["route", "add", network, "dev", CABLE]);
    }

    /// Gives both ends an IPv6 address, too: ours, and its.
    pub fn add_ipv6(&self) -> (Ipv6Addr, Ipv6Addr) {
        let at = |v4: Ipv4Addr| Ipv6Addr::from_bits(0xFD54_6572_6E00_u128 << 80 | u128::from(v4.to_bits()));
        let ends = (at(self.here), at(self.there));
        for (host, address) in [(&self.near, ends.0), (&self.far, ends.1)] {
            // Nobody else is there whose address it could be: no time for that question.
            host.ip(&["addr", "add", &format!("{address}/126"), "dev", CABLE, "nodad"]);
        }
        ends
    }

    /// A command that runs inside.
    pub fn command(&self, program: &str) -> Command {
        self.far.command(program)
    }

    /// As [`Host::within`].
    pub fn within<T: Send>(&self, run: impl FnOnce() -> T + Send) -> T {
        self.far.within(run)
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
