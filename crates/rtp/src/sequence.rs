//! Sequence numbers as the engine extends them.

/// SRTP ends at this sequence number (RFC 3711, 3.3.1).
const END: u64 = 1 << 48;

/// Whether a packet may have this extended sequence number: what is beyond came from a number below 0, and only
/// somebody hostile sends that.
pub fn is_sequence(number: u64) -> bool {
    number < END
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_from_below_0_is_none() {
        let numbers = [0, (1 << 48) - 1, 1 << 48, 0_u64.wrapping_sub(5)];
        assert_eq!(numbers.map(is_sequence), [true, true, false, false]);
    }
}
