#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| mbvc_fuzz::hdf5(bytes));
