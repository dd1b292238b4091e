//! The index of a snapshot: what there is in it, from few reads at offsets, and the checksums of content
//! that was still to be read when its header was written. It is a cache of the headers but for these:
//! what a header says holds, and an index that says something else is damage. docs/format.md describes
//! it.

pub(crate) mod asked;
pub(crate) mod check;
pub(crate) mod cursor;
mod entry;
pub(crate) mod lookup;
pub(crate) mod place;
mod table;
mod varint;
mod writer;

use std::sync::Arc;

use crate::archive::content::Content;
use crate::archive::decode::Head;
use crate::archive::entry::Kind;
use crate::archive::open::Reader;
use crate::archive::walk::{Step, Walk};
use crate::error::{Error, Result};
use crate::name::Shown;
use crate::observer::Run;
use crate::snapshot::index::entry::EntryDecoder;
pub(crate) use crate::snapshot::index::entry::IndexEntry;
use crate::snapshot::index::place::IndexPlace;
use crate::snapshot::index::table::ChunkPlace;
pub(crate) use crate::snapshot::index::writer::IndexWriter;
use crate::snapshot::layout::Place;
use crate::snapshot::{MAX_CLOSING_FILE, SNAPSHOT_INDEX, Snapshot, under};

/// What a chunk may measure at most, in bytes.
const MAX_CHUNK: u64 = 8 << 20;

/// What is wrong with a member where the index is.
const ABSENT: &str = "the snapshot's index does not have it";
const OTHERWISE: &str = "the snapshot's index does not say the same of it as its header";

/// An index that is open for reading.
#[derive(Debug)]
pub(crate) struct Index {
    reader: Arc<Reader>,
    /// The archive's offset of `.snapshot-begin`.
    begin: u64,
    /// What its members are called.
    name: Vec<u8>,
    chunks: Vec<ChunkPlace>,
    /// Of a damaged snapshot: what is missing is not missed.
    is_remnant: bool,
    /// The chunk that was read last, by its number.
    held: Option<(usize, EntryDecoder)>,
    /// The last chunk that could not be read.
    failed: Option<usize>,
}

/// What the index has for an offset.
enum Lookup<'a> {
    Entry(IndexEntry<'a>),
    Absent,
    /// That part of it is damaged, which was an error before.
    Unknown,
}

impl Index {
    /// The index of `snapshot`, if it has one.
    ///
    /// # Errors
    /// [`Error::Damaged`] when it is malformed or not where it should be.
    pub(crate) fn open(reader: &Arc<Reader>, snapshot: &Snapshot) -> Result<Option<Self>> {
        Self::open_at(reader, snapshot, &snapshot.index)
    }

    /// The same, where the index is known to be at `place`.
    fn open_at(reader: &Arc<Reader>, snapshot: &Snapshot, place: &IndexPlace) -> Result<Option<Self>> {
        let name = under(&snapshot.prefix, SNAPSHOT_INDEX);
        let is_remnant = matches!(place, IndexPlace::Chunks(..));
        let mut index = Index {
            reader: Arc::clone(reader),
            begin: snapshot.start,
            name,
            chunks: Vec::new(),
            is_remnant,
            held: None,
            failed: None,
        };
        match place {
            IndexPlace::Nowhere => return Ok(None),
            IndexPlace::Lost => return Err(reader.damaged(snapshot.close, "its index is missing")),
            &IndexPlace::Table(at) => {
                let table = index.part(at, MAX_CLOSING_FILE)?;
                let chunks = table::decode(&table, at - index.begin);
                index.chunks = chunks.map_err(|reason| index.damaged(at, reason))?;
            }
            IndexPlace::Chunks(begin, chunks) => {
                let place = |at: &u64| ChunkPlace::new(at - begin, 0, 0, b"");
                (index.begin, index.chunks) = (*begin, chunks.iter().map(place).collect());
            }
        }
        Ok(Some(index))
    }

    /// The checksum of the content of a file whose header was written before it was read; `None` where it
    /// has none.
    fn late(&mut self, head: &Head, place: &Place) -> Result<Option<[u8; 32]>> {
        let is_remnant = self.is_remnant;
        match self.entry_of(head)? {
            Lookup::Entry(entry) if entry.is_of(head, place.volume, place.path) => Ok(entry.late),
            Lookup::Unknown => Ok(None),
            _ if is_remnant => Ok(None),
            Lookup::Entry(_) => Err(head.data().damaged(&self.reader, OTHERWISE)),
            Lookup::Absent => Err(head.data().damaged(&self.reader, ABSENT)),
        }
    }

