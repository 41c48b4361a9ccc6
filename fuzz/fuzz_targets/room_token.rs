//! See `fuzz::room_token`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::room_token(bytes));
