//! See `fuzz::h264_packets`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::h264_packets(bytes));
