//! Finding members by their paths, with reads of a few parts of the index.

use std::cmp::Ordering;
use std::ops::Range;
use std::sync::Arc;

use crate::archive::walk::{Step, Walk};
use crate::error::Result;
use crate::snapshot::Snapshot;
use crate::snapshot::index::asked::is_inside;
use crate::snapshot::index::table::ChunkPlace;
use crate::snapshot::index::{Index, IndexEntry, Lookup, OTHERWISE};
use crate::snapshot::layout::{Place, order};

/// What of a place is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Its own member.
    Member,
    /// That, and those of all that lies in it.
    Tree,
}

impl Index {
    /// Where in the archive the member at `place` lies, or all that lies in it; `None` where there is none.
    /// `each` is handed the entries. There may be parts of the index in between. The headers at both ends are
    /// held against what the index says.
    pub(crate) fn find(
        &mut self,
        snapshot: &Snapshot,
        place: &Place,
        reach: Reach,
        mut each: impl FnMut(&IndexEntry),
    ) -> Result<Option<Range<u64>>> {
        let volume = place.volume as u64;
        let (mut start, mut number) = (None, self.first_chunk(volume, place.path)?);
        while number < self.chunks.len() {
            let behind = self.chunks[number].offset;
            let mut is_first = true;
            while let Some(entry) = self.next_entry(number, std::mem::take(&mut is_first))? {
                let order = entry.volume.cmp(&volume).then_with(|| order(entry.path, place.path));
                let is_in = match reach {
                    Reach::Member => order == Ordering::Equal,
                    Reach::Tree => entry.volume == volume && is_inside(entry.path, place.path),
                };
                if is_in {
                    start = start.or((order == Ordering::Equal).then_some(entry.offset));
                    each(&entry);
                } else if order == Ordering::Greater {
                    let end = entry.offset;
                    return self.stretch(snapshot, place, reach, start, end);
                }
            }
            if reach == Reach::Member && start.is_some() {
                return self.stretch(snapshot, place, reach, start, behind);
            }
            number += 1;
        }
        let end = self.chunks.last().map_or(0, |last| last.offset);
        self.stretch(snapshot, place, reach, start, end)
    }

    /// The last chunk that does not begin behind a path.
    fn first_chunk(&mut self, volume: u64, path: &[u8]) -> Result<usize> {
        let is_before = |chunk: &ChunkPlace| chunk.cmp(volume, path).is_le();
        let mut number = self.chunks.partition_point(is_before).saturating_sub(1);
        // In the table paths are cut, and may seem to come before what they come behind.
        while number > 0
            && let Some(first) = self.next_entry(number, true)?
            && first.volume.cmp(&volume).then_with(|| order(first.path, path)) == Ordering::Greater
        {
            number -= 1;
        }
        Ok(number)
    }

    /// The first entry of a chunk, or the one behind that which was read last.
    pub(super) fn next_entry(&mut self, number: usize, is_first: bool) -> Result<Option<IndexEntry<'_>>> {
        let at = self.begin + self.chunks[number].offset;
        let Some(decoder) = self.hold(number)? else { return Ok(None) };
        if is_first {
            decoder.rewind();
        }
        if decoder.is_last() {
            return Ok(None);
        }
        if let Err(reason) = decoder.step() {
            return Err(self.damaged(at, reason));
        }
        Ok(self.held.as_ref().and_then(|(_, decoder)| decoder.entry()))
    }

    /// From `start` to `end`, which count from the snapshot's beginning: what begins there must be what was
    /// looked for, and what comes behind must not.
    fn stretch(
        &mut self,
        snapshot: &Snapshot,
        place: &Place,
        reach: Reach,
        start: Option<u64>,
        end: u64,
    ) -> Result<Option<Range<u64>>> {
        let Some(start) = start.map(|start| self.begin + start) else { return Ok(None) };
        let mut walk = Walk::new(Arc::clone(&self.reader), start);
        let is_it = match walk.step()? {
            Step::Member(head) if head.stored.checksum.is_some() => match self.entry_of(&head)? {
                Lookup::Entry(entry) => {
                    let found = snapshot.layout.locate(head.name);
                    found.as_ref() == Some(place) && entry.is_of(&head, place.volume, place.path)
                }
                Lookup::Absent | Lookup::Unknown => false,
            },
            _ => false,
        };
        let end = self.begin + end;
        if !is_it || end < walk.position() {
            return Err(self.reader.damaged(start, OTHERWISE));
        }
        walk.jump(end);
        while reach == Reach::Tree && walk.position() < snapshot.close {
            let Step::Member(head) = walk.step()? else { break };
            match snapshot.layout.locate(head.name) {
                None if snapshot.is_index(head.name) => {}
                Some(next) if next.volume == place.volume && is_inside(next.path, place.path) => {
                    return Err(self.reader.damaged(head.stored.start, OTHERWISE));
                }
                _ => break,
            }
        }
        Ok(Some(start..end))
    }
}
