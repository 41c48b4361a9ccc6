//! Ranges of addresses as coturn writes them, and what is left of some when others are taken away.

use std::net::IpAddr;

use turn::AddressRange;

/// `address` or `first-last`; coturn has no other form.
pub(super) fn read(text: &str) -> Result<AddressRange, String> {
    if text.contains('/')
        && let Ok(range) = AddressRange::parse(text)
    {
        return Err(format!("coturn reads no address/bits; write {range}"));
    }
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let parse = |text: &str| text.parse::<IpAddr>().map_err(|_| format!("{text:?} must be an address"));
    let range = AddressRange::between(parse(first)?, parse(last)?);
    range.ok_or_else(|| format!("{text:?} must be a range from a lower to a higher address"))
}

/// What `ranges` cover and `taken` do not.
pub(super) fn subtract(ranges: impl IntoIterator<Item = AddressRange>, taken: &[AddressRange]) -> Vec<AddressRange> {
    let less = |ranges: Vec<AddressRange>, other: &AddressRange| {
        ranges.into_iter().flat_map(|range| range.without(other)).collect()
    };
    taken.iter().fold(ranges.into_iter().collect(), less)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(texts: &[&str]) -> Vec<AddressRange> {
        texts.iter().map(|text| read(text).unwrap()).collect()
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
        assert_eq!(read("10.1.0.0/8").unwrap_err(), "coturn reads no address/bits; write 10.0.0.0-10.255.255.255");
        let written = read("fc00::/7").unwrap_err();
        assert!(written.ends_with("write fc00::-fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), "{written}");
        for wrong in ["10.0.0.9-10.0.0.1", "10.0.0.1-::1", "10.0.0", "", "10.0.0.1-", "10.0.0.0/33"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
