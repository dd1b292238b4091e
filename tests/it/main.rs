//! The binary as its users meet it: every promise of the README, made by one test binary (linking once keeps
//! `cargo test` fast).
//!
//! Every test works below a temporary directory of its own, in a mount namespace in which all else is
//! read-only (`support::sandbox`): a bug in the program or in a test cannot reach the machine.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test that panics has said what it has to say"
)]

mod support;

mod any_tar;
mod bad_input;
mod commands;
mod comparison;
mod concurrency;
mod containers;
mod crash;
mod damage;
mod extraction;
// The registers of a stopped program are those of one architecture.
#[cfg(target_arch = "x86_64")]
mod faults;
mod history;
mod hostile;
mod in_use;
mod incremental;
mod index;
mod kills;
mod layers;
mod leaps;
mod modes;
mod namespaces;
mod obstacles;
mod others;
mod ownership;
mod removals;
mod round_trip;
mod selection;
mod streams;
mod to_stdout;
