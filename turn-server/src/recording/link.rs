//! The server's end of a recorder's link: hello, then reports in and jobs out, and a ping every second, because a
//! recorder that is gone must be replaced within five.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{Message, WebSocket};
use signalling::RecorderId;
use signalling::code::Code;
use signalling::link::{FromRecorder, ToRecorder};
use tokio::sync::mpsc;
use tokio::time::{Instant, interval, timeout};

use super::reports::{self, Report};
use super::state::Recorder;
use crate::app::App;

/// The link version that we speak.
const VERSION: u32 = 1;

/// How long a new link may be silent.
const HELLO_WITHIN: Duration = Duration::from_secs(10);

/// How often we ping.
const PING_EVERY: Duration = Duration::from_secs(1);

/// Silence after which the recorder is lost.
const SILENCE: Duration = Duration::from_secs(3);
/// Who wakes so late has stood still itself, and asks again.
const LATE: Duration = Duration::from_millis(400);

/// How long one message may take to be written.
const WRITE_WITHIN: Duration = Duration::from_secs(3);

/// Messages that may wait for a recorder.
const QUEUE: usize = 1024;

/// Serves a recorder's link until it ends.
pub(crate) async fn serve(app: Arc<App>, mut socket: WebSocket) {
    let Some(hello) = hello(&mut socket).await else { return };
    let (sender, receiver) = mpsc::channel(QUEUE);
    let recorder = hello.recorder;
    let link = {
        let mut state = app.recordings.state();
        state.next_link += 1;
        let link = state.next_link;
        // The same recorder on a new link: the old one is a leftover and ends with its queue.
        state.recorders.insert(
            recorder.clone(),
            Recorder {
                link,
                capacity: hello.capacity,
                refused: None,
                held: hello.recordings.iter().map(|id| (id.clone(), Instant::now().into_std())).collect(),
                sender,
            },
        );
        state.say(&recorder, ToRecorder::Welcome { v: VERSION });
        reports::recorder_came(&app, &mut state, &recorder, &hello.recordings);
        link
    };
    tracing::info!(%recorder, capacity = hello.capacity, "a recorder connected");
    app.hub.changed.notify_one();
    let why = talk(&app, &mut socket, receiver, &recorder, link).await;
    tracing::info!(%recorder, why, "a recorder's link ended");
    let mut state = app.recordings.state();
    if state.recorders.get(&recorder).is_some_and(|known| known.link == link) {
        state.recorders.remove(&recorder);
        reports::recorder_went(&mut state, &recorder);
    }
}

struct Hello {
    recorder: RecorderId,
    capacity: u32,
    recordings: Vec<signalling::RecordingId>,
}

/// Hears the hello; a link that begins otherwise is told why it ends.
async fn hello(socket: &mut WebSocket) -> Option<Hello> {
    let why = match timeout(HELLO_WITHIN, socket.recv()).await {
        Ok(Some(Ok(Message::Text(text)))) => match serde_json::from_str(&text) {
            Ok(FromRecorder::Hello { v: VERSION, recorder, capacity, recordings }) => {
                return Some(Hello { recorder, capacity, recordings });
            }
            Ok(FromRecorder::Hello { v, .. }) => format!("link version {v}; this server speaks {VERSION}"),
            Ok(_) => "a link begins with hello".into(),
            Err(error) => error.to_string(),
        },
        Ok(Some(Ok(_))) => "a link begins with hello".into(),
        Ok(_) => return None,
        Err(_) => format!("no hello within {} s", HELLO_WITHIN.as_secs()),
    };
    tracing::warn!(why, "a recorder's link was refused");
    if let Ok(text) = serde_json::to_string(&refused(why)) {
        // Whoever does not read it learns nothing.
        let _ = timeout(WRITE_WITHIN, socket.send(Message::Text(text.into()))).await;
    }
    None
}

fn refused(msg: String) -> ToRecorder {
    ToRecorder::Refused { code: Code::BadRequest, msg }
}

async fn talk(
    app: &App,
    socket: &mut WebSocket,
    mut receiver: mpsc::Receiver<ToRecorder>,
    recorder: &RecorderId,
    link: u64,
) -> &'static str {
    let mut ping = interval(PING_EVERY);
    let mut heard = Instant::now();
    loop {
        let out = tokio::select! {
            // What has come is heard before it is called silence.
            biased;
            message = socket.recv() => match message {
                Some(Ok(Message::Text(text))) => {
                    heard = Instant::now();
                    handle(app, recorder, link, &text);
                    continue;
                }
                Some(Ok(Message::Close(_))) | None => return "closed",
                Some(Ok(_)) => {
                    heard = Instant::now();
                    continue;
                }
                Some(Err(_)) => return "broken",
            },
            message = receiver.recv() => match message {
                Some(message) => match serde_json::to_string(&message) {
                    Ok(text) => Message::Text(text.into()),
                    Err(_) => return "a message cannot be written as JSON",
                },
                None => return "replaced by a newer link",
            },
            _ = ping.tick() => Message::Ping(bytes::Bytes::new()),
            () = tokio::time::sleep_until(heard + SILENCE) => {
                let now = Instant::now();
                if now < heard + SILENCE + LATE {
                    return "silent";
                }
                heard = now;
                Message::Ping(bytes::Bytes::new())
            }
        };
        if !matches!(timeout(WRITE_WITHIN, socket.send(out)).await, Ok(Ok(()))) {
            return "broken";
        }
    }
}

fn handle(app: &App, recorder: &RecorderId, link: u64, text: &str) {
    let message = match serde_json::from_str::<FromRecorder>(text) {
        Ok(message) => message,
        Err(error) => {
            tracing::warn!(%recorder, %error, "a recorder's message cannot be read");
            app.recordings.state().say(recorder, refused(error.to_string()));
            return;
        }
    };
    let mut state = app.recordings.state();
    // What a replaced link says is old news.
    let Some(known) = state.recorders.get_mut(recorder).filter(|known| known.link == link) else { return };
    match message {
        FromRecorder::Hello { capacity, .. } | FromRecorder::Capacity { capacity } => {
            known.capacity = capacity;
            known.refused = None;
        }
        FromRecorder::State { recording, state: now, segment, progress, code, msg } => {
            let why = code.map(|code| if msg.is_empty() { code.to_string() } else { format!("{code}: {msg}") });
            let report = Report { recording, state: now, segment, progress, code, why };
            reports::reported(app, &mut state, recorder, report);
        }
    }
}
