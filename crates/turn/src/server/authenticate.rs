//! Who sent a request: the long-term credential mechanism, in the order of RFC 8489 section 9.2.4.
//! Where keys come from is `auth`'s; what the request wants is `dispatch`'s.

use std::time::{Duration, Instant};

use stun_types::attribute::{AttributeStaticType as _, ErrorCode, Nonce, PasswordAlgorithm as Choice, Realm};
use stun_types::attribute::{Userhash, Username};
use stun_types::message::Message;

use super::pending::{Asking, Stage};
use super::{Context, Output, RequestId, Server, User};
use crate::address::FiveTuple;
use crate::auth::{AuthFailure, Candidates, Signer, UserName};
use crate::integrity::{Mac, Signature, Signed};
use crate::key::{PasswordAlgorithm, user_hash};
use crate::quota::QuotaKey;
use crate::reply::{self, PASSWORD_ALGORITHMS, Refusal};
use crate::report::Report;
use crate::route::Handled;
use crate::stats::Drop;

/// RFC 8489 section 14.3: USERNAME has fewer bytes.
const LONGEST_NAME: usize = 509;
/// RFC 8489 sections 14.9 and 14.10: REALM and NONCE have fewer characters.
const LONGEST_TEXT: usize = 128;
/// Life of credentials that is as good as no end, seconds.
const LONGEST: u64 = 100 * 365 * 86_400;

/// As whom a request comes, and what proves it.
struct Claim {
    username: String,
    signers: Vec<Signer>,
    refused: Option<AuthFailure>,
    quota: Option<QuotaKey>,
    expires: Option<Instant>,
}

impl Server {
    pub(super) fn authenticate(&mut self, context: Context<'_>, client: FiveTuple, request: &Message<'_>) -> Handled {
        if Signed::find(request).is_none() {
            self.challenge(context, client, request, ErrorCode::UNAUTHORIZED);
            return Handled::Control;
        }
        let Some(asking) = asking(request) else {
            if !self.may_answer(context.now, client) {
                return self.dropped(Drop::RateLimited);
            }
            self.refuse(client, request, &Refusal::Code(ErrorCode::BAD_REQUEST), None);
            return Handled::Control;
        };
        if let Some(worker) = self.elsewhere(client, request).or_else(|| self.connected_elsewhere(client, request)) {
            let bytes = request.as_bytes().to_vec();
            self.outputs.push_back(Output::Elsewhere { worker, client, bytes });
            return Handled::Control;
        }
        if self.options.ask_only_our_own_sources && !self.has_fresh_nonce(context, client, request) {
            self.challenge(context, client, request, ErrorCode::STALE_NONCE);
            return Handled::Control;
        }
        let of_client = self.table.id_of(client).and_then(|id| self.table.get(id));
        let owner =
            of_client.or_else(|| self.named_by_ticket(client, request)).or_else(|| self.named_by_connection(request));
        if let Some(allocation) = owner.filter(|allocation| self.is_named(&asking.name, &allocation.username)) {
            // The key was good when the allocation was made, and stays good for it, unless its time counts.
            let over = self.options.strict_expiry && allocation.expires.is_some_and(|end| end <= context.now);
            let claim = Claim {
                username: allocation.username.clone(),
                signers: vec![Signer { key: allocation.key, origin: allocation.origin.clone() }],
                refused: over.then_some(AuthFailure::Expired),
                quota: None,
                expires: allocation.expires,
            };
            self.verify(context, client, request, asking.algorithm, claim);
            return Handled::Control;
        }
        let name = asking.name.clone();
        let Some(id) = self.pending.add(context.now, client, request.as_bytes(), Stage::Key(asking)) else {
            return self.dropped(Drop::Busy);
        };
        self.outputs.push_back(Output::NeedKey { request: id, username: name, client });
        Handled::Control
    }

    fn is_named(&self, name: &UserName, username: &str) -> bool {
        match name {
            UserName::Plain(name) => name == username,
            UserName::Hash(hash) => *hash == user_hash(username, &self.realm),
        }
    }

    /// The answer to [`Output::NeedKey`].
    pub fn handle_key(&mut self, context: Context<'_>, id: RequestId, candidates: Candidates) {
        let Some(pending) = self.pending.take(id) else { return };
        let Stage::Key(asking) = pending.stage else { return };
        // It was parsed before it was kept.
        let Ok(request) = Message::from_bytes(&pending.bytes) else { return };
        let claim = Claim {
            username: candidates.username,
            signers: candidates.signers,
            refused: candidates.refused,
            quota: Some(candidates.quota),
            expires: candidates.remaining.map(|seconds| context.now + Duration::from_secs(seconds.min(LONGEST))),
        };
        self.verify(context, pending.client, &request, asking.algorithm, claim);
    }

