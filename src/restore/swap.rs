//! Exchanging a volume's content for what was staged, undoably.
//!
//! Every move is written into a journal before the first is done, and the journal is on disk before that too:
//! it is the mark that makes a staging directory precious. The target of each move does not exist before it,
//! so going through the journal backwards, and moving back what is at its target and no longer at its source,
//! undoes any part of it that was done, however often that is tried. The metadata of the root and of other
//! directories that stay is in the journal too.

use std::io;

use crate::error::{Context, Error, Result};
use crate::fs::handle::{join, parent_and_name};
use crate::fs::{Descent, FileId, Handle, StoreFile, remove};
use crate::name::Shown;
use crate::restore::journal;
use crate::restore::moves::Moves;
use crate::restore::only::Only;
use crate::restore::owners::Remark;
use crate::restore::pins::Pins;
use crate::restore::plan::{Plan, Planner, Side};
use crate::staging::{self, CLEARED, NEW, OLD, SWAPPING};

/// The mark under the name that it has before it is complete.
const SWAPPING_PART: &[u8] = b"swapping.part";

/// A volume's root and its staging directory.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) root: Handle,
    pub(super) staging: Handle,
    /// The root's mode before it was opened for this.
    pub(super) mode: u32,
    /// The staging directory's name at the root.
    pub(super) name: Vec<u8>,
    /// The volume's path, for messages.
    pub(super) volume: Vec<u8>,
    /// The archive and the configuration: should they have got here all the same, they are not deleted.
    pub(super) in_use: Vec<FileId>,
}

impl Stage {
    /// Works out the moves. With `only`, these paths are exchanged and everything beside them stays as it is, the
    /// root too unless it was `made` for this.
    pub(super) fn plan(
        &self,
        pins: &Pins,
        only: Option<&Only>,
        made: bool,
        may_lack_owner: bool,
    ) -> Result<Plan> {
        let new = self.staging.own_directory(NEW).context("open", &self.volume)?;
        let root = Side::opened(&self.root, self.mode);
        let new = Side::open_up(&new).context("open", &self.volume)?;
        let mut existing = self.root.names().context("list", &self.volume)?;
        existing.retain(|name| *name != self.name);
        Planner { volume: &self.volume, pins, only, made, may_lack_owner }.plan(root, existing, new)
    }

    /// Writes the mark: from here on, `old` may hold the only copy of something.
    pub(super) fn mark(&self, plan: &Plan) -> Result<()> {
        let write = || -> io::Result<()> {
            self.staging.make_directory(OLD, 0o700)?;
            let mut old = Descent::new(self.staging.directory(OLD)?);
            for path in &plan.kept {
                let (parent, name) = parent_and_name(path);
                old.go_to(parent)?.make_directory(name, 0o700)?;
            }
            let file = StoreFile::new(self.staging.create_file(SWAPPING_PART)?);
            file.write_at(&journal::encode(plan), 0)?;
            file.handle().sync()?;
            self.staging.rename(SWAPPING_PART, &self.staging, SWAPPING)?;
            self.staging.sync()?;
            self.root.sync_filesystem()
        };
        write().context("write the mark of the swap in", &self.volume)
    }

    /// Does the moves, then gives the root and the directories that stay their new metadata.
    pub(super) fn swap(&self, plan: &Plan, warn: &mut dyn FnMut(&[u8], Remark) -> Result<()>) -> Result<()> {
        let mut moves = Moves::new(&self.root, &self.volume)?;
        plan.exchanged.iter().try_for_each(|exchanged| moves.open_up(&exchanged.path))?;
        for path in &plan.away {
            moves.rename(path, &self.inside(OLD, path))?;
        }
        for path in &plan.here {
            moves.rename(&self.inside(NEW, path), path)?;
        }
        for exchanged in plan.exchanged.iter().rev() {
            let full = join(&self.volume, &exchanged.path);
            let handle = moves.directory(&exchanged.path)?;
            exchanged.after.apply(handle, false, &full, &mut |remark| match remark {
                // What was staged for it was counted.
                Remark::Unowned => Ok(()),
                said @ Remark::Said(_) => warn(&full, said),
            })?;
        }
        // Where one path is restored, the root keeps what it is, its time too.
        if !plan.exchanges_root() {
            self.close_root()?;
            if let Some(mtime) = staging::recorded_mtime(&self.staging) {
                self.root.set_mtime(mtime).context("put back the time of", &self.volume)?;
            }
        }
        self.root.sync_filesystem().context("sync", &self.volume)
    }

    /// Puts everything back that [`Stage::swap`] has changed, and removes the mark. It can be repeated until
    /// it succeeds.
    pub(super) fn undo(&self) -> Result<()> {
        let plan = self.journal()?;
        let mut moves = Moves::new(&self.root, &self.volume)?;
        // It is given its mode below, unless it had it all along.
        self.root.ajar().context("open", &self.volume)?.stay();
        plan.exchanged.iter().try_for_each(|exchanged| moves.open_up(&exchanged.path))?;
        for path in plan.here.iter().rev() {
            moves.take_back(&self.inside(NEW, path), path)?;
        }
        self.take_back(&plan.away, &mut moves)?;
        let mut metadata = Ok(());
        for exchanged in plan.exchanged.iter().rev() {
            let full = join(&self.volume, &exchanged.path);
            let handle = moves.directory(&exchanged.path)?;
            // All else is put back first: the mark must not stay for the sake of a directory's metadata.
            let applied = exchanged.before.apply(handle, false, &full, &mut |_| Ok(()));
            metadata = metadata.and(applied);
        }
        if !plan.exchanges_root() {
            self.close_root()?;
        }
        let old = join(&self.name, OLD);
        let ajar = self.root.ajar().context("open", &self.volume)?;
        for path in plan.kept.iter().rev().map(|path| join(&old, path)).chain([old.clone()]) {
            // Never more than an empty directory: if anything is left in it, that is the user's.
            let (parent, name) = parent_and_name(&path);
            if moves.is_there(&path)? {
                let removed = moves.directory(parent)?.remove_directory(name);
                removed.context("remove the emptied", &join(&self.volume, &path))?;
            }
        }
        drop(ajar);
        self.root.sync_filesystem().context("sync", &self.volume)?;
        self.remove_mark()?;
        metadata
    }

