//! Whole files: what becomes of each option, and that nothing is weaker than it was written.

use super::*;
use crate::config::{Config, DefaultFamily, RelayUser, RestNames, TlsMode};

const HOST: &Host = &Host { addresses: Vec::new(), root: false };

/// A file that works, and then these lines.
fn with(lines: &str) -> Import {
    import(&format!("static-auth-secret=north\nrealm=example.org\n{lines}"), HOST)
}

/// What is said of an option.
fn said(import: &Import, option: &str) -> Option<(Fortune, usize)> {
    let of = |remark: &&Remark| remark.option == option && remark.line.is_some();
    import.remarks.iter().find(of).map(|remark| (remark.fortune, remark.line.unwrap()))
}

fn refusals(import: &Import) -> Vec<String> {
    import.refusals().map(ToString::to_string).collect()
}

#[test]
fn a_usual_file_is_taken_over() {
    let import = import(
        "# Our relay\n\
         listening-ip=198.20.0.7\n\
         listening-port=3479\n\
         external-ip=198.20.0.7/10.0.0.7\n\
         relay-ip=10.0.0.7\n\
         min-port=50000\n\
         max-port=50100\n\
         use-auth-secret\n\
         static-auth-secret=north\n\
         static-auth-secret=south\n\
         realm=example.org\n\
         user-quota=12\n\
         denied-peer-ip=10.0.0.0-10.255.255.255\n\
         allowed-peer-ip=10.0.0.9\n\
         relay-threads=4\n\
         no-cli\n\
         fingerprint\n",
        HOST,
    );
    assert_eq!(refusals(&import), Vec::<String>::new());
    let relay = &import.config.relay;
    assert_eq!(relay.listen, ["198.20.0.7:3479".parse().unwrap()]);
    assert_eq!(relay.relay_addresses, ["10.0.0.7".parse::<std::net::IpAddr>().unwrap()]);
    assert_eq!(relay.external_addresses, ["198.20.0.7/10.0.0.7"]);
    assert_eq!((relay.min_port, relay.max_port), (50000, 50100));
    assert_eq!(relay.secrets, ["north", "south"]);
    assert_eq!((relay.realm.as_str(), relay.allocations_per_user, relay.workers), ("example.org", 12, 4));
    assert_eq!(relay.allow_peers, ["10.0.0.9"]);
    assert_eq!(relay.deny_peers, ["10.0.0.0-10.0.0.8", "10.0.0.10-10.255.255.255"]);
    assert!(!import.config.rooms.enabled && !import.config.api.enabled);
    assert_eq!(said(&import, "no-cli"), Some((Fortune::Ignored, 16)));
    import.config.check(&service::config::Origin::default()).unwrap();
}

#[test]
fn what_would_weaken_the_server_is_refused_with_its_line() {
    for line in [
        "no-auth",
        "oauth",
        "server-relay",
        "allow-loopback-peers",
        "userdb=/var/lib/turn/turndb",
        "psql-userdb=\"host=db\"",
        "CA-file=/etc/ca.pem",
        "listening-device=eth0",
        "secure-stun",
        "no-stun",
        "no-tlsv1_2",
        "pkey-pwd=secret",
        "alternate-server=198.20.0.1:3478",
        "rest-api-separator=%",
        "no-udp-relay",
        "no-udp",
        "prometheus-tls",
        "tcp-proxy-port=3480",
        "allocation-default-address-family=ipv6",
    ] {
        let import = with(&format!("\n{line}\n"));
        let option = line.split('=').next().unwrap();
        assert_eq!(said(&import, option), Some((Fortune::Refused, 4)), "{line}");
        assert_eq!(import.refusals().count(), 1, "{line}");
    }
}

#[test]
fn a_switch_that_is_off_is_no_reason_to_refuse() {
    for line in ["no-auth=0", "server-relay=off", "allow-loopback-peers=no", "oauth=false"] {
        assert_eq!(refusals(&with(line)), Vec::<String>::new(), "{line}");
    }
    assert!(refusals(&with("no-tcp=maybe"))[0].starts_with("line 3: no-tcp: refused: \"maybe\" must be on"));
    assert!(refusals(&with("use-auth-secret=0"))[0].contains("remove the line"));
}

#[test]
fn wrong_values_and_names_are_refused_with_their_line() {
    for (line, says) in [
        ("listening-port=80x", "line 3: listening-port: refused: \"80x\" must be a number from 1 to 65535"),
        ("denied-peer-ip=10.0.0.0/8", "write 10.0.0.0-10.255.255.255"),
        ("listening-ip=localhost", "\"localhost\" must be an address"),
        (
            "listning-port=1",
            "line 3: listning-port: refused: no option of coturn 4.6 to 4.17; did you mean listening-port?",
        ),
        ("min-port=60000\nmax-port=50000", "line 3: min-port: refused: 60000 to 50000"),
        ("min-port=80", "80 to 65535 must be a range of ports from 1024 up"),
        ("user-quota=-1", "\"-1\" must be a number"),
        ("static-auth-secret=", "needs a value"),
    ] {
        let refusals = refusals(&with(line));
        assert!(refusals.len() == 1 && refusals[0].contains(says), "{line}: {refusals:?}");
    }
}

