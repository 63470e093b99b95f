#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| mbvc_fuzz::packed(bytes));

libfuzzer_sys::fuzz_mutator!(|bytes: &mut [u8], size: usize, limit: usize, seed: u32| {
    mbvc_fuzz::mutate::packed(bytes, size, limit, seed)
});
