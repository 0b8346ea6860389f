//! See `kubefwd_portforward::fuzzing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| kubefwd_portforward::fuzzing::http(bytes));
