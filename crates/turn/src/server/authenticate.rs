//! Who sent a request: the long-term credential mechanism, in the order of RFC 8489 section 9.2.4.
//! Where keys come from is `auth`'s; what the request wants is `dispatch`'s.

use stun_types::attribute::{AttributeStaticType as _, ErrorCode, Nonce, PasswordAlgorithm as Choice, Realm};
use stun_types::attribute::{Userhash, Username};
use stun_types::message::Message;

use super::pending::{Asking, Stage};
use super::{Context, Output, RequestId, Server, User};
use crate::address::FiveTuple;
use crate::auth::{Candidates, UserName};
use crate::integrity::{Mac, Signature, Signed};
use crate::key::{Key, PasswordAlgorithm, user_hash};
use crate::reply::{self, PASSWORD_ALGORITHMS, Refusal};
use crate::route::Handled;
use crate::stats::Drop;

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
        if let Some(worker) = self.elsewhere(client, request) {
            let bytes = request.as_bytes().to_vec();
            self.outputs.push_back(Output::Elsewhere { worker, client, bytes });
            return Handled::Control;
        }
        let of_client = self.table.id_of(client).and_then(|id| self.table.get(id));
        let owner = of_client.or_else(|| self.named_by_ticket(client, request));
        let owner = owner.map(|allocation| (allocation.username.clone(), allocation.key));
        if let Some((username, key)) = owner.filter(|(username, _)| self.is_named(&asking.name, username)) {
            // The key was good when the allocation was made, and stays good for it.
            self.verify(context, client, request, asking.algorithm, username, &[key], None);
            return Handled::Control;
        }
        let name = asking.name.clone();
        let Some(id) = self.pending.add(context.now, client, request.as_bytes(), Stage::Key(asking)) else {
            return self.dropped(Drop::Busy);
        };
        self.outputs.push_back(Output::NeedKey { request: id, username: name, client: client.client.ip() });
        Handled::Control
    }

    fn is_named(&self, name: &UserName, username: &str) -> bool {
        match name {
            UserName::Plain(name) => name == username,
            UserName::Hash(hash) => *hash == user_hash(username, &self.realm),
        }
    }

    /// The answer to [`Output::NeedKey`].
    pub fn handle_key(&mut self, context: Context<'_>, id: RequestId, candidates: &Candidates) {
        let Some(pending) = self.pending.take(id) else { return };
        let Stage::Key(asking) = pending.stage else { return };
        // It was parsed before it was kept.
        let Ok(request) = Message::from_bytes(&pending.bytes) else { return };
        let username = candidates.username.clone();
        self.verify(context, pending.client, &request, asking.algorithm, username, &candidates.keys, Some(candidates));
    }

    #[expect(clippy::too_many_arguments, reason = "each is a different thing about one request")]
    fn verify(
        &mut self,
        context: Context<'_>,
        client: FiveTuple,
        request: &Message<'_>,
        algorithm: PasswordAlgorithm,
        name: String,
        keys: &[Key],
        asked: Option<&Candidates>,
    ) {
        let Some(signed) = Signed::find(request) else { return };
        let is_signer = |key: &&Key| key.bytes(algorithm).is_some_and(|key| signed.is_by(key));
        let key = keys.iter().find(is_signer);
        let refused = asked.is_some_and(|candidates| candidates.refused);
        // An unknown name, an expired one and a wrong password look the same, so that names cannot be guessed.
        let Some(key) = key.filter(|_| !refused) else {
            return self.challenge(context, client, request, ErrorCode::UNAUTHORIZED);
        };
        // Only after the MAC: 438 tells nobody anything who has not shown the password.
        let nonce = request.attribute::<Nonce>();
        if !nonce.is_ok_and(|nonce| self.nonces.is_fresh(nonce.nonce(), context.now, client.client)) {
            return self.challenge(context, client, request, ErrorCode::STALE_NONCE);
        }
        let quota = asked.map(|candidates| candidates.quota.clone());
        let signature = Signature { key: *key, algorithm, mac: answering(request, signed.mac()) };
        self.dispatch(context, client, request, User { name, signature, quota });
    }

    fn challenge(&mut self, context: Context<'_>, client: FiveTuple, request: &Message<'_>, code: u16) {
        if !self.may_answer(context.now, client) {
            self.stats.drop(Drop::RateLimited);
            return;
        }
        self.stats.error(code);
        let nonce = self.nonces.issue(context.now, client.client, self.anonymity);
        let bytes = reply::challenge(request, code, &self.realm, &nonce);
        self.transmit(client, bytes);
    }
}

/// Reads what a signed request must have beside its signature; `None`: 400.
fn asking(request: &Message<'_>) -> Option<Asking> {
    let complete = request.attribute::<Realm>().is_ok() && request.attribute::<Nonce>().is_ok();
    let name = match request.attribute::<Username>() {
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
