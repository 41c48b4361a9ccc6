//! `doctor`: asks every part of a running server from outside, prints a table and says what is wrong.

mod call;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use rand::RngExt as _;
use service::config::Origin;
use service::storage::{ContentType, Store};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use super::Failure;
use crate::config::{Config, Peers, TlsMode};
use crate::secrets::Secrets;
use crate::signalling::ice::{self, Credentials};
use crate::{clock, plain_http};
use call::{Kind, Over, call};
use turn_types::AddressFamily;

/// How long one question may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// Life of the credentials that it mints, in seconds.
const CREDENTIAL_LIFE: u64 = 60;

/// RFC 8489 section 5.
const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];

/// `doctor [--host H]`
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Ask the relay, the rooms and the API at this address instead of the configured ones.
    #[arg(long)]
    host: Option<IpAddr>,
}

struct Row {
    what: String,
    result: Result<String, String>,
}

pub(super) async fn doctor(config: &Config, args: &Args) -> Result<(), Failure> {
    let mut rows = Vec::new();
    if config.api.enabled {
        rows.push(api(config, args).await);
    }
    if config.api.enabled && config.api.tls != TlsMode::Off {
        let at = reach(config.api.tls_listen, args);
        rows.push(Row { what: format!("https {at}"), result: connect(at).await });
    }
    if config.relay.enabled {
        for listen in &config.relay.listen {
            let at = reach(*listen, args);
            rows.push(Row { what: format!("stun udp {at}"), result: stun_udp(at).await });
            if config.relay.listen_tcp {
                rows.push(Row { what: format!("stun tcp {at}"), result: stun_tcp(at).await });
            }
        }
        calls(config, args, &mut rows).await;
    }
    if config.rooms.enabled {
        for worker in 0..config.rooms.workers {
            let mut at = reach(config.rooms.listen, args);
            at.set_port(at.port().saturating_add(u16::from(worker)));
            rows.push(Row { what: format!("media tcp {at}"), result: connect(at).await });
        }
    }
    if !config.recording.keys.is_empty() || config.recording.keys_file.is_some() {
        let result = storage(config).await;
        rows.push(Row { what: format!("storage {:?}", config.storage.kind), result });
    }
    let width = rows.iter().map(|row| row.what.len()).max().unwrap_or(0);
    for row in &rows {
        let (mark, text) = match &row.result {
            Ok(text) => ("ok  ", text),
            Err(text) => ("FAIL", text),
        };
        println!("{mark}  {:width$}  {text}", row.what);
    }
    let failed = rows.iter().filter(|row| row.result.is_err()).count();
    if failed > 0 {
        return Err(Failure::Run(format!("{failed} of {} checks failed", rows.len())));
    }
    Ok(())
}

/// A call through the relay over each transport of each listener.
async fn calls(config: &Config, args: &Args, rows: &mut Vec<Row>) {
    let relay = &config.relay;
    let Some(credentials) = credentials(config) else {
        let why = "not tried: [relay] has neither a secret nor a user with a password".into();
        return rows.push(Row { what: "turn".into(), result: Ok(why) });
    };
    let only_v6 = !relay.relay_addresses.is_empty() && !relay.relay_addresses.iter().any(std::net::IpAddr::is_ipv4);
    let kind = Kind { family: only_v6.then_some(AddressFamily::IPV6), meet: relay.peers != Peers::MediaOnly };
    let file = relay.tls_cert.as_deref().filter(|_| relay.tls == TlsMode::Files);
    let tls = (relay.tls != TlsMode::Off).then_some(Over::Tls(file));
    let tcp = relay.listen_tcp.then_some(Over::Tcp);
    let plain = [Some(Over::Udp), tcp, tls.filter(|_| relay.listen_tcp)];
    let secure = tls.map(|tls| [Some(Over::Udp), Some(Over::Tcp), Some(tls)]);
    let listeners = relay.listen.iter().map(|listen| (listen, plain));
    let more = relay.tls_listen.iter().filter_map(|listen| secure.map(|over| (listen, over)));
    for (listen, ways) in listeners.chain(more) {
        let at = reach(*listen, args);
        for over in ways.into_iter().flatten() {
            let name = match over {
                Over::Udp => "udp",
                Over::Tcp => "tcp",
                Over::Tls(_) => "tls",
            };
            let result = call(at, over, &credentials, kind).await;
            rows.push(Row { what: format!("turn {name} {at}"), result });
        }
    }
}

