//! The TURN client of webrtc-rs, over UDP, which is all it has.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tests::relay::USER;
use tests::ways::{self, Target};
use tokio::net::UdpSocket;
use tokio::time::timeout;
use webrtc_turn::client::{Client, ClientConfig};
use webrtc_util::conn::Conn;

const PATIENCE: Duration = Duration::from_secs(5);

/// A client with its allocation.
async fn allocate(server: SocketAddr) -> (Client, impl Conn) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
    let own = socket.local_addr().expect("bound");
    let config = ClientConfig {
        stun_serv_addr: server.to_string(),
        turn_serv_addr: server.to_string(),
        username: USER.0.into(),
        password: USER.1.into(),
        realm: String::new(),
        software: "tests".into(),
        rto_in_ms: 0,
        conn: Arc::new(socket),
        vnet: None,
    };
    let client = Client::new(config).await.expect("a client");
    client.listen().await.expect("it listens");
    assert_eq!(client.send_binding_request().await.expect("an answer"), own);
    let relayed = client.allocate().await.expect("an allocation");
    (client, relayed)
}

/// What is sent for the permission only.
const OPEN: &[u8] = b"open";

/// Sends, and wants the same at the other end, from there.
async fn exchange(from: &impl Conn, to: SocketAddr, at: &impl Conn, source: SocketAddr) {
    for number in 1..=20 {
        let data = vec![number; usize::from(number) * 60];
        from.send_to(&data, to).await.expect("sent");
        let mut arrived = vec![0; 2000];
        let received = loop {
            let received = timeout(PATIENCE, at.recv_from(&mut arrived)).await.expect("in time").expect("received");
            // What asked for the permission may come through itself, if the other was quick.
            if arrived[..received.0] != *OPEN {
                break received;
            }
        };
        assert_eq!((&arrived[..received.0], received.1), (&data[..], source));
    }
}

async fn talk(server: SocketAddr, echo: Option<SocketAddr>) {
    let (client, one) = allocate(server).await;
    if let Some(peer) = echo {
        exchange(&one, peer, &one, peer).await;
    } else {
        let (other_client, other) = allocate(server).await;
        let (here, there) = (one.local_addr().expect("relayed"), other.local_addr().expect("relayed"));
        // Nobody is heard whom the other has not named: this one is for the permission.
        other.send_to(OPEN, here).await.expect("sent");
        exchange(&one, there, &other, here).await;
        exchange(&other, here, &one, there).await;
        other.close().await.expect("closed");
        other_client.close().await.expect("closed");
    }
    one.close().await.expect("closed");
    client.close().await.expect("closed");
}

#[test]
fn relays_both_ways() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    ways::both(|_| {}, |target: &Target| runtime.block_on(talk(target.server, target.echo)));
}
