//! The program. All that it does stands in the library; all that it says stands in [`cli`], which turns what
//! came of a command into an exit code: 0 done, 1 failed, 2 misused, 3 restored without what is damaged.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, reason = "tests"))]

mod cli;

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::flag;
use snapshotter::observer::Cancel;

fn main() -> ExitCode {
    // Before anything else: as PID 1 of a container, a process without handlers ignores `docker stop`.
    cli::run(handle_signals())
}

fn handle_signals() -> anyhow::Result<Cancel> {
    let cancel = Cancel::default();
    for (signal, number) in [(SIGHUP, 1), (SIGINT, 2), (SIGTERM, 15)] {
        flag::register_usize(signal, cancel.signal(), number).context("cannot handle signals")?;
    }
    // A file that may not grow is then an error of the write, and not the end of the process.
    flag::register(SIGXFSZ, Arc::default()).context("cannot handle signals")?;
    Ok(cancel)
}
