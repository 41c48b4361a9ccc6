//! Users that want more than there is, in virtual time: who gets how much.

use std::time::Duration;

use super::*;

/// Somebody who sends packets of one size at a steady rate.
struct Sender {
    account: Account,
    paces: Paces,
    size: usize,
    /// Packets a second that it wants to send.
    packets: u64,
    sent: u64,
    passed: u64,
}

impl Sender {
    fn new(size: usize, packets: u64) -> Self {
        Self { account: Account::default(), paces: Paces::default(), size, packets, sent: 0, passed: 0 }
    }

    fn bytes(&self) -> u64 {
        self.passed * self.size as u64
    }
}

fn gate(start: Instant, limits: Limits) -> Gate {
    Gate { limits, trunk: Arc::new(Trunk::new(start, 1)) }
}

fn bytes(bytes: u64) -> Rates {
    Rates { bytes, packets: 0 }
}

/// Lets all of them send from second `from` to second `to`; what passed is counted anew.
fn run(gate: &Gate, start: Instant, senders: &mut [Sender], direction: Direction, from: u64, to: u64) {
    for sender in senders.iter_mut() {
        (sender.sent, sender.passed) = (0, 0);
    }
    for step in 0..(to - from) * 10_000 {
        let now = start + Duration::from_secs(from) + Duration::from_micros(100 * step);
        for sender in senders.iter_mut() {
            while sender.sent * 10_000 <= sender.packets * step {
                sender.sent += 1;
                let admitted = gate.admit(now, direction, &sender.paces, &sender.account, sender.size);
                sender.passed += u64::from(admitted.is_ok());
            }
        }
    }
}

fn near(value: u64, wanted: u64, percent: u64) -> bool {
    value.abs_diff(wanted) * 100 <= wanted * percent
}

/// Rule: abuse-31
#[test]
fn an_allocation_and_a_user_have_their_rate_and_a_second_at_once() {
    let start = crate::some_instant();
    for (limits, reason) in [
        (Limits { allocation: bytes(100_000), ..Limits::default() }, Drop::AllocationLimit),
        (Limits { user: bytes(100_000), ..Limits::default() }, Drop::UserLimit),
        (Limits { user: Rates { bytes: 0, packets: 100 }, ..Limits::default() }, Drop::UserLimit),
    ] {
        let gate = gate(start, limits);
        let mut senders = [Sender::new(1000, 1000)];
        run(&gate, start, &mut senders, Direction::ToPeers, 0, 10);
        assert_eq!(senders[0].passed, 1100, "{reason:?}");
        let now = start + Duration::from_secs(10);
        let [sender] = &senders;
        while gate.admit(now, Direction::ToPeers, &sender.paces, &sender.account, 1000).is_ok() {}
        let refused = gate.admit(now, Direction::ToPeers, &sender.paces, &sender.account, 1);
        assert_eq!(refused, Err(reason));
        let other_way = gate.admit(now, Direction::ToClient, &sender.paces, &sender.account, 1000);
        assert_eq!(other_way, Ok(()), "each way for itself");
    }
}

/// Rule: abuse-31
#[test]
fn a_user_has_one_rate_for_all_its_allocations() {
    let start = crate::some_instant();
    let gate = gate(start, Limits { user: bytes(100_000), ..Limits::default() });
    let mut senders: Vec<_> = (0..4).map(|_| Sender::new(1000, 500)).collect();
    let account = senders[0].account.clone();
    senders.iter_mut().for_each(|sender| sender.account = account.clone());
    run(&gate, start, &mut senders, Direction::ToClient, 0, 10);
    let sum: u64 = senders.iter().map(Sender::bytes).sum();
    assert!(near(sum, 1_100_000, 1), "{sum}");
}

#[test]
fn zero_is_no_limit() {
    let start = crate::some_instant();
    let gate = gate(start, Limits::default());
    let mut senders = [Sender::new(1400, 50_000)];
    run(&gate, start, &mut senders, Direction::ToPeers, 0, 1);
    assert_eq!(senders[0].passed, senders[0].sent);
}

/// Two modest users, and greedy ones that want the total, three times of it, and ten times of it.
fn crowd() -> Vec<Sender> {
    let rates = [50, 150, 1000, 3000, 10_000];
    rates.into_iter().map(|rate| Sender::new(1000, rate)).collect()
}

/// Rule: abuse-31
#[test]
fn a_full_server_slows_the_greedy_and_nobody_else() {
    let start = crate::some_instant();
    for direction in [Direction::ToPeers, Direction::ToClient] {
        let gate = gate(start, Limits { total: bytes(1_000_000), ..Limits::default() });
        let mut senders = crowd();
        run(&gate, start, &mut senders, direction, 0, 2);
        for modest in &senders[..2] {
            assert_eq!(modest.passed, modest.sent, "nothing is lost while the share is found");
        }
        run(&gate, start, &mut senders, direction, 2, 12);
        for modest in &senders[..2] {
            assert_eq!(modest.passed, modest.sent, "{direction:?}");
        }
        // Two per cent stay free: 980,000 less 200,000, among three.
        for greedy in &senders[2..] {
            assert!(near(greedy.bytes(), 2_600_000, 3), "{direction:?} {}", greedy.bytes());
        }
        let sum: u64 = senders.iter().map(Sender::bytes).sum();
        assert!(sum <= 10_000_000 && near(sum, 9_800_000, 2), "{sum}");
    }
}

