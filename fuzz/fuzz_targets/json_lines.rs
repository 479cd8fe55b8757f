#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| emscore_fuzz::read(".jsonl", bytes));
