//! One HTTP request and its answer: for garage's admin API, to ask a running server whether it is ready, to ask the operator's
//! service for a user's key, and to tell it of recordings. Redirects are answers like others.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// How long connect and exchange may take together.
const PATIENCE: Duration = Duration::from_secs(10);

/// The answer's size, at most.
const MAX_BODY: usize = 1 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The URL is not `http://host[:port]/path`, or `https`.
    #[error("{url}: must be http://host[:port][/path], or https")]
    Url {
        /// As given.
        url: String,
    },
    /// Nobody listens, or the exchange broke off.
    #[error("{url}: {why}")]
    Exchange {
        /// As given.
        url: String,
        /// What was wrong.
        why: String,
    },
}

impl HttpError {
    /// What was wrong, without the URL.
    pub(crate) fn why(&self) -> &str {
        match self {
            Self::Url { .. } => "its URL must be http://host[:port][/path], or https",
            Self::Exchange { why, .. } => why,
        }
    }
}

/// Sends one request; `token` goes as bearer, `json` as body.
///
/// # Errors
/// [`HttpError`]; an answer with an error status is no error.
pub async fn request(
    method: Method,
    url: &str,
    token: Option<&str>,
    json: Option<String>,
) -> Result<(u16, String), HttpError> {
    request_within(PATIENCE, method, url, token, json).await
}

/// Like [`request`], with a time for it of its own.
///
/// # Errors
/// [`HttpError`]; an answer with an error status is no error.
pub async fn request_within(
    patience: Duration,
    method: Method,
    url: &str,
    token: Option<&str>,
    json: Option<String>,
) -> Result<(u16, String), HttpError> {
    let broken = |why: String| HttpError::Exchange { url: url.to_owned(), why };
    let bearer = token.map(|token| (header::AUTHORIZATION.as_str(), format!("Bearer {token}")));
    tokio::time::timeout(patience, exchange(method, url, bearer.as_slice(), json, MAX_BODY))
        .await
        .map_err(|_| broken(format!("no answer in {} ms", patience.as_millis())))?
}

/// Posts JSON with these headers and gives the status of the answer, whose body is not waited for.
///
/// # Errors
/// [`HttpError`]; an answer with an error status is no error.
pub(crate) async fn post_within(
    patience: Duration,
    url: &str,
    headers: &[(&str, String)],
    json: String,
) -> Result<u16, HttpError> {
    let late =
        |_| HttpError::Exchange { url: url.to_owned(), why: format!("no answer in {} ms", patience.as_millis()) };
    let answer = tokio::time::timeout(patience, exchange(Method::POST, url, headers, Some(json), 0)).await;
    answer.map_err(late)?.map(|(status, _)| status)
}

/// Whether [`request`] can ask this URL.
pub(crate) fn is_url(url: &str) -> bool {
    let uri = url.parse::<Uri>().ok();
    uri.is_some_and(|uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.authority().is_some())
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

async fn connect(host: &str, port: u16, encrypted: bool) -> std::io::Result<Box<dyn Stream>> {
    /// With the certificates that this machine trusts.
    static TLS: LazyLock<Arc<ClientConfig>> = LazyLock::new(|| {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.expect("the provider has the default versions");
        Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
    });
    let stream = TcpStream::connect((host, port)).await?;
    if !encrypted {
        return Ok(Box::new(stream));
    }
    let name = ServerName::try_from(host.to_owned()).map_err(std::io::Error::other)?;
    Ok(Box::new(TlsConnector::from(TLS.clone()).connect(name, stream).await?))
}

/// One request and its answer, of whose body at most `max_body` bytes are taken; 0: it is not read.
async fn exchange(
    method: Method,
    url: &str,
    headers: &[(&str, String)],
    json: Option<String>,
    max_body: usize,
) -> Result<(u16, String), HttpError> {
    let broken = |why: &dyn std::fmt::Display| HttpError::Exchange { url: url.to_owned(), why: why.to_string() };
    let bad_url = || HttpError::Url { url: url.to_owned() };
    let uri: Uri = url.parse().map_err(|_| bad_url())?;
    let authority = uri.authority().filter(|_| is_url(url)).ok_or_else(bad_url)?;
    let encrypted = uri.scheme_str() == Some("https");
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');

    let port = authority.port_u16().unwrap_or(if encrypted { 443 } else { 80 });
    let stream = connect(host, port, encrypted).await.map_err(|e| broken(&e))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|e| broken(&e))?;
    // Without a user and password, which an authority may have.
    let place = authority.as_str().rsplit('@').next().unwrap_or_default();
    let path = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let mut request = Request::builder().method(method).uri(path).header(header::HOST, place);
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    if json.is_some() {
        request = request.header(header::CONTENT_TYPE, "application/json");
    }
    let request = request.body(Full::new(Bytes::from(json.unwrap_or_default()))).map_err(|e| broken(&e))?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(|e| broken(&e))?;
        let status = response.status().as_u16();
        if max_body == 0 {
            return Ok((status, String::new()));
        }
        let body = Limited::new(response.into_body(), max_body).collect().await.map_err(|e| broken(&e))?;
        Ok((status, String::from_utf8_lossy(&body.to_bytes()).into_owned()))
    };
    // The connection drives the exchange and ends with it; its own errors reach `answer`.
    tokio::pin!(answer);
    tokio::select! {
        answer = &mut answer => answer,
        _ = connection => answer.await,
    }
}
