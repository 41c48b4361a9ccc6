//! What to send next of one file. Pure: lengths and parts in, one step out.
//!
//! The head of a file is rewritten until the file is whole, so part 1 goes last; all other bytes never change once they are
//! written, so parts 2 to n go as soon as they are full, several at once if they wait. A file that fits into part 1 is put
//! whole.

use std::collections::BTreeMap;
use std::ops::Range;

use service::storage::PART_SIZE;
use session::journal::PartDigest;
use sha2::{Digest, Sha256};

use super::LANES;

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
    /// Send these parts, beside each other.
    Send(Vec<u32>),
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
        if self.len <= PART {
            return if self.whole { Step::Put } else { Step::Wait };
        }
        if !self.begun {
            return Step::Begin;
        }
        let full = (self.len / PART) as u32;
        let last = if self.whole { self.len.div_ceil(PART) as u32 } else { full };
        let missing: Vec<u32> = (2..=last).filter(|number| !self.has(*number)).take(LANES).collect();
        match () {
            () if !missing.is_empty() => Step::Send(missing),
            () if !self.whole => Step::Wait,
            () if !self.has(1) => Step::Send(vec![1]),
            () if !self.checked => Step::Check,
            () => Step::Complete,
        }
    }

    /// Whether storage has all of a part. A part that was sent as the last one of a shorter file is not whole.
    fn has(&self, number: u32) -> bool {
        let range = self.range(number);
        self.sent.get(&number).is_some_and(|digest| digest.size == range.end - range.start)
    }

    /// The bytes of a part in the file.
    pub fn range(&self, number: u32) -> Range<u64> {
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
            Step::Send(numbers) => {
                for number in numbers {
                    let range = plan.range(*number);
                    plan.sent.insert(*number, digest(range.end - range.start));
                }
            }
            _ => {}
        }
        step
    }

    #[test]
    fn a_growing_file_goes_part_by_part_and_its_head_last() {
        let mut plan = Plan { len: 2 * PART - 1, ..Plan::default() };
        assert_eq!(obey(&mut plan), Step::Begin, "it has parts, however it ends");
        assert_eq!(plan.next(), Step::Wait, "part 1 is not sent before the head is final");
        for number in [2, 3] {
            plan.len = u64::from(number) * PART + 5;
            assert_eq!(obey(&mut plan), Step::Send(vec![number]));
            assert_eq!(obey(&mut plan), Step::Wait);
        }
        plan.whole = true;
        assert_eq!(obey(&mut plan), Step::Send(vec![4]));
        assert_eq!(obey(&mut plan), Step::Send(vec![1]));
        assert_eq!(obey(&mut plan), Step::Check);
        assert_eq!(obey(&mut plan), Step::Complete);
        assert_eq!(plan.sent.values().map(|part| part.size).collect::<Vec<_>>(), [PART, PART, PART, 5]);
    }

    #[test]
    fn what_waits_goes_in_all_lanes_and_the_head_alone() {
        let mut plan = Plan { len: 7 * PART + 5, whole: true, ..Plan::default() };
        let steps: Vec<Step> = (0..4).map(|_| obey(&mut plan)).collect();
        let sends = [vec![2, 3, 4, 5], vec![6, 7, 8], vec![1]].map(Step::Send);
        assert_eq!((&steps[0], &steps[1..]), (&Step::Begin, &sends[..]));
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
        assert_eq!(steps[1..3], [Step::Send(vec![2]), Step::Send(vec![1])]);
        assert_eq!(steps[3], Step::Check);
    }

    #[test]
    fn a_part_that_grew_is_sent_again() {
        let sent = BTreeMap::from([(2, digest(7))]);
        let plan = Plan { len: 2 * PART, whole: true, begun: true, sent, checked: false };
        assert_eq!(plan.next(), Step::Send(vec![2]));
    }
}
