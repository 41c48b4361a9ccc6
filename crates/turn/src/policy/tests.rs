//! Every range, first and last address; every way to write an IPv4 address; own addresses per port.

use super::*;

/// The media port; 50050 is a live relayed port.
struct Open(u16);

impl OpenPorts for Open {
    fn is_open(&self, address: SocketAddr) -> bool {
        self.is_media(address) || address.port() == 50_050
    }

    fn is_media(&self, address: SocketAddr) -> bool {
        address.port() == self.0
    }
}

fn policy(allow: &[&str], deny: &[&str]) -> Policy {
    let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    Policy::new(["203.0.113.5".parse().unwrap()], &texts(allow), &texts(deny)).unwrap()
}

fn verdict(policy: &Policy, ip: &str, port: u16) -> (bool, String) {
    let peer = PeerAddress::new(SocketAddr::new(ip.parse().unwrap(), port));
    let verdict = policy.explain(&peer, &Open(8189));
    (verdict.allowed, verdict.rule.to_owned())
}

/// First and last address of `address/bits`.
pub(crate) fn ends(text: &str) -> [IpAddr; 2] {
    let (address, bits) = text.split_once('/').unwrap();
    let bits: u32 = bits.parse().unwrap();
    match address.parse().unwrap() {
        IpAddr::V4(ip) => [ip.to_bits(), ip.to_bits() | u32::MAX.checked_shr(bits).unwrap_or(0)]
            .map(|number| IpAddr::V4(number.into())),
        IpAddr::V6(ip) => [ip.to_bits(), ip.to_bits() | u128::MAX.checked_shr(bits).unwrap_or(0)]
            .map(|number| IpAddr::V6(number.into())),
    }
}

/// Rule: abuse-1
#[test]
fn every_built_in_range_is_denied_from_its_first_to_its_last_address() {
    let policy = policy(&[], &[]);
    for (text, _) in builtin::DENIED {
        for ip in ends(text) {
            assert!(!verdict(&policy, &ip.to_string(), 5000).0, "{ip} of {text}");
        }
    }
}

#[test]
fn the_neighbours_of_the_ranges_are_allowed() {
    let policy = policy(&[], &[]);
    for ip in [
        "1.0.0.0",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "169.253.255.255",
        "169.255.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "192.0.1.0",
        "192.0.3.0",
        "192.88.98.255",
        "192.88.100.0",
        "192.167.255.255",
        "192.169.0.0",
        "198.17.255.255",
        "198.20.0.0",
        "198.51.99.255",
        "198.51.101.0",
        "203.0.112.255",
        "203.0.114.0",
        "223.255.255.255",
        "2001:200::1",
        "2001:db7:ffff::1",
        "2001:db9::1",
        "2003::1",
        "2606:4700::1111",
        "3fff:1000::1",
    ] {
        assert_eq!(verdict(&policy, ip, 5000), (true, builtin::DEFAULT.to_owned()), "{ip}");
    }
}

/// Rule: abuse-2
#[test]
fn no_encoding_of_a_denied_address_passes() {
    // Even where the operator allows the whole encoding, what is inside must pass for itself.
    let everything = policy(&["::/0"], &[]);
    let strict = policy(&[], &[]);
    for inside in ["127.0.0.1", "10.1.2.3", "169.254.169.254", "0.0.0.0", "203.0.113.5"] {
        let bits = inside.parse::<std::net::Ipv4Addr>().unwrap().to_bits();
        let (high, low) = (bits >> 16, bits & 0xffff);
        for text in [
            format!("::ffff:{inside}"),
            format!("::{inside}"),
            format!("::ffff:0:{inside}"),
            format!("64:ff9b::{inside}"),
            format!("64:ff9b:1::{inside}"),
            format!("2002:{high:x}:{low:x}::1"),
            format!("2001:0:102:304::{:x}:{:x}", !high & 0xffff, !low & 0xffff),
            inside.to_owned(),
        ] {
            assert!(!verdict(&strict, &text, 5000).0, "{text}");
            assert!(!verdict(&everything, &text, 5000).0, "{text} with ::/0 allowed");
        }
    }
}

