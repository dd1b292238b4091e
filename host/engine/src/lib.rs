//! Drives a Docker Engine: everything that `docker snapshot` must know of engines, containers and volumes,
//! and nothing of archives and stores.
//!
//! [`connect`] finds the engine that the docker CLI would use, [`api`] speaks to it, [`discover`] says what
//! there is, [`hold`] brings containers to rest and lets them go on, [`lease`] remembers which, [`helper`]
//! works on volumes in a container of its own.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, reason = "tests"))]

pub mod api;
pub mod compose;
pub mod connect;
pub mod discover;
pub mod error;
pub mod helper;
pub mod hold;
pub mod lease;
pub mod obstacle;
pub mod places;
mod transfer;

pub use error::{Error, Result};
