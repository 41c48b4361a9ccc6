//! A mesh room: media travels between the browsers, the server carries signalling only.

use tests::browser::Browser;
use tests::guest::Guest;
use tests::stack::Stack;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_people_meet_without_the_server_touching_their_media() {
    let stack = Stack::start().await;
    stack.create_room(r#"{"name":"mesh","mode":"mesh"}"#).await;
    let browser = Browser::launch().await.expect("chromium starts");
    let mut guests = Vec::new();
    for name in ["Ada", "Bob", "Cyd"] {
        guests.push(Guest::join(&browser, &stack.origin(), "mesh", name, "").await.expect("joins"));
    }
    for guest in &guests {
        for other in guests.iter().filter(|other| other.name != guest.name) {
            guest.sees(&other.name, 10).await.expect("a moving picture");
        }
        guest.hears_something().await.expect("a beep");
        let connected = guest.connections().await.expect("statistics");
        let connected = connected.iter().filter(|connection| connection.state == "connected").count();
        assert_eq!(connected, 2, "one connection to each of the others");
    }
    for metric in ["tern_media_packets_in_total", "tern_media_packets_out_total"] {
        assert_eq!(stack.metric(metric).await, 0.0, "{metric}");
    }
    let cyd = guests.pop().expect("three");
    cyd.page.press("v").await.expect("a key");
    guests[0].sees_no_picture_of("Cyd").await.expect("Cyd's camera is off");
    cyd.page.press("v").await.expect("a key");
    guests[0].sees("Cyd", 10).await.expect("and on again, without a new connection");
    cyd.page.click("#leave").await.expect("a click");
    guests[0].until("document.querySelectorAll('.tile').length === 2").await.expect("Cyd is gone");
    guests[0].sees("Bob", 10).await.expect("the others go on");
    for guest in guests {
        guest.page.close().await.expect("no errors");
    }
    cyd.page.close().await.expect("no errors");
}
