//! Dumps of real servers, which the tests start for themselves in their own temporary directories, without
//! rights and without a port.
#![allow(clippy::print_stderr, reason = "a test that is left out says so")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics has said what it has to say")]

mod failing;
mod mongo;
mod mysql;
mod postgres;
mod postgres_restore;
mod redis;
mod server;
mod sqlite;
