//! A file that is to be read: what it was when it was opened is a promise. One that shrinks is filled up with zeros,
//! one that grows is cut, and what changed is said.

use crate::archive::sparse::Map;
use crate::backup::crew::Crew;
use crate::error::{Context, Result};
use crate::fs::file::data_extents;
use crate::fs::{Handle, Stat, StoreFile};
use crate::time::Time;

/// Files of this size are asked for holes even when they take up as much space as they should.
const ALWAYS_ASK: u64 = 64 << 10;

#[derive(Debug)]
pub(super) struct Source {
    file: StoreFile,
    /// What messages call it.
    path: Vec<u8>,
    size: u64,
    mtime: Time,
    map: Option<Map>,
    whole: [(u64, u64); 1],
}

impl Source {
    pub(super) fn new(handle: Handle, stat: &Stat, path: &[u8]) -> Result<Self> {
        let size = stat.size;
        let map = if size > 0 && (stat.allocated < size || size >= ALWAYS_ASK) {
            let extents = data_extents(&handle, size).context("find the holes of", path)?;
            Map::new(extents, size)
        } else {
            None
        };
        Ok(Source {
            file: StoreFile::new(handle),
            path: path.to_vec(),
            size,
            mtime: stat.mtime,
            map,
            whole: [(0, size)],
        })
    }

    pub(super) fn has_holes(&self) -> bool {
        self.map.is_some()
    }

    /// What opens its stored data: the map of a file with holes.
    pub(super) fn opening(&self) -> Vec<u8> {
        self.map.as_ref().map(Map::encode).unwrap_or_default()
    }

    /// How many bytes its stored data has, without padding.
    pub(super) fn stored(&self) -> u64 {
        self.map.as_ref().map_or(self.size, |map| map.encoded_len() + map.data_len())
    }

    /// Its data, as offset and length.
    pub(super) fn extents(&self) -> &[(u64, u64)] {
        self.map.as_ref().map_or(&self.whole, Map::extents)
    }

    pub(super) fn path(&self) -> &[u8] {
        &self.path
    }

    pub(super) fn handle(&self) -> &Handle {
        self.file.handle()
    }

    /// Reads from `offset`; returns how much there was, less only at the file's end.
    pub(super) fn read(&self, buffer: &mut [u8], offset: u64, crew: &Crew) -> Result<usize> {
        let count = self.file.read_at(buffer, offset).context("read", &self.path)?;
        crew.run.observer.bytes(count as u64);
        Ok(count)
    }

    /// Reads all extents to the end of `buffer`, and says what has changed.
    pub(super) fn read_all(&self, buffer: &mut [u8], crew: &Crew) -> Result<()> {
        let data: u64 = self.extents().iter().map(|&(_, length)| length).sum();
        let mut at = buffer.len() - usize::try_from(data).unwrap_or(buffer.len());
        let mut shrunk = false;
        for &(offset, length) in self.extents() {
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            if !shrunk && length > 0 {
                shrunk = self.read(&mut buffer[at..at + length], offset, crew)? < length;
            }
            at += length;
        }
        self.done(shrunk, crew)
    }

    /// To be called when all was read: says what has changed since it was opened.
    pub(super) fn done(&self, shrunk: bool, crew: &Crew) -> Result<()> {
        let after = self.file.stat().context("look at", &self.path)?;
        let changed = if shrunk {
            "it became shorter while it was read: what is missing was stored as zeros"
        } else if after.size > self.size {
            "it grew while it was read: what came behind its former size was left out"
        } else if (after.size, after.mtime) != (self.size, self.mtime) {
            "it changed while it was read: what was stored may be a mixture"
        } else {
            return Ok(());
        };
        crew.warn(&self.path, changed)
    }
}
