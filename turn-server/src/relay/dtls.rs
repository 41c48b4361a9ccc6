//! DTLS over the relay's UDP listeners (RFC 7350): what all sessions share, and one session around `dimpl`'s engine.
//! Who may have a session, and for how long, is the worker's; the cookie exchange before it is `turn::dtls_hello`'s.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dimpl::crypto::aws_lc_rs::default_provider;
use dimpl::crypto::{CryptoProvider, HashAlgorithm, HmacProvider};
use dimpl::{Config, CryptoError, Dtls, DtlsCertificate, Output};
use turn::dtls_hello::{COOKIE, ClientHello, MESSAGE_SEQ};

use crate::tls::Identity;

/// The payload of one record, at most (RFC 6347 section 4.1).
pub(super) const RECORD: usize = 1 << 14;
/// Records that one key may protect: the engine throws dice for the 64 bits of AES-GCM's nonces, and two alike would give
/// the key away. 2.6 days at 300 packets a second, and a chance of 1 in 8000.
const MAX_SENT: u32 = 1 << 26;
/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// What all sessions share.
pub(super) struct DtlsIdentity {
    config: Arc<Config>,
    certificate: DtlsCertificate,
}

impl DtlsIdentity {
    /// # Errors
    /// The engine does not sign with such a key.
    pub(super) fn new(identity: &Identity) -> Result<Self, String> {
        let provider = CryptoProvider { hmac_provider: &Redeemed, ..default_provider() };
        let private_key = identity.key.secret_der().to_vec();
        let unusable = |_| "DTLS needs an ECDSA key (P-256 or P-384)".to_owned();
        provider.key_provider.load_private_key(&private_key).map_err(unusable)?;
        // The engine sends one certificate, not a chain.
        let certificate = identity.chain.first().ok_or("no certificate")?.to_vec();
        let config = Config::builder()
            .require_client_certificate(false)
            .handshake_timeout(HANDSHAKE)
            .with_crypto_provider(provider)
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Self { config: Arc::new(config), certificate: DtlsCertificate { certificate, private_key } })
    }
}

thread_local! {
    /// The cookie of the hello that this thread opens a session with, at this moment.
    static REDEEMED: Cell<Option<[u8; COOKIE]>> = const { Cell::new(None) };
}

/// The engine's own cookies need an engine for every hello, which is the state that a flood is after. So cookies are
/// made and checked before there is one, and it is told that the one that came back is the one that it would have made.
/// It asks for the HMAC with SHA-256 in this form for nothing else; keys are derived through `hmac`.
#[derive(Debug)]
struct Redeemed;

impl HmacProvider for Redeemed {
    fn hmac_sha256(&self, key: &[u8], data: &[u8]) -> Result<[u8; COOKIE], CryptoError> {
        REDEEMED.get().map_or_else(|| default_provider().hmac_provider.hmac_sha256(key, data), Ok)
    }

    fn hmac(&self, hash: HashAlgorithm, key: &[u8], data: &[u8], out: &mut [u8]) -> Result<usize, CryptoError> {
        default_provider().hmac_provider.hmac(hash, key, data, out)
    }
}

/// What a session is to do.
pub(super) enum Action<'a> {
    /// Take a datagram.
    Receive(&'a [u8]),
    /// Encrypt and send, at most [`RECORD`] bytes.
    Send(&'a [u8]),
    /// Look at the time.
    Tick,
    /// Say good-bye.
    Close,
}

/// Where the engine writes to, used for one session after the other.
#[derive(Default)]
pub(super) struct Room {
    buffer: Vec<u8>,
    /// What was decrypted: datagrams one after the other, and where each ends.
    pub(super) data: Vec<u8>,
    pub(super) ends: Vec<usize>,
}

/// See the module.
pub(super) struct Session {
    engine: Dtls,
    sent: u32,
}

impl Session {
    /// Begins with a hello whose cookie is redeemed. Gives the time of the first [`Action::Tick`], too; `None`: there is
    /// nothing that both sides speak.
    pub(super) fn open(
        identity: &DtlsIdentity,
        now: Instant,
        hello: &ClientHello,
        cookie: [u8; COOKIE],
        datagram: &[u8],
        transmit: impl FnMut(&[u8]),
    ) -> Option<(Self, Instant)> {
        let engine = Dtls::new_12(Arc::clone(&identity.config), identity.certificate.clone(), now);
        let mut session = Self { engine, sent: 0 };
        // The first hello, as good as it was: number 0 and another cookie. What it is answered has been sent.
        let mut first = datagram.to_vec();
        first[MESSAGE_SEQ..MESSAGE_SEQ + 2].fill(0);
        first[hello.cookie.start] ^= 1;
        let mut room = Room::default();
        REDEEMED.set(Some(cookie));
        let tick = session
            .exchange(now, Action::Receive(&first), &mut room, |_| {})
            .and_then(|_| session.exchange(now, Action::Receive(datagram), &mut room, transmit));
        REDEEMED.set(None);
        tick.map(|tick| (session, tick))
    }

    /// Does something, hands packets to `transmit` and puts what was decrypted into `room`. Gives the time of the next
    /// [`Action::Tick`]; `None`: the session is over.
    pub(super) fn exchange(
        &mut self,
        now: Instant,
        action: Action<'_>,
        room: &mut Room,
        mut transmit: impl FnMut(&[u8]),
    ) -> Option<Instant> {
        let Room { buffer, data, ends } = room;
        let engine = &mut self.engine;
        self.sent += u32::from(matches!(action, Action::Send(_)));
        let mut is_over = matches!(action, Action::Close) || self.sent > MAX_SENT;
        // A fault of the engine costs its session only.
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            engine.handle_timeout(now)?;
            match action {
                Action::Receive(datagram) => engine.handle_packet(datagram)?,
                Action::Send(payload) => drop(engine.send_application_data(payload)?),
                Action::Close => engine.close()?,
                Action::Tick => {}
            }
            loop {
                match engine.poll_output(buffer) {
                    Output::Packet(packet) => transmit(packet),
                    Output::BufferTooSmall { needed } => buffer.resize(needed, 0),
                    Output::ApplicationData(bytes) => {
                        data.extend_from_slice(bytes);
                        ends.push(data.len());
                    }
                    Output::CloseNotify => is_over = true,
                    Output::Timeout(at) => return Ok(at),
                    _ => {}
                }
            }
        }));
        match outcome {
            Ok(Ok(at)) => (!is_over).then_some(at),
            Ok(Err(error)) => {
                let error: dimpl::Error = error;
                tracing::debug!(%error, "DTLS session ended");
                None
            }
            Err(_) => {
                tracing::error!("the DTLS engine had panicked");
                None
            }
        }
    }
}
