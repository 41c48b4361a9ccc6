//! See `fuzz::turn_datagram`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::turn_datagram(bytes));