    /// The other answer to [`Output::NeedKey`]: whoever knows the keys cannot be asked now. The client may try again.
    pub fn handle_no_key(&mut self, id: RequestId) {
        let Some(pending) = self.pending.take(id) else { return };
        if let Ok(request) = Message::from_bytes(&pending.bytes) {
            self.refuse(pending.client, &request, &Refusal::Code(ErrorCode::SERVER_ERROR), None);
        }
    }

    fn verify(
        &mut self,
        context: Context<'_>,
        client: FiveTuple,
        request: &Message<'_>,
        algorithm: PasswordAlgorithm,
        claim: Claim,
    ) {
        let Some(signed) = Signed::find(request) else { return };
        let Claim { username: name, signers, refused, quota, expires } = claim;
        let is_signer = |signer: &Signer| signer.key.bytes(algorithm).is_some_and(|key| signed.is_by(key));
        let signer = signers.into_iter().find(is_signer);
        // An unknown name, an expired one and a wrong password look the same, so that names cannot be guessed.
        let signer = match (signer, refused) {
            (Some(signer), None) => signer,
            (signer, refused) => {
                let reason = failure(signer.is_some(), refused);
                self.stats.auth_failures[reason as usize] += 1;
                // Who reads the reports may lock out the client: nobody must be able to have that done to another address by
                // forging it. A nonce of ours came back from where it was sent.
                if self.has_fresh_nonce(context, client, request) {
                    let report = Report::AuthenticationFailed { client, username: name, reason };
                    self.outputs.push_back(Output::Report(report));
                }
                return self.challenge(context, client, request, ErrorCode::UNAUTHORIZED);
            }
        };
        // Only after the MAC: 438 tells nobody anything who has not shown the password.
        if !self.has_fresh_nonce(context, client, request) {
            return self.challenge(context, client, request, ErrorCode::STALE_NONCE);
        }
        let Signer { key, origin } = signer;
        let signature = Signature { key, algorithm, mac: answering(request, signed.mac()) };
        self.dispatch(context, client, request, User { name, signature, quota, origin, expires });
    }

    fn has_fresh_nonce(&self, context: Context<'_>, client: FiveTuple, request: &Message<'_>) -> bool {
        let nonce = request.attribute::<Nonce>();
        nonce.is_ok_and(|nonce| self.nonces.is_fresh(nonce.nonce(), context.now, client.client))
    }

    fn challenge(&mut self, context: Context<'_>, client: FiveTuple, request: &Message<'_>, code: u16) {
        if !self.may_answer(context.now, client) {
            self.stats.drop(Drop::RateLimited);
            return;
        }
        self.stats.error(code);
        let nonce = self.nonces.issue(context.now, client.client, self.options.anonymity);
        let bytes = reply::challenge(request, code, &self.realm, &nonce);
        self.transmit(client, bytes);
    }
}

/// What the reason of a refusal is, for the operator.
fn failure(signed: bool, refused: Option<AuthFailure>) -> AuthFailure {
    match refused {
        // Nobody can sign for them.
        Some(reason @ (AuthFailure::UnknownUser | AuthFailure::Denied)) => reason,
        // Only who has shown the password is told apart from one who guesses.
        Some(reason) if signed => reason,
        _ => AuthFailure::WrongPassword,
    }
}

/// Reads what a signed request must have beside its signature; `None`: 400.
fn asking(request: &Message<'_>) -> Option<Asking> {
    let is_short = |text: &str| text.chars().count() < LONGEST_TEXT;
    let complete = request.attribute::<Realm>().is_ok_and(|realm| is_short(realm.realm()))
        && request.attribute::<Nonce>().is_ok_and(|nonce| is_short(nonce.nonce()));
    let name = match request.attribute::<Username>() {
        Ok(name) if name.username().len() >= LONGEST_NAME => return None,
        Ok(name) => UserName::Plain(name.username().to_owned()),
        Err(_) => UserName::Hash(*request.attribute::<Userhash>().ok()?.hash()),
    };
    let algorithm = match (request.raw_attribute(PASSWORD_ALGORITHMS), request.raw_attribute(Choice::TYPE)) {
        // A client of RFC 5389, or of RFC 8489 that wants what was before.
        (None, None) => PasswordAlgorithm::Md5,
        // Somebody on the way changed what we offered, or the client chose what nobody offered.
        (Some(offered), Some(choice)) if offered.value[..] == PasswordAlgorithm::OFFERED => {
            PasswordAlgorithm::read(&choice.value)?
        }
        _ => return None,
    };
    complete.then_some(Asking { name, algorithm })
}

/// How the answer to a request is signed (RFC 8489 section 9.2.4, last paragraph).
fn answering(request: &Message<'_>, mac: Mac) -> Mac {
    match (request.has_attribute(Choice::TYPE), mac) {
        // The client named no algorithm: it is answered as RFC 5389 says.
        (false, _) => Mac::Sha1,
        // It knows the new attribute, but has shown that it uses the old one.
        (true, Mac::Sha1) => Mac::Both,
        (true, _) => Mac::Sha256,
    }
}
