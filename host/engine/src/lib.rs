//! Drives a Docker Engine: everything that `docker snapshot` must know of engines, containers and volumes, and
//! nothing of archives and stores.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, reason = "tests"))]

pub mod places;
