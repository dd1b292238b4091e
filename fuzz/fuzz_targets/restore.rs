//! Restores whatever it is given, where all else is read-only, and looks whether anything changed that must not.
#![no_main]

#[path = "../src/confine.rs"]
mod confine;
#[allow(dead_code, reason = "the hand-made archives need more of it")]
#[path = "../src/craft.rs"]
mod craft;
#[path = "../src/mutate.rs"]
mod mutate;
#[path = "../src/restore.rs"]
mod restore;
#[path = "../src/target.rs"]
mod target;

libfuzzer_sys::fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    target::mutate(data, size, max_size, seed)
});

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    target::confined(data, |scratch, data| {
        // One way for each input, always the same, so that a finding can be had again.
        let first = usize::from(blake3::hash(data).as_bytes()[0]) % restore::WAYS.len();
        restore::prepare(scratch, data);
        let _ = restore::run(restore::WAYS[first]);
    });
});
