//! See `fuzz::device_proof`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::device_proof(bytes));
