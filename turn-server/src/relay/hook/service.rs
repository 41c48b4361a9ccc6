//! One question to the operator's service, and what its answer means.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use http::Method;
use serde::{Deserialize, Serialize};
use turn::{Candidates, Key, QuotaKey};

use super::{HookSettings, Question};
use crate::plain_http;

/// At most one complaint in this time: a service that is down is down for everybody.
const COMPLAINTS: Duration = Duration::from_secs(10);

/// What the service said.
#[derive(Debug, Clone)]
pub(super) enum Verdict {
    /// The user has this key.
    Known { key: Key, quota: Option<QuotaKey>, ends: Option<Instant> },
    /// It may not use the relay.
    Denied,
}

impl Verdict {
    /// Who pays, if the service named somebody.
    pub(super) fn payer(&self) -> Option<&str> {
        match self {
            Self::Known { quota, .. } => quota.as_ref().map(QuotaKey::as_str),
            Self::Denied => None,
        }
    }
}

#[derive(Serialize)]
struct Body<'a> {
    username: &'a str,
    realm: &'a str,
    client: String,
    transport: &'static str,
}

#[derive(Deserialize)]
struct Answer {
    password: Option<String>,
    key: Option<String>,
    quota_key: Option<String>,
    ttl: Option<u64>,
}

/// See the module.
pub(super) struct Service {
    url: String,
    realm: String,
    timeout: Duration,
    complained: Mutex<Option<Instant>>,
}

impl Service {
    pub(super) fn new(settings: &HookSettings) -> Self {
        let (url, realm) = (settings.url.clone(), settings.realm.clone());
        Self { url, realm, timeout: settings.timeout, complained: Mutex::default() }
    }

    /// Asks for a user; `None`: no answer that means anything.
    pub(super) async fn ask(&self, question: &Question) -> Option<Verdict> {
        let client = question.client;
        let body = Body {
            username: &question.username,
            realm: &self.realm,
            client: client.client.ip().to_string(),
            transport: client.transport.label(),
        };
        let body = serde_json::to_string(&body).ok()?;
        match plain_http::request_within(self.timeout, Method::POST, &self.url, None, Some(body)).await {
            Ok((200, text)) => self.read(&question.username, &text),
            Ok((401 | 403 | 404, _)) => Some(Verdict::Denied),
            Ok((status, _)) => {
                self.complain(&format!("it answered with status {status}"));
                None
            }
            Err(error) => {
                // Without the URL, which may hold a password.
                self.complain(error.why());
                None
            }
        }
    }

    fn read(&self, username: &str, text: &str) -> Option<Verdict> {
        // What is wrong with an answer is not written: it holds a password.
        let wrong = || {
            self.complain("its answer is not {\"password\" or \"key\", \"quota_key\"?, \"ttl\"?}");
            None
        };
        let Ok(answer) = serde_json::from_str::<Answer>(text) else { return wrong() };
        let key = match (&answer.password, &answer.key) {
            (Some(password), None) => Some(Key::of_password(username, &self.realm, password)),
            (None, Some(key)) => Key::from_hex(key),
            _ => None,
        };
        let Some(key) = key else { return wrong() };
        let ends = answer.ttl.and_then(|ttl| Instant::now().checked_add(Duration::from_secs(ttl)));
        Some(Verdict::Known { key, quota: answer.quota_key.as_deref().map(QuotaKey::new), ends })
    }

    /// A verdict as the core takes it.
    pub(super) fn candidates(&self, username: &str, verdict: &Verdict, now: Instant) -> Candidates {
        match verdict {
            Verdict::Known { key, quota, ends } => {
                let quota = quota.clone().unwrap_or_else(|| QuotaKey::new(username));
                let ttl = ends.map(|ends| ends.saturating_duration_since(now).as_secs());
                Candidates::known_elsewhere(username, *key, quota, ttl)
            }
            Verdict::Denied => Candidates::denied_elsewhere(username, &self.realm),
        }
    }

    /// Says that the service does not work, now and then.
    pub(super) fn complain(&self, why: &str) {
        let Ok(mut last) = self.complained.lock() else { return };
        if last.is_none_or(|at| at.elapsed() > COMPLAINTS) {
            *last = Some(Instant::now());
            tracing::warn!(why, "auth_hook_url does not help");
        }
    }
}
