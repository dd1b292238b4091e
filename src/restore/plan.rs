//! What a swap will do: which names move away, which come, and which directories stay and are gone into.

use std::collections::BTreeSet;
use std::io;

use crate::error::{Context, Error, Result};
use crate::fs::handle::{join, parent_and_name};
use crate::fs::{FileKind, Handle};
use crate::name::Shown;
use crate::restore::metadata::Metadata;
use crate::restore::only::Only;
use crate::restore::pins::{Fate, Pins};

/// What a swap will do. Paths are relative to the volume's root.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// What moves into `old`, in order.
    pub(super) away: Vec<Vec<u8>>,
    /// What moves from `new` to its place, after that.
    pub(super) here: Vec<Vec<u8>>,
    /// Directories that stay and have a counterpart in `old`, parents first.
    pub(super) kept: Vec<Vec<u8>>,
    /// Directories that stay and whose metadata is exchanged, parents first.
    pub(super) exchanged: Vec<Exchanged>,
}

impl Plan {
    /// Whether the root's metadata is exchanged, too.
    pub(super) fn exchanges_root(&self) -> bool {
        self.exchanged.first().is_some_and(|first| first.path.is_empty())
    }
}

/// A directory's metadata before and after. The path of the root is empty.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Exchanged {
    pub(super) path: Vec<u8>,
    pub(super) before: Metadata,
    pub(super) after: Metadata,
}

/// A directory that its owner was let into, and the mode that it had before.
#[derive(Clone, Copy)]
pub(super) struct Side<'a> {
    handle: &'a Handle,
    mode: u32,
}

impl<'a> Side<'a> {
    pub(super) fn opened(handle: &'a Handle, mode: u32) -> Self {
        Side { handle, mode }
    }

    /// Of one that goes when the swap is done.
    pub(super) fn open_up(handle: &'a Handle) -> io::Result<Self> {
        let ajar = handle.ajar()?;
        let mode = ajar.mode();
        ajar.stay();
        Ok(Side { handle, mode })
    }

    fn metadata(self) -> io::Result<Metadata> {
        Ok(Metadata { mode: self.mode, ..Metadata::of_handle(self.handle)? })
    }
}

/// What a swap is planned by.
pub(super) struct Planner<'a> {
    /// The volume's path, for messages.
    pub(super) volume: &'a [u8],
    pub(super) pins: &'a Pins,
    pub(super) only: Option<&'a Only>,
    /// The root was made by this run, and has nothing of its own to keep.
    pub(super) made: bool,
    pub(super) may_lack_owner: bool,
}

impl Planner<'_> {
    /// Plans to exchange what is in `root`, the names `existing`, for what is in `new`.
    pub(super) fn plan(&self, root: Side, existing: Vec<Vec<u8>>, new: Side) -> Result<Plan> {
        let mut plan = Plan::default();
        if self.only.is_none() || self.made {
            self.exchange_metadata(&mut plan, b"", root, Some(new))?;
        }
        self.directory(&mut plan, b"", existing, root.handle, Some(new.handle))?;
        Ok(plan)
    }

    /// Plans the directory at `path`, which has the names `existing` now, and is staged as `new` or not at
    /// all.
    fn directory(
        &self,
        plan: &mut Plan,
        path: &[u8],
        existing: Vec<Vec<u8>>,
        here: &Handle,
        new: Option<&Handle>,
    ) -> Result<()> {
        let full = join(self.volume, path);
        let mut staged: BTreeSet<Vec<u8>> = match new {
            Some(new) => new.names().context("list", &full)?.into_iter().collect(),
            None => BTreeSet::new(),
        };
        for name in existing {
            let at = join(path, &name);
            match self.pins.fate(&at, self.only) {
                Fate::Stays => drop(staged.remove(&name)),
                Fate::Opened { on_the_way } => {
                    let new = new.filter(|_| staged.remove(&name));
                    self.kept_directory(plan, &at, here, new, on_the_way)?;
                }
                Fate::Exchanged => plan.away.push(at),
            }
        }
        plan.here.extend(staged.iter().map(|name| join(path, name)));
        Ok(())
    }

    /// Plans a directory that stays, with what it holds exchanged.
    fn kept_directory(
        &self,
        plan: &mut Plan,
        at: &[u8],
        parent: &Handle,
        new_parent: Option<&Handle>,
        on_the_way: bool,
    ) -> Result<()> {
        let (full, name) = (join(self.volume, at), parent_and_name(at).1);
        let handle = parent.own_directory(name).context("open", &full)?;
        let ajar = handle.ajar().context("open", &full)?;
        let new = match new_parent {
            None => None,
            Some(parent) => match parent.find(name).context("look at", &full)?.map(|stat| stat.kind) {
                Some(FileKind::Directory) => Some(parent.own_directory(name).context("open", &full)?),
                _ => return Err(in_the_way(&full)),
            },
        };
        let staged = new.as_ref().map(Side::open_up).transpose().context("open", &full)?;
        plan.kept.push(at.to_vec());
        let here = Side::opened(&handle, ajar.mode());
        self.exchange_metadata(plan, at, here, staged.filter(|_| !on_the_way))?;
        let existing = handle.names().context("list", &full)?;
        self.directory(plan, at, existing, &handle, new.as_ref())
    }

    /// Without `new`, the directory keeps its own: its time, too, which the moves in it change.
    fn exchange_metadata(&self, plan: &mut Plan, at: &[u8], old: Side, new: Option<Side>) -> Result<()> {
        let full = join(self.volume, at);
        let before = old.metadata().context("look at", &full)?;
        let mut after = new.unwrap_or(old).metadata().context("look at", &full)?;
        after.may_lack_owner = self.may_lack_owner;
        plan.exchanged.push(Exchanged { path: at.to_vec(), before, after });
        Ok(())
    }
}

/// The snapshot has something else where a directory must stay.
pub(super) fn in_the_way(full: &[u8]) -> Error {
    Error::Volume {
        action: "restore",
        volume: Shown::from(full),
        reason:
            "it is, or leads to, what stays as it is (a mount, a file that is in use, or what is excluded \
                 and kept), and the snapshot has something else in its place: unmount or move that first"
                .to_owned(),
    }
}
