//! See `fuzz::webm_muxer`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::webm_muxer(bytes));
