//! Wireshark's eyes: what passes a port of loopback, captured by dumpcap and dissected by tshark, which know nothing of us.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::net::{SocketAddr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use crate::program::finish;

/// How long the capture may take to see a packet.
const PATIENCE: Duration = Duration::from_secs(20);

/// What tshark says of a message that it does not like; of some things it makes a remark only, without a field to ask for.
const COMPLAINTS: [&str; 4] = ["[Expert Info", "[Malformed Packet", "bogus", "Unknown"];

/// A running capture of everything from and to one port.
pub struct Capture {
    child: Child,
    server: SocketAddr,
    chunks: Receiver<Vec<u8>>,
    bytes: Vec<u8>,
}

impl Capture {
    /// Begins, and returns when packets are seen.
    pub fn start(server: SocketAddr) -> Self {
        let filter = format!("port {}", server.port());
        let mut dumpcap = Command::new("dumpcap");
        dumpcap.args(["-q", "-i", "lo", "-f", &filter, "-w", "-"]);
        dumpcap.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = dumpcap.spawn().expect("dumpcap (tshark) is installed");
        let mut stdout = child.stdout.take().expect("piped above");
        let (sender, chunks) = channel();
        std::thread::spawn(move || {
            let mut chunk = vec![0; 65_536];
            while let Ok(length @ 1..) = stdout.read(&mut chunk) {
                if sender.send(chunk[..length].to_vec()).is_err() {
                    break;
                }
            }
        });
        let mut capture = Self { child, server, chunks, bytes: Vec::new() };
        capture.mark(b"it begins...");
        capture
    }

    /// Sends a Binding request with this transaction id until it is seen: so everything before it has been, too.
    fn mark(&mut self, transaction: &[u8; 12]) {
        let socket = UdpSocket::bind((self.server.ip(), 0)).expect("a free port");
        let request = [&[0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42][..], transaction].concat();
        let deadline = Instant::now() + PATIENCE;
        while !self.bytes.windows(transaction.len()).any(|window| window == transaction) {
            assert!(Instant::now() < deadline, "the capture sees nothing");
            // Nobody may listen at that port.
            let _ = socket.send_to(&request, self.server);
            if let Ok(chunk) = self.chunks.recv_timeout(Duration::from_millis(50)) {
                self.bytes.extend(chunk);
            }
        }
    }

    /// Ends, and dissects what came from the port.
    pub fn finish(mut self) -> Dissected {
        self.mark(b"and it ends.");
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), &self.bytes).expect("written");
        let port = self.server.port();
        let mut tshark = Command::new("tshark");
        tshark.arg("-r").arg(file.path());
        for transport in ["udp", "tcp"] {
            tshark.args(["-d", &format!("{transport}.port=={port},stun")]);
        }
        // The details of STUN, and of everything else a line.
        tshark.args(["-O", "stun", "-Y", &format!("udp.srcport=={port} || tcp.srcport=={port}")]);
        Dissected::read(&finish(tshark).expect_success())
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What tshark made of a capture.
#[derive(Debug, Default)]
pub struct Dissected {
    /// The types of STUN messages.
    pub types: BTreeSet<u16>,
    /// How often there was ChannelData.
    pub channel_data: usize,
    /// Complaints, with what they are about.
    pub complaints: Vec<String>,
}

impl Dissected {
    fn read(output: &str) -> Self {
        let mut dissected = Self::default();
        let mut about = "";
        for line in output.lines().map(str::trim) {
            let number = |text: &str| u16::from_str_radix(text.split(' ').next()?, 16).ok();
            if let Some(kind) = line.strip_prefix("Message Type: 0x") {
                dissected.types.extend(number(kind));
                about = line;
            } else if line.starts_with("Channel Number: 0x") {
                dissected.channel_data += 1;
                about = line;
            } else if COMPLAINTS.iter().any(|complaint| line.contains(complaint)) {
                dissected.complaints.push(format!("{about}: {line}"));
            }
        }
        dissected
    }
}
