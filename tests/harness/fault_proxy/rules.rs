//! What a request is, and the rules of multipart uploads: all parts but the last have the same size (R2), which is 8 MiB
//! and so more than 5 MiB (AWS), the last one not larger; at most 10,000 parts (AWS); part 1, which holds a file's head, is sent
//! after all others; an object is made of all parts that were sent, in order.

use std::collections::{BTreeMap, BTreeSet};

use super::message::Message;

const PART: usize = 8 << 20;
const MAX_PARTS: u32 = 10_000;

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// Any of the others.
    Any,
    /// A multipart upload is begun.
    Create,
    /// A part is sent; in an order: any part.
    AnyPart,
    /// A part with this number is sent.
    Part(u32),
    ListParts,
    Complete,
    Abort,
    ListUploads,
    Head,
    /// An object that is none of the others is put.
    Put,
    /// Some bytes are put to see what storage does with them.
    PutProbe,
    /// A recorder's segment is put.
    PutSegment,
    /// A recorder's segment is read.
    GetSegment,
    /// A manifest is put.
    PutManifest,
    Get,
    List,
    Delete,
}

impl Operation {
    /// What a request asks for.
    pub(super) fn of(request: &Message) -> Self {
        let (method, target) = request.request();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let value = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        let asks = |name: &str| query.split('&').any(|pair| pair.trim_end_matches('=') == name);
        let part = value("partNumber").and_then(|number| number.parse().ok());
        let segment = path.contains("/segments/");
        match method {
            "POST" if asks("uploads") => Self::Create,
            "PUT" if part.is_some() => Self::Part(part.unwrap_or(0)),
            "POST" if value("uploadId").is_some() => Self::Complete,
            "DELETE" if value("uploadId").is_some() => Self::Abort,
            "GET" if value("uploadId").is_some() => Self::ListParts,
            "GET" if asks("uploads") => Self::ListUploads,
            "HEAD" => Self::Head,
            "PUT" if segment => Self::PutSegment,
            "PUT" if path.ends_with("/recording.json") => Self::PutManifest,
            "PUT" if path.contains("/probe/") => Self::PutProbe,
            "PUT" => Self::Put,
            "GET" if segment => Self::GetSegment,
            "GET" if value("list-type").is_some() => Self::List,
            "DELETE" => Self::Delete,
            _ => Self::Get,
        }
    }

    /// Whether an order for this means that request.
    pub(super) fn covers(self, other: Self) -> bool {
        self == other || self == Self::Any || self == Self::AnyPart && matches!(other, Self::Part(_))
    }
}

/// What was seen of uploads.
#[derive(Default)]
pub(super) struct Rules {
    /// By upload id: the size of each part, and when it first came.
    uploads: BTreeMap<String, BTreeMap<u32, (usize, usize)>>,
    /// The ids of uploads that were given up.
    aborted: BTreeSet<String>,
    counts: BTreeMap<Operation, usize>,
    seen: usize,
    pub(super) violations: Vec<String>,
}

impl Rules {
    pub(super) fn count(&self, operation: Operation) -> usize {
        self.counts.iter().filter(|(other, _)| operation.covers(**other)).map(|(_, count)| count).sum()
    }

    pub(super) fn aborted(&self) -> usize {
        self.aborted.len()
    }

    /// Looks at a request.
    pub(super) fn handle(&mut self, request: &Message) {
        let operation = Operation::of(request);
        *self.counts.entry(operation).or_default() += 1;
        self.seen += 1;
        let query = request.request().1.split_once('?').map_or("", |(_, query)| query);
        let id = query.split('&').find_map(|pair| pair.strip_prefix("uploadId="));
        match (operation, id) {
            (Operation::Part(number), Some(id)) => {
                let parts = self.uploads.entry(id.to_owned()).or_default();
                let seen = parts.get(&number).map_or(self.seen, |(_, seen)| *seen);
                parts.insert(number, (request.body.len(), seen));
                if number == 0 || number > MAX_PARTS {
                    self.violations.push(format!("part {number}"));
                }
            }
            (Operation::Abort, Some(id)) => {
                self.aborted.insert(id.to_owned());
            }
            (Operation::Complete, Some(id)) => self.check(id, &listed(&request.body)),
            _ => {}
        }
    }

    fn check(&mut self, id: &str, listed: &[u32]) {
        let Some(parts) = self.uploads.get(id) else { return };
        if !listed.iter().eq(parts.keys()) {
            let sent: Vec<_> = parts.keys().collect();
            self.violations.push(format!("an object is made of {listed:?} where {sent:?} were sent"));
        }
        if let Some((number, (size, _))) = parts.iter().find(|(_, (size, _))| *size > PART) {
            self.violations.push(format!("part {number} has {size} bytes"));
        }
        let last = parts.keys().last().copied().unwrap_or(0);
        for (number, (size, _)) in parts.iter().filter(|(number, _)| **number != last) {
            if *size != PART {
                self.violations.push(format!("part {number} of {last} has {size} bytes"));
            }
        }
        let of_head = parts.get(&1).map_or(0, |(_, seen)| *seen);
        if parts.values().any(|(_, seen)| *seen > of_head) {
            self.violations.push(format!("part 1 was not the last of {last}"));
        }
    }
}

/// The numbers in a list of parts.
fn listed(body: &[u8]) -> Vec<u32> {
    let text = String::from_utf8_lossy(body);
    let numbers = text.split("<PartNumber>").skip(1).filter_map(|rest| rest.split('<').next());
    numbers.filter_map(|number| number.parse().ok()).collect()
}
