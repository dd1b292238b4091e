//! What the snapshot before has of the volumes: by its index those files are found that did not change, without
//! opening them. Its entries and the walk have the same order, so a part of it at a time is in memory.
//!
//! A file did not change when its type, owner, mode, size, inode and both its times are what they were. Whatever
//! is done to a file sets its ctime, and no call sets that to a chosen time. But a clock has ticks: what changed
//! shortly before the snapshot was begun may have changed once more within the same tick, and is read again.
//!
//! What is written through mapped memory gets its time when its page is first written to after it was last brought to
//! disk. So the filesystems of the volumes are synced between the snapshot's time and its first read: who writes
//! to a page after it was read has then set a time that is not trusted. Filesystems in memory bring nothing to disk;
//! that is said.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use crate::archive::entry::Kind;
use crate::archive::open::Reader;
use crate::backup::options::{BackupOptions, ChecksumPolicy};
use crate::config::{Config, Volume};
use crate::error::{Error, Result};
use crate::fs::Stat;
use crate::observer::Run;
use crate::snapshot::Snapshot;
use crate::snapshot::base::BaseItem;
use crate::snapshot::catalog::Catalog;
use crate::snapshot::index::IndexEntry;
use crate::snapshot::index::cursor::{IndexCursor, order_of};
use crate::snapshot::index::place::IndexPlace;
use crate::snapshot::resolve;
use crate::time::Time;

/// The snapshot before, as far as it can be referred to.
#[derive(Debug)]
pub(super) struct Earlier {
    reader: Arc<Reader>,
    snapshot: Snapshot,
    /// Times are trusted that are older.
    trusted: Time,
    /// Which of its volumes each of the configured ones is.
    volumes: Vec<Option<u64>>,
    /// Paths that it has a warning for, which are read again.
    warned: HashSet<Vec<u8>>,
    cursor: Option<IndexCursor>,
    /// Whether the cursor stands at an entry, and whether it came by the last one.
    is_at_entry: bool,
    has_ended: bool,
    /// The number of the volume that is being stored, in its own order.
    volume: Option<u64>,
    /// Which of the snapshots that may be referred to are: its bases, and itself.
    used: Vec<bool>,
}

/// The snapshot that a new one of `config` may refer to; else why it is stored in full, if that is to be said.
pub(super) fn find(
    catalog: &Catalog,
    config: &Config,
    options: &BackupOptions,
) -> Result<Snapshot, Option<String>> {
    let of_prefix = || catalog.snapshots.iter().rev().filter(|snapshot| snapshot.prefix == config.prefix);
    let Some(last) = of_prefix().next() else { return Err(None) };
    let since_full = of_prefix().take_while(|snapshot| snapshot.has_references).count() as u64 + 1;
    let why = if last.is_go() || last.index == IndexPlace::Nowhere {
        "it has no index".to_owned()
    } else if !last.is_settled {
        "it was not made for others to refer to it".to_owned()
    } else if let Some(refused) = &last.refused {
        refused.clone()
    } else if let Some(missing) = resolve::missing(last) {
        missing
    } else if last.created > Time::now() {
        "it was taken later than now: the clock was set back".to_owned()
    } else if last.warning_count > last.warnings.len() as u64 {
        "it had more warnings than it lists".to_owned()
    } else if is_unhashed(catalog, last) && options.checksum == ChecksumPolicy::Always {
        "it has content without a checksum".to_owned()
    } else if numbers(&config.volumes, last).is_none() {
        "it has the volumes in another order".to_owned()
    } else if since_full >= options.full_every {
        return Err(None);
    } else {
        return Ok(last.clone());
    };
    Err(Some(refers_to_none(&last.id, &why)))
}

/// Opens the snapshot that was found, or says why it is not referred to.
pub(super) fn open(
    reader: &Arc<Reader>,
    found: Result<Snapshot, Option<String>>,
    config: &Config,
    options: &BackupOptions,
    run: &Run,
) -> Result<Option<Earlier>> {
    let open = |snapshot| Earlier::open(reader, snapshot, config, options.clock_margin);
    let why = match found.map(|snapshot| (snapshot.id.clone(), open(snapshot))) {
        Ok((_, Ok(earlier))) => return Ok(Some(earlier)),
        Ok((id, Err(Error::Damaged { offset, reason, .. }))) => {
            Some(refers_to_none(&id, &format!("it is damaged at offset {offset}: {reason}")))
        }
        Ok((_, Err(other))) => return Err(other),
        Err(why) => why,
    };
    if let Some(why) = why {
        run.observer.note(&why);
    }
    Ok(None)
}

fn refers_to_none(id: &str, why: &str) -> String {
    format!("all is stored, and nothing by reference to snapshot {id}: {why}")
}

/// Whether it, or a snapshot that has members of it, has content that no checksum covers.
fn is_unhashed(catalog: &Catalog, snapshot: &Snapshot) -> bool {
    let is_base = |other: &&Snapshot| snapshot.bases.iter().any(|base| base.start == other.start);
    snapshot.unhashed > 0 || catalog.snapshots.iter().filter(is_base).any(|base| base.unhashed > 0)
}

