//! The HTTP and HTTPS listeners: how many connections, how slow they may be, how they end.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum_server::Handle;
use axum_server::accept::Accept;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use hyper_util::rt::TokioTimer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How long a TLS handshake may take.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);

/// Binds a listener, or says in one sentence why not.
///
/// # Errors
/// The sentence.
pub(crate) fn bind(key: &str, address: SocketAddr) -> Result<TcpListener, String> {
    let fail = |error: io::Error| match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!("{key}: TCP port {} of {} is in use by another program", address.port(), address.ip())
        }
        io::ErrorKind::AddrNotAvailable => format!("{key}: {} is no address of this machine", address.ip()),
        io::ErrorKind::PermissionDenied => {
            format!("{key}: TCP port {} needs a privilege that we do not have", address.port())
        }
        _ => format!("{key}: {address} cannot be listened on: {error}"),
    };
    let listener = TcpListener::bind(address).map_err(fail)?;
    listener.set_nonblocking(true).map_err(fail)?;
    Ok(listener)
}

/// What connections of both listeners may do.
#[derive(Clone)]
pub(crate) struct Limits {
    /// How many there may be.
    pub(crate) connections: Arc<Semaphore>,
    /// How long one may take over the head of a request, and wait for the next one.
    pub(crate) idle: Duration,
}

/// Serves plain HTTP until the handle ends it.
pub(crate) async fn serve_plain(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    handle: Handle<SocketAddr>,
) -> io::Result<()> {
    let mut server = axum_server::from_tcp(listener)?.handle(handle);
    limits.apply(server.http_builder());
    let server = server.acceptor(Capped { connections: limits.connections });
    server.serve(router.into_make_service_with_connect_info::<SocketAddr>()).await
}

/// Serves HTTPS until the handle ends it.
pub(crate) async fn serve_tls(
    listener: TcpListener,
    tls: RustlsConfig,
    router: Router,
    limits: Limits,
    handle: Handle<SocketAddr>,
) -> io::Result<()> {
    let mut server = axum_server::from_tcp(listener)?.handle(handle);
    limits.apply(server.http_builder());
    let acceptor = RustlsAcceptor::new(tls)
        .handshake_timeout(HANDSHAKE_WITHIN)
        .acceptor(Capped { connections: limits.connections });
    server.acceptor(acceptor).serve(router.into_make_service_with_connect_info::<SocketAddr>()).await
}

impl Limits {
    fn apply(&self, builder: &mut hyper_util::server::conn::auto::Builder<hyper_util::rt::TokioExecutor>) {
        // Without a timer hyper would let a client take for ever over its header lines.
        builder.http1().timer(TokioTimer::new()).header_read_timeout(self.idle);
        builder.http2().timer(TokioTimer::new()).max_concurrent_streams(100).keep_alive_interval(Some(self.idle));
    }
}

/// Accepts while there is room; a connection too many is closed at once, which is kinder than letting it wait.
#[derive(Clone)]
struct Capped {
    connections: Arc<Semaphore>,
}

impl<S> Accept<TcpStream, S> for Capped {
    type Stream = Counted;
    type Service = S;
    type Future = std::future::Ready<io::Result<(Counted, S)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let Ok(permit) = self.connections.clone().try_acquire_owned() else {
            tracing::warn!("a connection was closed: [api] max_connections are open");
            return std::future::ready(Err(io::Error::other("too many connections")));
        };
        std::future::ready(stream.set_nodelay(true).map(|()| (Counted { stream, _permit: permit }, service)))
    }
}

/// A connection that counts until it is dropped.
struct Counted {
    stream: TcpStream,
    _permit: OwnedSemaphorePermit,
}

impl AsyncRead for Counted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
