//! `make compare`: the same questions to Debian's coturn and to our server, both run from the same `turnserver.conf` on this
//! machine; prints what each of them was seen to do as a table in Markdown. Needs root for the network namespace of the peer.

mod probe;
mod rows;
mod world;

use std::fmt::Write as _;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tests::binary::Program;
use tests::netns::Namespace;
use tests::turn_tools::EchoPeer;
use world::{PASSWORD, QUOTA, USERS, World};

/// How long a server may take to answer its first request.
const PATIENCE: Duration = Duration::from_secs(20);

/// A coturn that ends with this.
struct Coturn(Child);

impl Drop for Coturn {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The configuration of both.
fn configuration(address: SocketAddr, space: &Namespace) -> String {
    let mut text = format!(
        "listening-ip={}\nlistening-port={}\nrelay-ip={}\nrelay-ip=::1\nrealm=compare.example\nlt-cred-mech\n\
         no-tls\nno-dtls\nno-cli\nno-multicast-peers\nuser-quota={QUOTA}\n\
         denied-peer-ip=127.0.0.0-127.255.255.255\ndenied-peer-ip=10.0.0.0-10.255.255.255\n\
         allowed-peer-ip={}\nallowed-peer-ip={}\n",
        address.ip(),
        address.port(),
        space.here,
        space.here,
        space.there
    );
    for number in 1..=USERS {
        let _ = writeln!(text, "user=user{number}:{PASSWORD}");
    }
    text
}

fn free_port() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    socket.local_addr().expect("bound")
}

fn start_coturn(file: &Path, folder: &Path) -> Coturn {
    let mut command = Command::new("turnserver");
    command.arg("-c").arg(file).args(["--log-file", "/dev/null", "--no-stdout-log", "--pidfile"]);
    command.arg(folder.join("coturn.pid")).arg("--userdb").arg(folder.join("coturn.db"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Coturn(command.spawn().expect("turnserver (coturn) is installed"))
}

fn wait_for(server: SocketAddr) {
    let probe = probe::Probe::new(server, "", "");
    let deadline = Instant::now() + PATIENCE;
    while probe.ask(&probe.bare(probe::BINDING, &[])).is_none() {
        assert!(Instant::now() < deadline, "{server} does not answer");
    }
}

/// What each row was seen to do.
fn ask(server: SocketAddr, space: &Namespace, echo: SocketAddr, rows: &[rows::Row]) -> Vec<String> {
    wait_for(server);
    let mut world = World::new(server, space.here, echo);
    rows.iter().map(|row| (row.probe)(&mut world)).collect()
}

fn version() -> String {
    let output = Command::new("dpkg-query").args(["-W", "-f", "${Version}", "coturn"]).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    if text.is_empty() { "of an unknown version".into() } else { text }
}

fn main() {
    let space = Namespace::new();
    let echo = EchoPeer::start(&space);
    let folder = tempfile::tempdir().expect("a folder");
    let rows = rows::all();

    let place = free_port();
    let file = folder.path().join("coturn.conf");
    std::fs::write(&file, configuration(place, &space)).expect("written");
    let coturn = start_coturn(&file, folder.path());
    let theirs = ask(place, &space, echo.address, &rows);
    drop(coturn);

    let place = free_port();
    let file = folder.path().join("ours.conf");
    std::fs::write(&file, configuration(place, &space)).expect("written");
    let server = Program::start(&["--coturn", file.to_str().expect("UTF-8")], &[]);
    let ours = ask(server.relay, &space, echo.address, &rows);

    println!("{}", table(&rows, &theirs, &ours));
}

fn table(rows: &[rows::Row], theirs: &[String], ours: &[String]) -> String {
    let right = |seen: &[String]| rows.iter().zip(seen).filter(|(row, seen)| row.is_right(seen)).count();
    let mark = |row: &rows::Row, seen: &str| if row.is_right(seen) { "pass" } else { "**FAIL**" };
    let (count, version) = (rows.len(), version());
    let mut text = format!(
        "# Compared with coturn\n\n\
         Made by `make compare`, which runs Debian's coturn and this server from the same `turnserver.conf` and asks both the\n\
         same questions; do not edit. The configuration denies 127.0.0.0/8, 10.0.0.0/8 and multicast, as guides do, and allows\n\
         the relay's own address and one peer. Abuse numbers are those of [tests/rules.txt](../tests/rules.txt).\n\n\
         coturn {version} passes {} of {count} rows, Tern {} of {count}.\n\n\
         | where | rule | right | coturn | | Tern | |\n|---|---|---|---|---|---|---|\n",
        right(theirs),
        right(ours)
    );
    for ((row, theirs), ours) in rows.iter().zip(theirs).zip(ours) {
        let (place, rule, want) = (row.place, &row.rule, row.want);
        let _ = writeln!(
            text,
            "| {place} | {rule} | {want} | {theirs} | {} | {ours} | {} |",
            mark(row, theirs),
            mark(row, ours)
        );
    }
    let _ = write!(text, "\n{}", rows::NOTES);
    text
}
