//! Pion, Go's WebRTC: its TURN client as Debian packages it (2.1).

use tests::foreign;
use tests::program::finish;
use tests::relay::USER;
use tests::ways;

#[test]
fn relays_both_ways() {
    let client = foreign::go("pion_client.go");
    ways::both(
        |_| {},
        |target| {
            for transport in ["udp", "tcp"] {
                let mut command = target.command(&client.path, transport);
                command.args([USER.0, USER.1]);
                let output = finish(command).expect_success();
                assert!(output.contains("echoed 20"), "{output}");
            }
        },
    );
}
