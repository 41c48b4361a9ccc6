//! See `fuzz::dtls_hello`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::dtls_hello(bytes));
