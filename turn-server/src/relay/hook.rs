//! The external check: a service of the operator says over HTTP which key a user has. One thread with its own runtime asks
//! it, so that no worker waits; answers go to the worker that asked, and are remembered for a while.
//!
//! Bounded: questions that wait, questions at once, questions of one network, answers that are remembered. Who finds no room
//! is answered 500 and may try again.

mod cache;
mod service;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use tokio::sync::{Semaphore, mpsc};
use turn::{Candidates, FiveTuple, RequestId, SourceBudget};

use super::command::Command;
use crate::handover::Lane;
use cache::Cache;
use service::{Service, Verdict};

/// Questions and orders that may wait for the thread.
const WAITING: usize = 1024;
/// Questions that the service is asked at once.
const AT_ONCE: usize = 64;
/// Questions a second for a /24 or /64 of clients.
const OF_A_NETWORK: u32 = 50;

/// `[relay] auth_hook_*`, and what goes into each question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HookSettings {
    pub(super) url: String,
    pub(super) timeout: Duration,
    pub(super) cache: Duration,
    pub(super) realm: String,
}

/// What a worker wants to know.
pub(super) struct Question {
    pub(super) worker: u8,
    pub(super) request: RequestId,
    pub(super) username: String,
    pub(super) client: FiveTuple,
}

enum Order {
    Ask(Question),
    Forget(String),
}

/// See the module. The thread ends with it.
pub(super) struct Hook {
    pub(super) settings: HookSettings,
    orders: mpsc::Sender<Order>,
}

/// Where a worker takes answers.
pub(super) type Answers = Vec<(Sender<Command>, Lane)>;

impl Hook {
    /// Starts the thread; `answers` has a place for each worker, by index.
    pub(super) fn start(settings: HookSettings, answers: Answers) -> std::io::Result<Self> {
        let (orders, inbox) = mpsc::channel(WAITING);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let asker = Asker {
            service: Arc::new(Service::new(&settings)),
            cache: Arc::new(Mutex::new(Cache::new(settings.cache))),
            slots: Arc::new(Semaphore::new(AT_ONCE)),
            waiting: Arc::new(Semaphore::new(WAITING)),
            answers: Arc::new(answers),
            timeout: settings.timeout,
        };
        let run = move || runtime.block_on(asker.run(inbox));
        std::thread::Builder::new().name("auth-hook".into()).spawn(run)?;
        Ok(Self { settings, orders })
    }

    /// Asks, or not if too much waits.
    pub(super) fn ask(&self, question: Question) -> bool {
        self.orders.try_send(Order::Ask(question)).is_ok()
    }

    /// Forgets what is remembered of a user.
    pub(super) fn forget(&self, user: &str) {
        // Where so much waits, it is a matter of the cache's time.
        let _ = self.orders.try_send(Order::Forget(user.to_owned()));
    }
}

/// The thread's side.
struct Asker {
    service: Arc<Service>,
    cache: Arc<Mutex<Cache>>,
    slots: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    answers: Arc<Answers>,
    timeout: Duration,
}

impl Asker {
    async fn run(self, mut inbox: mpsc::Receiver<Order>) {
        let mut budget = SourceBudget::new(OF_A_NETWORK);
        while let Some(order) = inbox.recv().await {
            let question = match order {
                Order::Ask(question) => question,
                Order::Forget(user) => {
                    lock(&self.cache).forget(&user);
                    continue;
                }
            };
            let (now, from) = (Instant::now(), question.client.client.ip());
            let known = lock(&self.cache).get(now, &question.username, from);
            if let Some(verdict) = known {
                self.answer(&question, Some(&verdict), now);
            } else if let (true, Ok(place)) = (budget.take(now, from), self.waiting.clone().try_acquire_owned()) {
                let asker = self.share();
                tokio::spawn(async move {
                    asker.find(&question, from).await;
                    drop(place);
                });
            } else {
                self.answer(&question, None, now);
            }
        }
    }

    fn share(&self) -> Self {
        Self {
            service: self.service.clone(),
            cache: self.cache.clone(),
            slots: self.slots.clone(),
            waiting: self.waiting.clone(),
            answers: self.answers.clone(),
            timeout: self.timeout,
        }
    }

    async fn find(&self, question: &Question, from: IpAddr) {
        let ask = async {
            let _slot = self.slots.acquire().await.ok()?;
            self.service.ask(question).await
        };
        let verdict = tokio::time::timeout(self.timeout, ask).await.unwrap_or_else(|_| {
            self.service.complain("no answer in time");
            None
        });
        let now = Instant::now();
        if let Some(verdict) = &verdict {
            lock(&self.cache).put(now, &question.username, from, verdict.clone());
        }
        self.answer(question, verdict.as_ref(), now);
    }

    fn answer(&self, question: &Question, verdict: Option<&Verdict>, now: Instant) {
        let Some((commands, lane)) = self.answers.get(usize::from(question.worker)) else { return };
        let candidates = verdict.map(|verdict| self.service.candidates(&question.username, verdict, now));
        // A worker whose inbox is full forgets the request in time, and the client asks again.
        let _ = commands.try_send(Command::Key(question.request, candidates.map(Box::<Candidates>::new)));
        lane.wake();
    }
}

fn lock(cache: &Mutex<Cache>) -> std::sync::MutexGuard<'_, Cache> {
    // Each step leaves it whole.
    cache.lock().unwrap_or_else(PoisonError::into_inner)
}
