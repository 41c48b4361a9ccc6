//! Allocations that come and go, by the thousand: what is left of them afterwards is nothing. `TERN_CHURN` sets how many.

use std::fs;

use tests::relay::start;
use tests::turn_client::TurnClient;

/// Allocations of an everyday run.
const EVERYDAY: usize = 8000;
/// Clients at once, on both workers.
const CLIENTS: usize = 4;
/// What the allocator may keep for itself, KiB.
const SLACK: usize = 4096;

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").expect("procfs").count()
}

/// Resident memory, KiB.
fn memory() -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("procfs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
    line.trim().trim_end_matches("kB").trim().parse().expect("a number")
}

fn churn(clients: &mut [TurnClient], cycles: usize) {
    std::thread::scope(|scope| {
        for client in clients {
            scope.spawn(move || {
                for _ in 0..cycles / CLIENTS {
                    client.allocate().expect("an allocation");
                    assert_eq!(client.refresh(0), 0);
                }
            });
        }
    });
}

/// Rule: abuse-32
#[test]
fn thousands_of_allocations_leave_no_port_no_descriptor_and_no_memory_behind() {
    let cycles = std::env::var("TERN_CHURN").map_or(EVERYDAY, |text| text.parse().expect("a number"));
    let (relay, address) = start(|config| {
        config.allocations_per_user = CLIENTS as u32;
        // Each allocation begins with a challenge.
        config.unproven_replies = 0;
    });
    let names =
        (0..CLIENTS).map(|number| relay.credentials(&format!("user{number}"), 3600, 2_000_000_000 + number as u64));
    let mut clients: Vec<_> = names
        .map(|minted| minted.expect("a secret"))
        .map(|minted| TurnClient::udp(address, &minted.username, &minted.password))
        .collect();
    // What grows once has grown after this.
    churn(&mut clients, EVERYDAY / 4);
    let before = (descriptors(), memory());
    churn(&mut clients, cycles);
    let stats = relay.stats();
    assert_eq!((stats.core.allocations, stats.ports_used), (0, 0));
    assert!(stats.core.allocations_made >= cycles as u64);
    let after = (descriptors(), memory());
    assert_eq!(after.0, before.0, "descriptors");
    assert!(after.1 <= before.1 + SLACK, "{} KiB, and {} before", after.1, before.1);
    assert!(clients[0].allocate().is_ok());
}
