//! Containers of a real engine, stopped and started again: `make host-e2e` starts these tests, `cargo test`
//! leaves them out.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics has said what it has to say")]

mod daemon;
mod driver;
mod helper;
mod helper_kills;
mod hold;
mod kills;
mod obstacles;
mod recover;
mod sandbox;
mod transfer;
