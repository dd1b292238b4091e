//! Where members get their places in the archive, one after the other, before their data is read. Small ones
//! are gathered into bundles, large ones go on their own; both are handed to the [`Scheduler`].

use crate::archive::checksum::{Cover, seal};
use crate::archive::encode::encode;
use crate::archive::entry::{Entry, Kind, Sparse};
use crate::archive::padding;
use crate::archive::ustar::Block;
use crate::backup::bundle::Bundle;
use crate::backup::earlier::Earlier;
use crate::backup::index::BackupIndex;
use crate::backup::large::{CloneFallback, Large, refused};
use crate::backup::options::ChecksumPolicy;
use crate::backup::outlet::Outlet;
use crate::backup::piece::LateSlot;
use crate::backup::scheduler::{ReadJob, Scheduler};
use crate::backup::source::SourceFile;
use crate::error::Result;
use crate::fs::Stat;
use crate::snapshot::MAX_CLOSING_FILE;
use crate::snapshot::base::BaseItem;
use crate::snapshot::digest::Digest;
use crate::snapshot::leap::{self, Leap};

/// The most stored data of a member that goes into a bundle, in bytes.
const MAX_SMALL: u64 = 256 << 10;
/// The smallest file that is cloned, in bytes: each costs up to a block of padding, and is not hashed.
const MIN_CLONED: u64 = 1 << 20;

pub(super) struct Sink<'a> {
    scheduler: &'a Scheduler<'a>,
    outlet: Outlet<'a>,
    policy: ChecksumPolicy,
    index: Option<BackupIndex>,
    /// The snapshot that may be referred to.
    earlier: Option<Earlier>,
    bundle: Bundle,
    marked: bool,
    /// The first directory, which is to say where the snapshot closes.
    leap: Option<Leap>,
    members: u64,
    entries: u64,
    /// How many of them lie in earlier snapshots.
    references: u64,
    size: u64,
}

impl<'a> Sink<'a> {
    /// Stores to where `scheduler` writes, with an `index` where that is wanted, and by reference to an `earlier`
    /// snapshot where there is one.
    pub(super) fn new(
        scheduler: &'a Scheduler<'a>,
        policy: ChecksumPolicy,
        index: Option<BackupIndex>,
        earlier: Option<Earlier>,
    ) -> Self {
        let outlet = scheduler.shared.outlet;
        let bundle = Bundle::new(outlet.first(), outlet.start(), Bundle::default());
        Sink {
            scheduler,
            outlet,
            policy,
            index,
            earlier,
            bundle,
            marked: false,
            leap: None,
            members: 1,
            entries: 0,
            references: 0,
            size: 0,
        }
    }

    /// What follows is of another volume, whose name in the archive has so many bytes.
    pub(super) fn enter_volume(&mut self, volume: usize, name_len: usize) {
        if let Some(index) = &mut self.index {
            index.enter(volume as u64, name_len);
        }
        if let Some(earlier) = &mut self.earlier {
            earlier.enter(volume);
        }
    }

    /// How many members the volumes have until now, wherever they lie.
    pub(super) fn entries(&self) -> u64 {
        self.entries
    }

