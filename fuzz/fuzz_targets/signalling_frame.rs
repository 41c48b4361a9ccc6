//! See `fuzz::signalling_frame`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::signalling_frame(bytes));
