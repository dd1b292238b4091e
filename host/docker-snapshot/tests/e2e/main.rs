//! The program beside a Docker Engine: `make host-e2e` starts these tests, `cargo test` leaves them out.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics has said what it has to say")]

#[path = "../../../engine/tests/e2e/sandbox.rs"]
mod sandbox;

#[path = "../it/run.rs"]
mod run;

mod connection;
mod recover;
mod volumes;
