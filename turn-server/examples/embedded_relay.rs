//! A STUN and TURN server inside another program. It listens at the address of the first argument until its input ends.

use turn_server::config::RelayConfig;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let listen = std::env::args().nth(1).unwrap_or("0.0.0.0:3478".into());
    let config = RelayConfig {
        listen: vec![listen.parse()?],
        secrets: vec!["shared with whoever signs credentials".into()],
        ..RelayConfig::default()
    };
    let relay = turn_server::relay::start(&config)?;
    let now = std::time::UNIX_EPOCH.elapsed()?.as_secs();
    let login = relay.credentials("alice", 3600, now).expect("there is a secret");
    println!("turn:{} {} {}", relay.addresses()[0], login.username, login.password);
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
    Ok(())
}
