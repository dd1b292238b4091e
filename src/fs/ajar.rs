//! Letting the owner of a file or directory into it where its mode keeps even them out, as root without
//! `CAP_DAC_OVERRIDE` and everybody else is kept out of what is 0555. It is done by handle, to what belongs to this
//! process's user and to nothing else, and not where it would change nothing.

use std::io;
use std::path::Path;

use nix::errno::Errno;
use rustix::fs::{Access, AtFlags, CWD, accessat};

use crate::fs::handle::process_owner;
use crate::fs::{FileKind, Handle, has_errno};

/// Something whose owner was let in, if they were not before. Dropping it closes it again.
#[derive(Debug)]
pub(crate) struct Ajar<'h> {
    handle: &'h Handle,
    mode: u32,
    opened: bool,
}

impl Ajar<'_> {
    /// The mode that it had before.
    pub(crate) fn mode(&self) -> u32 {
        self.mode
    }

    /// Leaves it open: it is given another mode, or goes.
    pub(crate) fn stay(mut self) {
        self.opened = false;
    }

    /// Whether the owner had to be let in.
    pub(crate) fn was_closed(&self) -> bool {
        self.opened
    }
}

impl Drop for Ajar<'_> {
    fn drop(&mut self) {
        if self.opened {
            // It was this process that changed it, so that fails only with the disk.
            let _ = self.handle.set_mode(self.mode);
        }
    }
}

/// The directories on a way, each of which its owner was let into. Dropping it closes them again, the last first.
#[derive(Debug)]
pub(crate) struct OpenedWay(Vec<OpenedDirectory>);

#[derive(Debug)]
struct OpenedDirectory {
    handle: Handle,
    mode: u32,
}

impl OpenedWay {
    /// Opens all that lead from `root` to `path`, and that itself.
    pub(crate) fn open(root: &Handle, path: &[u8]) -> io::Result<Self> {
        let mut way = OpenedWay(Vec::new());
        for name in path.split(|&byte| byte == b'/').filter(|name| !name.is_empty()) {
            let above = way.0.last().map_or(root, |last| &last.handle);
            let handle = above.own_directory(name)?;
            let ajar = handle.ajar()?;
            let mode = ajar.mode();
            ajar.stay();
            way.0.push(OpenedDirectory { handle, mode });
        }
        Ok(way)
    }
}

impl Drop for OpenedWay {
    fn drop(&mut self) {
        for OpenedDirectory { handle, mode } in self.0.iter().rev() {
            if handle.stat().is_ok_and(|now| now.mode != *mode) {
                let _ = handle.set_mode(*mode);
            }
        }
    }
}

impl Handle {
    /// Lets the owner in, and says whether that was needed.
    pub(crate) fn ajar(&self) -> io::Result<Ajar<'_>> {
        let stat = self.stat()?;
        let needed = match stat.kind {
            FileKind::Directory => 0o700,
            FileKind::File => 0o600,
            _ => 0,
        };
        let is_closed =
            stat.mode & needed != needed && stat.uid == process_owner().0 && !self.is_open_to(needed);
        if is_closed {
            self.set_mode(stat.mode | needed)?;
        }
        Ok(Ajar { handle: self, mode: stat.mode, opened: is_closed })
    }

    /// Whether this process may do all of that here, by whatever right.
    fn is_open_to(&self, permissions: u32) -> bool {
        let wanted = Access::from_bits_truncate(permissions >> 6);
        !matches!(
            accessat(CWD, self.proc_path(), wanted, AtFlags::EACCESS),
            Err(rustix::io::Errno::ACCESS | rustix::io::Errno::PERM)
        )
    }

    /// [`Handle::directory`] of one that may be closed to its owner. What is in it is not reached by that alone.
    pub(crate) fn own_directory(&self, name: &[u8]) -> io::Result<Handle> {
        self.directory(name).or_else(|error| {
            let node = closed(error, || self.node(name))?;
            let _ajar = node.ajar()?;
            node.directory(b".")
        })
    }

    /// [`Handle::open_directory`] of one that may be closed to its owner.
    pub(crate) fn open_own_directory(path: &Path) -> io::Result<Handle> {
        Handle::open_directory(path).or_else(|error| {
            let node = closed(error, || Handle::open_path(path))?;
            let _ajar = node.ajar()?;
            node.directory(b".")
        })
    }

    /// [`Handle::file_for_update`] of one that may be closed to its owner.
    pub(crate) fn own_file_for_update(&self, name: &[u8]) -> io::Result<Handle> {
        self.file_for_update(name).or_else(|error| {
            let node = closed(error, || self.node(name))?;
            let _ajar = node.ajar()?;
            self.file_for_update(name)
        })
    }
}

/// The node that could not be opened because of `error`, if that is for want of a permission.
fn closed(error: io::Error, node: impl FnOnce() -> io::Result<Handle>) -> io::Result<Handle> {
    if has_errno(&error, &[Errno::EACCES]) { node() } else { Err(error) }
}
