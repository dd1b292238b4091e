//! The index of what a backup stores, as far as it is wanted: a part of it becomes a member whenever it
//! is full.

use crate::archive::checksum::Cover;
use crate::archive::encode::encode;
use crate::archive::entry::Entry;
use crate::archive::padding;
use crate::backup::large::refused;
use crate::backup::piece::{LateSlot, Piece, Unsealed};
use crate::error::Result;
use crate::fs::Stat;
use crate::snapshot::index::{IndexEntry, IndexWriter};

#[derive(Debug)]
pub(super) struct BackupIndex {
    writer: IndexWriter,
    /// What its members are.
    template: Entry,
    /// Which volume is being stored, and how long its name in the archive is.
    volume: u64,
    name_len: usize,
    /// Of the files in the part that is being filled.
    slots: Vec<LateSlot>,
    /// Whether any file had one.
    has_late: bool,
}

impl BackupIndex {
    pub(super) fn new(template: Entry) -> Self {
        let writer = IndexWriter::default();
        BackupIndex { writer, template, volume: 0, name_len: 0, slots: Vec::new(), has_late: false }
    }

    /// What follows is of another volume.
    pub(super) fn enter(&mut self, volume: u64, name_len: usize) {
        (self.volume, self.name_len) = (volume, name_len);
    }

    /// Adds a member, `offset` bytes from the snapshot's start.
    pub(super) fn push(&mut self, entry: &Entry, stat: &Stat, offset: u64, late: Option<LateSlot>) {
        let path = entry.name.get(self.name_len..).unwrap_or_default();
        self.writer.push(&IndexEntry {
            volume: self.volume,
            path: path.strip_prefix(b"/").unwrap_or(path),
            kind: entry.kind,
            offset,
            back: 0,
            mode: entry.mode,
            uid: entry.uid,
            gid: entry.gid,
            size: entry.size,
            mtime: entry.mtime,
            ctime: stat.ctime,
            inode: stat.id.ino,
            link: &entry.link,
            device: entry.device,
            late: late.as_ref().map(|_| [0; 32]),
        });
        self.has_late |= late.is_some();
        self.slots.extend(late);
    }

    /// Adds a member of an earlier snapshot, `back` bytes before the start of this one. `entry` is what that snapshot
    /// has of it.
    pub(super) fn push_reference(&mut self, entry: &IndexEntry, back: u64) {
        self.writer.push(&IndexEntry { volume: self.volume, offset: 0, back, ..*entry });
        self.has_late |= entry.late.is_some();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.writer.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.writer.is_full()
    }

    pub(super) fn has_late(&self) -> bool {
        self.has_late
    }

    /// Ends the part that is being filled: a member at offset `at` of the archive.
    pub(super) fn part(&mut self, at: u64, snapshot_start: u64) -> Result<Piece> {
        let chunk = self.writer.chunk(at - snapshot_start);
        let stored = chunk.data.len() as u64;
        self.template.size = stored;
        let mut bytes = Vec::new();
        let encoded = encode(&mut bytes, &self.template, stored, Cover::Full, |needed| needed)
            .map_err(|reason| refused(&self.template.name, reason))?;
        let data = bytes.len();
        bytes.extend_from_slice(&chunk.data);
        let end = bytes.len();
        bytes.resize(end + padding(stored), 0);
        let places = chunk.lates.into_iter().map(|place| data + place);
        let lates = places.zip(std::mem::take(&mut self.slots)).collect();
        let unsealed = Unsealed { digits_at: encoded.digits_at, end, lates, offset: at - snapshot_start };
        Ok(Piece { at, bytes, unsealed: Some(Box::new(unsealed)) })
    }

    /// What closes the index, `offset` bytes from the snapshot's start, and the member that it is.
    pub(super) fn table(mut self, offset: u64) -> (Entry, Vec<u8>) {
        let table = self.writer.table(offset);
        self.template.size = table.len() as u64;
        (self.template, table)
    }
}