/// Credentials that this configuration accepts.
fn credentials(config: &Config) -> Option<Credentials> {
    let relay = &config.relay;
    let secrets = Secrets::collect(config, &Origin::default(), None).ok()?;
    // Without one of its own, the server made one up that nobody else knows.
    let configured = !relay.secrets.is_empty() || relay.secrets_file.is_some();
    if let Some(secret) = secrets.relay.first().filter(|_| configured) {
        return ice::mint(secret, "doctor", clock::unix_s() + CREDENTIAL_LIFE);
    }
    let user = relay.users.iter().find(|user| !user.password.is_empty())?;
    Some(Credentials { username: user.name.clone(), password: user.password.clone() })
}

/// Where a listener is asked: one on all addresses is asked on loopback.
fn reach(listen: SocketAddr, args: &Args) -> SocketAddr {
    let ip = match (args.host, listen.ip()) {
        (Some(host), _) => host,
        (None, IpAddr::V4(ip)) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        (None, IpAddr::V6(ip)) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        (None, ip) => ip,
    };
    SocketAddr::new(ip, listen.port())
}

async fn api(config: &Config, args: &Args) -> Row {
    let url = format!("http://{}/readyz", reach(config.api.listen, args));
    let result = match plain_http::request(Method::GET, &url, None, None).await {
        Ok((200, body)) => Ok(body),
        Ok((status, body)) => Err(format!("{status}: {body}")),
        Err(error) => Err(error.to_string()),
    };
    Row { what: format!("api {url}"), result }
}

async fn connect(at: SocketAddr) -> Result<String, String> {
    match timeout(PATIENCE, TcpStream::connect(at)).await {
        Ok(Ok(_)) => Ok("accepts connections".into()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer in {} s: is there a firewall?", PATIENCE.as_secs())),
    }
}

fn binding_request() -> [u8; 20] {
    let transaction: [u8; 12] = rand::rng().random();
    let mut request = [0; 20];
    request[1] = 0x01;
    request[4..8].copy_from_slice(&MAGIC_COOKIE);
    request[8..].copy_from_slice(&transaction);
    request
}

fn check_response(request: &[u8; 20], response: &[u8]) -> Result<String, String> {
    let success = response.len() >= 20 && response[..2] == [0x01, 0x01] && response[4..20] == request[4..];
    if success { Ok("answers".into()) } else { Err("what answers is not a STUN server".into()) }
}

async fn stun_udp(at: SocketAddr) -> Result<String, String> {
    let local = if at.is_ipv4() { IpAddr::from(Ipv4Addr::UNSPECIFIED) } else { Ipv6Addr::UNSPECIFIED.into() };
    let request = binding_request();
    let exchange = async {
        let socket = UdpSocket::bind((local, 0)).await?;
        socket.connect(at).await?;
        let mut buffer = [0; 1500];
        // UDP may lose a packet on its way, also on a healthy host.
        loop {
            socket.send(&request).await?;
            if let Ok(received) = timeout(PATIENCE / 4, socket.recv(&mut buffer)).await {
                return received.map(|length| buffer[..length].to_vec());
            }
        }
    };
    finish(&request, timeout(PATIENCE, exchange).await)
}

async fn stun_tcp(at: SocketAddr) -> Result<String, String> {
    let request = binding_request();
    let exchange = async {
        let mut stream = TcpStream::connect(at).await?;
        stream.write_all(&request).await?;
        let mut head = vec![0; 20];
        stream.read_exact(&mut head).await?;
        Ok(head)
    };
    finish(&request, timeout(PATIENCE, exchange).await)
}

fn finish(
    request: &[u8; 20],
    outcome: Result<std::io::Result<Vec<u8>>, tokio::time::error::Elapsed>,
) -> Result<String, String> {
    match outcome {
        Ok(Ok(response)) => check_response(request, &response),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer in {} s: is the port open?", PATIENCE.as_secs())),
    }
}

async fn storage(config: &Config) -> Result<String, String> {
    let store = Store::open(&config.storage).map_err(|error| error.to_string())?;
    let key = format!("doctor/{}.json", crate::secrets::random());
    let text = Bytes::from_static(b"{\"written by\":\"turn-server doctor\"}");
    let exchange = async {
        store.put(&key, text.clone(), ContentType::JSON).await?;
        let read = store.get(&key).await;
        store.delete(&key).await?;
        read
    };
    match timeout(PATIENCE * 3, exchange).await {
        Ok(Ok(read)) if read == text => Ok("writes, reads and deletes".into()),
        Ok(Ok(_)) => Err("reads other bytes than were written".into()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("no answer".into()),
    }
}
