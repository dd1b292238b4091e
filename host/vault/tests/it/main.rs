//! What stores promise, tried with real ones.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
#![allow(clippy::print_stdout, reason = "what is skipped is said")]

mod directory;
mod faults;
mod proxy;
mod s3;
mod servers;
mod sftp;
mod suite;
mod webdav;