    /// Gives the root the mode that it had before it was opened.
    fn close_root(&self) -> Result<()> {
        let close = || {
            if self.root.stat()?.mode == self.mode { Ok(()) } else { self.root.set_mode(self.mode) }
        };
        close().context("put back the mode of", &self.volume)
    }

    /// What the mark says of the swap.
    fn journal(&self) -> Result<Plan> {
        let read = || -> io::Result<Vec<u8>> {
            let file = StoreFile::new(self.staging.file(SWAPPING)?);
            let mut text = vec![0; usize::try_from(file.stat()?.size).map_err(io::Error::other)?];
            file.read_at(&mut text, 0)?;
            Ok(text)
        };
        let text = read().context("read the mark of the swap in", &self.volume)?;
        journal::decode(&text).ok_or_else(|| Error::Volume {
            action: "put back the former content of",
            volume: Shown::from(&self.volume),
            reason: format!(
                "its journal {}/swapping is malformed: the former content is in `old` beside it, put it back \
                 by hand",
                Shown::from(&self.name)
            ),
        })
    }

    /// Moves back what is in `old`. What cannot be, because something was made in its place, is named.
    fn take_back(&self, away: &[Vec<u8>], moves: &mut Moves) -> Result<()> {
        let (mut in_the_way, mut others) = (None, 0);
        for path in away.iter().rev() {
            let old = self.inside(OLD, path);
            moves.take_back(path, &old)?;
            if moves.is_there(&old)? {
                others += u64::from(in_the_way.is_some());
                in_the_way = Some((path, old));
            }
        }
        let Some((path, old)) = in_the_way else { return Ok(()) };
        let more = match others {
            0 => String::new(),
            others => format!(", and so for {others} more that are still in `old`"),
        };
        Err(Error::Volume {
            action: "put back",
            volume: Shown::from(&join(&self.volume, path)),
            reason: format!(
                "something was made there in the meantime, so its former content is still {}: move one of \
                 them away{more}, and stop what writes there",
                Shown::from(&join(&self.volume, &old))
            ),
        })
    }

    /// `at` in a part of the staging directory.
    fn inside(&self, part: &[u8], at: &[u8]) -> Vec<u8> {
        join(&join(&self.name, part), at)
    }

    /// The swap is complete: what is in `old` is garbage from here on, and so is the time that the root had.
    pub(super) fn commit(&self) -> Result<()> {
        self.remove_mark()?;
        // Without that, a restore that finds the directory and then fails puts an older time back.
        let _ = staging::forget_mtime(&self.staging);
        Ok(())
    }

    fn remove_mark(&self) -> Result<()> {
        self.staging
            .remove_file(SWAPPING)
            .and_then(|()| self.staging.sync())
            .context("remove the mark of the swap in", &self.volume)
    }

    /// Deletes the staging directory, the marker last, and puts the root's time to `mtime`. A mark that the
    /// volume was cleared stays with `keep_cleared`, and the directory with it.
    pub(super) fn remove(&self, mtime: crate::time::Time, keep_cleared: bool) -> Result<()> {
        const ACTION: &str = "remove the staging directory in";
        if self.staging.find(SWAPPING).context(ACTION, &self.volume)?.is_some() {
            return Err(io::Error::other("a swap is under way in it")).context(ACTION, &self.volume);
        }
        let remove = |name, in_use: &[FileId]| {
            let removed = remove::remove_tree(&self.staging, name, in_use);
            removed.map_err(|error| error.below(&join(&self.volume, &self.name)))
        };
        [NEW, OLD, SWAPPING_PART].into_iter().try_for_each(|name| remove(name, &self.in_use))?;
        if !keep_cleared {
            remove(CLEARED, &[])?;
            remove(staging::MARKER, &[])?;
            let _ajar = self.root.ajar().context("open", &self.volume)?;
            self.root.remove_directory(&self.name).context(ACTION, &self.volume)?;
        }
        self.root.set_mtime(mtime).context("put back the time of", &self.volume)
    }
}

/// The error for a swap that failed because of `error`: it says whether everything is as it was.
pub(super) fn after_undo(error: Error, undo: Result<()>, volume: &[u8]) -> Error {
    match undo {
        Ok(()) => error,
        Err(undo) => Error::Undo {
            what: Box::new(error),
            undo: Box::new(undo),
            state: format!(
                "the former content of {} is in its staging directory: run `snapshotter restore` again, \
                 which puts it back first",
                Shown::from(volume)
            ),
        },
    }
}

#[cfg(test)]
mod tests;