/// Rule: abuse-5
#[test]
fn own_addresses_open_by_port_and_never_by_a_list() {
    let policy = policy(&["0.0.0.0/0", "::/0", "127.0.0.1", "203.0.113.5"], &[]);
    for ip in ["127.0.0.1", "127.8.9.10", "::1", "203.0.113.5"] {
        assert!(verdict(&policy, ip, 8189).0, "{ip}");
        for port in [0, 22, 80, 3478, 8080, 8188, 8190, 65535] {
            assert_eq!(verdict(&policy, ip, port), (false, builtin::OWN_CLOSED.to_owned()), "{ip}:{port}");
        }
    }
    assert!(!verdict(&policy, "0.0.0.0", 8189).0);
    assert!(!verdict(&policy, "::", 8189).0);
    assert!(!verdict(&policy, "::ffff:127.0.0.1", 8189).0);
}

/// Rule: abuse-4
#[test]
fn the_narrowest_range_decides_and_deny_wins_a_tie() {
    let policy = policy(&["10.0.0.0/8", "10.1.0.0/16", "1.1.1.1"], &["10.1.2.0/24", "10.1.0.0/16", "0.0.0.0/0"]);
    assert_eq!(verdict(&policy, "10.9.9.9", 1), (true, "allow_peers 10.0.0.0/8".into()));
    assert_eq!(verdict(&policy, "10.1.9.9", 1), (false, "deny_peers 10.1.0.0/16".into()));
    assert_eq!(verdict(&policy, "10.1.2.3", 1), (false, "deny_peers 10.1.2.0/24".into()));
    assert_eq!(verdict(&policy, "1.1.1.1", 1), (true, "allow_peers 1.1.1.1".into()));
    assert_eq!(verdict(&policy, "8.8.8.8", 1), (false, "deny_peers 0.0.0.0/0".into()));
}

#[test]
fn metadata_needs_its_own_name_in_the_allow_list() {
    for ip in ["169.254.169.254", "100.100.100.200", "168.63.129.16", "fd00:ec2::254"] {
        assert!(!verdict(&policy(&["0.0.0.0/0", "::/0"], &[]), ip, 80).0, "{ip}");
        assert!(verdict(&policy(&[ip], &[]), ip, 80).0, "{ip}");
    }
}

/// Rule: abuse-4, abuse-7
#[test]
fn ports_of_foreign_peers_are_limited_and_ours_are_not() {
    let texts = ["443".to_owned(), "1024-65535".to_owned()];
    let policy = policy(&["10.0.0.0/8"], &[]).with_ports(&texts).unwrap();
    for (ip, port, allowed) in [
        ("198.20.0.1", 443, true),
        ("198.20.0.1", 1024, true),
        ("198.20.0.1", 1023, false),
        ("198.20.0.1", 0, false),
        ("10.0.0.1", 22, false),
        ("2606:4700::1111", 53, false),
    ] {
        let (is_allowed, rule) = verdict(&policy, ip, port);
        assert_eq!(is_allowed, allowed, "{ip} {port}");
        assert!(allowed || rule == "peer_ports: not one of [443, 1024-65535]", "{rule}");
    }
    let ip_only = |ip: &str| policy.explain_ip(&PeerAddress::new(SocketAddr::new(ip.parse().unwrap(), 22)), &Open(80));
    assert!(ip_only("198.20.0.1").allowed, "a permission has no port");
    assert!(!ip_only("192.168.0.1").allowed);
    let own = policy.explain(&PeerAddress::new("203.0.113.5:80".parse().unwrap()), &Open(80));
    assert!(own.allowed && own.own, "our own media port may be any");
}

#[test]
fn media_only_means_nobody_else() {
    let policy = policy(&["198.20.0.1", "0.0.0.0/0"], &[]).media_only();
    assert_eq!(verdict(&policy, "203.0.113.5", 8189), (true, builtin::OWN_OPEN.into()));
    assert_eq!(verdict(&policy, "203.0.113.5", 50_050), (false, builtin::OWN_NOT_MEDIA.into()), "another allocation");
    for ip in ["198.20.0.1", "1.1.1.1", "169.254.169.254", "2606:4700::1111"] {
        assert_eq!(verdict(&policy, ip, 8189), (false, builtin::MEDIA_ONLY.into()), "{ip}");
    }
}

/// Rule: abuse-4
#[test]
fn a_malformed_list_is_refused() {
    let bad = Policy::new([], &["10.0.0.0/40".to_owned()], &[]).unwrap_err();
    assert_eq!(bad, PolicyError::NotARange("10.0.0.0/40".into()));
}
