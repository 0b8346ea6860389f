//! See `kubefwd_worker::fuzzing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| kubefwd_worker::fuzzing::header_blocks(bytes));
