#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| forelift_tests::fuzz::frames::run(data));
