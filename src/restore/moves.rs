//! Moves between directories of one volume, by paths below its root. A swap has one for each name at the
//! root, and there may be very many: the directories that the last one went from and to stay open. That is
//! safe since no move moves a directory that another one goes from or to.

use std::io;

use crate::error::{Context, Result};
use crate::fs::handle::{join, parent_and_name};
use crate::fs::{Ajar, Descent, FileKind, Handle};

#[derive(Debug)]
pub(super) struct Moves<'a> {
    /// The volume's path, for messages.
    volume: &'a [u8],
    source: Descent,
    target: Descent,
}

impl<'a> Moves<'a> {
    pub(super) fn new(root: &Handle, volume: &'a [u8]) -> Result<Self> {
        let descent = || root.duplicate().map(Descent::new).context("open", volume);
        Ok(Moves { volume, source: descent()?, target: descent()? })
    }

    /// Moves `from` to `to`, which must not be there.
    pub(super) fn rename(&mut self, from: &[u8], to: &[u8]) -> Result<()> {
        let (from_parent, name) = parent_and_name(from);
        let (to_parent, new_name) = parent_and_name(to);
        let source = self.source.go_to(from_parent).context("open", &join(self.volume, from_parent))?;
        let target = self.target.go_to(to_parent).context("open", &join(self.volume, to_parent))?;
        let moved = match source.rename(name, target, new_name) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                rename_read_only(source, name, target, new_name, error)
            }
            moved => moved,
        };
        moved.context("move", &join(self.volume, from))
    }

    /// Undoes the move of `from` to `to`, if it was done.
    pub(super) fn take_back(&mut self, from: &[u8], to: &[u8]) -> Result<()> {
        if self.is_there(to)? && !is_there(&mut self.target, from, self.volume)? {
            self.rename(to, from)?;
        }
        Ok(())
    }

    /// Whether there is something at `path`.
    pub(super) fn is_there(&mut self, path: &[u8]) -> Result<bool> {
        is_there(&mut self.source, path, self.volume)
    }

    /// Lets the owner into the directory at `path`, which is to be given its mode afterwards.
    pub(super) fn open_up(&mut self, path: &[u8]) -> Result<()> {
        let (parent, name) = parent_and_name(path);
        let mut open_up = || match path {
            [] => self.source.root().ajar().map(Ajar::stay),
            _ => self.source.go_to(parent)?.node(name)?.ajar().map(Ajar::stay),
        };
        open_up().context("open", &join(self.volume, path))
    }

    /// The directory at `path`.
    pub(super) fn directory(&mut self, path: &[u8]) -> Result<&Handle> {
        self.source.go_to(path).context("open", &join(self.volume, path))
    }
}

fn is_there(below: &mut Descent, path: &[u8], volume: &[u8]) -> Result<bool> {
    Ok(below.find(path).context("look at", &join(volume, path))?.is_some())
}

/// Only root moves a directory to another parent without being allowed to write in it. Its owner allows that
/// while it moves. `error` is why it did not.
fn rename_read_only(
    source: &Handle,
    name: &[u8],
    target: &Handle,
    new_name: &[u8],
    error: io::Error,
) -> io::Result<()> {
    let stat = source.stat_name(name)?;
    if stat.kind != FileKind::Directory || stat.mode & 0o200 != 0 {
        return Err(error);
    }
    let node = source.node(name)?;
    node.set_mode(stat.mode | 0o200).map_err(|_| error)?;
    let moved = source.rename(name, target, new_name);
    node.set_mode(stat.mode).and(moved)
}
