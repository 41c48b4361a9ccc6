//! Which addresses stand in answers: what the operator says, then what the host has, then this machine itself.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::sfu::BindError;

/// An entry of `[rooms] advertise`; without a port: the one that is bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Advertised {
    ip: IpAddr,
    port: Option<u16>,
}

/// Reads `ip` and `ip:port` entries.
pub(super) fn parse(entries: &[String]) -> Result<Vec<Advertised>, BindError> {
    let one = |entry: &String| {
        let text = entry.trim();
        let plain = text.parse::<IpAddr>().map(|ip| Advertised { ip, port: None });
        plain
            .or_else(|_| text.parse::<SocketAddr>().map(|a| Advertised { ip: a.ip(), port: Some(a.port()) }))
            .map_err(|_| BindError::Advertise { entry: entry.clone() })
    };
    entries.iter().map(one).collect()
}

/// The candidates of a worker that is bound to `bound`, best first. Another family than the bound one cannot reach it,
/// except through an explicit entry.
pub(super) fn candidates(
    advertised: &[Advertised],
    interfaces: &[IpAddr],
    bound: SocketAddr,
    worker: u16,
) -> Vec<SocketAddr> {
    let mut list = Vec::new();
    let mut add = |address: SocketAddr| {
        if !list.contains(&address) {
            list.push(address);
        }
    };
    for entry in advertised {
        // Worker n is n ports further, as it is here.
        add(SocketAddr::new(entry.ip, entry.port.map_or(bound.port(), |port| port.saturating_add(worker))));
    }
    if !bound.ip().is_unspecified() {
        add(bound);
        return list;
    }
    let usable = |ip: &&IpAddr| ip.is_ipv4() == bound.is_ipv4() && !ip.is_loopback() && !link_local(**ip);
    for &ip in interfaces.iter().filter(usable) {
        add(SocketAddr::new(ip, bound.port()));
    }
    // A browser on this machine reaches us here, whatever the network does.
    if bound.is_ipv4() {
        add(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), bound.port()));
    }
    list
}

/// Means nothing without its interface, which a candidate cannot name.
fn link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(advertise: &[&str], bound: &str, worker: u16) -> Vec<String> {
        let entries: Vec<String> = advertise.iter().map(|entry| (*entry).to_owned()).collect();
        let interfaces: Vec<IpAddr> = ["127.0.0.1", "192.168.1.5", "169.254.1.1", "fd00::5", "10.0.0.9"]
            .iter()
            .map(|ip| ip.parse().expect("an IP"))
            .collect();
        let advertised = parse(&entries).expect("addresses");
        let all = candidates(&advertised, &interfaces, bound.parse().expect("an address"), worker);
        all.iter().map(SocketAddr::to_string).collect()
    }

    #[test]
    fn the_operator_comes_first_and_this_machine_last() {
        let expected = ["203.0.113.7:8190", "198.51.100.1:4000", "192.168.1.5:8190", "10.0.0.9:8190", "127.0.0.1:8190"];
        assert_eq!(list(&["203.0.113.7", "198.51.100.1:3999", "203.0.113.7"], "0.0.0.0:8190", 1), expected);
    }

    #[test]
    fn a_bound_address_stands_alone() {
        assert_eq!(list(&[], "127.0.0.1:8189", 0), ["127.0.0.1:8189"]);
        assert_eq!(list(&["203.0.113.7"], "10.0.0.9:8189", 0), ["203.0.113.7:8189", "10.0.0.9:8189"]);
    }

    #[test]
    fn an_entry_that_is_no_address_is_refused() {
        assert!(matches!(parse(&["media.example".into()]), Err(BindError::Advertise { .. })));
    }
}
