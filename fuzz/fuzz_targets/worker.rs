//! See `kubefwdd::fuzzing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| kubefwdd::fuzzing::worker(bytes));
