//! Ports of peers that may be sent to. Addresses are the parent's.

use std::ops::RangeInclusive;

use super::PolicyError;

/// Ranges of ports, and how a verdict names them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PeerPorts {
    ranges: Vec<RangeInclusive<u16>>,
    pub(super) rule: String,
}

/// Every port.
impl Default for PeerPorts {
    fn default() -> Self {
        Self { ranges: vec![0..=u16::MAX], rule: String::new() }
    }
}

impl PeerPorts {
    /// Reads a list of `port` and `first-last`.
    pub(super) fn parse(list: &[String]) -> Result<Self, PolicyError> {
        let read = |text: &String| range(text.trim()).ok_or_else(|| PolicyError::NotAPort(text.clone()));
        let ranges = list.iter().map(read).collect::<Result<_, _>>()?;
        Ok(Self { ranges, rule: format!("peer_ports: not one of [{}]", list.join(", ")) })
    }

    /// Whether a port is in the list.
    pub(super) fn contains(&self, port: u16) -> bool {
        self.ranges.iter().any(|range| range.contains(&port))
    }
}

fn range(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    // Port 0 is nobody's.
    (first > 0 && first <= last).then_some(first..=last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(list: &[&str]) -> Result<PeerPorts, PolicyError> {
        PeerPorts::parse(&list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn ports_and_ranges_are_inclusive() {
        let ports = parse(&["443", " 1024 - 65535 "]).unwrap();
        let inside: Vec<_> =
            [0, 1, 442, 443, 444, 1023, 1024, 65535].into_iter().filter(|p| ports.contains(*p)).collect();
        assert_eq!(inside, [443, 1024, 65535]);
        assert!(!parse(&[]).unwrap().contains(5000), "an empty list allows none");
        assert!(PeerPorts::default().contains(22));
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "x", "0", "0-5", "9-8", "65536", "1-65536", "-5", "5-", "1-2-3", "+5-x"] {
            assert_eq!(parse(&["443", text]), Err(PolicyError::NotAPort(text.into())), "{text}");
        }
    }
}