    /// The sizes of their files, added up.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    fn cover(&self) -> Cover {
        if self.policy == ChecksumPolicy::Never { Cover::Header } else { Cover::Full }
    }

    /// Whether anything may be referred to.
    pub(super) fn may_refer(&self) -> bool {
        self.earlier.is_some()
    }

    /// Refers to what the snapshot before has at `path` in the volume, if that is the same; else returns false.
    /// `full` is what a message calls it, and `link` where a hard link leads.
    pub(super) fn refer(
        &mut self,
        path: &[u8],
        full: &[u8],
        kind: Kind,
        stat: &Stat,
        link: &[u8],
    ) -> Result<bool> {
        let (Some(earlier), Some(index)) = (&mut self.earlier, &mut self.index) else { return Ok(false) };
        let is_same = match earlier.has_same(path, full, kind, stat, link) {
            Ok(is_same) => is_same,
            Err(error) => {
                let remark = earlier.remark(error)?;
                self.scheduler.shared.run.observer.note(&remark);
                false
            }
        };
        let target = if is_same { earlier.target() } else { None };
        let (Some(target), Some(entry)) = (target, earlier.entry()) else { return Ok(false) };
        index.push_reference(&entry, self.outlet.start() - target);
        self.entries += 1;
        self.references += 1;
        if kind == Kind::File {
            self.size = self.size.saturating_add(entry.size);
        }
        if index.is_full() {
            self.end_index_part()?;
        }
        Ok(true)
    }

    /// Stores an entry that has no data. `path` is what a message calls it.
    pub(super) fn entry(&mut self, entry: &Entry, stat: &Stat, path: &[u8]) -> Result<()> {
        let (cover, at) = (self.cover(), self.bundle.end());
        // What is sent already cannot be written once more.
        let is_first = self.leap.is_none() && entry.kind == Kind::Directory && !self.outlet.is_stream();
        let room = if is_first { leap::ROOM } else { 0 };
        let encoded = encode(self.bundle.buffer(), entry, 0, cover, |needed| needed + room)
            .map_err(|reason| refused(path, reason))?;
        if is_first {
            let offset = at - self.outlet.start();
            let buffer = self.bundle.buffer();
            self.leap = Some(Leap::new(offset, &buffer[buffer.len() - encoded.length..], cover, encoded));
        }
        self.bundle.add(encoded, cover, &[], None);
        self.count(entry, stat, at, None)
    }

    /// Stores a regular file.
    pub(super) fn file(
        &mut self,
        entry: &mut Entry,
        source: SourceFile,
        stat: &Stat,
        path: &[u8],
    ) -> Result<()> {
        entry.sparse = source.has_holes().then_some(Sparse::Map);
        let (stored, at, mut late) = (source.stored(), self.bundle.end(), None);
        if stored > MAX_SMALL {
            late = self.large(entry, source, stored, path)?;
        } else {
            let cover = self.cover();
            let encoded = encode(self.bundle.buffer(), entry, stored, cover, |needed| needed)
                .map_err(|reason| refused(path, reason))?;
            let opening = source.opening();
            self.bundle.add(encoded, cover, &opening, (stored > 0).then_some((source, path)));
        }
        self.count(entry, stat, at, late)
    }

    /// Returns where the checksum of its content goes, if that is not in its header.
    fn large(
        &mut self,
        entry: &Entry,
        source: SourceFile,
        stored: u64,
        path: &[u8],
    ) -> Result<Option<LateSlot>> {
        self.hand_over()?;
        let is_stream = self.outlet.is_stream();
        let may_clone = stored >= MIN_CLONED
            && self.scheduler.shared.clones.may_clone()
            && self.outlet.may_clone(source.handle());
        let (cover, clone) = match (may_clone, self.policy) {
            (false, _) if is_stream => (Cover::Header, None),
            (false, _) => (self.cover(), None),
            (true, ChecksumPolicy::Auto) => (Cover::Header, Some(CloneFallback::CoverData)),
            (true, _) => (self.cover(), Some(CloneFallback::SameCover)),
        };
        let (at, start) = (self.bundle.end(), self.outlet.start());
        let mut large = Large::new(at, start, entry.clone(), source, path, cover, clone)
            .map_err(|reason| refused(path, reason))?;
        let late = (is_stream && self.policy != ChecksumPolicy::Never).then(LateSlot::default);
        if is_stream {
            large = large.header_first(late.clone());
        }
        self.mark(large.first_block().as_ref())?;
        self.bundle = Bundle::new(large.end(), start, self.scheduler.bundle());
        self.scheduler.push(ReadJob::Large(Box::new(large)))?;
        Ok(late)
    }

    /// Counts a member, whose header blocks begin at `at`.
    fn count(&mut self, entry: &Entry, stat: &Stat, at: u64, late: Option<LateSlot>) -> Result<()> {
        self.members += 1;
        self.entries += 1;
        if entry.kind == Kind::File {
            // Files of nothing but a hole may have any size.
            self.size = self.size.saturating_add(entry.size);
        }
        if let Some(index) = &mut self.index {
            index.push(entry, stat, at - self.outlet.start(), late);
            if index.is_full() {
                self.end_index_part()?;
            }
        }
        if self.bundle.is_full() { self.hand_over() } else { Ok(()) }
    }

    /// Makes what the index has gathered a member.
    fn end_index_part(&mut self) -> Result<()> {
        self.hand_over()?;
        if let Some(index) = self.index.as_mut().filter(|index| !index.is_empty()) {
            let (at, start) = (self.bundle.end(), self.outlet.start());
            let piece = index.part(at, start)?;
            self.members += 1;
            self.bundle = Bundle::new(at + piece.bytes.len() as u64, start, self.scheduler.bundle());
            self.scheduler.push(ReadJob::Ready(piece))?;
        }
        Ok(())
    }

    fn hand_over(&mut self) -> Result<()> {
        if self.bundle.is_empty() {
            return Ok(());
        }
        let first = self.bundle.first_block();
        self.mark(first.as_ref())?;
        let next = Bundle::new(self.bundle.end(), self.outlet.start(), self.scheduler.bundle());
        self.scheduler.push(ReadJob::Bundle(std::mem::replace(&mut self.bundle, next)))
    }

    /// Before anything else is written, the first block is.
    fn mark(&mut self, first: Option<&Block>) -> Result<()> {
        if let (false, Some(first)) = (self.marked, first) {
            self.outlet.mark(first)?;
            self.marked = true;
        }
        Ok(())
    }

    /// Waits until all is written; what is still to come are the files that close the snapshot.
    pub(super) fn settle(mut self) -> Result<ClosingFiles<'a>> {
        self.end_index_part()?;
        let totals = self.scheduler.finish()?;
        Ok(ClosingFiles {
            outlet: self.outlet,
            index: self.index,
            bases: self.earlier.map(|earlier| earlier.bases(self.outlet.start())).unwrap_or_default(),
            references: self.references,
            leap: self.leap,
            at: self.bundle.end(),
            bytes: Vec::new(),
            members: self.members,
            entries: self.entries,
            size: self.size,
            unhashed: totals.unhashed,
            digest: totals.digest,
        })
    }
}

