//! Moving over from coturn: its configurations, run by our program, serve its clients.

use std::path::Path;

use tests::binary::{Program, run};
use tests::pki::Pki;
use tests::turn_client::TurnClient;
use tests::turn_tools::uclient;

/// What a test changes of a deployment, by the environment that lies over every configuration: where it is.
const HERE: [(&str, &str); 3] = [
    ("TERN__RELAY__LISTEN", "127.0.0.1:0"),
    ("TERN__RELAY__RELAY_ADDRESSES", "127.0.0.1"),
    ("TERN__RELAY__EXTERNAL_ADDRESSES", ""),
];

fn sample(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("coturn").join(format!("{name}.conf"));
    path.to_str().expect("UTF-8").to_owned()
}

/// Runs a sample, and coturn's client against it with these credentials. The name of the test is the sample's.
fn serves(name: &str, login: &[&str], encrypted: bool) {
    let pki = Pki::new();
    let (cert, key) = (pki.cert(), pki.key());
    let certificate = [
        ("TERN__RELAY__TLS_LISTEN", "127.0.0.1:0"),
        ("TERN__RELAY__TLS_CERT", cert.to_str().expect("UTF-8")),
        ("TERN__RELAY__TLS_KEY", key.to_str().expect("UTF-8")),
        ("TERN__API__LISTEN", "127.0.0.1:0"),
    ];
    let start = || Program::start(&["--coturn", &sample(name)], &[&HERE[..], &certificate].concat());
    let program = start();
    let talk = [&["-n", "20", "-m", "2", "-l", "170", "-y", "-c"], login].concat();
    uclient(program.relay, &talk).assert_nothing_lost();
    let wrong = uclient(program.relay, &["-n", "1", "-y", "-c", "-u", "nobody", "-w", "wrong"]);
    assert!(!wrong.success && wrong.received() == 0, "{}", wrong.output);
    assert_eq!(program.addresses.len(), if encrypted { 2 } else { 1 }, "cert and pkey make a TLS listener");
    if encrypted {
        let mut client = TurnClient::tls(program.addresses[1], &pki, "", "");
        assert_eq!(client.binding(), client.local_addr());
    }
    let has_tcp = |program: &Program| std::net::TcpStream::connect(program.relay).is_ok();
    if name == "jitsi" {
        // Somebody else may have the TCP port of that number, but not of three of them.
        let is_closed = !has_tcp(&program) || (0..2).any(|_| !has_tcp(&start()));
        assert!(is_closed, "Jitsi's web server has the TCP port");
    } else {
        assert!(has_tcp(&program));
    }
}

#[test]
fn synapse() {
    serves("synapse", &["-u", "@alice:example.org", "-W", "a0Vx2rQ9matrixhomeserversecret7Lw"], true);
}

#[test]
fn nextcloud_talk() {
    serves("nextcloud-talk", &["-u", "turn-test", "-W", "5f1e0c7d9b3a48628d04ce1f77a2b6e3"], false);
}

#[test]
fn jitsi() {
    serves("jitsi", &["-u", "focus", "-W", "Wq7Jitsi1prosodyZx3knows9it"], true);
}

#[test]
fn bigbluebutton() {
    serves("bigbluebutton", &["-u", "w_abcdef", "-W", "qk4Zc8BigBlueButtonT2s="], true);
}

#[test]
fn livekit() {
    serves("livekit", &["-u", "livekit", "-w", "v9Relay4Rooms"], true);
}

#[test]
fn the_printed_configuration_is_the_one_that_runs() {
    for name in ["synapse", "nextcloud-talk", "jitsi", "bigbluebutton", "livekit"] {
        let printed = run(&["import-coturn", &sample(name)], &[]);
        assert_eq!((printed.code, printed.err.as_str()), (0, ""), "{name}");
        let config: turn_server::config::Config = toml::from_str(&printed.out).expect("TOML of ours");
        let text = std::fs::read_to_string(sample(name)).expect("a sample");
        let host = turn_server::coturn::Host::default();
        let import = turn_server::coturn::import(&text, &host);
        assert_eq!(config.relay.secrets, import.config.relay.secrets);
        assert_eq!(config.relay.deny_peers, import.config.relay.deny_peers);
        assert!(!config.rooms.enabled);
    }
}

#[test]
fn a_file_that_cannot_be_taken_over_starts_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("turnserver.conf");
    std::fs::write(&path, "no-auth\nserver-relay\nlistning-port=1\n").expect("written");
    let file = path.to_str().expect("UTF-8");
    for arguments in [&["--coturn", file][..], &["check", "--coturn", file], &["import-coturn", file]] {
        let printed = run(arguments, &HERE);
        assert_eq!(printed.code, 2, "{arguments:?}");
        for line in ["line 1: no-auth: refused", "line 2: server-relay: refused", "did you mean listening-port?"] {
            assert!(printed.err.contains(line), "{arguments:?}: {}", printed.err);
        }
    }
}

#[test]
fn check_prints_each_difference_from_coturn() {
    let no_tls = [&HERE[..], &[("TERN__RELAY__TLS", "off")]].concat();
    let printed = run(&["check", "--coturn", &sample("synapse")], &no_tls);
    assert_eq!(printed.code, 0, "{}", printed.err);
    assert!(printed.out.contains("coturn     line 34: allowed-peer-ip: differs: 10.0.0.1 is an address of this host"));
    assert!(printed.out.contains("coturn     line 7: syslog: ignored: "), "{}", printed.out);
    assert!(printed.out.contains("coturn     denied-peer-ip: differs: private, local and special ranges"));
}
