//! Where a volume is restored to: opened, locked, and cleaned of what an interrupted run has left.

use std::cell::Cell;
use std::io;
use std::path::Path;

use crate::error::{Context, Error, Hint, Result};
use crate::fs::by_path::canonical;
use crate::fs::handle::{join, parent_and_name};
use crate::fs::{Descent, FileId, FileKind, Handle, StoreFile, space};
use crate::name::Shown;
use crate::observer::Run;
use crate::restore::below::{Below, HALF_MADE};
use crate::restore::pins::Pins;
use crate::restore::spare::Spare;
use crate::restore::swap::Stage;
use crate::snapshot::{Snapshot, SnapshotVolume};
use crate::staging;
use crate::time::Time;

/// How things are when what was staged cannot be removed.
pub(super) const STAGED: &str =
    "the volumes have their former content, and the next restore removes what was staged";

/// A directory whose content is to be exchanged.
#[derive(Debug)]
pub(super) struct DirTarget {
    /// Which of the wanted volumes.
    pub(super) wanted: usize,
    pub(super) path: Vec<u8>,
    pub(super) root: Handle,
    /// This run has made it, or one that was killed.
    pub(super) made: bool,
    /// As it was before.
    pub(super) mtime: Time,
    /// As it was before: the root may have to be opened for the time of the restore.
    pub(super) mode: u32,
    /// It is open, and must be closed.
    opened: Cell<bool>,
    pub(super) pins: Pins,
    /// The archive and the configuration.
    pub(super) in_use: Vec<FileId>,
    /// The staging directory of a restore in place that was interrupted, which stays until one completes.
    pub(super) cleared: Option<usize>,
}

/// A file that is to be overwritten, or made.
#[derive(Debug)]
pub(super) struct FileTarget {
    pub(super) wanted: usize,
    pub(super) path: Vec<u8>,
    pub(super) parent: Handle,
    pub(super) name: Vec<u8>,
    /// What is there now, open to be locked. It is usually a mount and must be overwritten; below another
    /// directory it may be replaced, and this is `None`.
    pub(super) former: Option<Handle>,
}

impl DirTarget {
    /// Takes a directory that is locked, puts back what an interrupted swap has moved, and removes strays.
    pub(super) fn open(
        wanted: usize,
        root: Handle,
        path: &[u8],
        in_use: &[FileId],
        nested: Vec<Vec<u8>>,
        run: &Run,
    ) -> Result<Self> {
        let stat = root.stat().context("look at", path)?;
        let mut target = DirTarget {
            wanted,
            path: path.to_vec(),
            made: false,
            mtime: stat.mtime,
            mode: stat.mode,
            opened: Cell::new(false),
            pins: Pins::default(),
            in_use: in_use.to_vec(),
            cleared: None,
            root,
        };
        target.open_up()?;
        target.recover(run)?;
        target.made = target.is_half_made().context("list", path)?;
        target.pins = Pins::find(&target.root, in_use, nested).context("look for mounts in", path)?;
        Ok(target)
    }

    /// A run that was killed has made the root, and nothing else.
    fn is_half_made(&self) -> io::Result<bool> {
        // In a directory that gives its group, it has that bit too.
        Ok(self.mode & 0o5777 == HALF_MADE && self.root.names()?.is_empty())
    }

    /// Lets its owner into the root: until [`DirTarget::settled`], or until this is dropped.
    fn open_up(&mut self) -> Result<()> {
        let ajar = self.root.ajar().context("open", &self.path)?;
        self.mode = ajar.mode();
        self.opened.set(ajar.was_closed());
        ajar.stay();
        Ok(())
    }

    /// The root has the mode that it is to have.
    pub(super) fn settled(&self) {
        self.opened.set(false);
    }

    fn recover(&mut self, run: &Run) -> Result<()> {
        let shown = Shown::from(&self.path);
        for found in staging::find(&self.root).context("look for a staging directory in", &self.path)? {
            let mut stage = self.stage(found.index)?;
            if let Some(mode) = staging::recorded_mode(&stage.staging) {
                // A run that was killed has left it open.
                self.mode = mode;
                self.opened.set(true);
                stage.mode = mode;
            }
            let mtime = staging::recorded_mtime(&stage.staging).unwrap_or(self.mtime);
            if found.swapping {
                run.observer.note(&format!(
                    "{shown}: a restore was interrupted here: its former content is put back"
                ));
                stage.undo()?;
                // It has its former mode again.
                self.open_up()?;
            }
            if found.cleared {
                self.cleared = Some(found.index);
                stage.remove(mtime, true)?;
            } else {
                stage.remove(mtime, false)?;
                self.mtime = mtime;
                if !found.swapping {
                    run.observer.note(&format!("{shown}: what an interrupted restore had staged is removed"));
                }
            }
        }
        Ok(())
    }

