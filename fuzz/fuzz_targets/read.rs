//! Lists, shows and verifies whatever it is given.
#![no_main]

#[path = "../src/confine.rs"]
mod confine;
#[allow(dead_code, reason = "the hand-made archives need more of it")]
#[path = "../src/craft.rs"]
mod craft;
#[path = "../src/mutate.rs"]
mod mutate;
#[allow(dead_code, reason = "the tests look at what was seen")]
#[path = "../src/read.rs"]
mod read;
#[path = "../src/target.rs"]
mod target;

libfuzzer_sys::fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    target::mutate(data, size, max_size, seed)
});

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    target::confined(data, |scratch, data| {
        scratch.renew();
        let path = std::path::Path::new("/srv/backup.tar");
        std::fs::write(path, data).unwrap();
        let _ = read::read(path, data.len() as u64);
    });
});
