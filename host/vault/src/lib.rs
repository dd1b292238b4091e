//! Everything between the bytes of an archive and where they end up; it knows nothing of Docker.
//!
//! [`store`] keeps encoded archives in directories, buckets and servers.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, reason = "tests"))]

pub mod store;
