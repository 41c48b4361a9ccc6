//! The relay beside the rooms: its users and allocations by the API, credentials that end with a participant, draining.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use service::config::Origin;
use tests::server::Server;
use tests::turn_client::TurnClient;
use tests::wire::Wire;
use turn_server::Order;

fn relay_of(server: &Server) -> SocketAddr {
    server.running.addresses().relay[0]
}

/// Relay credentials by the API.
async fn credentials(server: &Server, user: &str) -> (String, String) {
    let answer = server.ask("GET", &format!("/v1/turn?service=turn&username={user}"), None).await.body;
    let text = |key: &str| answer[key].as_str().expect("a text").to_owned();
    (text("username"), text("password"))
}

/// Relay credentials of a participant's welcome.
fn credentials_in(welcome: &Value) -> (String, String) {
    let turn = &welcome["ice"][1];
    let text = |key: &str| turn[key].as_str().expect("a text").to_owned();
    (text("username"), text("credential"))
}

/// Clients of a user with an allocation each, on both workers.
async fn clients(server: &Server, user: &str, count: usize) -> Vec<TurnClient> {
    let (name, password) = credentials(server, user).await;
    let client = |index: usize| {
        let way = if index.is_multiple_of(2) { TurnClient::udp } else { TurnClient::tcp };
        let mut client = way(relay_of(server), &name, &password);
        client.allocate().expect("an allocation");
        client
    };
    (0..count).map(client).collect()
}

