//! What waits to be written to one socket: bounded in frames and bytes. A client that does not read is cut off, because
//! a gap in its numbered events would be worse than joining again.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use signalling::code::Refusal;
use signalling::message::server::{EventFrame, Success};
use signalling::message::{Event, Reply, ReplyFrame};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Frames that may wait: a burst of a full room, not more.
const FRAMES: usize = 1024;

/// Bytes that may wait.
const BYTES: usize = 4 * 1024 * 1024;

/// What the writer of the socket takes.
#[derive(Debug)]
pub(crate) enum Outgoing {
    /// A frame.
    Text(String),
    /// Nothing follows: close the socket.
    Close,
}

/// The sending end, shared by everybody who has something to say to this client.
#[derive(Debug, Clone)]
pub(crate) struct Outbox {
    sender: mpsc::Sender<Outgoing>,
    waiting: Arc<AtomicUsize>,
    seq: Arc<Mutex<u64>>,
    /// Cancelled when the socket must go now, without a goodbye.
    pub(crate) cut: CancellationToken,
}

/// The receiving end, owned by the socket.
#[derive(Debug)]
pub(crate) struct OutboxEnd {
    receiver: mpsc::Receiver<Outgoing>,
    waiting: Arc<AtomicUsize>,
}

/// Makes both ends.
pub(crate) fn outbox() -> (Outbox, OutboxEnd) {
    let (sender, receiver) = mpsc::channel(FRAMES);
    let waiting = Arc::<AtomicUsize>::default();
    let outbox = Outbox { sender, waiting: waiting.clone(), seq: Arc::default(), cut: CancellationToken::new() };
    (outbox, OutboxEnd { receiver, waiting })
}

impl Outbox {
    /// Numbers an event and queues it.
    pub(crate) fn event(&self, event: Event) {
        // Numbering and queueing are one step, or two threads could swap them.
        let mut seq = self.seq.lock().unwrap_or_else(PoisonError::into_inner);
        *seq += 1;
        self.json(&EventFrame { seq: *seq, event });
    }

    /// Queues the event that has no number, `hello`.
    pub(crate) fn hello(&self, event: Event) {
        self.json(&EventFrame { seq: 0, event });
    }

    /// Queues the reply to request `id`.
    pub(crate) fn reply(&self, id: u64, reply: Result<Success, Refusal>) {
        let reply = match reply {
            Ok(success) => Reply::Ok(Box::new(success)),
            Err(refusal) => Reply::Err(refusal.into()),
        };
        self.json(&ReplyFrame { id, reply });
    }

    /// Queues the end: what was queued before is still written.
    pub(crate) fn close(&self) {
        if self.sender.try_send(Outgoing::Close).is_err() {
            self.cut.cancel();
        }
    }

    fn json(&self, frame: &impl serde::Serialize) {
        match serde_json::to_string(frame) {
            Ok(text) => self.text(text),
            Err(error) => {
                tracing::error!(%error, "a frame cannot be written as JSON");
                self.cut.cancel();
            }
        }
    }

    fn text(&self, text: String) {
        let length = text.len();
        let waiting = self.waiting.fetch_add(length, Ordering::Relaxed) + length;
        if waiting > BYTES || self.sender.try_send(Outgoing::Text(text)).is_err() {
            self.cut.cancel();
        }
    }
}

impl OutboxEnd {
    /// The next thing to write; `None` when nobody can say anything any more.
    pub(crate) async fn next(&mut self) -> Option<Outgoing> {
        let next = self.receiver.recv().await;
        if let Some(Outgoing::Text(text)) = &next {
            self.waiting.fetch_sub(text.len(), Ordering::Relaxed);
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_does_not_read_is_cut_off() {
        let (outbox, _end) = outbox();
        for _ in 0..FRAMES {
            outbox.event(Event::Speak { peers: Vec::new() });
        }
        assert!(!outbox.cut.is_cancelled());
        outbox.event(Event::Speak { peers: Vec::new() });
        assert!(outbox.cut.is_cancelled());
    }

    #[tokio::test]
    async fn events_are_numbered_and_replies_are_not() {
        let (outbox, mut end) = outbox();
        outbox.event(Event::Speak { peers: Vec::new() });
        outbox.reply(7, Ok(Success::default()));
        outbox.event(Event::Speak { peers: Vec::new() });
        outbox.close();
        let mut frames = Vec::new();
        while let Some(Outgoing::Text(text)) = end.next().await {
            frames.push(text);
        }
        assert_eq!(frames.len(), 3);
        assert!(frames[0].contains("\"seq\":1") && frames[2].contains("\"seq\":2"), "{frames:?}");
        assert_eq!(frames[1], r#"{"id":7,"t":"ok"}"#);
    }
}
