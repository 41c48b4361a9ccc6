//! H.264 (RFC 6184, packetization mode 1): small NAL units alone or together, large ones in fragments.

use super::MAX_PAYLOAD;

const AUD: u8 = 9;

/// The payloads of an access unit with start codes.
pub(super) fn payloads(unit: &[u8]) -> Vec<Vec<u8>> {
    let mut payloads: Vec<Vec<u8>> = Vec::new();
    // NAL units that wait for company: parameter sets, messages, small slices.
    let mut small: Vec<&[u8]> = Vec::new();
    for nal in nals(unit) {
        let together = 1 + small.iter().chain([&nal]).map(|nal| nal.len() + 2).sum::<usize>();
        if together <= MAX_PAYLOAD {
            small.push(nal);
            continue;
        }
        payloads.extend(aggregate(&mut small));
        if nal.len() + 3 <= MAX_PAYLOAD {
            small.push(nal);
            continue;
        }
        let (indicator, kind, body) = (nal[0] & 0xe0 | 28, nal[0] & 0x1f, &nal[1..]);
        let last = body.len().div_ceil(MAX_PAYLOAD - 2) - 1;
        for (index, chunk) in body.chunks(MAX_PAYLOAD - 2).enumerate() {
            // S and E (RFC 6184, 5.8).
            let header = u8::from(index == 0) << 7 | u8::from(index == last) << 6 | kind;
            payloads.push([&[indicator, header], chunk].concat());
        }
    }
    payloads.extend(aggregate(&mut small));
    payloads
}

/// A STAP-A of several, or the only one as it is.
fn aggregate(small: &mut Vec<&[u8]>) -> Option<Vec<u8>> {
    let nals = std::mem::take(small);
    if let [nal] = nals[..] {
        return Some(nal.to_vec());
    }
    let importance = nals.iter().filter_map(|nal| nal.first()).map(|first| first & 0x60).max()?;
    let mut out = vec![importance | 24];
    for nal in nals {
        out.extend((nal.len() as u16).to_be_bytes());
        out.extend(nal);
    }
    Some(out)
}

/// The NAL units between start codes (H.264, annex B), without delimiters.
fn nals(unit: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut starts: Vec<usize> = Vec::new();
    let mut at = 0;
    while let Some(found) = unit.get(at..).and_then(|rest| rest.windows(3).position(|three| three == [0, 0, 1])) {
        at += found + 3;
        starts.push(at);
    }
    let ends = starts.iter().skip(1).map(|start| start - 3).chain([unit.len()]).collect::<Vec<_>>();
    let nal = |(start, end): (usize, usize)| {
        let nal = &unit[start..end];
        // The zeros of a longer start code, and of nothing, are no part of a unit, which ends with a stop bit.
        &nal[..nal.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)]
    };
    starts.into_iter().zip(ends).map(nal).filter(|nal| nal.first().is_some_and(|first| first & 0x1f != AUD))
}
