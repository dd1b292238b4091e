//! Encoding as a user of the crate sees it: round trips, what other programs make of it, damage.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "tests"
)]

mod damage;
mod data;
mod documented;
mod fuzzed;
mod hostile;
mod keys;
mod program;
mod round;
mod seek;
mod tools;
