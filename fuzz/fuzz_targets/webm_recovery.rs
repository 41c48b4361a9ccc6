//! See `fuzz::webm_recovery`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::webm_recovery(bytes));
