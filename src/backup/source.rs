//! A file that is to be read. Its size when it was opened is what is stored of it: one that shrinks is filled
//! up with zeros, one that grows is cut, and a warning says so.

use crate::archive::sparse::SparseMap;
use crate::error::{Context, Result};
use crate::fs::file::{Extent, data_extents};
use crate::fs::{Handle, Stat, StoreFile};
use crate::time::Time;
use crate::warning::changes::{CHANGED, GREW, SHRUNK};

/// Files of this size are asked for holes even when they take up as much space as they should.
const ALWAYS_ASK: u64 = 64 << 10;

/// What a read copies as one, in bytes.
const PAGE: u64 = 4096;

/// An open file. What messages call it is not kept here but handed in, since there are many of them.
#[derive(Debug)]
pub(super) struct SourceFile {
    file: StoreFile,
    size: u64,
    mtime: Time,
    map: Option<SparseMap>,
    whole: [Extent; 1],
}

impl SourceFile {
    pub(super) fn new(handle: Handle, stat: &Stat, path: &[u8]) -> Result<Self> {
        let size = stat.size;
        let map = if size > 0 && (stat.allocated < size || size >= ALWAYS_ASK) {
            let extents = data_extents(&handle, size).context("find the holes of", path)?;
            SparseMap::new(extents, size)
        } else {
            None
        };
        let whole = [Extent { offset: 0, length: size }];
        Ok(SourceFile { file: StoreFile::new(handle), size, mtime: stat.mtime, map, whole })
    }

    pub(super) fn has_holes(&self) -> bool {
        self.map.is_some()
    }

    /// What opens its stored data: the map of a file with holes.
    pub(super) fn opening(&self) -> Vec<u8> {
        self.map.as_ref().map(SparseMap::encode).unwrap_or_default()
    }

    /// How many bytes its stored data has, without padding.
    pub(super) fn stored(&self) -> u64 {
        self.map.as_ref().map_or(self.size, |map| map.encoded_len() + map.data_len())
    }

    /// Where its data lies.
    pub(super) fn extents(&self) -> &[Extent] {
        self.map.as_ref().map_or(&self.whole, SparseMap::extents)
    }

    pub(super) fn handle(&self) -> &Handle {
        self.file.handle()
    }

    /// Reads from `offset`; returns how much there was, less only at the file's end.
    pub(super) fn read(&self, buffer: &mut [u8], offset: u64, path: &[u8]) -> Result<usize> {
        self.file.read_at(buffer, offset).context("read", path)
    }

    /// Reads all extents to the end of `buffer`; says what has changed meanwhile.
    pub(super) fn read_all(&self, buffer: &mut [u8], path: &[u8]) -> Result<Option<&'static str>> {
        if self.map.is_none() {
            let (count, more) = self.file.read_whole(buffer, 0).context("read", path)?;
            let shrunk = count < buffer.len();
            // One call reads a page as it is at one moment, so that the size alone can have changed. Of more
            // pages some may be what they were before a write, and some what they are after it.
            if more || self.size <= PAGE {
                return Ok(if shrunk { Some(SHRUNK) } else { more.then_some(GREW) });
            }
            return self.change(shrunk, path);
        }
        let data: u64 = self.extents().iter().map(|extent| extent.length).sum();
        let mut at = buffer.len() - usize::try_from(data).unwrap_or(buffer.len());
        let mut shrunk = false;
        for &Extent { offset, length } in self.extents() {
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            if !shrunk && length > 0 {
                shrunk = self.read(&mut buffer[at..at + length], offset, path)? < length;
            }
            at += length;
        }
        self.change(shrunk, path)
    }

    /// What has changed since it was opened, when all was read.
    pub(super) fn change(&self, shrunk: bool, path: &[u8]) -> Result<Option<&'static str>> {
        let after = self.file.stat().context("look at", path)?;
        Ok(if shrunk {
            Some(SHRUNK)
        } else if after.size > self.size {
            Some(GREW)
        } else if (after.size, after.mtime) != (self.size, self.mtime) {
            Some(CHANGED)
        } else {
            None
        })
    }
}
