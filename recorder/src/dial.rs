//! WebSocket connections to the turn-server, plain or over TLS.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use rustls::{ClientConfig, RootCertStore};
use service::anybody::Anybody;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderValue, Uri, header};

use crate::config::ServerConfig;

/// TCP, TLS and WebSocket together may take this long.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A byte stream.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A WebSocket to the server.
pub(crate) type Socket = WebSocketStream<Box<dyn Stream>>;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    /// TCP or TLS.
    #[error("cannot connect: {0}")]
    Connect(#[from] std::io::Error),
    /// The server answered something else than a WebSocket.
    #[error("the server answered {0}")]
    Refused(u16),
    /// WebSocket.
    #[error("no WebSocket: {0}")]
    WebSocket(Box<tungstenite::Error>),
    /// It took too long.
    #[error("no answer in {} s", TIMEOUT.as_secs())]
    Timeout,
}

/// The server and how to reach it.
#[derive(Clone)]
pub(crate) struct Target {
    host: String,
    port: u16,
    /// The base path, without a slash at its end.
    path: String,
    key: String,
    tls: Option<Arc<ClientConfig>>,
}

/// A connection and the address by which we reach the server: media goes the same way.
pub(crate) struct Connection {
    /// The WebSocket.
    pub(crate) socket: Socket,
    /// Our address.
    pub(crate) local: SocketAddr,
}

impl Target {
    /// Reads `[server]`.
    ///
    /// # Errors
    /// What is wrong and what is allowed.
    pub(crate) fn parse(config: &ServerConfig) -> Result<Self, String> {
        let uri: Uri = config.url.parse().map_err(|error| format!("{:?} is not a URL: {error}", config.url))?;
        let secure = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(format!("{:?} must begin with http:// or https://", config.url)),
        };
        let host = uri.host().ok_or_else(|| format!("{:?} has no host", config.url))?.to_owned();
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let tls = if secure { Some(Arc::new(tls(config)?)) } else { None };
        Ok(Self { host, port, path: uri.path().trim_end_matches('/').to_owned(), key: config.key.clone(), tls })
    }

    /// Opens a WebSocket at `path`; `bearer`: with our key.
    ///
    /// # Errors
    /// [`DialError`].
    pub(crate) async fn connect(&self, path: &str, bearer: bool) -> Result<Connection, DialError> {
        tokio::time::timeout(TIMEOUT, self.open(path, bearer)).await.map_err(|_| DialError::Timeout)?
    }

    async fn open(&self, path: &str, bearer: bool) -> Result<Connection, DialError> {
        let bare = self.host.trim_start_matches('[').trim_end_matches(']');
        let tcp = TcpStream::connect((bare, self.port)).await?;
        tcp.set_nodelay(true)?;
        let local = tcp.local_addr()?;
        let stream: Box<dyn Stream> = match &self.tls {
            None => Box::new(tcp),
            Some(config) => {
                let name = ServerName::try_from(bare.to_owned()).map_err(std::io::Error::other)?;
                Box::new(tokio_rustls::TlsConnector::from(config.clone()).connect(name, tcp).await?)
            }
        };
        let scheme = if self.tls.is_some() { "wss" } else { "ws" };
        let url = format!("{scheme}://{}:{}{}{path}", self.host, self.port, self.path);
        let mut request = url.into_client_request().map_err(|error| DialError::WebSocket(Box::new(error)))?;
        if bearer {
            let value = HeaderValue::try_from(format!("Bearer {}", self.key)).map_err(std::io::Error::other)?;
            request.headers_mut().insert(header::AUTHORIZATION, value);
        }
        let (socket, _) = tokio_tungstenite::client_async(request, stream).await.map_err(|error| match error {
            tungstenite::Error::Http(response) => DialError::Refused(response.status().as_u16()),
            error => DialError::WebSocket(Box::new(error)),
        })?;
        Ok(Connection { socket, local })
    }
}

fn tls(config: &ServerConfig) -> Result<ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    if config.insecure {
        let verifier = Arc::new(Anybody::new(&provider));
        return Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth());
    }
    let mut roots = RootCertStore::empty();
    // A system without certificates is fine as long as `ca_file` has the one that is needed.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = &config.ca_file {
        let read = |error| format!("ca_file: {}: {error}", path.display());
        for certificate in CertificateDer::pem_file_iter(path).map_err(|error| read(error.to_string()))? {
            let certificate = certificate.map_err(|error| read(error.to_string()))?;
            roots.add(certificate).map_err(|error| read(error.to_string()))?;
        }
    }
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
