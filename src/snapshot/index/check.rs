//! An index, held against the headers that it is a cache of, on a walk over all members of a snapshot.

use std::sync::Arc;

use crate::archive::decode::Head;
use crate::archive::entry::Kind;
use crate::archive::open::Reader;
use crate::error::Result;
use crate::snapshot::Snapshot;
use crate::snapshot::index::entry::EntryCount;
use crate::snapshot::index::place::IndexPlace;
use crate::snapshot::index::{ABSENT, Index, Lookup, OTHERWISE};
use crate::snapshot::layout::Place;

/// The index of one snapshot, and how much of it was met.
#[derive(Debug)]
pub(crate) struct IndexCheck {
    index: Option<Index>,
    /// Members of volumes since its last part, and its parts.
    members: u64,
    parts: usize,
}

impl IndexCheck {
    /// That of a snapshot without one, or of which nothing is known.
    pub(crate) fn nothing() -> Self {
        IndexCheck { index: None, members: 0, parts: 0 }
    }

    /// That of `snapshot`, at `place`.
    pub(crate) fn open(reader: &Arc<Reader>, snapshot: &Snapshot, place: &IndexPlace) -> Result<Self> {
        let index = Index::open_at(reader, snapshot, place)?;
        Ok(IndexCheck { index, ..IndexCheck::nothing() })
    }

    /// Passes by a member of a volume, which lies in the snapshot itself or not.
    pub(crate) fn pass(&mut self, is_own: bool) {
        self.members += u64::from(is_own);
    }

    /// Takes the next member of `snapshot`, and gives it the checksum of its content that its header lacks.
    pub(crate) fn take(&mut self, head: &mut Head, place: Option<&Place>, snapshot: &Snapshot) -> Result<()> {
        match place {
            Some(place) => self.member(head, place),
            None if snapshot.is_index(head.name) => self.part(head, snapshot),
            None => Ok(()),
        }
    }

    fn member(&mut self, head: &mut Head, place: &Place) -> Result<()> {
        self.members += 1;
        let Some(index) = &mut self.index else { return Ok(()) };
        if index.is_remnant {
            if head.kind == Kind::File && !head.stored.is_hashed() {
                head.stored.late = index.late(head, place)?;
            }
            return Ok(());
        }
        let late = match index.entry_of(head)? {
            Lookup::Entry(entry) if !entry.is_of(head, place.volume, place.path) => Err(OTHERWISE),
            // A header that covers the content says all of it.
            Lookup::Entry(entry) if entry.late.is_some() && head.stored.is_hashed() => Err(OTHERWISE),
            Lookup::Entry(entry) => Ok(entry.late),
            Lookup::Absent => Err(ABSENT),
            Lookup::Unknown => Ok(None),
        };
        head.stored.late = late.map_err(|reason| head.data().damaged(&index.reader, reason))?;
        Ok(())
    }

    fn part(&mut self, head: &Head, snapshot: &Snapshot) -> Result<()> {
        let members = std::mem::take(&mut self.members);
        let Some(index) = self.index.as_ref().filter(|index| !index.is_remnant) else { return Ok(()) };
        let at = head.stored.start;
        if snapshot.index == IndexPlace::Table(at) {
            let is_all = self.parts == index.chunks.len() && members == 0;
            return if is_all {
                Ok(())
            } else {
                Err(index.damaged(at, "it does not list all parts of the index"))
            };
        }
        self.parts += 1;
        let number = self.parts - 1;
        match index.chunks.get(number) {
            Some(chunk) if index.begin + chunk.offset == at => {
                if index.failed == Some(number) {
                    return Ok(());
                }
                let found = index.read(number)?.count().map_err(|reason| index.damaged(at, reason))?;
                if (found.own, found.all) == (members, chunk.entries) {
                    return Ok(());
                }
                let (EntryCount { own, all }, listed) = (found, chunk.entries);
                let reason = format!(
                    "{members} members come before it, it has entries of {own}, and {all} in all, and is listed \
                     with {listed}"
                );
                Err(index.damaged(at, &reason))
            }
            _ => Err(index.damaged(at, "the index does not list this part of it")),
        }
    }
}
