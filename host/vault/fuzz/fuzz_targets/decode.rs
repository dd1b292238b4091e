//! Decodes whatever it is given, from its beginning and at offsets.
#![no_main]

#[path = "../src/decode.rs"]
mod decode;
#[path = "../src/mutate.rs"]
mod mutate;

libfuzzer_sys::fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let mut random = mutate::Random(seed.into());
    // One in four is left to libFuzzer, which knows what it has covered.
    let size = if seed % 4 == 0 { libfuzzer_sys::fuzzer_mutate(data, size, max_size) } else { size };
    let mut file = data[..size].to_vec();
    if seed % 4 != 0 {
        mutate::change(&mut file, &mut random);
    }
    if seed % 8 != 0 {
        mutate::repair(&mut file);
    }
    file.truncate(max_size);
    data[..file.len()].copy_from_slice(&file);
    file.len()
});

libfuzzer_sys::fuzz_target!(|data: &[u8]| decode::both_ways(data));
