//! What to send next of one file. Pure: lengths and parts in, one step out.
//!
//! The head of a file is rewritten until the file is whole, so part 1 goes last; all other bytes never change once they are
//! written, so parts 2 to n go as soon as they are full. A file that fits into part 1 is put whole.

use std::collections::BTreeMap;
use std::ops::Range;

use service::storage::PART_SIZE;
use session::journal::PartDigest;
use sha2::{Digest, Sha256};

const PART: u64 = PART_SIZE as u64;

/// A file that has grown to this is ended, and another one begun: S3 takes 10,000 parts, and what a recording writes after
/// it was told to end must fit, too.
pub const MAX_LEN: u64 = 9_000 * PART;

/// The digests of a part.
pub fn digest(bytes: &[u8]) -> PartDigest {
    PartDigest {
        size: bytes.len() as u64,
        md5: service::storage::md5_hex(bytes),
        sha256: service::storage::hex(&Sha256::digest(bytes)),
        etag: None,
    }
}

/// The digest of a file: SHA-256 over the SHA-256 of its parts, all binary; `None`: a part's digest is no hex.
pub fn sha256_parts<'a>(parts: impl IntoIterator<Item = &'a PartDigest>) -> Option<String> {
    let mut all = Sha256::new();
    for part in parts {
        all.update(service::storage::unhex(&part.sha256)?);
    }
    Some(service::storage::hex(&all.finalize()))
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Nothing until the file grows or is whole.
    Wait,
    /// Begin a multipart upload.
    Begin,
    /// Send a part.
    Send {
        /// From 1.
        number: u32,
        /// Its bytes in the file.
        range: Range<u64>,
    },
    /// Put the whole file at once.
    Put,
    /// Ask storage which parts it has: some servers say yes to what they lose.
    Check,
    /// Make the object.
    Complete,
}

/// How far a file is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Bytes that will not change any more, but for the head.
    pub len: u64,
    /// Whether nothing follows and the head is final.
    pub whole: bool,
    /// Whether an upload was begun.
    pub begun: bool,
    /// Parts that storage has.
    pub sent: BTreeMap<u32, PartDigest>,
    /// Whether storage listed all of them since the last one was sent.
    pub checked: bool,
}

impl Plan {
    /// The next step.
    pub fn next(&self) -> Step {
        if self.whole && self.len <= PART {
            return Step::Put;
        }
        let full = (self.len / PART) as u32;
        let last = if self.whole { self.len.div_ceil(PART) as u32 } else { full };
        let missing = (2..=last).find(|number| !self.has(*number));
        match missing {
            Some(_) if !self.begun => Step::Begin,
            Some(number) => self.send(number),
            None if !self.whole => Step::Wait,
            None if !self.begun => Step::Begin,
            None if !self.has(1) => self.send(1),
            None if !self.checked => Step::Check,
            None => Step::Complete,
        }
    }

    /// Whether storage has all of a part. A part that was sent as the last one of a shorter file is not whole.
    fn has(&self, number: u32) -> bool {
        let range = self.range(number);
        self.sent.get(&number).is_some_and(|digest| digest.size == range.end - range.start)
    }

    fn send(&self, number: u32) -> Step {
        Step::Send { number, range: self.range(number) }
    }

    fn range(&self, number: u32) -> Range<u64> {
        let start = u64::from(number - 1) * PART;
        start..self.len.min(start + PART).max(start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(size: u64) -> PartDigest {
        PartDigest { size, md5: String::new(), sha256: String::new(), etag: None }
    }

    /// Does what the plan says, as a server would.
    fn obey(plan: &mut Plan) -> Step {
        let step = plan.next();
        match &step {
            Step::Begin => plan.begun = true,
            Step::Check => plan.checked = true,
            Step::Send { number, range } => {
                plan.sent.insert(*number, digest(range.end - range.start));
            }
            _ => {}
        }
        step
    }

    #[test]
    fn a_growing_file_goes_part_by_part_and_its_head_last() {
        let mut plan = Plan { len: 2 * PART - 1, ..Plan::default() };
        assert_eq!(plan.next(), Step::Wait, "part 1 is not sent before the head is final");
        plan.len = 3 * PART + 5;
        assert_eq!(obey(&mut plan), Step::Begin);
        assert_eq!(obey(&mut plan), Step::Send { number: 2, range: PART..2 * PART });
        assert_eq!(obey(&mut plan), Step::Send { number: 3, range: 2 * PART..3 * PART });
        assert_eq!(obey(&mut plan), Step::Wait);
        plan.whole = true;
        assert_eq!(obey(&mut plan), Step::Send { number: 4, range: 3 * PART..3 * PART + 5 });
        assert_eq!(obey(&mut plan), Step::Send { number: 1, range: 0..PART });
        assert_eq!(obey(&mut plan), Step::Check);
        assert_eq!(obey(&mut plan), Step::Complete);
    }

    #[test]
    fn a_small_file_is_put() {
        assert_eq!(Plan { len: PART, whole: true, ..Plan::default() }.next(), Step::Put);
        assert_eq!(Plan { len: PART, ..Plan::default() }.next(), Step::Wait);
    }

    #[test]
    fn a_whole_file_of_full_parts_has_no_empty_one() {
        let mut plan = Plan { len: 2 * PART, whole: true, ..Plan::default() };
        let steps: Vec<Step> = (0..4).map(|_| obey(&mut plan)).collect();
        assert_eq!(steps[1..3], [plan.send(2), plan.send(1)]);
        assert_eq!(steps[3], Step::Check);
    }

    #[test]
    fn a_part_that_grew_is_sent_again() {
        let sent = BTreeMap::from([(2, digest(7))]);
        let plan = Plan { len: 2 * PART, whole: true, begun: true, sent, checked: false };
        assert_eq!(plan.next(), Step::Send { number: 2, range: PART..2 * PART });
    }
}
