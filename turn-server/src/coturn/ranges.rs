//! Ranges of addresses as coturn writes them, and what is left of one when others are taken away.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// First and last address, of one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    v4: bool,
    first: u128,
    last: u128,
}

impl Range {
    /// `address` or `first-last`; coturn has no other form.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        if let Some(range) = text.split_once('/').and_then(|(address, bits)| Self::of_prefix(address, bits)) {
            return Err(format!("coturn reads no address/bits; write {range}"));
        }
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let parse = |text: &str| text.parse::<IpAddr>().map_err(|_| format!("{text:?} must be an address"));
        let (first, last) = (parse(first)?, parse(last)?);
        let range = Self { v4: first.is_ipv4(), first: number(first), last: number(last) };
        if first.is_ipv4() != last.is_ipv4() || range.first > range.last {
            return Err(format!("{text:?} must be a range from a lower to a higher address"));
        }
        Ok(range)
    }

    /// Whether an address lies inside.
    pub(super) fn contains(&self, ip: IpAddr) -> bool {
        self.v4 == ip.is_ipv4() && (self.first..=self.last).contains(&number(ip))
    }

    fn of_prefix(address: &str, bits: &str) -> Option<Self> {
        let address: IpAddr = address.parse().ok()?;
        let width = if address.is_ipv4() { 32u32 } else { 128 };
        let host = width.checked_sub(bits.parse().ok()?)?;
        let mask = 1u128.checked_shl(host).map_or(u128::MAX, |size| size - 1);
        let first = number(address) & !mask;
        Some(Self { v4: address.is_ipv4(), first, last: first | mask })
    }

    /// What is left of this range without `other`: nothing, one range or two.
    fn without(self, other: &Self) -> Vec<Self> {
        if self.v4 != other.v4 || other.last < self.first || self.last < other.first {
            return vec![self];
        }
        let below = (self.first < other.first).then(|| Self { last: other.first - 1, ..self });
        let above = (self.last > other.last).then(|| Self { first: other.last + 1, ..self });
        below.into_iter().chain(above).collect()
    }
}

/// What `ranges` cover and `taken` do not.
pub(super) fn subtract(ranges: impl IntoIterator<Item = Range>, taken: &[Range]) -> Vec<Range> {
    let less = |ranges: Vec<Range>, other: &Range| ranges.into_iter().flat_map(|range| range.without(other)).collect();
    taken.iter().fold(ranges.into_iter().collect(), less)
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = |number: u128| match self.v4 {
            true => IpAddr::V4(Ipv4Addr::from_bits(number as u32)),
            false => IpAddr::V6(Ipv6Addr::from_bits(number)),
        };
        write!(f, "{}", address(self.first))?;
        if self.first != self.last { write!(f, "-{}", address(self.last)) } else { Ok(()) }
    }
}

fn number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => u128::from(ip.to_bits()),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(texts: &[&str]) -> Vec<Range> {
        texts.iter().map(|text| Range::read(text).unwrap()).collect()
    }

    #[test]
    fn what_is_allowed_is_cut_out_of_what_is_denied() {
        let left = |denied: &[&str], allowed: &[&str]| {
            let left = subtract(ranges(denied), &ranges(allowed));
            left.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(left(&["10.0.0.0-10.255.255.255"], &["10.0.0.5"]), "10.0.0.0-10.0.0.4 10.0.0.6-10.255.255.255");
        assert_eq!(left(&["0.0.0.0-255.255.255.255"], &["0.0.0.0", "255.255.255.255"]), "0.0.0.1-255.255.255.254");
        assert_eq!(left(&["10.0.0.1", "::1-::9"], &["10.0.0.0-10.0.0.9", "::5"]), "::1-::4 ::6-::9");
        assert_eq!(left(&["10.0.0.1"], &["::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"]), "10.0.0.1");
    }

    #[test]
    fn a_prefix_is_answered_with_the_range_to_write() {
        assert_eq!(
            Range::read("10.1.0.0/8").unwrap_err(),
            "coturn reads no address/bits; write 10.0.0.0-10.255.255.255"
        );
        let written = Range::read("fc00::/7").unwrap_err();
        assert!(written.ends_with("write fc00::-fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), "{written}");
        for wrong in ["10.0.0.9-10.0.0.1", "10.0.0.1-::1", "10.0.0", "", "10.0.0.1-", "10.0.0.0/33"] {
            assert!(Range::read(wrong).is_err(), "{wrong}");
        }
    }
}