#[test]
fn somebody_must_be_able_to_log_in_and_nobody_else() {
    let refused = |text: &str| refusals(&import(text, HOST)).join("; ");
    assert!(refused("realm=x").contains("coturn is an open relay"));
    assert!(refused("lt-cred-mech\nrealm=x").contains("users in a database are not read"));
    assert!(refused("use-auth-secret\nrealm=x").contains("secrets in a database are not read"));
    assert!(refused("user=alice:0xbc807ee29df3c9ffa736523fb2c4e8ee").contains("a key is of one realm"));
    assert_eq!(refused("stun-only"), "");

    let users = "lt-cred-mech\nrealm=north.gov\nuser=gorst:0xbc807ee29df3c9ffa736523fb2c4e8ee\nuser=alice:pw\n";
    let both = import(&format!("{users}static-auth-secret=s\n"), HOST);
    let users = import(users, HOST);
    let user = |name: &str, password: &str, key: Option<&str>| RelayUser {
        name: name.into(),
        password: password.into(),
        key: key.map(Into::into),
    };
    let gorst = user("gorst", "", Some("bc807ee29df3c9ffa736523fb2c4e8ee"));
    assert_eq!(users.config.relay.users, [gorst, user("alice", "pw", None)]);
    assert!(users.config.relay.secrets.is_empty());
    // coturn lets nobody in by a password where there is a secret.
    assert!(both.config.relay.users.is_empty());
    assert_eq!(said(&both, "user"), Some((Fortune::Ignored, 3)));

    let stun = import("stun-only\nuser=alice:pw\nstatic-auth-secret=s\n", HOST);
    assert!(stun.config.relay.users.is_empty() && stun.config.relay.secrets.is_empty());
}

#[test]
fn root_is_left_or_not_started_as() {
    let proc_user = |root| import("static-auth-secret=s\nproc-user=turnserver\n", &Host { root, ..HOST.clone() });
    assert_eq!(said(&proc_user(true), "proc-user"), Some((Fortune::Refused, 2)));
    assert_eq!(said(&proc_user(false), "proc-user"), Some((Fortune::Ignored, 2)));
}

#[test]
fn the_last_of_two_lines_counts_unless_each_does() {
    let import = with("min-port=50000\nmin-port=51000\nlistening-ip=198.20.0.1\nlistening-ip=198.20.0.2\n");
    assert_eq!(import.config.relay.min_port, 51000);
    assert_eq!(said(&import, "min-port"), Some((Fortune::Ignored, 3)));
    assert_eq!(import.config.relay.listen.len(), 2);
    // Both are listened at, and the first one is relayed from.
    assert_eq!(import.config.relay.relay_addresses, ["198.20.0.1".parse::<std::net::IpAddr>().unwrap()]);
}

#[test]
fn an_allowed_address_of_this_host_is_remarked_on() {
    let host = Host { addresses: vec!["10.0.0.5".parse().unwrap()], ..HOST.clone() };
    let of = |line: &str| {
        let import = import(&format!("static-auth-secret=s\nexternal-ip=198.20.0.7\n{line}"), &host);
        assert_eq!(refusals(&import), Vec::<String>::new());
        said(&import, "allowed-peer-ip")
    };
    assert_eq!(of("allowed-peer-ip=10.0.0.1-10.0.0.9"), Some((Fortune::Differs, 3)));
    assert_eq!(of("allowed-peer-ip=198.20.0.7"), Some((Fortune::Differs, 3)));
    assert_eq!(of("allowed-peer-ip=10.0.0.6"), None);
}

#[test]
fn a_comment_behind_a_number_is_none_of_it() {
    // As in the guide of a well-known homeserver.
    let import = with("user-quota=12 # three calls at once\ntotal-quota=1200\n");
    assert_eq!(refusals(&import), Vec::<String>::new());
    assert_eq!(import.config.relay.allocations_per_user, 12);
}

#[test]
fn a_host_with_ipv6_listens_there_too() {
    let import = import(
        "static-auth-secret=s\naux-server=127.0.0.1:3480\n",
        &Host { addresses: vec!["2001:db8::1".parse().unwrap()], ..HOST.clone() },
    );
    let listen: Vec<_> = import.config.relay.listen.iter().map(ToString::to_string).collect();
    assert_eq!(listen, ["0.0.0.0:3478", "[::]:3478", "127.0.0.1:3480"]);
}

#[test]
fn who_allows_everything_does_not_mean_what_coturn_denies_all_the_same() {
    let peers = |text: &str| with(text).config.relay.allow_peers;
    let all = peers("allowed-peer-ip=0.0.0.0-255.255.255.255\n");
    assert_eq!(all, ["0.0.0.0-169.253.255.255", "169.255.0.0-223.255.255.255", "240.0.0.0-255.255.255.255"]);
    assert_eq!(peers("allowed-peer-ip=224.0.0.0-239.255.255.255\n"), [""; 0]);
    assert_eq!(
        peers("allowed-peer-ip=169.254.7.1-169.254.7.9\n"),
        ["169.254.7.1-169.254.7.9"],
        "who names them means it"
    );
    assert_eq!(peers("allowed-peer-ip=fd12::1-fd12::ff\n"), ["fd12::1-fd12::ff"]);
    assert_eq!(peers("allowed-peer-ip=169.254.0.0-169.254.255.255\n"), ["169.254.0.0-169.254.255.255"]);
    let v6 = peers("allowed-peer-ip=::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff\n");
    assert!(!v6.is_empty() && v6.iter().all(|range| !range.contains("fe80") && !range.contains("fd00")), "{v6:?}");
}

