//! The program beside a Docker Engine: `make host-e2e` starts these tests, `cargo test` leaves them out.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics has said what it has to say")]

#[path = "../../../engine/tests/e2e/sandbox.rs"]
mod sandbox;

#[path = "../it/run.rs"]
mod it;

mod run {
    //! Runs the program with the engine of these tests.

    use std::path::Path;
    use std::process::Command;

    pub(crate) use crate::it::{failure, script, success};

    /// The program in an empty environment but for the engine's address, with `home` as its home directory.
    pub(crate) fn program(home: &Path) -> Command {
        let mut program = crate::it::program(home);
        program.envs(std::env::var("DOCKER_HOST").map(|address| ("DOCKER_HOST", address)));
        program
    }
}

mod bucket;
mod connection;
mod elsewhere;
mod kills;
mod kinds;
mod meanwhile;
mod place;
mod proxy;
mod rebuild;
mod recover;
mod snapshot;
mod stores;
mod volumes;
