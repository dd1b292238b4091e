//! The index as it is written: entry by entry into a chunk, and when that is full it becomes a member.

use crate::archive::BLOCK;
use crate::snapshot::index::entry::{EntryEncoder, IndexEntry};
use crate::snapshot::index::table::{self, ChunkPlace};

/// A chunk with so many bytes gets no more entries.
const FULL: usize = 64 << 10;
/// From so many chunks on they are larger, so that the table stays far below what is read of one.
const MANY: usize = 100_000;
const FULL_OF_MANY: usize = 2 << 20;

/// Gathers entries.
#[derive(Debug, Default)]
pub(crate) struct IndexWriter {
    entries: Vec<u8>,
    encoder: EntryEncoder,
    /// Where in the entries the late checksums stand.
    lates: Vec<usize>,
    /// How many entries the chunk has, and the first of them: its volume and path.
    count: u64,
    first: (u64, Vec<u8>),
    chunks: Vec<ChunkPlace>,
}

/// The data of one chunk.
#[derive(Debug)]
pub(crate) struct IndexChunk {
    pub(crate) data: Vec<u8>,
    /// Where in it the 32 bytes of each late checksum are still to be put.
    pub(crate) lates: Vec<usize>,
}

impl IndexWriter {
    /// Adds the entry of the next member. Where `late` is set, its checksum is still to be put in, unless it is a
    /// reference.
    pub(crate) fn push(&mut self, entry: &IndexEntry) {
        if self.count == 0 {
            self.first = (entry.volume, entry.path.to_vec());
        }
        self.encoder.push(&mut self.entries, entry);
        if let Some(late) = entry.late.as_ref().filter(|_| !entry.is_reference()) {
            self.lates.push(self.entries.len() - late.len());
        }
        self.count += 1;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(crate) fn is_full(&self) -> bool {
        self.entries.len() >= if self.chunks.len() < MANY { FULL } else { FULL_OF_MANY }
    }

    /// Ends the chunk, whose member lies `offset` bytes from `.snapshot-begin`.
    pub(crate) fn chunk(&mut self, offset: u64) -> IndexChunk {
        debug_assert!(offset.is_multiple_of(BLOCK));
        let mut data = table::chunk_opening(offset);
        let opening = data.len();
        data.append(&mut self.entries);
        let lates = std::mem::take(&mut self.lates).into_iter().map(|at| opening + at).collect();
        let (volume, path) = std::mem::take(&mut self.first);
        self.chunks.push(ChunkPlace::new(offset, self.count, volume, &path));
        (self.encoder, self.count) = (EntryEncoder::default(), 0);
        IndexChunk { data, lates }
    }

    /// What closes the index: where its chunks are. It lies `offset` bytes from `.snapshot-begin`.
    pub(crate) fn table(&self, offset: u64) -> Vec<u8> {
        table::encode(&self.chunks, offset)
    }
}
