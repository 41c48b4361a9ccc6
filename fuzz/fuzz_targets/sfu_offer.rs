//! See `fuzz::sfu_offer`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::sfu_offer(bytes));
