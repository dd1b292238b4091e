//! All entries of an index, one after the other, with one part of it in memory.

use std::sync::Arc;

use crate::archive::open::Reader;
use crate::error::Result;
use crate::snapshot::Snapshot;
use crate::snapshot::index::asked::Asked;
use crate::snapshot::index::{Index, IndexEntry};
use crate::snapshot::layout::order;

/// Goes over an index from its first entry to its last.
#[derive(Debug)]
pub(crate) struct IndexCursor {
    index: Index,
    /// Which chunk it stands in, and whether at an entry of that.
    number: usize,
    is_in: bool,
    /// Parts of the index without any of these are not read.
    asked: Option<Arc<Asked>>,
}

impl IndexCursor {
    /// Before the first entry of the index of `snapshot`; `None` where it has no index.
    pub(crate) fn open(reader: &Arc<Reader>, snapshot: &Snapshot) -> Result<Option<Self>> {
        let asked = snapshot.asked.clone();
        let index = Index::open(reader, snapshot)?;
        Ok(index.map(|index| IndexCursor { index, number: 0, is_in: false, asked }))
    }

    /// Goes on to the next entry; returns whether there is one.
    ///
    /// # Errors
    /// When a part of the index is damaged, unless that is known of all of it. The next step then goes on
    /// behind that part.
    pub(crate) fn step(&mut self) -> Result<bool> {
        while self.number < self.index.chunks.len() {
            let is_first = !std::mem::replace(&mut self.is_in, true);
            let is_wanted = !is_first || self.is_asked_for(self.number);
            match is_wanted.then(|| self.index.next_entry(self.number, is_first)) {
                Some(Ok(Some(_))) => return Ok(true),
                Some(Err(error)) => {
                    (self.number, self.is_in) = (self.number + 1, false);
                    return Err(error);
                }
                Some(Ok(None)) | None => (self.number, self.is_in) = (self.number + 1, false),
            }
        }
        Ok(false)
    }

    /// The entry that it stands at.
    pub(crate) fn entry(&self) -> Option<IndexEntry<'_>> {
        let (held, decoder) = self.index.held.as_ref()?;
        decoder.entry().filter(|_| self.is_in && *held == self.number)
    }

    /// Where in the archive the part of the index lies that it stands in.
    pub(crate) fn at(&self) -> u64 {
        self.index.begin + self.index.chunks.get(self.number).map_or(0, |chunk| chunk.offset)
    }

    /// What offsets in the index count from, in the archive.
    pub(crate) fn begin(&self) -> u64 {
        self.index.begin
    }

    /// Whether a chunk may have anything that is asked for.
    fn is_asked_for(&self, number: usize) -> bool {
        let Some(asked) = &self.asked else { return true };
        let (chunk, next) = (&self.index.chunks[number], self.index.chunks.get(number + 1));
        let may_have = |(volume, path): &(u64, Vec<u8>), is_tree: bool| {
            let begins_in = is_tree && chunk.is_in(*volume, path);
            let begins_before = chunk.cmp(*volume, path).is_le();
            (begins_in || begins_before)
                && next.is_none_or(|next| !next.is_surely_at_or_before(*volume, path))
        };
        asked.trees.iter().any(|tree| may_have(tree, true))
            || asked.members.iter().any(|member| may_have(member, false))
    }
}

/// How an entry lies to a path in a volume.
pub(crate) fn order_of(entry: &IndexEntry, volume: u64, path: &[u8]) -> std::cmp::Ordering {
    entry.volume.cmp(&volume).then_with(|| order(entry.path, path))
}