#[test]
fn certificates_are_taken_over_with_their_ports() {
    let import = with("cert=/c.pem\npkey=/k.pem\nlistening-ip=198.20.0.1\nno-tcp\nno-dtls\n");
    let relay = &import.config.relay;
    assert_eq!((relay.tls, relay.listen_tcp), (TlsMode::Files, false));
    assert_eq!(
        (relay.tls_cert.as_deref(), relay.tls_key.as_deref()),
        (Some("/c.pem".as_ref()), Some("/k.pem".as_ref()))
    );
    assert_eq!(relay.tls_listen, ["198.20.0.1:5349".parse().unwrap()]);
    assert_eq!(
        said(&import, "no-tcp").map(|(fortune, _)| fortune),
        Some(Fortune::Differs),
        "TLS has its port not alone"
    );
    assert!(!relay.dtls && with("cert=/c.pem\npkey=/k.pem\n").config.relay.dtls);
    assert!(!with("cert=/c.pem\npkey=/k.pem\ndtls=no\n").config.relay.dtls);
    assert_eq!(with("cert=/c.pem\npkey=/k.pem\nno-tls\n").config.relay.tls, TlsMode::Off);
    assert_eq!(said(&with("cert=/c.pem\n"), "cert"), Some((Fortune::Ignored, 3)));
}

#[test]
fn limits_are_coturns_and_none_where_it_has_none() {
    let relay = with("user-quota=12\ntotal-quota=1200\nmax-bps=64000\nbps-capacity=1000000\n").config.relay;
    assert_eq!((relay.allocations_per_user, relay.allocations_total), (12, 1200));
    assert_eq!((relay.allocation_bytes_per_second, relay.total_bytes_per_second), (64_000, 1_000_000));
    assert!(relay.new_peers_per_second > 0, "an id is a person");
    let shared = import("user=everybody:pw\n", HOST).config.relay;
    assert_eq!((shared.allocations_per_user, shared.user_bytes_per_second, shared.new_peers_per_second), (0, 0, 0));
}

#[test]
fn names_are_read_both_ways_and_clients_may_move() {
    let relay = with("mobility\n").config.relay;
    assert_eq!((relay.rest_names, relay.mobility), (RestNames::Either, true));
    assert!(!with("mobility=no\n").config.relay.mobility);
}

#[test]
fn a_second_address_serves_behaviour_discovery() {
    let alternate = |lines: &str| with(lines).config.relay.stun_alternate;
    let two = "listening-ip=198.20.0.1\nlistening-ip=198.20.0.2\n";
    assert_eq!(alternate(&format!("{two}rfc5780\n")), Some("198.20.0.2:3479".parse().unwrap()));
    assert_eq!(alternate(&format!("{two}rfc5780\nalt-listening-port=4000")), Some("198.20.0.2:4000".parse().unwrap()));
    assert_eq!(alternate(two), None);
    assert_eq!(said(&with("rfc5780"), "rfc5780"), Some((Fortune::Ignored, 3)));
    assert_eq!(with("keep-address-family").config.relay.default_family, DefaultFamily::Keep);
}

#[test]
fn metrics_have_coturns_port() {
    let metrics = with("prometheus\nprometheus-address=127.0.0.1\n");
    assert!(metrics.config.api.enabled && metrics.config.api.keys.is_empty());
    assert_eq!(metrics.config.api.listen, "127.0.0.1:9641".parse().unwrap());
}

#[test]
fn what_is_printed_parses_back_to_the_same() {
    for lines in [
        "",
        "user-quota=12\ntotal-quota=1200\nmax-bps=3000000\nno-tcp-relay\nverbose\nprometheus\n",
        "denied-peer-ip=0.0.0.0-255.255.255.255\nallowed-peer-ip=198.20.0.1\nexternal-ip=198.20.0.7\n",
        "realm=quote\"and\\slash\nstatic-auth-secret=with:colon#and'quote\n",
        "no-auth\nnonsense=\u{7}\n",
    ] {
        let import = with(lines);
        let text = import.to_toml();
        let back: Config = toml::from_str(&text).unwrap_or_else(|error| panic!("{text}\n{error}"));
        assert_eq!(back, import.config, "{text}");
        for remark in &import.remarks {
            assert!(text.contains(&format!("# {}", remark.to_string().replace(char::is_control, " "))), "{remark}");
        }
    }
    let users = import("user=a:0xbc807ee29df3c9ffa736523fb2c4e8ee\nuser=b:p\nrealm=x\n", HOST);
    assert_eq!(toml::from_str::<Config>(&users.to_toml()).unwrap(), users.config);
}
