//! See `kubefwd_capture::fuzzing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| kubefwd_capture::fuzzing::capture(bytes));
