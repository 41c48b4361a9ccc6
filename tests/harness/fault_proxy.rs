//! A proxy in front of a real S3 server that does, by script, what storage does on bad days. It also looks at what passes:
//! the rules that AWS and R2 have for parts are checked here, because the server behind it may be more patient.

mod message;
mod rules;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use message::{Message, read_message};
pub use rules::Operation;
use rules::Rules;

/// What happens to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Answered with this status (403: expired credentials), never forwarded.
    Status(u16),
    /// The connection is reset, the request never forwarded.
    Reset,
    /// Nothing is forwarded and nothing answered.
    Hang,
    /// Answered as if it had been done, never forwarded.
    Ignore,
    /// Forwarded, but the connection is reset instead of an answer.
    LoseAnswer,
    /// Forwarded, but never answered.
    HangAfter,
    /// Half of it is forwarded, then both connections end.
    Cut,
    /// A byte of its body is changed. Without one, nothing happens.
    Corrupt,
    /// A byte of the answer's body is changed, or a digit of its ETag; without either, those of the next one that matches.
    CorruptAnswer,
    /// Answered with 200 and an error in the body, never forwarded: AWS does so when completing takes long.
    ErrorIn200,
}

/// The next `times` requests that match suffer.
#[derive(Debug, Clone, Copy)]
struct Order {
    operation: Operation,
    fault: Fault,
    times: usize,
}

#[derive(Default)]
struct Shared {
    orders: Vec<Order>,
    random: Option<(StdRng, usize)>,
    rules: Rules,
}

/// The proxy; it ends with this value.
pub struct FaultProxy {
    address: SocketAddr,
    target: SocketAddr,
    shared: Arc<Mutex<Shared>>,
    suffered: watch::Sender<usize>,
    task: Option<JoinHandle<()>>,
}

impl FaultProxy {
    /// Listens on a free port of 127.0.0.1 for the server at `target`.
    ///
    /// # Errors
    /// If there is no port.
    pub async fn start(target: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let (shared, suffered) = (Arc::default(), watch::channel(0).0);
        let mut proxy = Self { address, target, shared, suffered, task: None };
        proxy.serve(listener);
        Ok(proxy)
    }

    fn serve(&mut self, listener: TcpListener) {
        let (target, shared, suffered) = (self.target, self.shared.clone(), self.suffered.clone());
        self.task = Some(tokio::spawn(async move {
            // Connections end with the listener: a server that is away has none.
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                connections.spawn(relay(socket, target, shared.clone(), suffered.clone()));
                while connections.try_join_next().is_some() {}
            }
        }));
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The next `times` requests of this kind suffer; orders that were given first come first.
    pub fn order(&self, operation: Operation, fault: Fault, times: usize) {
        lock(&self.shared).orders.push(Order { operation, fault, times });
    }

    /// No more faults.
    pub fn heal(&self) {
        let mut shared = lock(&self.shared);
        shared.orders.clear();
        shared.random = None;
    }

    /// From now on, every second request suffers from some fault, as the seed says, until `count` have.
    pub fn order_random(&self, seed: u64, count: usize) {
        lock(&self.shared).random = Some((StdRng::seed_from_u64(seed), count));
    }

    /// How many requests have suffered.
    pub fn suffered(&self) -> usize {
        *self.suffered.borrow()
    }

    /// Waits until so many requests have suffered.
    ///
    /// # Errors
    /// If it takes too long.
    pub async fn wait_for(&self, suffered: usize, patience: Duration) -> io::Result<()> {
        let mut seen = self.suffered.subscribe();
        let waited = tokio::time::timeout(patience, seen.wait_for(|count| *count >= suffered)).await;
        waited.map_err(io::Error::other)?.map(drop).map_err(io::Error::other)
    }