/// The end of a snapshot, whose volumes are all written.
pub(super) struct ClosingFiles<'a> {
    outlet: Outlet<'a>,
    index: Option<BackupIndex>,
    /// The earlier snapshots that are referred to.
    pub(super) bases: Vec<BaseItem>,
    leap: Option<Leap>,
    at: u64,
    bytes: Vec<u8>,
    /// How many members there are, `.snapshot-begin` counted.
    pub(super) members: u64,
    /// How many the volumes have, those in earlier snapshots counted, and how many are there.
    pub(super) entries: u64,
    pub(super) references: u64,
    /// The sizes of their files, added up.
    pub(super) size: u64,
    /// How many bytes of their data are not hashed.
    pub(super) unhashed: u64,
    pub(super) digest: Digest,
}

impl ClosingFiles<'_> {
    /// How many bytes the snapshot has until now.
    pub(super) fn length(&self) -> u64 {
        self.at + self.bytes.len() as u64 - self.outlet.start()
    }

    /// Closes the index, if there is one; returns where its last member lies in the snapshot, and whether
    /// any content has its checksum in the index.
    pub(super) fn index(&mut self) -> Result<Option<(u64, bool)>> {
        let Some(index) = self.index.take() else { return Ok(None) };
        let (offset, has_late) = (self.length(), index.has_late());
        let (entry, table) = index.table(offset);
        self.file(&entry, &table, Cover::Full)?;
        Ok(Some((offset, has_late)))
    }

    /// Stores one of the closing files, and returns its checksum.
    pub(super) fn file(&mut self, entry: &Entry, content: &[u8], cover: Cover) -> Result<blake3::Hash> {
        let stored = content.len() as u64;
        if stored > MAX_CLOSING_FILE {
            let reason = "it would be larger than 16 MiB, which cannot be read back: shorten the note, or back up \
                          fewer volumes at once";
            return Err(refused(&entry.name, reason));
        }
        let (start, offset) = (self.bytes.len(), self.length());
        let encoded = encode(&mut self.bytes, entry, stored, cover, |needed| needed)
            .map_err(|reason| refused(&entry.name, reason))?;
        self.bytes.extend_from_slice(content);
        let checksum = blake3::hash(&self.bytes[start..]);
        seal(&mut self.bytes[start..], encoded.digits_at, checksum);
        self.bytes.resize(self.bytes.len() + padding(stored), 0);
        self.digest.add(offset, checksum.as_bytes());
        self.members += 1;
        Ok(checksum)
    }

    /// Before the file that closes the snapshot: has its first directory say where that will be.
    pub(super) fn settle_leap(&mut self) -> Result<()> {
        let Some(leap) = self.leap.take() else { return Ok(()) };
        let (offset, header) = leap.settle(self.length(), &mut self.digest);
        self.outlet.write(header, self.outlet.start() + offset).map(drop)
    }

    /// Writes them, and returns where the archive now ends.
    pub(super) fn finish(self) -> Result<u64> {
        let end = self.at + self.bytes.len() as u64;
        self.outlet.write(self.bytes, self.at)?;
        Ok(end)
    }
}