    /// Makes the staging directory, or takes over the one that marks the volume as cleared. `taken` are the
    /// names that the snapshot has at the volume's root.
    pub(super) fn make_stage(&self, taken: &[Vec<u8>], spare: &Spare) -> Result<Stage> {
        let index = match self.cleared {
            Some(index) => index,
            None => self.make_staging(taken, spare)?,
        };
        let new = |stage: Stage| {
            let made = stage.staging.make_directory(staging::NEW, 0o700);
            made.context("create the staging directory in", &self.path).map(|()| stage)
        };
        self.stage(index).and_then(new).map_err(|error| match self.cleared {
            None => self.give_up(&staging::name(index), spare, error),
            Some(_) => error,
        })
    }

    /// Removes a staging directory that could not be filled because of `error`.
    fn give_up(&self, name: &[u8], spare: &Spare, error: Error) -> Error {
        spare.release();
        let removed = crate::fs::remove::remove_tree(&self.root, name, &self.in_use);
        let removed = removed.map_err(|error| error.below(&self.path));
        let put_back = || self.root.set_mtime(self.mtime).context("put back the time of", &self.path);
        match removed.and_then(|()| put_back()) {
            Ok(()) => error,
            Err(undo) => {
                Error::Undo { what: Box::new(error), undo: Box::new(undo), state: STAGED.to_owned() }
            }
        }
    }

    fn make_staging(&self, taken: &[Vec<u8>], spare: &Spare) -> Result<usize> {
        // Changes nothing, and shows whether the root's metadata may be set: after the swap it would be too
        // late.
        self.root.set_mtime(self.mtime).map_err(|source| self.refused(source))?;
        for (index, name) in staging::names().enumerate() {
            if taken.contains(&name) {
                continue;
            }
            match self.root.make_directory(&name, 0o700) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(source) => return Err(self.refused(source)),
                Ok(()) => {}
            }
            let fill = || -> io::Result<()> {
                let staging = self.root.directory(&name)?;
                staging.remove_acls()?;
                staging.set_mode(0o700)?;
                let marker = StoreFile::new(staging.create_file(staging::MARKER)?);
                marker.write_at(&staging::marker(self.mtime, self.opened.get().then_some(self.mode)), 0)?;
                // Without it on disk, what a power cut leaves would pass for the user's.
                marker.handle().sync()?;
                staging.sync()
            };
            if let Err(source) = fill() {
                return Err(self.give_up(&name, spare, self.refused(source)));
            }
            return Ok(index);
        }
        Err(Error::Volume {
            action: "restore",
            volume: Shown::from(&self.path),
            reason: format!("{} and nine more such names are taken: remove one", staging::NAME),
        })
    }

    fn stage(&self, index: usize) -> Result<Stage> {
        let name = staging::name(index);
        let open = || Ok::<_, io::Error>((self.root.duplicate()?, self.root.directory(&name)?));
        let (root, staging) = open().context("open the staging directory in", &self.path)?;
        Ok(Stage {
            root,
            staging,
            name,
            mode: self.mode,
            volume: self.path.clone(),
            in_use: self.in_use.clone(),
        })
    }

    /// What lies at `path` now.
    pub(super) fn kind_of(&self, path: &[u8]) -> Result<Option<FileKind>> {
        let found = self.root.duplicate().and_then(|root| Descent::new(root).find(path));
        Ok(found.context("look at", &join(&self.path, path))?.map(|stat| stat.kind))
    }

    fn refused(&self, source: io::Error) -> Error {
        let hint = match source.kind() {
            io::ErrorKind::ReadOnlyFilesystem => Some(Hint::MountVolumeWritable),
            io::ErrorKind::PermissionDenied => Some(Hint::RunAsOwner),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Some(Hint::RoomOrInPlace),
            _ => None,
        };
        let error = Error::Io { action: "restore to", path: Shown::from(&self.path), source };
        error.with_hint(hint)
    }
}

impl Drop for DirTarget {
    fn drop(&mut self) {
        if self.opened.get() {
            // The restore failed, or was stopped: the root is as it was.
            let _ = self.root.set_mode(self.mode);
        }
    }
}

/// What is needed of one filesystem.
pub(super) struct SpaceNeed<'a> {
    pub(super) target: &'a DirTarget,
    pub(super) bytes: u64,
    pub(super) inodes: u64,
}

