//! A range of addresses, compared as numbers. Lists and verdicts are the parent's.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::PolicyError;

/// First and last address, of one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressRange {
    v4: bool,
    first: u128,
    last: u128,
}

impl AddressRange {
    /// Reads `address`, `address/bits` or `first-last`.
    ///
    /// # Errors
    /// It is none of these.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        Self::read(text.trim()).ok_or_else(|| PolicyError::NotARange(text.into()))
    }

    fn read(text: &str) -> Option<Self> {
        if let Some((first, last)) = text.split_once('-') {
            let first: IpAddr = first.trim().parse().ok()?;
            let last: IpAddr = last.trim().parse().ok()?;
            return Self::between(first, last);
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

    /// From a first address to a last one; `None`: they are not of one family and in order.
    pub fn between(first: IpAddr, last: IpAddr) -> Option<Self> {
        let range = Self { v4: first.is_ipv4(), first: number(first), last: number(last) };
        (first.is_ipv4() == last.is_ipv4() && range.first <= range.last).then_some(range)
    }

    /// What is left of this range without `other`: nothing, one range or two.
    pub fn without(self, other: &Self) -> Vec<Self> {
        if self.v4 != other.v4 || other.last < self.first || self.last < other.first {
            return vec![self];
        }
        let below = (self.first < other.first).then(|| Self { last: other.first - 1, ..self });
        let above = (self.last > other.last).then(|| Self { first: other.last + 1, ..self });
        below.into_iter().chain(above).collect()
    }

    /// Addresses in the range, less one.
    pub(crate) fn size(&self) -> u128 {
        self.last - self.first
    }

    /// Whether an address lies inside.
    pub fn contains(&self, ip: IpAddr) -> bool {
        self.v4 == ip.is_ipv4() && (self.first..=self.last).contains(&number(ip))
    }
}

/// As [`AddressRange::parse`] reads it: `first-last`, or one address.
impl fmt::Display for AddressRange {
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

    /// Rule: abuse-3
    #[test]
    fn ranges_are_numbers_and_not_prefixes_of_bytes() {
        let range = AddressRange::parse("2001:db8::ff-2001:db8::1:1").unwrap();
        let inside = |text: &str| range.contains(text.parse().unwrap());
        assert!(inside("2001:db8::ff") && inside("2001:db8::1:0") && inside("2001:db8::100"));
        assert!(!inside("2001:db8::fe") && !inside("2001:db8::1:2") && !inside("10.0.0.1"));
    }

    #[test]
    fn host_bits_are_ignored_and_nonsense_is_refused() {
        assert_eq!(AddressRange::parse("10.1.2.3/8"), AddressRange::parse("10.0.0.0/8"));
        assert_eq!(AddressRange::parse("::/0").unwrap().size(), u128::MAX);
        for text in ["", "10.0.0.0/33", "10.0.0/8", "10.0.0.9-10.0.0.1", "10.0.0.1-::1", "::/129", "10.0.0.1/-1", "x"] {
            assert!(AddressRange::parse(text).is_err(), "{text}");
        }
    }
}
