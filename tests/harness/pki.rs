//! A certificate authority of a test's own, as real ones are built: a root, an intermediate, and a server's certificate.

use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

/// Files of a certificate that only its own root vouches for.
pub struct Pki {
    folder: tempfile::TempDir,
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn key() -> KeyPair {
    KeyPair::generate().expect("a key")
}

impl Pki {
    /// A certificate for localhost and the loopback addresses.
    pub fn new() -> Self {
        let pki = Self { folder: tempfile::tempdir().expect("a folder") };
        pki.renew();
        pki
    }

    /// Replaces all files by those of a new authority.
    pub fn renew(&self) {
        let root = CertifiedIssuer::self_signed(authority("test root"), key()).expect("signed");
        let middle = CertifiedIssuer::signed_by(authority("test intermediate"), key(), &root).expect("signed");
        let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
        let mut params = CertificateParams::new(names).expect("good names");
        params.distinguished_name.push(DnType::CommonName, "test server");
        let own = key();
        let leaf = params.signed_by(&own, &middle).expect("signed");
        let write = |name: &str, text: String| std::fs::write(self.folder.path().join(name), text).expect("written");
        write("root.pem", root.as_ref().pem());
        write("cert.pem", leaf.pem() + &middle.as_ref().pem());
        write("key.pem", own.serialize_pem());
    }

    /// The chain that a server shows.
    pub fn cert(&self) -> PathBuf {
        self.folder.path().join("cert.pem")
    }

    /// Its key.
    pub fn key(&self) -> PathBuf {
        self.folder.path().join("key.pem")
    }

    /// The authority.
    pub fn root(&self) -> PathBuf {
        self.folder.path().join("root.pem")
    }

    /// A client that trusts this authority and nobody else, and offers these application protocols.
    pub fn client(&self, alpn: &[&str]) -> Arc<rustls::ClientConfig> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.root()).expect("PEM")).expect("a certificate");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let mut client = builder.expect("versions").with_root_certificates(roots).with_no_client_auth();
        client.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(client)
    }
}

impl Default for Pki {
    fn default() -> Self {
        Self::new()
    }
}
