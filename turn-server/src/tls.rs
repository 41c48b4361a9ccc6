//! Certificates of listeners: the operator's files, or one of our own that is kept in `state_dir`. HTTPS, TURN over TLS
//! and over DTLS take them from here; what they are used for is theirs.

use std::fs;
use std::io::Write as _;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, KeyPair, SanType};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::{ApiConfig, TlsMode};
use crate::handover::OwnAddresses;

/// Life of our own certificate. Browsers refuse very long ones even when told to trust.
const LIFE: time::Duration = time::Duration::days(397);

/// Age at which it is made anew.
const RENEW_AFTER: Duration = Duration::from_secs(300 * 24 * 3600);

/// A certificate with its chain, and its key.
pub(crate) struct Identity {
    /// Leaf first.
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
    /// For messages: where it comes from.
    name: String,
}

impl Identity {
    /// Reads PEM files.
    ///
    /// # Errors
    /// What is wrong, with the file.
    pub(crate) fn read(cert: &Path, key: &Path) -> Result<Self, String> {
        let fail = |path: &Path, error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let chain: Vec<_> =
            CertificateDer::pem_file_iter(cert).and_then(Iterator::collect).map_err(|error| fail(cert, &error))?;
        if chain.is_empty() {
            return Err(fail(cert, &"holds no certificate"));
        }
        let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| fail(key, &error))?;
        Ok(Self { chain, key: secret, name: cert.display().to_string() })
    }

    /// Our own certificate, in memory only.
    ///
    /// # Errors
    /// What the system refuses.
    pub(crate) fn made() -> Result<Self, String> {
        let (certificate, pair) = sign_ourselves()?;
        let key = PrivateKeyDer::try_from(pair.serialize_der()).map_err(str::to_owned)?;
        Ok(Self { chain: vec![certificate.der().clone()], key, name: "self-signed".into() })
    }

    /// What a TLS listener needs, with the application protocols that it speaks.
    ///
    /// # Errors
    /// The key does not belong to the certificate, or is of a kind that nobody supports.
    pub(crate) fn acceptor(self, alpn: &[&str]) -> Result<Arc<ServerConfig>, String> {
        let Self { chain, key, name } = self;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut tls = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(|error| format!("{name}: {error}"))?;
        tls.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Ok(Arc::new(tls))
    }
}

/// The configuration of HTTPS; `None` for `tls = "off"`.
///
/// # Errors
/// What is wrong, with the file.
pub(crate) fn server_config(config: &ApiConfig) -> Result<Option<Arc<ServerConfig>>, String> {
    let (cert, key) = match config.tls {
        TlsMode::Off => return Ok(None),
        TlsMode::Files => {
            let both = config.tls_cert.clone().zip(config.tls_key.clone());
            both.ok_or("tls = \"files\" needs tls_cert and tls_key")?
        }
        TlsMode::SelfSigned => kept(&config.state_dir)?,
    };
    Identity::read(&cert, &key)?.acceptor(&["h2", "http/1.1"]).map(Some)
}

/// The files of our own certificate and its key, made if they are not there or too old.
///
/// # Errors
/// What is wrong, with the file.
pub(crate) fn kept(state_dir: &Path) -> Result<(PathBuf, PathBuf), String> {
    let folder = state_dir.join("tls");
    let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    if is_stale(&cert) || !key.exists() {
        let (certificate, pair) = sign_ourselves()?;
        let fail = |path: &Path, error: std::io::Error| format!("{}: {error}", path.display());
        fs::create_dir_all(&folder).map_err(|error| fail(&folder, error))?;
        write(&key, &pair.serialize_pem()).map_err(|error| fail(&key, error))?;
        write(&cert, &certificate.pem()).map_err(|error| fail(&cert, error))?;
    }
    Ok((cert, key))
}

fn is_stale(cert: &Path) -> bool {
    let made = fs::metadata(cert).and_then(|meta| meta.modified());
    made.map_or(true, |made| SystemTime::now().duration_since(made).is_ok_and(|age| age > RENEW_AFTER))
}

fn sign_ourselves() -> Result<(rcgen::Certificate, KeyPair), String> {
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).map_err(|error| error.to_string())?;
    let own = OwnAddresses::of_host([IpAddr::from([127, 0, 0, 1])]);
    let addresses = own.map_err(|error| format!("the addresses of this machine cannot be listed: {error}"))?.0;
    params.subject_alt_names.extend(addresses.into_iter().map(SanType::IpAddress));
    params.distinguished_name.push(rcgen::DnType::CommonName, "Tern, self-signed");
    params.not_before = time::OffsetDateTime::now_utc() - time::Duration::days(1);
    params.not_after = params.not_before + LIFE;
    let pair = KeyPair::generate().map_err(|error| error.to_string())?;
    let signed = params.self_signed(&pair).map_err(|error| error.to_string())?;
    Ok((signed, pair))
}

fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_certificate_is_made_once_and_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let config = ApiConfig { tls: TlsMode::SelfSigned, state_dir: folder.path().into(), ..ApiConfig::default() };
        assert!(server_config(&config).expect("made").is_some());
        let first = fs::read(folder.path().join("tls/cert.pem")).expect("kept");
        assert!(server_config(&config).expect("read").is_some());
        assert_eq!(fs::read(folder.path().join("tls/cert.pem")).expect("kept"), first);
    }

    #[test]
    fn broken_files_are_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("broken.pem");
        fs::write(&path, "nothing").expect("written");
        let config = ApiConfig {
            tls: TlsMode::Files,
            tls_cert: Some(path.clone()),
            tls_key: Some(path.clone()),
            ..ApiConfig::default()
        };
        let error = server_config(&config).expect_err("refused");
        assert!(error.contains("broken.pem"), "{error}");
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let (first, second) = (Identity::made().expect("made"), Identity::made().expect("made"));
        let mixed = Identity { key: second.key, ..first };
        let error = mixed.acceptor(&[]).expect_err("refused");
        assert!(error.starts_with("self-signed: "), "{error}");
    }
}
