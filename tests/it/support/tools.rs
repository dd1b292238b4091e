//! The tools of others, and what to do where one is missing: locally the test is skipped and says so, in CI
//! nothing is skipped.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use nix::unistd::geteuid;

use super::Run;

/// Whether a tool (by its name) or a privilege (`root`) is there. If not, says so; with `CI` set, panics.
#[track_caller]
pub(crate) fn need(what: &str) -> bool {
    let there = match what {
        "root" => geteuid().is_root() && can_unshare(),
        tool => find(tool).is_some(),
    };
    if !there {
        assert!(env::var_os("CI").is_none(), "this test needs {what}, and in CI nothing is skipped");
        let test = std::thread::current().name().unwrap_or("a test").to_owned();
        // Not eprintln!, which the test harness keeps to itself.
        let _ = writeln!(io::stderr(), "skipped: {test} needs {what}");
    }
    there
}

/// Runs a tool of another in the current directory of the test.
pub(crate) fn tool<A: AsRef<OsStr>>(name: &str, args: impl IntoIterator<Item = A>) -> Run {
    Run::of(tool_command(name, args))
}

pub(crate) fn tool_command<A: AsRef<OsStr>>(name: &str, args: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new(name);
    command.args(args).stdin(Stdio::null()).env("LC_ALL", "C.UTF-8").env("TZ", "UTC");
    command
}

/// The program in Go that reads archives as Go's library and the original snapshotter do (see its source).
/// It is compiled once, before the test enters its sandbox, where there is no place for Go's cache.
pub(crate) fn go_reader() -> &'static Path {
    static READER: OnceLock<PathBuf> = OnceLock::new();
    READER.get_or_init(|| {
        let reader = env::current_exe().unwrap().with_extension("go-reader");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/others/reader.go");
        let mut go =
            tool_command("go", ["build".as_ref(), "-o".as_ref(), reader.as_os_str(), source.as_os_str()]);
        go.env("GOTOOLCHAIN", "local").env("GO111MODULE", "off").env("CGO_ENABLED", "0");
        Run::of(go).ok();
        reader
    })
}

fn find(tool: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|folder| folder.join(tool))
        .find(|file| fs::metadata(file).is_ok_and(|m| m.is_file()))
}

fn can_unshare() -> bool {
    static CAN: OnceLock<bool> = OnceLock::new();
    *CAN.get_or_init(|| {
        let mut unshare = Command::new("unshare");
        unshare.args(["-m", "mount", "--make-rprivate", "/"]).stderr(Stdio::null());
        unshare.status().is_ok_and(|status| status.success())
    })
}
