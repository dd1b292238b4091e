//! The lock of a lease: whoever has it is alive, and has written into it who that is.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process;

/// Takes the lock of the lease `name`.
///
/// # Errors
/// [`ErrorKind::WouldBlock`] when another process has it.
pub(crate) fn take(directory: &Path, name: &str) -> io::Result<File> {
    let mut lock = open(directory, name)?;
    try_lock(&lock)?;
    lock.set_len(0)?;
    writeln!(lock, "process {}", process::id())?;
    Ok(lock)
}

/// Whether another process has the lock.
pub(crate) fn is_held(directory: &Path, name: &str) -> bool {
    open(directory, name).and_then(|lock| try_lock(&lock)).is_err()
}

/// Who has the lock, in its own words.
pub(crate) fn holder(directory: &Path, name: &str) -> String {
    let mut text = String::new();
    match open(directory, name).and_then(|lock| lock.take(100).read_to_string(&mut text)) {
        Ok(1..) => text.trim().to_owned(),
        _ => "another process".to_owned(),
    }
}

fn open(directory: &Path, name: &str) -> io::Result<File> {
    let path = directory.join(format!("{name}.lock"));
    OpenOptions::new().create(true).truncate(false).read(true).write(true).mode(0o600).open(path)
}

fn try_lock(lock: &File) -> io::Result<()> {
    lock.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => ErrorKind::WouldBlock.into(),
        TryLockError::Error(error) => error,
    })
}
