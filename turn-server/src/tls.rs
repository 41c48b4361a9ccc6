//! The certificate of HTTPS: the operator's files, or one of our own that is kept in `state_dir`.

use std::fs;
use std::io::Write as _;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
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

/// Reads or makes the certificate; `None` for `tls = "off"`.
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
        TlsMode::SelfSigned => {
            let folder = config.state_dir.join("tls");
            let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
            if is_stale(&cert) || !key.exists() {
                make(&folder, &cert, &key)?;
            }
            (cert, key)
        }
    };
    let fail = |path: &Path, error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let chain: Vec<_> =
        CertificateDer::pem_file_iter(&cert).and_then(Iterator::collect).map_err(|error| fail(&cert, &error))?;
    let secret = PrivateKeyDer::from_pem_file(&key).map_err(|error| fail(&key, &error))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut tls = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_no_client_auth()
        .with_single_cert(chain, secret)
        .map_err(|error| fail(&cert, &error))?;
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Some(Arc::new(tls)))
}

fn is_stale(cert: &Path) -> bool {
    let made = fs::metadata(cert).and_then(|meta| meta.modified());
    made.map_or(true, |made| SystemTime::now().duration_since(made).is_ok_and(|age| age > RENEW_AFTER))
}

fn make(folder: &Path, cert: &Path, key: &Path) -> Result<(), String> {
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).map_err(|error| error.to_string())?;
    let own = OwnAddresses::of_host([IpAddr::from([127, 0, 0, 1])]);
    let addresses = own.map_err(|error| format!("the addresses of this machine cannot be listed: {error}"))?.0;
    params.subject_alt_names.extend(addresses.into_iter().map(SanType::IpAddress));
    params.distinguished_name.push(rcgen::DnType::CommonName, "Tern, self-signed");
    params.not_before = time::OffsetDateTime::now_utc() - time::Duration::days(1);
    params.not_after = params.not_before + LIFE;
    let pair = KeyPair::generate().map_err(|error| error.to_string())?;
    let signed = params.self_signed(&pair).map_err(|error| error.to_string())?;
    let fail = |path: &Path, error: std::io::Error| format!("{}: {error}", path.display());
    fs::create_dir_all(folder).map_err(|error| fail(folder, error))?;
    write(key, &pair.serialize_pem()).map_err(|error| fail(key, error))?;
    write(cert, &signed.pem()).map_err(|error| fail(cert, error))
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
}
