//! Everything between the bytes of an archive and where they end up; it knows nothing of Docker.
//!
//! [`encode`] compresses and encrypts a stream and reads it back, also at an offset; it is synchronous.
//! [`catalog`] says which backups a store has, [`retention`] which of them are to be kept.
//! [`store`] keeps encoded archives in directories, buckets and servers.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, reason = "tests"))]

pub mod catalog;
pub mod encode;
pub mod retention;
pub mod store;
