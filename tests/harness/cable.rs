//! A TCP relay that can be cut: from then on nothing passes and nobody is told, as when a network breaks.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The relay; it ends with this value.
pub struct Cable {
    address: SocketAddr,
    whole: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Cable {
    /// Listens on a free port of 127.0.0.1 for the server at `target`.
    ///
    /// # Errors
    /// If there is no port.
    pub async fn to(target: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let (whole, see) = watch::channel(true);
        let task = tokio::spawn(async move {
            // Connections end with the listener.
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                connections.spawn(connect(near, target, see.clone()));
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self { address, whole, task })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets nothing pass any more.
    pub fn cut(&self) {
        self.whole.send_replace(false);
    }

    /// Lets everything pass again.
    pub fn mend(&self) {
        self.whole.send_replace(true);
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn connect(near: TcpStream, target: SocketAddr, see: watch::Receiver<bool>) {
    let Ok(far) = TcpStream::connect(target).await else { return };
    let (near, far) = (near.into_split(), far.into_split());
    tokio::join!(carry(near.0, far.1, see.clone()), carry(far.0, near.1, see));
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut see: watch::Receiver<bool>) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(len @ 1..) = from.read(&mut buffer).await {
        let passes = see.wait_for(|whole| *whole).await.is_ok();
        if !passes || to.write_all(&buffer[..len]).await.is_err() {
            return;
        }
    }
    // An end does not pass a cut cable either.
    let _ = see.wait_for(|whole| *whole).await;
}
