//! Requests that wait for the shell: bounded in number and time, one a client. A client that hears nothing asks again.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use crate::address::{Family, FiveTuple};
use crate::auth::UserName;
use crate::key::PasswordAlgorithm;
use crate::server::{Relaying, RequestId, User};

/// Requests at once.
const MAX: usize = 1024;
/// How long the shell may take: clients give up after 39.5 s (RFC 8489 section 6.2.1) and ask again long before.
const LIFE: Duration = Duration::from_secs(5);

/// What a request waits for.
pub(super) enum Stage {
    /// The keys of a user.
    Key(Asking),
    /// A relayed socket.
    Relay(Wanted),
}

/// A request whose signer is to be found.
pub(super) struct Asking {
    pub(super) name: UserName,
    pub(super) algorithm: PasswordAlgorithm,
}

/// An Allocate request that was found good.
pub(super) struct Wanted {
    pub(super) user: User,
    pub(super) life: u32,
    /// A family that this server does not have, and the code that says so.
    pub(super) missing: Option<(Family, u16)>,
    /// A ticket is wanted.
    pub(super) mobile: bool,
    pub(super) protocol: Relaying,
}

pub(super) struct Request {
    pub(super) client: FiveTuple,
    pub(super) bytes: Vec<u8>,
    pub(super) stage: Stage,
    until: Instant,
}

#[derive(Default)]
pub(super) struct Pending {
    requests: BTreeMap<RequestId, Request>,
    by_client: HashMap<FiveTuple, RequestId>,
    next: u64,
}

impl Pending {
    /// Keeps a request; `None`: too many wait, or one of this client does.
    pub(super) fn add(&mut self, now: Instant, client: FiveTuple, bytes: &[u8], stage: Stage) -> Option<RequestId> {
        if self.requests.len() >= MAX || self.by_client.contains_key(&client) {
            return None;
        }
        let id = RequestId(self.next);
        self.next += 1;
        self.requests.insert(id, Request { client, bytes: bytes.into(), stage, until: now + LIFE });
        self.by_client.insert(client, id);
        Some(id)
    }

    pub(super) fn take(&mut self, id: RequestId) -> Option<Request> {
        let request = self.requests.remove(&id)?;
        self.by_client.remove(&request.client);
        Some(request)
    }

    pub(super) fn forget(&mut self, client: FiveTuple) {
        if let Some(id) = self.by_client.remove(&client) {
            self.requests.remove(&id);
        }
    }

    pub(super) fn next_timer(&self) -> Option<Instant> {
        // Ids ascend with time, and all wait equally long.
        self.requests.first_key_value().map(|(_, request)| request.until)
    }

    pub(super) fn expire(&mut self, now: Instant) {
        while let Some((id, request)) = self.requests.first_key_value()
            && request.until <= now
        {
            let id = *id;
            self.take(id);
        }
    }
}
