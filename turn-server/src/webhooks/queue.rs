//! What waits to be delivered: a lane for each URL and recording, in which only the first one is tried. Pure.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use signalling::RecordingId;

/// How long after each failure it is tried again.
const AGAIN: [Duration; 7] = [
    Duration::from_secs(5),
    Duration::from_secs(5 * 60),
    Duration::from_secs(30 * 60),
    Duration::from_secs(2 * 3600),
    Duration::from_secs(5 * 3600),
    Duration::from_secs(8 * 3600),
    Duration::from_secs(8 * 3600),
];

/// After this time it is given up, however often it was tried: a server that was off for days has old news only.
const GIVE_UP_MS: u64 = 24 * 3600 * 1000;

/// Tries under way at one URL: one that hangs leaves room for the others.
const PER_URL: usize = 8;

/// A message, the same for every URL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Message {
    /// Its id, the same at every try.
    pub(crate) id: String,
    /// What it is about.
    pub(crate) recording: RecordingId,
    /// When it was said, milliseconds since 1970.
    pub(crate) created_ms: u64,
    /// JSON.
    pub(crate) body: String,
}

/// How often a message was tried at a URL.
pub(super) type Tries = (String, usize);

/// A try that has to be made now.
#[derive(Debug, Clone)]
pub(super) struct Attempt {
    pub(super) url: String,
    pub(super) message: Arc<Message>,
}

/// What a try led to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It needs no more tries.
    Done,
    /// It is tried again after this time.
    Later(Duration),
    /// It was tried often and long enough.
    GivenUp,
}

#[derive(Debug)]
struct Waiting {
    message: Arc<Message>,
    tries: usize,
}

#[derive(Debug, Default)]
struct Lane {
    waiting: VecDeque<Waiting>,
    /// When the first one may be tried; `None` while it is.
    due: Option<Instant>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Queue {
    lanes: BTreeMap<(String, RecordingId), Lane>,
    /// To how many URLs each message still has to go.
    messages: BTreeMap<String, usize>,
}

impl Queue {
    /// Takes a message for some URLs.
    pub(super) fn push(&mut self, message: Message, urls: Vec<Tries>, now: Instant) {
        let message = Arc::new(message);
        if !urls.is_empty() {
            self.messages.insert(message.id.clone(), urls.len());
        }
        for (url, tries) in urls {
            let lane = self.lanes.entry((url, message.recording.clone())).or_default();
            if lane.waiting.is_empty() {
                lane.due = Some(now);
            }
            lane.waiting.push_back(Waiting { message: message.clone(), tries });
        }
    }

    /// A try that is due, which [`Queue::handle_ended`] has to follow. The one that waits longest is first.
    pub(super) fn poll_attempt(&mut self, now: Instant) -> Option<Attempt> {
        let busy = self.busy();
        let due = self.lanes.iter_mut().filter(|(_, lane)| lane.due.is_some_and(|due| due <= now));
        let due = due.filter(|((url, _), _)| !busy.contains(url));
        let ((url, _), lane) = due.min_by_key(|(_, lane)| lane.due)?;
        lane.due = None;
        Some(Attempt { url: url.clone(), message: lane.waiting.front()?.message.clone() })
    }

    /// When the next try is due, of those that need not wait for others to end.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let busy = self.busy();
        self.lanes.iter().filter(|((url, _), _)| !busy.contains(url)).filter_map(|(_, lane)| lane.due).min()
    }

    /// URLs where as many tries are under way as may be.
    fn busy(&self) -> BTreeSet<String> {
        let mut under_way: BTreeMap<&String, usize> = BTreeMap::new();
        for ((url, _), _) in self.lanes.iter().filter(|(_, lane)| lane.due.is_none()) {
            *under_way.entry(url).or_default() += 1;
        }
        under_way.into_iter().filter(|(_, count)| *count >= PER_URL).map(|(url, _)| url.clone()).collect()
    }

    /// A try ended; `done`: with success, or nobody wants it any more.
    pub(super) fn handle_ended(&mut self, attempt: &Attempt, done: bool, now_ms: u64, now: Instant) -> Outcome {
        let key = (attempt.url.clone(), attempt.message.recording.clone());
        let Some(lane) = self.lanes.get_mut(&key) else { return Outcome::Done };
        let Some(first) = lane.waiting.front_mut() else { return Outcome::Done };
        let outcome = match AGAIN.get(first.tries) {
            _ if done => Outcome::Done,
            Some(after) if now_ms.saturating_sub(first.message.created_ms) < GIVE_UP_MS => Outcome::Later(*after),
            _ => Outcome::GivenUp,
        };
        if let Outcome::Later(after) = outcome {
            first.tries += 1;
            lane.due = Some(now + after);
            return outcome;
        }
        lane.waiting.pop_front();
        if let Some(left) = self.messages.get_mut(&attempt.message.id) {
            *left -= 1;
            if *left == 0 {
                self.messages.remove(&attempt.message.id);
            }
        }
        lane.due = Some(now);
        if lane.waiting.is_empty() {
            self.lanes.remove(&key);
        }
        outcome
    }

