//! Responses: built with the codec, signed where RFC 8489 section 9.2.4 wants it. Which one is sent, `server` decides.
//! No SOFTWARE attribute anywhere: it helps attackers and makes answers larger than questions.

use std::net::SocketAddr;

use stun_types::attribute::{
    AttributeType, AttributeWrite, ErrorCode, Nonce, RawAttribute, Realm, UnknownAttributes, XorMappedAddress,
};
use stun_types::message::{Message, MessageWrite, MessageWriteExt, MessageWriteVec};

use crate::integrity::{Signature, sign};
use crate::key::PasswordAlgorithm;

/// PASSWORD-ALGORITHMS (RFC 8489 section 14.11).
pub(crate) const PASSWORD_ALGORITHMS: AttributeType = AttributeType::new(0x8002);

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// A bare error code.
    Code(u16),
    /// 420 with the attributes that are not understood.
    Unknown(Vec<AttributeType>),
}

impl Refusal {
    pub(crate) fn code(&self) -> u16 {
        match self {
            Self::Code(code) => *code,
            Self::Unknown(_) => ErrorCode::UNKNOWN_ATTRIBUTE,
        }
    }
}

impl From<u16> for Refusal {
    fn from(code: u16) -> Self {
        Self::Code(code)
    }
}

/// A success response with these attributes, signed.
pub(crate) fn success(request: &Message<'_>, attributes: &[&dyn AttributeWrite], signature: &Signature) -> Vec<u8> {
    let write = Message::builder_success(request, MessageWriteVec::with_capacity(128));
    finish(write, attributes, Some(signature))
}

/// The answer to a Binding request: nothing but the address it came from (RFC 8489 section 6.3.1.1).
pub(crate) fn binding(request: &Message<'_>, source: SocketAddr) -> Vec<u8> {
    plain(request, &[&XorMappedAddress::new(source, request.transaction_id())])
}

/// A success response without a signature.
pub(crate) fn plain(request: &Message<'_>, attributes: &[&dyn AttributeWrite]) -> Vec<u8> {
    finish(Message::builder_success(request, MessageWriteVec::with_capacity(44)), attributes, None)
}

/// An error response; signed once the request was authenticated.
pub(crate) fn error(request: &Message<'_>, refusal: &Refusal, signature: Option<&Signature>) -> Vec<u8> {
    let write = Message::builder_error(request, MessageWriteVec::with_capacity(128));
    let code = code(refusal.code());
    match refusal {
        Refusal::Code(_) => finish(write, &[&code], signature),
        Refusal::Unknown(kinds) => finish(write, &[&code, &UnknownAttributes::new(kinds)], signature),
    }
}

/// 401 or 438: asks for (other) credentials, without integrity (RFC 8489 section 9.2.4).
pub(crate) fn challenge(request: &Message<'_>, refusal: u16, realm: &str, nonce: &str) -> Vec<u8> {
    let write = Message::builder_error(request, MessageWriteVec::with_capacity(128));
    let (Ok(realm), Ok(nonce)) = (Realm::new(realm), Nonce::new(nonce)) else {
        return finish(write, &[&code(refusal)], None);
    };
    let algorithms = RawAttribute::new(PASSWORD_ALGORITHMS, &PasswordAlgorithm::OFFERED);
    finish(write, &[&code(refusal), &realm, &nonce, &algorithms], None)
}

fn code(code: u16) -> ErrorCode {
    // The number says it all, and a phrase makes the answer longer than the question.
    ErrorCode::new(code, "").expect("our codes lie between 300 and 699")
}

fn finish(mut write: MessageWriteVec, attributes: &[&dyn AttributeWrite], signature: Option<&Signature>) -> Vec<u8> {
    for attribute in attributes {
        // Only too large a message fails, and ours are small.
        let _ = write.add_attribute(*attribute);
    }
    let mut message = write.finish();
    if let Some(signature) = signature {
        sign(&mut message, signature);
    }
    message
}
