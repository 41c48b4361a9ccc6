//! See `fuzz::sfu_datagram`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::sfu_datagram(bytes));
