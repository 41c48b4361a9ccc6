//! See `fuzz::vp9_packets`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::vp9_packets(bytes));
