//! See `kubefwd_worker::fuzzing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| kubefwd_worker::fuzzing::capture(bytes));