/// Which of the snapshot's volumes each of the configured ones is; `None` where they are in another order.
fn numbers(volumes: &[Volume], snapshot: &Snapshot) -> Option<Vec<Option<u64>>> {
    let of = |volume: &Volume| snapshot.volumes.iter().position(|other| other.path == volume.stored_path());
    let numbers: Vec<Option<usize>> = volumes.iter().map(of).collect();
    let is_sorted = numbers.iter().flatten().is_sorted();
    is_sorted.then(|| numbers.into_iter().map(|number| number.map(|number| number as u64)).collect())
}

impl Earlier {
    /// `snapshot` is one that was [found](find).
    fn open(
        reader: &Arc<Reader>,
        snapshot: Snapshot,
        config: &Config,
        clock_margin: Duration,
    ) -> Result<Self> {
        let cursor = IndexCursor::open(reader, &snapshot)?;
        let warned = snapshot.warnings.iter().map(|warning| warning.path.clone()).collect();
        Ok(Earlier {
            reader: Arc::clone(reader),
            trusted: snapshot.created.before(clock_margin),
            volumes: numbers(&config.volumes, &snapshot).unwrap_or_default(),
            warned,
            cursor,
            is_at_entry: false,
            has_ended: false,
            volume: None,
            used: vec![false; snapshot.bases.len() + 1],
            snapshot,
        })
    }

    /// What follows is of another volume.
    pub(super) fn enter(&mut self, volume: usize) {
        self.volume = self.volumes.get(volume).copied().flatten();
    }

    /// Whether the member at `path` is what it was. Of a hard link, `link` is where it leads. Paths are asked for
    /// in their order; `full` is the path that a warning has.
    ///
    /// # Errors
    /// When a part of its index is damaged: nothing that this has is found.
    pub(super) fn has_same(
        &mut self,
        path: &[u8],
        full: &[u8],
        kind: Kind,
        stat: &Stat,
        link: &[u8],
    ) -> Result<bool> {
        let Some(volume) = self.volume else { return Ok(false) };
        if !self.is_at_entry && !self.has_ended {
            // It is the first, or a part of the index could not be read.
            self.step()?;
        }
        while let Some(entry) = self.entry() {
            match order_of(&entry, volume, path) {
                Ordering::Less => self.step()?,
                Ordering::Equal => {
                    let is_same = is_unchanged(&entry, kind, stat, link, self.trusted);
                    return Ok(is_same && (self.warned.is_empty() || !self.warned.contains(full)));
                }
                Ordering::Greater => break,
            }
        }
        Ok(false)
    }

    /// What it has of the member that was looked for last, if that was found.
    pub(super) fn entry(&self) -> Option<IndexEntry<'_>> {
        self.cursor.as_ref().and_then(IndexCursor::entry).filter(|_| self.is_at_entry)
    }

    /// Where the member lies that was found last, in the archive. It is referred to.
    pub(super) fn target(&mut self) -> Option<u64> {
        let entry = self.cursor.as_ref().and_then(IndexCursor::entry)?;
        let target = if entry.is_reference() {
            self.snapshot.start.checked_sub(entry.back)?
        } else {
            self.snapshot.start.checked_add(entry.offset)?
        };
        let base = self.snapshot.bases.iter().position(|base| base.has(target));
        let is_own = (self.snapshot.start..self.snapshot.close).contains(&target);
        let number = base.or(is_own.then_some(self.used.len() - 1))?;
        self.used[number] = true;
        Some(target)
    }

    /// The snapshots that are referred to, by one that begins at `start`.
    pub(super) fn bases(&self, start: u64) -> Vec<BaseItem> {
        let bases = self.snapshot.bases.iter().map(|base| (&base.id, base.start));
        let all = bases.chain([(&self.snapshot.id, self.snapshot.start)]).zip(&self.used);
        all.filter(|(_, used)| **used)
            .map(|((id, at), _)| BaseItem { id: id.clone(), back: start - at })
            .collect()
    }

    /// What is to be said when a part of its index is damaged.
    pub(super) fn remark(&self, error: Error) -> Result<String> {
        let Error::Damaged { reason, offset, .. } = error else { return Err(error) };
        let (id, archive) = (&self.snapshot.id, self.reader.name());
        Ok(format!(
            "what a part of the index of snapshot {id} lists is stored again: {archive} is damaged at offset \
             {offset}: {reason}: run `snapshotter verify`"
        ))
    }

    fn step(&mut self) -> Result<()> {
        self.is_at_entry = false;
        if let Some(cursor) = &mut self.cursor {
            self.is_at_entry = cursor.step()?;
        }
        self.has_ended = !self.is_at_entry;
        Ok(())
    }
}

/// Whether a file is what its entry in a snapshot says that it was, and has times that are older
/// than `trusted`.
fn is_unchanged(entry: &IndexEntry, kind: Kind, stat: &Stat, link: &[u8], trusted: Time) -> bool {
    let of_owner = (u64::from(stat.uid), u64::from(stat.gid), stat.mode);
    let is_device = matches!(kind, Kind::CharDevice | Kind::BlockDevice);
    entry.kind == kind
        && (entry.mtime, entry.ctime) == (stat.mtime, stat.ctime)
        && stat.mtime.max(stat.ctime) < trusted
        && entry.inode == stat.id.ino
        && (entry.uid, entry.gid, entry.mode) == of_owner
        && (kind != Kind::File || entry.size == stat.size)
        && (kind != Kind::HardLink || entry.link == link)
        && (!is_device || entry.device == stat.device)
}
