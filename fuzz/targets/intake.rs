//! Fuzzes inspection of components.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| berth_fuzz::intake(data));
