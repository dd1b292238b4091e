//! Runs the program with nothing of the machine's in its environment.

use std::path::Path;
use std::process::{Command, Output};

use assert_cmd::cargo::cargo_bin;

/// The program in an empty environment, with `home` as its home directory.
pub(crate) fn program(home: &Path) -> Command {
    of(cargo_bin!("docker-snapshot"), home)
}

/// The same, of another copy.
pub(crate) fn of(program: &Path, home: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("HOME", home).current_dir(home);
    command
}

/// The one line that a failed run has said.
pub(crate) fn failure(output: &Output) -> String {
    let stderr = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.starts_with("docker-snapshot: cannot "), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(output.stdout.is_empty());
    stderr
}

/// What a run that went well has printed.
pub(crate) fn success(output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    assert!(stderr.is_empty(), "{stderr}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Makes a program of `text`. Another process writes it: while this one has it open, a test beside this one
/// may start something that inherits the handle, and what is open for writing cannot be run.
pub(crate) fn script(path: &Path, text: &str) {
    let write = ["-c", r#"printf %s "$1" >"$0" && chmod 755 "$0""#];
    assert!(Command::new("/bin/sh").args(write).arg(path).arg(text).status().unwrap().success());
}
