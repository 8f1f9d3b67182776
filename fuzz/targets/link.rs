//! Fuzzes linking of components.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| berth_fuzz::link(data));
