//! The ranges that are denied unless the operator allows them, with their names. Kept as a table of CIDR text, because
//! that is how the registries (IANA special-purpose addresses, RFC 6890) write them.

use std::net::IpAddr;
use std::sync::LazyLock;

use super::range::AddressRange;

pub(super) const UNSPECIFIED: &str = "built-in: unspecified address";
pub(super) const OWN_OPEN: &str = "own address: media port or live relayed port";
pub(super) const OWN_ANY: &str = "own address: its open ports, as each packet is checked for";
pub(super) const OWN_CLOSED: &str = "own address: not a media port, not a live relayed port";
pub(super) const OWN_NOT_MEDIA: &str = "peers = \"media-only\": own address, but not a media port";
pub(super) const MEDIA_ONLY: &str = "peers = \"media-only\": not an address of ours";
pub(super) const OWN_INSIDE: &str = "built-in: own address inside an IPv6 address";
pub(super) const MAPPED: &str = "built-in: IPv4-mapped ::ffff:0:0/96";
pub(super) const DEFAULT: &str = "default: allowed";

/// Services that hand out the host's credentials to whoever reaches them.
const METADATA: [(&str, &str); 4] = [
    ("169.254.169.254", "built-in: cloud metadata 169.254.169.254"),
    ("100.100.100.200", "built-in: cloud metadata 100.100.100.200"),
    ("168.63.129.16", "built-in: cloud platform 168.63.129.16"),
    ("fd00:ec2::254", "built-in: cloud metadata fd00:ec2::254"),
];

pub(crate) const DENIED: [(&str, &str); 32] = [
    ("0.0.0.0/8", "built-in: this network 0.0.0.0/8"),
    ("10.0.0.0/8", "built-in: private 10.0.0.0/8"),
    ("100.64.0.0/10", "built-in: carrier-grade NAT 100.64.0.0/10"),
    ("127.0.0.0/8", "built-in: loopback 127.0.0.0/8"),
    ("169.254.0.0/16", "built-in: link-local 169.254.0.0/16"),
    ("172.16.0.0/12", "built-in: private 172.16.0.0/12"),
    ("192.0.0.0/24", "built-in: protocol assignments 192.0.0.0/24"),
    ("192.0.2.0/24", "built-in: documentation 192.0.2.0/24"),
    ("192.88.99.0/24", "built-in: 6to4 anycast 192.88.99.0/24"),
    ("192.168.0.0/16", "built-in: private 192.168.0.0/16"),
    ("198.18.0.0/15", "built-in: benchmarking 198.18.0.0/15"),
    ("198.51.100.0/24", "built-in: documentation 198.51.100.0/24"),
    ("203.0.113.0/24", "built-in: documentation 203.0.113.0/24"),
    ("224.0.0.0/4", "built-in: multicast 224.0.0.0/4"),
    ("240.0.0.0/4", "built-in: reserved and broadcast 240.0.0.0/4"),
    ("::/96", "built-in: IPv4-compatible ::/96"),
    ("::ffff:0:0/96", MAPPED),
    ("::ffff:0:0:0/96", "built-in: IPv4-translated ::ffff:0:0:0/96"),
    ("64:ff9b::/96", "built-in: NAT64 64:ff9b::/96"),
    ("64:ff9b:1::/48", "built-in: local NAT64 64:ff9b:1::/48"),
    ("100::/64", "built-in: discard 100::/64"),
    ("100:0:0:1::/64", "built-in: dummy prefix 100:0:0:1::/64"),
    ("2001::/23", "built-in: protocol assignments, Teredo 2001::/23"),
    ("2001:db8::/32", "built-in: documentation 2001:db8::/32"),
    ("2002::/16", "built-in: 6to4 2002::/16"),
    ("3fff::/20", "built-in: documentation 3fff::/20"),
    ("5f00::/16", "built-in: segment routing 5f00::/16"),
    ("fc00::/7", "built-in: unique local fc00::/7"),
    ("fe80::/10", "built-in: link-local fe80::/10"),
    ("fec0::/10", "built-in: site-local fec0::/10"),
    ("ff00::/8", "built-in: multicast ff00::/8"),
    ("::1/128", "built-in: loopback ::1"),
];

type Table = Vec<(AddressRange, &'static str)>;

fn read(table: &[(&str, &'static str)]) -> Table {
    let read = |(text, name): &(&str, &'static str)| (AddressRange::parse(text).expect("the table is tested"), *name);
    table.iter().map(read).collect()
}

fn find(table: &Table, ip: IpAddr) -> Option<&'static str> {
    table.iter().find(|(range, _)| range.contains(ip)).map(|(_, name)| *name)
}

/// The name of the metadata service at this address.
pub(super) fn metadata(ip: IpAddr) -> Option<&'static str> {
    static TABLE: LazyLock<Table> = LazyLock::new(|| read(&METADATA));
    find(&TABLE, ip)
}

/// The built-in rule that denies this address.
pub(super) fn denied(ip: IpAddr) -> Option<&'static str> {
    static TABLE: LazyLock<Table> = LazyLock::new(|| read(&DENIED));
    find(&TABLE, ip)
}
