//! See `fuzz::recorded_packets`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::recorded_packets(bytes));