/// Fails when the filesystems cannot hold a second copy, or a first one below a directory (`into`).
pub(super) fn check_space(needs: &[SpaceNeed], into: bool) -> Result<()> {
    let mut seen = Vec::new();
    for need in needs {
        let look = || Ok::<_, io::Error>((need.target.root.stat()?.id.dev, space::space(&need.target.root)?));
        let (dev, space) = look().context("look at the space of", &need.target.path)?;
        let mut bytes = need.bytes;
        let mut inodes = need.inodes;
        for (_, earlier) in seen.iter().filter(|(other, _)| *other == dev) {
            let earlier: &&SpaceNeed = earlier;
            bytes = bytes.saturating_add(earlier.bytes);
            inodes = inodes.saturating_add(earlier.inodes);
        }
        let short_of_bytes = !space.shares && bytes > space.bytes;
        if short_of_bytes || space.inodes.is_some_and(|free| inodes > free) {
            let (needed, free, unit) = if short_of_bytes {
                (bytes, space.bytes, "bytes")
            } else {
                (inodes, space.inodes.unwrap_or(0), "files")
            };
            let source = nix::errno::Errno::ENOSPC.into();
            let error = Error::Io { action: "restore to", path: Shown::from(&need.target.path), source };
            return Err(error.with_hint(Hint::Room { needed, free, unit: unit.to_owned(), into }));
        }
        seen.push((dev, need));
    }
    Ok(())
}

/// The paths of the snapshot's other volumes that lie inside the one at `path`, relative to it. Those that
/// are not restored now are no content of this one either.
pub(super) fn nested_in(path: &str, snapshot: &Snapshot) -> Vec<Vec<u8>> {
    let inside = |other: &SnapshotVolume| {
        other.path.strip_prefix(path)?.strip_prefix('/').map(|rest| rest.as_bytes().to_vec())
    };
    snapshot.volumes.iter().filter_map(inside).collect()
}

/// Whether there is anything at `target`, but an empty directory.
pub(super) fn holds_something(target: &[u8]) -> Result<bool> {
    let found = match Handle::open_path(crate::fs::handle::path(target)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        found => found.context("open", target)?,
    };
    if found.stat().context("look at", target)?.kind != FileKind::Directory {
        return Ok(true);
    }
    let directory = Handle::open_own_directory(crate::fs::handle::path(target)).context("open", target)?;
    Ok(!space::names_in_root(&directory).context("list", target)?.is_empty())
}

impl FileTarget {
    /// The file volume at `path` itself.
    pub(super) fn open(wanted: usize, path: &str) -> Result<Self> {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let parent =
            canonical(Path::new(if parent.is_empty() { "/" } else { parent })).context("open", path)?;
        let parent = Handle::open_directory(&parent).context("open", path)?;
        // NFS locks only what may be written. Where it may not be, that is said when it is to be.
        let former = parent.own_file_for_update(name.as_bytes()).or_else(|_| parent.file(name.as_bytes()));
        let former = former.context("open", path)?;
        Ok(FileTarget {
            wanted,
            path: path.as_bytes().to_vec(),
            parent,
            name: name.as_bytes().to_vec(),
            former: Some(former),
        })
    }

    /// The file volume at `relative` below another directory.
    pub(super) fn open_below(wanted: usize, below: &mut Below, relative: &[u8]) -> Result<Self> {
        let (parent, name) = parent_and_name(relative);
        let path = below.full(relative);
        let parent = below.directory(parent)?;
        if parent.find(name).context("look at", &path)?.is_some_and(|stat| stat.kind == FileKind::Directory) {
            let reason = "Is a directory, and the snapshot has a file there".to_owned();
            let error = Error::Volume { action: "restore to", volume: Shown::from(&path), reason };
            return Err(error.with_hint(Hint::RemoveOrNameAnother));
        }
        Ok(FileTarget { wanted, path, parent, name: name.to_vec(), former: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_to_be_overwritten_is_locked_by_a_handle_that_may_write() {
        use nix::fcntl::{FcntlArg, OFlag, fcntl};
        let file = tempfile::NamedTempFile::new().unwrap();
        let target = FileTarget::open(0, file.path().to_str().unwrap()).unwrap();
        let flags = fcntl(target.former.unwrap(), FcntlArg::F_GETFL).unwrap();
        assert_eq!(OFlag::from_bits_retain(flags) & OFlag::O_ACCMODE, OFlag::O_RDWR);
    }
}
