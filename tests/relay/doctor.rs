//! `turn-server doctor` makes calls through a relay, over every transport, and says what is wrong with one.

use std::net::SocketAddr;
use std::path::Path;

use tests::binary::{Printed, run};
use tests::pki::Pki;
use tests::relay::{USER, start};
use turn_server::config::TlsMode;

fn doctor(folder: &Path, plain: SocketAddr, secure: SocketAddr, pki: &Pki, password: &str) -> Printed {
    let (cert, key, user) = (pki.cert(), pki.key(), USER.0);
    let text = format!(
        "[api]\nenabled = false\n[rooms]\nenabled = false\n[relay]\nlisten = [\"{plain}\"]\ntls = \"files\"\n\
         tls_listen = [\"{secure}\"]\ntls_cert = {cert:?}\ntls_key = {key:?}\n\
         users = [{{ name = \"{user}\", password = \"{password}\" }}]\n"
    );
    let file = folder.join("turn-server.toml");
    std::fs::write(&file, text).expect("written");
    run(&["doctor", "--config", file.to_str().expect("UTF-8")], &[])
}

#[test]
fn calls_are_made_over_every_transport() {
    let pki = Pki::new();
    let (relay, plain) = start(|config| {
        config.tls = TlsMode::Files;
        (config.tls_cert, config.tls_key) = (Some(pki.cert()), Some(pki.key()));
        config.tls_listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
    });
    let secure = relay.tls_addresses()[0];
    let folder = tempfile::tempdir().expect("a folder");
    let said = doctor(folder.path(), plain, secure, &pki, USER.1);
    assert_eq!(said.code, 0, "{said:?}");
    let works = |text: &str| {
        let row = text.to_owned();
        move |line: &&str| line.starts_with("ok") && line.contains(&row) && line.contains("relays both ways")
    };
    for at in [plain, secure] {
        for over in ["udp", "tcp", "tls"] {
            assert!(said.out.lines().any(|line| works(&format!("turn {over} {at} "))(&line)), "{over} {at}: {said:?}");
        }
    }
    let stats = relay.stats();
    // Six calls, of two clients that say a word each; nothing is left behind.
    assert_eq!((stats.handed_over, stats.core.allocations_made, stats.core.allocations), (12, 12, 0));

    let said = doctor(folder.path(), plain, secure, &pki, "wrong");
    assert_eq!((said.code, said.out.matches("is refused: 401").count()), (1, 6), "{said:?}");
    // New files that nobody reloaded.
    pki.renew();
    let said = doctor(folder.path(), plain, secure, &pki, USER.1);
    assert_eq!((said.code, said.out.matches("was it reloaded?").count()), (1, 2), "{said:?}");
}