/// Waits until the relay has this many allocations.
fn until_allocations(server: &Server, count: usize) {
    let relay = server.running.relay().expect("a relay");
    let deadline = Instant::now() + Duration::from_secs(5);
    while relay.allocations().len() != count {
        assert!(Instant::now() < deadline, "{} allocations", relay.allocations().len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn allocations_are_listed_in_parts_and_ended_one_by_one() {
    let server = Server::start().await;
    let mut alices = clients(&server, "alice", 5).await;
    let _bobs = clients(&server, "bob", 2).await;
    let list = async |query: &str| server.ask("GET", &format!("/v1/allocations{query}"), None).await.body;
    let ids = |list: &Value| -> Vec<String> {
        let entries = list["allocations"].as_array().expect("a list").iter();
        entries.map(|entry| entry["id"].as_str().expect("an id").to_owned()).collect()
    };
    let all = ids(&list("").await);
    assert_eq!(all.len(), 7);
    let of_alice = list("?user=alice").await;
    assert_eq!((ids(&of_alice).len(), &of_alice["next"]), (5, &Value::Null));
    let entry = &of_alice["allocations"][0];
    assert_eq!(entry["user"], "alice");
    assert!(entry["secret"].as_str().is_some_and(|id| id.len() == 6), "{entry}");

    let mut parts = Vec::new();
    let mut query = "?limit=3".to_owned();
    loop {
        let part = list(&query).await;
        parts.extend(ids(&part));
        let Some(next) = part["next"].as_str() else { break };
        query = format!("?limit=3&after={next}");
    }
    assert_eq!(parts, all);
    assert_eq!(server.ask("GET", "/v1/allocations?limit=0", None).await.status, 400);

    let first = &ids(&of_alice)[0];
    assert_eq!(server.ask("DELETE", &format!("/v1/allocations/{first}"), None).await.status, 204);
    assert_eq!(server.ask("DELETE", &format!("/v1/allocations/{first}"), None).await.status, 404);
    assert_eq!(server.ask("DELETE", "/v1/allocations/nonsense", None).await.status, 404);
    let lost = alices.iter_mut().filter_map(|client| Some(client.refresh(600)).filter(|code| *code != 0)).count();
    assert_eq!((lost, ids(&list("").await).len()), (1, 6));
}

/// Rule: abuse-19
#[tokio::test(flavor = "multi_thread")]
async fn users_are_listed_with_what_they_carried_and_taken_back() {
    let server = Server::start().await;
    let mut alices = clients(&server, "alice", 2).await;
    let mut bobs = clients(&server, "%22bob%22%0A%25s", 1).await;
    let sink = bobs[0].allocate().err();
    assert_eq!(sink, Some(437), "has one");
    let to = server.running.relay().expect("a relay").allocations();
    let to = to.iter().find(|info| info.snapshot.quota_key != "alice").expect("bob's").snapshot.relayed[0];
    for client in &mut alices {
        assert_eq!(client.bind(0x4000, to), 0);
        (0..10).for_each(|_| client.send_channel(0x4000, &[7; 100]));
        client.binding();
    }
    // One of them ends, and counts on.
    assert_eq!(alices.remove(0).refresh(0), 0);
    let users = server.ask("GET", "/v1/turn/users", None).await.body;
    let alice = users["users"].as_array().expect("a list").iter().find(|user| user["id"] == "alice").expect("alice");
    let numbers = ["allocations", "packets_to_peers", "bytes_to_peers", "packets_to_client", "bytes_to_client"];
    assert_eq!(numbers.map(|key| alice[key].as_u64().expect("a number")), [1, 20, 2000, 0, 0]);
    let part = server.ask("GET", "/v1/turn/users?limit=1", None).await.body;
    assert_eq!((&part["users"][0]["id"], &part["next"]), (&json!("\"bob\"\n%s"), &json!("\"bob\"\n%s")));
    let rest = server.ask("GET", "/v1/turn/users?limit=1&after=%22bob%22%0A%25s", None).await.body;
    assert_eq!((&rest["users"][0]["id"], &rest["next"]), (&json!("alice"), &Value::Null));

    let (name, password) = credentials(&server, "alice").await;
    let ended = server.ask("DELETE", "/v1/turn/users/alice", None).await;
    assert_eq!((ended.status, &ended.body["allocations"]), (200, &json!(1)));
    assert_eq!(alices[0].refresh(600), 401);
    assert_eq!(TurnClient::udp(relay_of(&server), &name, &password).allocate(), Err(401));
    assert_eq!(bobs[0].refresh(600), 0);
    assert_eq!(server.ask("DELETE", "/v1/turn/users/alice?ttl_s=0", None).await.status, 400);
    let gone = server.ask("DELETE", "/v1/turn/users/%22bob%22%0A%25s", None).await;
    assert_eq!(gone.body["allocations"], 1);
    let text = server.request("GET", "/metrics").send().await.expect("an answer").text().await.expect("text");
    assert!(!text.contains("bob") && !text.contains("alice"), "no label is a user's: {text}");
    for line in ["tern_relay_revocations 2", "tern_relay_auth_failures_total{reason=\"revoked\"} 2"] {
        assert!(text.lines().any(|have| have == line), "{line} is not in\n{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn relay_credentials_end_with_the_participant() {
    let server = Server::start().await;
    let (mut ada, welcome) = Wire::join(server.http(), "demo", json!({ "name": "Ada" })).await;
    let (_bob, bobs) = Wire::join(server.http(), "demo", json!({ "name": "Bob" })).await;
    let (eve, eves) = Wire::join(server.http(), "demo", json!({ "name": "Eve" })).await;
    let client = |welcome: &Value| {
        let (name, password) = credentials_in(welcome);
        TurnClient::udp(relay_of(&server), &name, &password)
    };
    let (mut ada_client, mut bob_client, mut eve_client) = (client(&welcome), client(&bobs), client(&eves));
    for client in [&mut ada_client, &mut bob_client, &mut eve_client] {
        client.allocate().expect("an allocation");
    }
    // One is kicked, one's socket breaks, one stays.
    let bob = bobs["me"].as_str().expect("an id");
    assert_eq!(server.ask("DELETE", &format!("/v1/rooms/demo/participants/{bob}"), None).await.status, 204);
    assert_eq!(ada.event("peer").await["peer"]["name"], "Bob");
    drop(eve);
    until_allocations(&server, 1);
    for mut gone in [bob_client, eve_client] {
        assert_eq!(gone.refresh(600), 401);
        assert_eq!(gone.allocate(), Err(401));
    }
    assert_eq!(ada_client.refresh(600), 0);
    assert_eq!(ada.ask("bye", json!({})).await["t"], "ok");
    until_allocations(&server, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_takes_nobody_new_and_ends_when_the_last_one_leaves() {
    let server = Server::start_with(|config| config.relay.max_port = config.relay.min_port + 9).await;
    let mut orders = server.running.orders().expect("the first one gets it");
    let mut clients = clients(&server, "alice", 2).await;
    let ready = server.ask_as("", "GET", "/readyz", None).await;
    let relay = &ready.body["relay"];
    assert_eq!((&relay["allocations"], &relay["ports_used"], &relay["ports"]), (&json!(2), &json!(2), &json!(10)));
    assert_eq!(server.ask("POST", "/v1/admin/drain", Some(json!({ "deadline_s": 1_000_000 }))).await.status, 400);
    let answer = server.ask("POST", "/v1/admin/drain", Some(json!({ "deadline_s": 600 }))).await;
    let wanted = json!({ "deadline_s": 600, "allocations": 2, "participants": 0 });
    assert_eq!((answer.status, &answer.body), (202, &wanted));

    let ready = server.ask_as("", "GET", "/readyz", None).await;
    assert_eq!((ready.status, &ready.body["status"]), (503, &json!("draining")));
    let (name, password) = credentials(&server, "bob").await;
    assert_eq!(TurnClient::udp(relay_of(&server), &name, &password).allocate(), Err(508));
    assert_eq!(Wire::open(server.http(), "demo").await.try_join(json!({})).await["code"], "draining");
    for client in &mut clients {
        assert_eq!(client.refresh(600), 0, "who is there stays");
    }
    assert!(orders.try_recv().is_err());
    for mut client in clients {
        assert_eq!(client.refresh(0), 0);
    }
    let order = tokio::time::timeout(Duration::from_secs(5), orders.recv()).await.expect("in time");
    assert!(matches!(order, Some(Order::Stop)), "{order:?}");
    server.running.drain(Duration::from_secs(20)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_ends_at_its_deadline_too() {
    let server = Server::start().await;
    let mut orders = server.running.orders().expect("the first one gets it");
    let _clients = clients(&server, "alice", 1).await;
    let begin = Instant::now();
    assert_eq!(server.ask("POST", "/v1/admin/drain", Some(json!({ "deadline_s": 1 }))).await.status, 202);
    let order = tokio::time::timeout(Duration::from_secs(10), orders.recv()).await.expect("in time");
    assert!(matches!(order, Some(Order::Stop)) && begin.elapsed() > Duration::from_millis(900), "{order:?}");
    let begin = Instant::now();
    server.running.drain(Duration::from_secs(2)).await;
    assert!(begin.elapsed() < Duration::from_secs(4), "whoever is still there is cut off");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_relay_is_not_ready() {
    let server = Server::start_with(|config| config.relay.allocations_total = 1).await;
    assert_eq!(server.ask_as("", "GET", "/readyz", None).await.status, 200);
    let mut clients = clients(&server, "alice", 1).await;
    let ready = server.ask_as("", "GET", "/readyz", None).await;
    assert_eq!((ready.status, &ready.body["status"]), (503, &json!("full")));
    assert_eq!(ready.body["relay"]["max_allocations"], 1);
    assert_eq!(clients[0].refresh(0), 0);
    assert_eq!(server.ask_as("", "GET", "/readyz", None).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_is_asked_of_whoever_runs_the_server() {
    let server = Server::start().await;
    let nobody = server.ask("POST", "/v1/admin/reload", None).await;
    assert_eq!(nobody.status, 501, "{nobody:?}");
    let mut orders = server.running.orders().expect("the first one gets it");
    assert!(server.running.orders().is_none());
    let runner = tokio::spawn(async move {
        for outcome in [Ok(vec!["relay.listen".to_owned()]), Err("relay.listen: is wrong".to_owned())] {
            let Some(Order::Reload(reply)) = orders.recv().await else { panic!("a reload") };
            reply.send(outcome).expect("the API waits");
        }
    });
    let taken = server.ask("POST", "/v1/admin/reload", None).await;
    assert_eq!((taken.status, taken.body), (200, json!({ "next_start": ["relay.listen"] })));
    let refused = server.ask("POST", "/v1/admin/reload", None).await;
    assert_eq!((refused.status, &refused.body["detail"]), (400, &json!("relay.listen: is wrong")));
    runner.await.expect("no panic");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_takes_what_can_change_and_names_what_waits() {
    let kept = std::cell::RefCell::new(None);
    let server = Server::start_with(|config| {
        config.relay.secrets = vec!["north".into()];
        *kept.borrow_mut() = Some(config.clone());
    })
    .await;
    let mut config = kept.into_inner().expect("edited");
    let origin = Origin::default();
    let taken = server.running.reload(&config, &origin).expect("the same");
    assert!(taken.is_empty(), "{taken:?}");
    let peer = "9.9.9.9:9999".parse().expect("an address");
    assert_eq!(clients(&server, "alice", 1).await[0].bind(0x5000, peer), 0);

    (config.relay.credential_ttl_s, config.relay.rfc5766_channels) = (77, false);
    let ways = "turn:turn.example:443?transport=tcp";
    config.relay.advertise_urls = vec![ways.into()];
    config.rooms.relay_only = true;
    config.relay.min_port += 1;
    let taken = server.running.reload(&config, &origin).expect("good");
    assert_eq!(taken, ["relay.min_port"]);
    assert_eq!(clients(&server, "alice", 1).await[0].bind(0x5000, peer), 400);
    let granted = server.ask("GET", "/v1/turn?service=turn&username=alice", None).await.body;
    assert_eq!((&granted["ttl"], &granted["uris"]), (&json!(77), &json!([ways])));
    assert_eq!(server.ask_as("", "GET", "/v1/info", None).await.body["relay_only"], true);

    config.relay.credential_ttl_s = 78;
    config.relay.allow_peers = vec!["nonsense".into()];
    server.running.reload(&config, &origin).expect_err("it is refused");
    let granted = server.ask("GET", "/v1/turn?service=turn&username=alice", None).await.body;
    assert_eq!(granted["ttl"], 77, "nothing has changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_outlive_a_reload_where_the_server_made_up_their_secret() {
    let kept = std::cell::RefCell::new(None);
    let server = Server::start_with(|config| {
        config.relay.secrets.clear();
        *kept.borrow_mut() = Some(config.clone());
    })
    .await;
    let config = kept.into_inner().expect("edited");
    let (name, password) = credentials(&server, "alice").await;
    server.running.reload(&config, &Origin::default()).expect("the same");
    assert!(TurnClient::udp(relay_of(&server), &name, &password).allocate().is_ok());
}
