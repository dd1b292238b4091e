//! The program `docker-snapshot`, which is `docker snapshot` as well: parses its command line, runs one
//! command, and turns what came of it into an exit code: 0 done, 1 failed, 2 misused.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, reason = "tests"))]

mod alarm;
mod cli;
mod config;
mod job;
mod schedule;
mod sidecar;
mod words;

use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::run() {
        Ok(code) => code,
        Err(error) if error.is::<cli::output::Told>() => ExitCode::FAILURE,
        Err(error) => {
            cli::output::say(&words::message(&error));
            ExitCode::FAILURE
        }
    }
}
