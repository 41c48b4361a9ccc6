//! See `fuzz::vp8_packets`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::vp8_packets(bytes));
