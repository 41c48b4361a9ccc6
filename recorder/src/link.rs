//! The recorder link: one WebSocket to the server that gives work, for ever reconnecting.
//!
//! What is said is decided by the manager; here only the socket is kept.

use std::io;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use signalling::link::{FromRecorder, ToRecorder};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::Message;

use crate::dial::{Socket, Target};

const PATH: &str = "/v1/recorders/ws";
/// The server must notice a lost recorder within 5 s, and we a lost server.
const PING: Duration = Duration::from_secs(1);
const SILENCE: Duration = Duration::from_secs(5);
/// How long an end in order may take.
const CLOSE: Duration = Duration::from_millis(500);
/// Between two tries to connect, growing.
const MIN_PAUSE: Duration = Duration::from_millis(250);
const MAX_PAUSE: Duration = Duration::from_secs(5);

/// What the link tells the manager.
#[derive(Debug)]
pub(crate) enum Linked {
    /// A new socket: say hello.
    Up,
    /// No socket.
    Down,
    /// The server said something, at that moment: the manager may hear it later.
    Said(Box<ToRecorder>, std::time::Instant),
}

/// Keeps the link until nobody listens; the returned receiver ends with it.
///
/// It has a thread of its own: media is written by the others, and a disk that keeps them waiting is no reason for the server
/// to give the rooms away.
///
/// # Errors
/// What the system says about a new thread.
pub(crate) fn start(
    target: Target,
    tell: mpsc::Sender<Linked>,
    say: mpsc::Receiver<FromRecorder>,
) -> io::Result<oneshot::Receiver<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (alive, ended) = oneshot::channel();
    std::thread::Builder::new().name("link".into()).spawn(move || {
        let _alive: oneshot::Sender<()> = alive;
        runtime.block_on(run(target, tell, say));
    })?;
    Ok(ended)
}

async fn run(target: Target, tell: mpsc::Sender<Linked>, mut say: mpsc::Receiver<FromRecorder>) {
    let mut pause = MIN_PAUSE;
    let mut complained = false;
    while !tell.is_closed() {
        match target.connect(PATH, true).await {
            Ok(connection) => {
                // What was meant for the last socket is said again by the manager, after its greeting.
                while say.try_recv().is_ok() {}
                if tell.send(Linked::Up).await.is_err() {
                    return;
                }
                (pause, complained) = (MIN_PAUSE, false);
                let why = talk(connection.socket, &tell, &mut say).await;
                tracing::info!(why, "the link is down");
                if tell.send(Linked::Down).await.is_err() {
                    return;
                }
            }
            Err(error) if !complained => {
                complained = true;
                tracing::warn!(%error, "no link to the server; trying on");
            }
            Err(error) => tracing::debug!(%error, "no link"),
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = tell.closed() => {}
        }
        pause = (pause * 2).min(MAX_PAUSE);
    }
}

/// Carries messages until the socket breaks; says why it did.
async fn talk(mut socket: Socket, tell: &mpsc::Sender<Linked>, say: &mut mpsc::Receiver<FromRecorder>) -> String {
    // The first thing that a server hears is who we are.
    let mut ping = tokio::time::interval_at(Instant::now() + PING, PING);
    let mut heard = Instant::now();
    let mut greeted = false;
    loop {
        tokio::select! {
            // What has come is heard before it is called silence.
            biased;
            message = socket.next() => {
                heard = Instant::now();
                match message {
                    None => return "closed".into(),
                    Some(Err(error)) => return error.to_string(),
                    Some(Ok(Message::Text(text))) => match serde_json::from_str(&text) {
                        Ok(said) => if tell.send(Linked::Said(Box::new(said), heard.into_std())).await.is_err() {
                            return "stopping".into();
                        },
                        Err(error) => tracing::debug!(%error, "not understood"),
                    },
                    Some(Ok(Message::Close(frame))) => return frame.map_or_else(|| "closed".into(), |f| f.to_string()),
                    Some(Ok(_)) => {}
                }
            }
            message = say.recv() => {
                let Some(message) = message else {
                    // Everything was said. An end in order, because a reset could take the last words with it.
                    let _ = timeout(CLOSE, socket.close(None)).await;
                    let _ = timeout(CLOSE, async { while let Some(Ok(_)) = socket.next().await {} }).await;
                    return "stopping".into();
                };
                // The manager may have said something before it heard of this socket.
                greeted |= matches!(message, FromRecorder::Hello { .. });
                let Some(text) = greeted.then(|| serde_json::to_string(&message).ok()).flatten() else { continue };
                if let Err(why) = send(&mut socket, Message::text(text)).await {
                    return why;
                }
            }
            _ = ping.tick() => {
                if heard.elapsed() > SILENCE {
                    return "silence".into();
                }
                if let Err(why) = send(&mut socket, Message::Ping(Vec::new().into())).await {
                    return why;
                }
            }
        }
    }
}

/// Sends, or says why not: a server that reads nothing more is lost as well.
async fn send(socket: &mut Socket, message: Message) -> Result<(), String> {
    match timeout(SILENCE, socket.send(message)).await {
        Ok(sent) => sent.map_err(|error| error.to_string()),
        Err(_) => Err("it takes nothing".into()),
    }
}