    /// Refuses connections from now on, and ends those that there are.
    pub async fn go_away(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
            let _ = task.await;
        }
    }

    /// Takes connections again.
    ///
    /// # Errors
    /// If somebody else has the port.
    pub async fn come_back(&mut self) -> io::Result<()> {
        let listener = TcpListener::bind(self.address).await?;
        self.serve(listener);
        Ok(())
    }

    /// Another server behind it, as when one comes back elsewhere.
    pub async fn move_to(&mut self, target: SocketAddr) -> io::Result<()> {
        self.target = target;
        self.go_away().await;
        self.come_back().await
    }

    /// Every rule that was broken so far.
    pub fn violations(&self) -> Vec<String> {
        lock(&self.shared).rules.violations.clone()
    }

    /// How many requests of a kind came.
    pub fn count(&self, operation: Operation) -> usize {
        lock(&self.shared).rules.count(operation)
    }

    /// How many uploads were given up, however often that was asked.
    pub fn aborted(&self) -> usize {
        lock(&self.shared).rules.aborted()
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// What was ordered could not happen to this request: the next one that matches suffers instead.
    fn put_off(&mut self, fault: Fault, operation: Operation) {
        let ordered = |order: &&mut Order| order.fault == fault && order.operation.covers(operation);
        if let Some(order) = self.orders.iter_mut().find(ordered) {
            order.times += 1;
        }
    }

    fn fault(&mut self, request: &Message) -> Option<Fault> {
        let operation = Operation::of(request);
        let matching = self.orders.iter_mut().find(|order| order.times > 0 && order.operation.covers(operation));
        if let Some(order) = matching {
            order.times -= 1;
            return Some(order.fault);
        }
        let (random, left) = self.random.as_mut().filter(|(_, left)| *left > 0)?;
        if random.random_bool(0.5) {
            return None;
        }
        *left -= 1;
        let faults = [
            Fault::Status(500),
            Fault::Status(503),
            Fault::Status(403),
            Fault::Reset,
            Fault::Hang,
            Fault::Ignore,
            Fault::LoseAnswer,
            Fault::HangAfter,
            Fault::Cut,
            Fault::Corrupt,
            Fault::CorruptAnswer,
            Fault::ErrorIn200,
        ];
        Some(faults[random.random_range(0..faults.len())])
    }
}

/// One connection: request after request.
async fn relay(
    mut client: TcpStream,
    target: SocketAddr,
    shared: Arc<Mutex<Shared>>,
    suffered: watch::Sender<usize>,
) -> io::Result<()> {
    while let Some(mut request) = read_message(&mut client, true).await? {
        let fault = {
            let mut shared = lock(&shared);
            shared.rules.handle(&request);
            shared.fault(&request)
        };
        let Some(fault) = fault else {
            let answer = forward(target, &request).await?;
            client.write_all(&answer.bytes()).await?;
            continue;
        };
        let count = || suffered.send_modify(|count| *count += 1);
        match fault {
            Fault::Status(status) => {
                count();
                client.write_all(&Message::error(status).bytes()).await?;
            }
            Fault::ErrorIn200 => {
                count();
                client.write_all(&Message::error(200).bytes()).await?;
            }
            Fault::Ignore => {
                count();
                client.write_all(&Message::pretence(&request).bytes()).await?;
            }
            Fault::Reset => {
                count();
                return reset(client);
            }
            Fault::Hang => {
                count();
                return wait_for_end(client).await;
            }
            Fault::LoseAnswer | Fault::HangAfter => {
                forward(target, &request).await?;
                count();
                return if fault == Fault::LoseAnswer { reset(client) } else { wait_for_end(client).await };
            }
            Fault::Cut => {
                let bytes = request.bytes();
                let mut server = TcpStream::connect(target).await?;
                server.write_all(&bytes[..bytes.len() - request.body.len().div_ceil(2)]).await?;
                server.shutdown().await?;
                count();
                return reset(client);
            }
            Fault::Corrupt => {
                let damaged = request.damage();
                let answer = forward(target, &request).await?;
                if damaged {
                    count();
                }
                client.write_all(&answer.bytes()).await?;
            }
            Fault::CorruptAnswer => {
                let mut answer = forward(target, &request).await?;
                if answer.damage() {
                    count();
                } else {
                    lock(&shared).put_off(fault, Operation::of(&request));
                }
                client.write_all(&answer.bytes()).await?;
            }
        }
    }
    Ok(())
}

/// Asks the server on a connection of its own, so that what happened to others does not matter.
async fn forward(target: SocketAddr, request: &Message) -> io::Result<Message> {
    let mut server = TcpStream::connect(target).await?;
    server.write_all(&request.bytes()).await?;
    loop {
        let head_only = request.head.starts_with("HEAD ");
        let answer = message::read_answer(&mut server, head_only).await?;
        if !answer.head.starts_with("HTTP/1.1 1") {
            return Ok(answer);
        }
    }
}

fn reset(socket: TcpStream) -> io::Result<()> {
    socket2::SockRef::from(&socket).set_linger(Some(Duration::ZERO))
}

async fn wait_for_end(mut socket: TcpStream) -> io::Result<()> {
    let mut rest = [0; 1024];
    while socket.read(&mut rest).await? > 0 {}
    Ok(())
}
