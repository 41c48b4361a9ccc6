//! What this server does differently although the file says nothing of it.

use super::is_on;
use crate::coturn::draft::Draft;
use crate::coturn::{Fortune, Notes};

pub(super) fn note(draft: &Draft, notes: &mut Notes) {
    let mut differs = |option: &str, text: &str| notes.add(None, option, Fortune::Differs, text);
    differs(
        "denied-peer-ip",
        "private, local and special ranges are denied (turn-server check-peer ADDRESS says by which rule); an \
         allowed-peer-ip opens its addresses, metadata services only when it names them",
    );
    differs(
        "allowed-peer-ip",
        "of this host's own addresses, external ones included, only live relayed ports are reached, whatever is allowed",
    );
    differs("userdb", "coturn's database (by default /var/lib/turn/turndb) is not read: users, secrets, peers, realms");
    differs(
        "allowed-peer-ip",
        "peers outside have port 443 or one from 1024 up ([relay] peer_ports); coturn allows all",
    );
    if !draft.secrets.is_empty() {
        let text = "each id of time-limited names has [relay] user_bytes_per_second, user_packets_per_second and \
                    new_peers_per_second; coturn has no such limits";
        differs("max-bps", text);
    }
    let encrypted = draft.cert.is_some() && draft.key.is_some();
    if encrypted && draft.dtls.is_none() && draft.no_dtls.is_none() {
        differs(
            "dtls",
            "coturn before 4.17 takes DTLS beside TLS unless told not to, later ones only if told; here it is on",
        );
    }
    if draft.realm.is_none() {
        differs("realm", "coturn takes the host's domain name; here it is `tern`, and clients take what they are told");
    }
    if is_on(draft.no_tcp_relay).is_none() {
        differs("no-tcp-relay", "coturn relays TCP (RFC 6062) unless told not to; here [relay] tcp_relay turns it on");
    }
}
