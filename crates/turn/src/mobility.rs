//! Tickets with which an allocation follows its client to another 5-tuple (RFC 8016). What a move does, `server::mobility`
//! says.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq as _;

use crate::address::FiveTuple;
use crate::allocation::AllocationId;

/// Bytes of a ticket that nobody can guess.
const SECRET: usize = 12;
/// Worker, allocation, secret.
const LENGTH: usize = 1 + 8 + SECRET;
/// The same as text. To a client a ticket is any bytes, but coturn's keeps it as a string that ends at a zero.
const TEXT: usize = LENGTH / 3 * 4;
const _: () = assert!(LENGTH.is_multiple_of(3), "no padding");

/// A ticket's secret part.
pub(crate) type Secret = [u8; SECRET];

/// MOBILITY-TICKET: which worker has the allocation, which one it is, and the proof that the bearer was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticket {
    pub(crate) worker: u8,
    pub(crate) allocation: AllocationId,
    pub(crate) secret: Secret,
}

impl Ticket {
    /// `None`: not one of ours.
    pub(crate) fn read(value: &[u8]) -> Option<Self> {
        let value: &[u8; TEXT] = value.try_into().ok()?;
        let value: [u8; LENGTH] = URL_SAFE_NO_PAD.decode(value).ok()?.try_into().ok()?;
        let (id, secret) = (value[1..9].try_into().ok()?, value[9..].try_into().ok()?);
        Some(Self { worker: value[0], allocation: AllocationId::from_bits(u64::from_be_bytes(id)), secret })
    }

    pub(crate) fn text(&self) -> String {
        let mut bytes = [0; LENGTH];
        bytes[0] = self.worker;
        bytes[1..9].copy_from_slice(&self.allocation.to_bits().to_be_bytes());
        bytes[9..].copy_from_slice(&self.secret);
        URL_SAFE_NO_PAD.encode(bytes)
    }
}

/// How far an allocation is with following its client.
#[derive(Debug)]
pub(crate) struct Mobility {
    /// Of the ticket that is good now.
    pub(crate) secret: Secret,
    /// The move that has begun: the new 5-tuple is heard, the old one still served.
    pub(crate) pending: Option<Move>,
    /// The last move, if it was over before the client had its answer: the request for it may come once more.
    pub(crate) over: Option<Move>,
    /// The client's connection is gone; nobody is served until it comes back.
    pub(crate) detached: bool,
}

/// A move that has begun.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Move {
    pub(crate) to: FiveTuple,
    /// Of the ticket that was shown for it: good once more, for the same request sent again.
    shown: Secret,
}

impl Mobility {
    pub(crate) fn new(secret: Secret) -> Self {
        Self { secret, pending: None, over: None, detached: false }
    }

    /// Whether a ticket is good, or was shown from this 5-tuple just before.
    pub(crate) fn accepts(&self, ticket: &Ticket, client: FiveTuple) -> bool {
        self.has_seen(ticket, client) || bool::from(self.secret.ct_eq(&ticket.secret))
    }

    /// Whether a ticket was shown from this 5-tuple for the last move.
    pub(crate) fn has_seen(&self, ticket: &Ticket, client: FiveTuple) -> bool {
        let mut moves = self.pending.into_iter().chain(self.over);
        moves.any(|last| last.to == client && last.shown.ct_eq(&ticket.secret).into())
    }

    /// Begins a move with the present ticket, which `secret` replaces. A request sent again changes nothing, unless the client
    /// was lost meanwhile: then it is back.
    pub(crate) fn begin(&mut self, to: FiveTuple, ticket: &Ticket, secret: Secret) {
        if bool::from(self.secret.ct_eq(&ticket.secret)) {
            self.pending = Some(Move { to, shown: self.secret });
            self.secret = secret;
        } else if self.detached && self.pending.is_none() {
            self.pending = Some(Move { to, shown: ticket.secret });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_read_as_it_was_written() {
        let ticket = Ticket { worker: 3, allocation: AllocationId { slot: 7, generation: 9 }, secret: [5; SECRET] };
        assert_eq!(Ticket::read(ticket.text().as_bytes()), Some(ticket));
        for len in [0, 1, LENGTH, TEXT - 1, TEXT, TEXT + 1, 500] {
            assert_eq!(Ticket::read(&vec![1; len]), None);
        }
    }
}
