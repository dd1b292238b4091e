//! Where the chunks of an index lie, and what each begins with: what stands in the last member of an index.

use std::cmp::Ordering;

use crate::archive::BLOCK;
use crate::snapshot::index::varint::{Taker, push, push_bytes};
use crate::snapshot::layout::order;

/// How the data of each member of an index begins; the last byte is the version.
const MAGIC: &[u8; 8] = b"SNAPIDX\x01";
/// What follows that, in a chunk and in the table.
const CHUNK: u8 = b'c';
const TABLE: u8 = b't';
/// So much of the first path of a chunk stands in the table, in bytes.
const MAX_FIRST: usize = 100;

/// A chunk, and with which member its entries begin.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ChunkPlace {
    /// Where its member begins, in bytes from `.snapshot-begin`. Its entries are of the members between
    /// this and the chunk before it.
    pub(super) offset: u64,
    /// How many there are.
    pub(super) entries: u64,
    volume: u64,
    /// The first of them comes at this path or behind it.
    path: Vec<u8>,
}

impl ChunkPlace {
    pub(super) fn new(offset: u64, entries: u64, volume: u64, path: &[u8]) -> Self {
        ChunkPlace { offset, entries, volume, path: cut(path).to_vec() }
    }

    /// How its first entry lies to `path` in a volume, as far as can be told from here: that may come
    /// before `path` even where this says that it comes behind it, and never the other way round.
    pub(super) fn cmp(&self, volume: u64, path: &[u8]) -> Ordering {
        self.volume.cmp(&volume).then_with(|| order(&self.path, path))
    }

    /// Whether its first entry may lie in the tree at `path`.
    pub(super) fn is_in(&self, volume: u64, path: &[u8]) -> bool {
        let shared = self.path.len().min(path.len());
        self.volume == volume && self.path[..shared] == path[..shared]
    }

    /// Whether its first entry comes at `path` or before it, as far as it is known which it is.
    pub(super) fn is_surely_at_or_before(&self, volume: u64, path: &[u8]) -> bool {
        (self.volume < volume || self.path.len() < MAX_FIRST) && self.cmp(volume, path).is_le()
    }

    /// Whether its first entry is that of `path`.
    pub(super) fn begins_with(&self, volume: u64, path: &[u8]) -> bool {
        self.volume == volume && self.path == cut(path)
    }
}

fn cut(path: &[u8]) -> &[u8] {
    &path[..path.len().min(MAX_FIRST)]
}

/// How a chunk begins whose member lies `offset` bytes from `.snapshot-begin`.
pub(super) fn chunk_opening(offset: u64) -> Vec<u8> {
    opening(CHUNK, offset)
}

/// Where the entries of a chunk begin in `bytes`, if that lies at `offset`.
pub(super) fn open_chunk(bytes: &[u8], offset: u64) -> Result<usize, &'static str> {
    Ok(bytes.len() - open(bytes, CHUNK, offset)?.0.len())
}

/// The table, whose member lies `offset` bytes from `.snapshot-begin`.
pub(super) fn encode(chunks: &[ChunkPlace], offset: u64) -> Vec<u8> {
    let mut out = opening(TABLE, offset);
    let mut before = 0;
    for chunk in chunks {
        push(&mut out, (chunk.offset - before) / BLOCK);
        push(&mut out, chunk.entries);
        push(&mut out, chunk.volume);
        push_bytes(&mut out, &chunk.path);
        before = chunk.offset;
    }
    out
}

/// # Errors
/// What is malformed in a table that lies at `offset`.
pub(super) fn decode(bytes: &[u8], offset: u64) -> Result<Vec<ChunkPlace>, &'static str> {
    let mut taker = open(bytes, TABLE, offset)?;
    let mut chunks: Vec<ChunkPlace> = Vec::new();
    while !taker.is_empty() {
        let blocks = taker.number()?;
        let before = chunks.last().map_or(0, |last| last.offset);
        let at = blocks.checked_mul(BLOCK).and_then(|more| before.checked_add(more));
        let at = at.filter(|&at| before < at && at < offset).ok_or("it lists chunks where none can be")?;
        let chunk = ChunkPlace {
            offset: at,
            entries: taker.number()?,
            volume: taker.number()?,
            path: taker.bytes()?.to_vec(),
        };
        if chunks.last().is_some_and(|last| last.cmp(chunk.volume, &chunk.path) == Ordering::Greater) {
            return Err("its chunks are not in their order");
        }
        chunks.push(chunk);
    }
    Ok(chunks)
}

fn opening(what: u8, offset: u64) -> Vec<u8> {
    let mut out = [&MAGIC[..], &[what]].concat();
    push(&mut out, offset / BLOCK);
    out
}

fn open(bytes: &[u8], what: u8, offset: u64) -> Result<Taker<'_>, &'static str> {
    let mut taker = Taker(bytes);
    if taker.array() != Ok(*MAGIC) {
        return Err("it is no index, or one of another version");
    }
    if taker.byte()? != what {
        return Err("it is another part of an index");
    }
    if taker.number()?.checked_mul(BLOCK) != Some(offset) {
        return Err("it belongs to another place");
    }
    Ok(taker)
}

/// Where a chunk says that its snapshot begins, if `bytes` are one and its member begins at `at` in the
/// archive.
pub(super) fn begin_of_chunk(bytes: &[u8], at: u64) -> Option<u64> {
    let mut taker = Taker(bytes);
    let is_chunk = taker.array() == Ok(*MAGIC) && taker.byte() == Ok(CHUNK);
    let offset = taker.number().ok().filter(|_| is_chunk)?.checked_mul(BLOCK)?;
    at.checked_sub(offset)
}
