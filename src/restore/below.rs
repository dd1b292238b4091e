//! Restoring below another directory, which is made where it is missing.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::error::{Context, Error, Hint, Result};
use crate::fs::handle::join;
use crate::fs::{Handle, by_path, has_errno};
use crate::name::Shown;
use crate::time::Time;

/// The mode of a volume's root that was made, until it has what the snapshot says. It is closed to others, and
/// no other program's: the next restore knows by it what a run that was killed has made.
pub(super) const HALF_MADE: u32 = 0o1700;

/// The directory that volumes are restored below, and what was made for that.
#[derive(Debug)]
pub(super) struct Below {
    path: Vec<u8>,
    base: Handle,
    made: Vec<MadeDirectory>,
}

/// A directory that was made.
#[derive(Debug)]
struct MadeDirectory {
    parent: Handle,
    name: Vec<u8>,
    /// The time that the parent had.
    mtime: Time,
}

impl Below {
    /// Opens `path`, made with its parents where it is missing.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let absolute = std::path::absolute(path).context("find", path)?;
        // What is there may be reached through symbolic links; what is missing is made by handle.
        let mut existing = absolute.as_path();
        while !by_path::exists(existing).context("look at", existing)? {
            existing = existing.parent().unwrap_or(Path::new("/"));
        }
        let missing = absolute.strip_prefix(existing).unwrap_or(Path::new("")).to_owned();
        let real = by_path::canonical(existing).context("open", existing)?;
        let base = Handle::open_directory(&real).context("restore below", path)?;
        let mut below = Below { path: path.as_os_str().as_bytes().to_vec(), base, made: Vec::new() };
        match below.directory(missing.as_os_str().as_bytes()) {
            Ok(base) => below.base = base,
            Err(error) => {
                below.remove_made();
                return Err(error);
            }
        }
        Ok(below)
    }

    /// The directory at `relative` below, made where it is missing.
    pub(super) fn directory(&mut self, relative: &[u8]) -> Result<Handle> {
        Ok(self.go_down(relative, 0o755)?.0)
    }

    /// The root of a volume at `relative`, and whether it was made.
    pub(super) fn root(&mut self, relative: &[u8]) -> Result<(Handle, bool)> {
        self.go_down(relative, HALF_MADE)
    }

    /// Goes down to `relative`; what is missing is made, the last with these permissions. Returns whether that was.
    fn go_down(&mut self, relative: &[u8], permissions: u32) -> Result<(Handle, bool)> {
        let full = self.full(relative);
        let mut handle = self.base.duplicate().context("open", &full)?;
        let mut made = false;
        let mut names = relative.split(|&byte| byte == b'/').filter(|name| !name.is_empty()).peekable();
        while let Some(name) = names.next() {
            let mtime = handle.stat().context("look at", &full)?.mtime;
            let ajar = handle.ajar().context("open", &full)?;
            match handle.make_directory(name, if names.peek().is_none() { permissions } else { 0o755 }) {
                Ok(()) => {
                    let parent = handle.duplicate().context("open", &full)?;
                    self.made.push(MadeDirectory { parent, name: name.to_vec(), mtime });
                    made = true;
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => made = false,
                Err(error) => return Err(error).context("create", &full),
            }
            let below = handle.own_directory(name).map_err(|source| {
                let path = Shown::from(&full);
                if has_errno(&source, &[nix::errno::Errno::ELOOP, nix::errno::Errno::ENOTDIR]) {
                    let error = Error::Io { action: "restore to", path, source };
                    return error.with_hint(Hint::NameAnotherDirectory);
                }
                Error::Io { action: "open", path, source }
            })?;
            drop(ajar);
            handle = below;
        }
        Ok((handle, made))
    }

    pub(super) fn full(&self, relative: &[u8]) -> Vec<u8> {
        join(&self.path, relative)
    }

    /// Removes the directories that were made and are empty, after a failure.
    pub(super) fn remove_made(&mut self) {
        for MadeDirectory { parent, name, mtime } in self.made.drain(..).rev() {
            let _ajar = parent.ajar();
            // One that is not empty is needed.
            if parent.remove_directory(&name).is_ok() {
                let _ = parent.set_mtime(mtime);
            }
        }
    }
}
