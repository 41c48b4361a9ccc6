//! A range of addresses, compared as numbers. Lists and verdicts are the parent's.

use std::net::IpAddr;

use super::PolicyError;

/// First and last address, of one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range {
    v4: bool,
    first: u128,
    last: u128,
}

impl Range {
    /// Reads `address`, `address/bits` or `first-last`.
    pub(crate) fn parse(text: &str) -> Result<Self, PolicyError> {
        Self::read(text.trim()).ok_or_else(|| PolicyError::NotARange(text.into()))
    }

    fn read(text: &str) -> Option<Self> {
        if let Some((first, last)) = text.split_once('-') {
            let first: IpAddr = first.trim().parse().ok()?;
            let last: IpAddr = last.trim().parse().ok()?;
            let range = Self { v4: first.is_ipv4(), first: number(first), last: number(last) };
            return (first.is_ipv4() == last.is_ipv4() && range.first <= range.last).then_some(range);
        }
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse::<u32>().ok()?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let host_bits = width - bits.filter(|bits| *bits <= width).or(bits.is_none().then_some(width))?;
        let mask = 1u128.checked_shl(host_bits).map_or(u128::MAX, |size| size - 1);
        let first = number(address) & !mask;
        Some(Self { v4: address.is_ipv4(), first, last: first | mask })
    }

    /// Addresses in the range, less one.
    pub(crate) fn size(&self) -> u128 {
        self.last - self.first
    }

    /// Whether an address lies inside.
    pub(crate) fn contains(&self, ip: IpAddr) -> bool {
        self.v4 == ip.is_ipv4() && (self.first..=self.last).contains(&number(ip))
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

    /// Rule: abuse-3
    #[test]
    fn ranges_are_numbers_and_not_prefixes_of_bytes() {
        let range = Range::parse("2001:db8::ff-2001:db8::1:1").unwrap();
        let inside = |text: &str| range.contains(text.parse().unwrap());
        assert!(inside("2001:db8::ff") && inside("2001:db8::1:0") && inside("2001:db8::100"));
        assert!(!inside("2001:db8::fe") && !inside("2001:db8::1:2") && !inside("10.0.0.1"));
    }

    #[test]
    fn host_bits_are_ignored_and_nonsense_is_refused() {
        assert_eq!(Range::parse("10.1.2.3/8"), Range::parse("10.0.0.0/8"));
        assert_eq!(Range::parse("::/0").unwrap().size(), u128::MAX);
        for text in ["", "10.0.0.0/33", "10.0.0/8", "10.0.0.9-10.0.0.1", "10.0.0.1-::1", "::/129", "10.0.0.1/-1", "x"] {
            assert!(Range::parse(text).is_err(), "{text}");
        }
    }
}
