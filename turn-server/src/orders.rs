//! What the API wants of whoever runs the server: to reload, and to stop once it is drained.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::app::App;

/// Orders that may wait.
const WAITING: usize = 16;

/// How often a draining server looks whether it is empty.
const LOOK: Duration = Duration::from_millis(250);

/// Something that only the one who runs the server can do.
#[derive(Debug)]
pub enum Order {
    /// Read the configuration again; the reply is which keys wait for the next start, or what was wrong.
    Reload(oneshot::Sender<Result<Vec<String>, String>>),
    /// Stop: what was to be drained is gone, or its time is over.
    Stop,
}

/// The way of orders out of the server.
pub(crate) struct Orders {
    sender: mpsc::Sender<Order>,
    receiver: Mutex<Option<mpsc::Receiver<Order>>>,
    taken: AtomicBool,
}

impl Default for Orders {
    fn default() -> Self {
        let (sender, receiver) = mpsc::channel(WAITING);
        Self { sender, receiver: Mutex::new(Some(receiver)), taken: AtomicBool::new(false) }
    }
}

impl Orders {
    /// Gives an order; `false`: nobody takes them, or too many wait.
    pub(crate) fn give(&self, order: Order) -> bool {
        self.taken.load(Ordering::Relaxed) && self.sender.try_send(order).is_ok()
    }

    /// The receiving end, once.
    pub(crate) fn take(&self) -> Option<mpsc::Receiver<Order>> {
        let receiver = self.receiver.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.taken.store(true, Ordering::Relaxed);
        receiver
    }
}

/// Allocations and participants that are there.
pub(crate) fn load(app: &App) -> (u32, usize) {
    let allocations = app.relay.load().as_ref().map_or(0, |relay| relay.load().allocations);
    (allocations, app.hub.directory().sessions.len())
}

/// Lets nobody new in.
pub(crate) fn close(app: &App) {
    app.hub.drain();
    if let Some(relay) = &*app.relay.load() {
        relay.drain();
    }
}

/// Lets nobody new in, and orders to stop when nobody is there any more or the deadline is over.
pub(crate) fn drain(app: &Arc<App>, deadline: Duration) {
    close(app);
    tracing::info!(deadline_s = deadline.as_secs(), "draining");
    let app = Arc::downgrade(app);
    tokio::spawn(async move {
        let empty = async {
            let mut tick = tokio::time::interval(LOOK);
            loop {
                tick.tick().await;
                if app.upgrade().is_none_or(|app| load(&app) == (0, 0)) {
                    return;
                }
            }
        };
        let in_time = tokio::time::timeout(deadline, empty).await.is_ok();
        if let Some(app) = app.upgrade() {
            tracing::info!(in_time, "drained");
            app.orders.give(Order::Stop);
        }
    });
}
