//! Who sent a request: the long-term credential mechanism, in the order of RFC 8489 section 9.2.4.
//! Where keys come from is `auth`'s; what the request wants is `dispatch`'s.

use stun_types::attribute::{ErrorCode, Nonce, Realm, Username};
use stun_types::message::{IntegrityKey, Message};

use super::pending::Stage;
use super::{Context, Output, RequestId, Server, User};
use crate::address::FiveTuple;
use crate::auth::Candidates;
use crate::reply::{self, Refusal};
use crate::route::Handled;
use crate::stats::Drop;
use stun_types::attribute::{AttributeStaticType as _, MessageIntegrity};

impl Server {
    pub(super) fn authenticate(&mut self, context: Context<'_>, client: FiveTuple, request: &Message<'_>) -> Handled {
        if !request.has_attribute(MessageIntegrity::TYPE) {
            self.challenge(context, client, request, ErrorCode::UNAUTHORIZED);
            return Handled::Control;
        }
        let complete = request.attribute::<Realm>().is_ok() && request.attribute::<Nonce>().is_ok();
        let Some(username) = request.attribute::<Username>().ok().filter(|_| complete) else {
            if !self.may_answer(context.now, client) {
                return self.dropped(Drop::RateLimited);
            }
            self.refuse(client, request, &Refusal::Code(ErrorCode::BAD_REQUEST), None);
            return Handled::Control;
        };
        let username = username.username().to_owned();
        let owner = self.table.of_client(client).filter(|allocation| allocation.username == username);
        if let Some(key) = owner.map(|allocation| allocation.key.clone()) {
            // The key was good when the allocation was made, and stays good for it.
            self.verify(context, client, request, username, &[key], None);
            return Handled::Control;
        }
        let stage = Stage::Key { username: username.clone() };
        let Some(id) = self.pending.add(context.now, client, request.as_bytes(), stage) else {
            return self.dropped(Drop::Busy);
        };
        self.outputs.push_back(Output::NeedKey { request: id, username, client: client.client.ip() });
        Handled::Control
    }

    /// The answer to [`Output::NeedKey`].
    pub fn handle_key(&mut self, context: Context<'_>, id: RequestId, candidates: &Candidates) {
        let Some(pending) = self.pending.take(id) else { return };
        let Stage::Key { username } = pending.stage else { return };
        // It was parsed before it was kept.
        let Ok(request) = Message::from_bytes(&pending.bytes) else { return };
        self.verify(context, pending.client, &request, username, &candidates.keys, Some(candidates));
    }

    fn verify(
        &mut self,
        context: Context<'_>,
        client: FiveTuple,
        request: &Message<'_>,
        name: String,
        keys: &[IntegrityKey],
        asked: Option<&Candidates>,
    ) {
        let key = keys.iter().find(|key| request.validate_integrity_with_key(key).is_ok());
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
        self.dispatch(context, client, request, User { name, key: key.clone(), quota });
    }

    fn challenge(&mut self, context: Context<'_>, client: FiveTuple, request: &Message<'_>, code: u16) {
        if !self.may_answer(context.now, client) {
            self.stats.drop(Drop::RateLimited);
            return;
        }
        self.stats.error(code);
        let nonce = self.nonces.issue(context.now, client.client);
        let bytes = reply::challenge(request, code, &self.realm, &nonce);
        self.transmit(client, bytes);
    }
}