#[test]
fn a_full_server_shares_packets_likewise() {
    let start = crate::some_instant();
    let gate = gate(start, Limits { total: Rates { bytes: 0, packets: 1000 }, ..Limits::default() });
    // The greedy ones differ in size, which does not matter here.
    let mut senders = vec![Sender::new(100, 100), Sender::new(1400, 2000), Sender::new(60, 9000)];
    run(&gate, start, &mut senders, Direction::ToPeers, 0, 2);
    run(&gate, start, &mut senders, Direction::ToPeers, 2, 12);
    assert_eq!(senders[0].passed, senders[0].sent);
    assert!(near(senders[1].passed, 4400, 3) && near(senders[2].passed, 4400, 3), "{}", senders[1].passed);
}

#[test]
fn who_comes_late_gets_as_much_and_what_is_left_is_used() {
    let start = crate::some_instant();
    let gate = gate(start, Limits { total: bytes(1_000_000), ..Limits::default() });
    let mut senders = vec![Sender::new(1000, 10_000)];
    run(&gate, start, &mut senders, Direction::ToPeers, 0, 10);
    assert!(near(senders[0].bytes(), 10_000_000, 8), "alone: all of it and the burst, {}", senders[0].bytes());
    senders.push(Sender::new(1000, 10_000));
    run(&gate, start, &mut senders, Direction::ToPeers, 10, 11);
    assert!(senders[1].bytes() > 400_000, "within a second: {}", senders[1].bytes());
    run(&gate, start, &mut senders, Direction::ToPeers, 11, 21);
    assert!(near(senders[1].bytes(), 4_900_000, 3), "{}", senders[1].bytes());
    senders.remove(0);
    run(&gate, start, &mut senders, Direction::ToPeers, 21, 31);
    assert!(near(senders[0].bytes(), 9_800_000, 5), "alone again: {}", senders[0].bytes());
}

#[test]
fn many_users_get_the_total_by_their_number_at_least() {
    let start = crate::some_instant();
    let gate = gate(start, Limits { total: bytes(2_000_000), ..Limits::default() });
    let mut senders: Vec<_> = (0..100).map(|_| Sender::new(500, 100)).collect();
    run(&gate, start, &mut senders, Direction::ToPeers, 0, 3);
    run(&gate, start, &mut senders, Direction::ToPeers, 3, 13);
    let least = senders.iter().map(Sender::bytes).min().unwrap();
    assert!(least > 190_000, "{least} of 200,000 in ten seconds");
}

#[test]
fn the_total_holds_over_any_time_but_for_its_burst() {
    let start = crate::some_instant();
    let gate = gate(start, Limits { total: bytes(1_000_000), ..Limits::default() });
    // Users that come and go: the share is always wrong.
    let mut sum = 0;
    for second in 0..20 {
        let count = if second % 2 == 0 { 1 } else { 30 };
        let mut senders: Vec<_> = (0..count).map(|_| Sender::new(1000, 5000)).collect();
        run(&gate, start, &mut senders, Direction::ToPeers, second, second + 1);
        sum += senders.iter().map(Sender::bytes).sum::<u64>();
    }
    assert!((18_000_000..=21_010_000).contains(&sum), "{sum}");
}

/// Rule: abuse-31
#[test]
fn bytes_of_connections_wait_for_the_same_limits() {
    let start = crate::some_instant();
    for limits in [
        Limits { allocation: bytes(100_000), ..Limits::default() },
        Limits { user: bytes(100_000), ..Limits::default() },
        Limits { total: bytes(100_000), ..Limits::default() },
        Limits { user: Rates { bytes: 0, packets: 100 }, ..Limits::default() },
    ] {
        let gate = gate(start, limits);
        let meter = Meter { paces: Arc::default(), account: Account::default() };
        // Another connection of the allocation, somewhere else.
        let (one, two) = (meter.clone(), meter);
        let mut passed = 0;
        for step in 0..10_000 {
            let now = start + Duration::from_millis(step);
            for meter in [&one, &two] {
                if gate.is_open(now, Direction::ToPeers, meter) {
                    gate.take(now, Direction::ToPeers, meter, 1000);
                    passed += 1000;
                }
            }
        }
        // The share of the total aims a little below it.
        assert!((940_000..=1_110_000).contains(&passed), "{passed} by {limits:?}");
        let end = start + Duration::from_secs(10);
        assert!(gate.is_open(end, Direction::ToClient, &one), "each way for itself");
        gate.take(end, Direction::ToPeers, &one, 1_000_000);
        assert!(!gate.is_open(end, Direction::ToPeers, &two));
    }
}
