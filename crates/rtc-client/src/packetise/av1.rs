//! AV1 (RTP Payload Format For AV1, v1.0.0 of the AOM): an OBU a packet, large ones in fragments.

use super::MAX_PAYLOAD;
use crate::leb128;

const HAS_EXTENSION: u8 = 0x04;
const HAS_SIZE: u8 = 0x02;
const SEQUENCE_HEADER: u8 = 1;
const TEMPORAL_DELIMITER: u8 = 2;

/// The payloads of a temporal unit in the low-overhead format; of one that is malformed, what could be read.
pub(super) fn payloads(unit: &[u8]) -> Vec<Vec<u8>> {
    let obus = obus(unit);
    let starts_sequence = obus.iter().any(|obu| kind(obu) == SEQUENCE_HEADER);
    let mut payloads = Vec::new();
    for obu in obus {
        let last = obu.len().div_ceil(MAX_PAYLOAD) - 1;
        for (index, chunk) in obu.chunks(MAX_PAYLOAD).enumerate() {
            // Z, Y, W = 1, N.
            let mut header = u8::from(index > 0) << 7 | u8::from(index < last) << 6 | 0x10;
            header |= u8::from(starts_sequence && payloads.is_empty()) << 3;
            payloads.push([&[header], chunk].concat());
        }
    }
    payloads
}

fn kind(obu: &[u8]) -> u8 {
    obu.first().map_or(0, |first| first >> 3 & 15)
}

/// The OBUs without their sizes, which packets say in another way, and without the delimiter.
fn obus(mut unit: &[u8]) -> Vec<Vec<u8>> {
    let mut obus = Vec::new();
    while let Some(&first) = unit.first() {
        let head = if first & HAS_EXTENSION == 0 { 1 } else { 2 };
        let Some((len, used)) = unit.get(head..).and_then(leb128::read) else { break };
        let start = head + used;
        let Some(body) = usize::try_from(len).ok().and_then(|len| unit.get(start..)?.get(..len)) else { break };
        if kind(unit) != TEMPORAL_DELIMITER {
            obus.push([&[first & !HAS_SIZE], &unit[1..head], body].concat());
        }
        unit = &unit[start + body.len()..];
    }
    obus
}
