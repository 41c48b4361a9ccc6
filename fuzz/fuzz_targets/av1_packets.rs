//! See `fuzz::av1_packets`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::av1_packets(bytes));