    /// Where a message still has to go.
    pub(super) fn left(&self, id: &str) -> Vec<Tries> {
        let waiting = self.lanes.iter().flat_map(|((url, _), lane)| lane.waiting.iter().map(move |one| (url, one)));
        waiting.filter(|(_, one)| one.message.id == id).map(|(url, one)| (url.clone(), one.tries)).collect()
    }

    /// Messages that somebody still has to get.
    pub(super) fn messages(&self) -> usize {
        self.messages.len()
    }

    /// Deliveries that wait or are under way.
    pub(super) fn len(&self) -> usize {
        self.lanes.values().map(|lane| lane.waiting.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(id: &str, recording: &str) -> Message {
        Message {
            id: id.into(),
            recording: RecordingId::parse(recording).expect("an id"),
            created_ms: 0,
            body: "{}".into(),
        }
    }

    fn to(urls: &[&str]) -> Vec<Tries> {
        urls.iter().map(|url| ((*url).to_owned(), 0)).collect()
    }

    fn due(queue: &mut Queue, now: Instant) -> Vec<Attempt> {
        std::iter::from_fn(|| queue.poll_attempt(now)).collect()
    }

    fn names(attempts: &[Attempt]) -> Vec<String> {
        attempts.iter().map(|attempt| format!("{}>{}", attempt.message.id, attempt.url)).collect()
    }

    #[test]
    fn a_recordings_messages_keep_their_order_and_hold_up_nobody_else() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.push(message("m1", "r1"), to(&["a", "b"]), now);
        queue.push(message("m2", "r1"), to(&["a", "b"]), now);
        queue.push(message("m3", "r2"), to(&["a"]), now);
        let first = due(&mut queue, now);
        assert_eq!(names(&first), ["m1>a", "m3>a", "m1>b"]);
        assert_eq!((queue.len(), queue.messages(), queue.poll_timeout()), (5, 3, None));
        // At b it works, at a it does not: there the next one waits behind it.
        assert_eq!(queue.handle_ended(&first[2], true, 0, now), Outcome::Done);
        assert_eq!(queue.handle_ended(&first[0], false, 0, now), Outcome::Later(AGAIN[0]));
        assert_eq!(queue.handle_ended(&first[1], true, 0, now), Outcome::Done);
        assert_eq!(names(&due(&mut queue, now)), ["m2>b"]);
        assert_eq!(queue.left("m1"), [("a".to_owned(), 1)]);
        assert_eq!((queue.len(), queue.messages()), (3, 2), "m1 and m2 at a, m2 at b");
        assert_eq!(queue.poll_timeout(), Some(now + AGAIN[0]));
        let again = due(&mut queue, now + AGAIN[0]);
        assert_eq!(names(&again), ["m1>a"]);
        assert_eq!(queue.handle_ended(&again[0], true, 0, now), Outcome::Done);
        assert_eq!(names(&due(&mut queue, now)), ["m2>a"]);
        assert!(queue.left("m1").is_empty());
        assert_eq!((queue.len(), queue.messages()), (2, 1), "m2 at both");
    }

    #[test]
    fn a_url_that_hangs_leaves_room_for_the_others() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        for n in 0..20 {
            queue.push(message("m", &format!("r{n}")), to(&["a"]), now);
        }
        let hanging = due(&mut queue, now);
        assert_eq!((hanging.len(), queue.poll_timeout()), (PER_URL, None));
        queue.push(message("m", "r0"), to(&["b"]), now);
        assert_eq!(queue.poll_timeout(), Some(now));
        assert_eq!(names(&due(&mut queue, now)), ["m>b"]);
        assert_eq!(queue.handle_ended(&hanging[0], true, 0, now), Outcome::Done);
        assert_eq!(names(&due(&mut queue, now)), ["m>a"]);
    }

    #[test]
    fn a_message_is_tried_for_a_day() {
        let (mut queue, start) = (Queue::default(), Instant::now());
        queue.push(message("m1", "r1"), to(&["a"]), start);
        queue.push(message("m2", "r1"), to(&["a"]), start);
        let mut after = Duration::ZERO;
        let mut tries = 0;
        loop {
            let attempts = due(&mut queue, start + after);
            assert_eq!(names(&attempts), ["m1>a"]);
            tries += 1;
            let now_ms = u64::try_from(after.as_millis()).expect("a day");
            match queue.handle_ended(&attempts[0], false, now_ms, start + after) {
                Outcome::Later(later) => after += later,
                outcome => break assert_eq!(outcome, Outcome::GivenUp),
            }
        }
        assert_eq!(tries, 8);
        assert!((22 * 3600..24 * 3600).contains(&after.as_secs()), "{after:?}");
        // What waited behind it is tried at once.
        assert_eq!(names(&due(&mut queue, start + after)), ["m2>a"]);
        // Old news, of a server that was off, gets one try.
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.push(message("m1", "r1"), to(&["a"]), now);
        let attempts = due(&mut queue, now);
        assert_eq!(queue.handle_ended(&attempts[0], false, GIVE_UP_MS, now), Outcome::GivenUp);
        assert_eq!(queue.len(), 0);
    }
}