    /// What it has for a member.
    fn entry_of(&mut self, head: &Head) -> Result<Lookup<'_>> {
        let Some(offset) = head.stored.start.checked_sub(self.begin) else { return Ok(Lookup::Absent) };
        let number = self.chunks.partition_point(|chunk| chunk.offset <= offset);
        if number >= self.chunks.len() {
            return Ok(Lookup::Absent);
        }
        let at = self.begin + self.chunks[number].offset;
        let Some(decoder) = self.hold(number)? else { return Ok(Lookup::Unknown) };
        if decoder.offset() > offset || decoder.offset() == offset && decoder.is_at_reference() {
            decoder.rewind();
        }
        let mut found = Ok(());
        while found.is_ok() && decoder.offset() < offset && !decoder.is_last() {
            found = decoder.step();
        }
        if let Err(reason) = found {
            return self.give_up(number, self.damaged(at, reason)).map(|()| Lookup::Unknown);
        }
        let entry = self.held.as_ref().and_then(|(_, decoder)| decoder.entry());
        let is_its = |entry: &IndexEntry| !entry.is_reference() && entry.offset == offset;
        Ok(entry.filter(is_its).map_or(Lookup::Absent, Lookup::Entry))
    }

    /// Reads a chunk, unless it is held; `None` for one that could not be read before.
    fn hold(&mut self, number: usize) -> Result<Option<&mut EntryDecoder>> {
        if self.held.as_ref().is_none_or(|(held, _)| *held != number) {
            if self.failed == Some(number) {
                return Ok(None);
            }
            match self.read(number) {
                Ok(decoder) => self.held = Some((number, decoder)),
                Err(error) => self.give_up(number, error)?,
            }
        }
        Ok(self.held.as_mut().filter(|(held, _)| *held == number).map(|(_, decoder)| decoder))
    }

    /// Nothing more is read of a chunk.
    fn give_up(&mut self, number: usize, error: Error) -> Result<()> {
        (self.held, self.failed) = (None, Some(number));
        if self.is_remnant && matches!(error, Error::Damaged { .. }) { Ok(()) } else { Err(error) }
    }

    fn read(&self, number: usize) -> Result<EntryDecoder> {
        let place = &self.chunks[number];
        let at = self.begin + place.offset;
        let bytes = self.part(at, MAX_CHUNK)?;
        let opening = table::open_chunk(&bytes, place.offset).map_err(|reason| self.damaged(at, reason))?;
        let mut decoder = EntryDecoder::new(bytes, opening);
        decoder.step().map_err(|reason| self.damaged(at, reason))?;
        let is_listed = |entry: &IndexEntry| place.begins_with(entry.volume, entry.path);
        if !self.is_remnant && !decoder.entry().as_ref().is_some_and(is_listed) {
            return Err(self.damaged(at, "it does not begin with what the index lists it with"));
        }
        Ok(decoder)
    }

    /// The data of the member at `at`, which must be a part of an index.
    fn part(&self, at: u64, most: u64) -> Result<Vec<u8>> {
        let mut walk = Walk::new(Arc::clone(&self.reader), at);
        match walk.step()? {
            Step::Member(head) if head.name == self.name && is_sound_part(&head, most) => {
                Content::new(&self.reader, head.data()).read_all()
            }
            _ => Err(self.damaged(at, "it is not where it should be")),
        }
    }

    fn damaged(&self, at: u64, reason: &str) -> Error {
        self.reader.damaged(at, format!("{}: {reason}", Shown::from(&self.name)))
    }
}

/// Whether a member may be a part of an index, of at most so many bytes.
fn is_sound_part(head: &Head, most: u64) -> bool {
    let stored = &head.stored;
    let is_plain = head.kind == Kind::File && stored.sparse.is_none() && stored.is_hashed();
    is_plain && !stored.is_close() && stored.length <= most
}

/// The late checksums of one snapshot, for a walk over it.
#[derive(Debug)]
pub(crate) struct Lates(Option<Index>);

impl Lates {
    pub(crate) fn of(reader: &Arc<Reader>, snapshot: &Snapshot) -> Result<Self> {
        if snapshot.has_late { Index::open(reader, snapshot).map(Lates) } else { Ok(Lates(None)) }
    }

    /// Gives a file of the snapshot the checksum of its content that its header lacks.
    pub(crate) fn complete(&mut self, head: &mut Head, place: &Place) -> Result<()> {
        if let Some(index) = &mut self.0
            && head.kind == Kind::File
            && !head.stored.is_hashed()
        {
            head.stored.late = index.late(head, place)?;
        }
        Ok(())
    }
}

/// What is left of the index of `snapshot`, which is damaged.
pub(crate) fn what_is_left(reader: &Arc<Reader>, snapshot: &Snapshot, run: &Run) -> Result<IndexPlace> {
    let is_closed = snapshot.close < snapshot.end;
    if snapshot.refused.is_some() || is_closed && snapshot.index == IndexPlace::Nowhere {
        return Ok(IndexPlace::Nowhere);
    }
    let mut found: Vec<(u64, u64)> = Vec::new();
    let mut walk = Walk::new(Arc::clone(reader), snapshot.start);
    loop {
        run.cancel.check("nothing was changed")?;
        snapshot.gaps.step_over(&mut walk);
        if walk.position() >= snapshot.close {
            break;
        }
        let Step::Member(head) = walk.step()? else { break };
        if snapshot.is_index(head.name) && is_sound_part(&head, MAX_CHUNK) {
            let at = head.stored.start;
            match Content::new(reader, head.data()).read_all() {
                Ok(data) => found.extend(table::begin_of_chunk(&data, at).map(|begin| (begin, at))),
                Err(Error::Damaged { .. }) => {}
                Err(other) => return Err(other),
            }
        }
    }
    // What comes last is the snapshot's own; what comes first may be a file's content.
    let agrees = found.iter().any(|(begin, _)| *begin == snapshot.start);
    let begin = if agrees { Some(snapshot.start) } else { found.last().map(|(begin, _)| *begin) };
    let Some(begin) = begin else { return Ok(IndexPlace::Nowhere) };
    let chunks = found.into_iter().filter(|(its, _)| *its == begin).map(|(_, at)| at);
    Ok(IndexPlace::Chunks(begin, chunks.collect()))
}
