//! The files of leases. A lease is written to another name, synced, renamed, and its directory is synced: it
//! is there as a whole or not at all.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// What the name of every lease begins with.
pub(crate) const PREFIX: &str = "lease-";
/// What follows a lease's name: the lease, the lease while it is written, and the lock.
pub(crate) const SUFFIXES: [&str; 3] = [".json", ".json.new", ".lock"];

/// Removes all of the lease `name`: the lease first, since what else there is means nothing without it.
pub(crate) fn remove_all(directory: &Path, name: &str) -> io::Result<()> {
    for suffix in SUFFIXES {
        remove(&directory.join(format!("{name}{suffix}")))?;
    }
    sync(directory)
}

/// Removes the file, if it is there.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// `file` in `directory` with `text`, durable, and never anything in between.
pub(crate) fn replace(directory: &Path, file: &str, text: &[u8]) -> io::Result<()> {
    let new = directory.join(format!("{file}.new"));
    let mut to = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&new)?;
    to.write_all(text)?;
    to.sync_all()?;
    fs::rename(&new, directory.join(file))?;
    sync(directory)
}

/// Makes `directory` and what leads to it, each of them durable.
pub(crate) fn make(directory: &Path) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    let parent = directory.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Some(parent) = parent {
        make(parent)?;
    }
    match DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        made => made.and_then(|()| sync(parent.unwrap_or(Path::new(".")))),
    }
}

fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}
