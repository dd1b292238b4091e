//! A file that is too large to be held in memory: it is read in parts, one after the other, by whichever
//! thread is free. Where the filesystem can clone it into the archive, it is not read at all.

use std::collections::VecDeque;
use std::ops::Range;

use crate::archive::checksum::{Cover, seal};
use crate::archive::encode::{Encoded, encode};
use crate::archive::entry::Entry;
use crate::archive::padding;
use crate::archive::ustar::Block;
use crate::backup::piece::{LateSlot, Piece, Totals};
use crate::backup::shared::BackupRun;
use crate::backup::source::SourceFile;
use crate::error::{Error, Result};
use crate::fs::clone::CLONE_BLOCK;
use crate::fs::file::Extent;
use crate::name::Shown;

/// How much is read at once, in bytes.
const PART: usize = 256 << 10;
/// How much is cloned at once: between two parts the run can be cancelled.
const CLONED_PART: u64 = 1 << 30;

#[derive(Debug)]
pub(super) struct Large {
    at: u64,
    snapshot_start: u64,
    entry: Entry,
    source: SourceFile,
    /// What messages call it.
    path: Vec<u8>,
    stored: u64,
    header: Vec<u8>,
    encoded: Encoded,
    cover: Cover,
    hasher: blake3::Hasher,
    /// The map of a file with holes, which opens its data.
    opening: Vec<u8>,
    /// Its header is written first, and where the checksum of its data then goes, if it is wanted.
    header_first: bool,
    late: Option<LateSlot>,
    /// The data is to be cloned, which was not tried yet.
    clone: Option<CloneFallback>,
    /// What was cloned and is still to be skipped, as positions in the stored data.
    cloned: VecDeque<Range<u64>>,
    /// How much of the stored data is done.
    position: u64,
    /// Which of the source's extents comes next, and how much of it is done.
    extent: usize,
    inside: u64,
    shrunk: bool,
    begun: bool,
}

/// What is done when a file cannot be cloned after all, and is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CloneFallback {
    /// Its checksum covers its data, which the checksum of a clone would not.
    CoverData,
    /// Its checksum covers what that of a clone would.
    SameCover,
}

impl Large {
    /// A member at offset `at` of the archive. With `clone` its data is aligned so that it can be cloned.
    ///
    /// # Errors
    /// The reason, when its header cannot be stored.
    pub(super) fn new(
        at: u64,
        snapshot_start: u64,
        entry: Entry,
        source: SourceFile,
        path: &[u8],
        cover: Cover,
        clone: Option<CloneFallback>,
    ) -> Result<Self, &'static str> {
        let opening = source.opening();
        let stored = source.stored();
        let mut header = Vec::new();
        let encoded = encode(&mut header, &entry, stored, cover, |needed| {
            let data = at + (needed + opening.len()) as u64;
            let filler = usize::try_from(data.wrapping_neg() % CLONE_BLOCK).unwrap_or(0);
            needed + clone.map_or(0, |_| filler)
        })?;
        Ok(Large {
            at,
            snapshot_start,
            entry,
            source,
            path: path.to_vec(),
            stored,
            header,
            encoded,
            cover,
            hasher: blake3::Hasher::new(),
            opening,
            header_first: false,
            late: None,
            clone,
            cloned: VecDeque::new(),
            position: 0,
            extent: 0,
            inside: 0,
            shrunk: false,
            begun: false,
        })
    }

    /// Has its header written first; `late` is where the checksum of its data goes.
    pub(super) fn header_first(self, late: Option<LateSlot>) -> Self {
        Large { header_first: true, late, ..self }
    }

    /// Where what comes of the next step goes, at the earliest.
    pub(super) fn at(&self) -> u64 {
        if self.begun { self.data_at() + self.position } else { self.at }
    }

    pub(super) fn first_block(&self) -> Option<Block> {
        self.header.first_chunk().copied()
    }

    /// Where the next member goes.
    pub(super) fn end(&self) -> u64 {
        self.data_at() + self.stored + padding(self.stored) as u64
    }

    fn data_at(&self) -> u64 {
        self.at + self.encoded.length as u64
    }

    pub(super) fn is_done(&self) -> bool {
        self.position == self.stored
    }

    /// Does the next part; returns what is to be written because of it.
    pub(super) fn step(&mut self, shared: &BackupRun, totals: &mut Totals) -> Result<[Option<Piece>; 2]> {
        shared.check_cancel()?;
        let mut header = None;
        if !self.begun {
            self.begin(shared)?;
            if self.header_first {
                header = Some(self.seal_header(totals));
            }
        }
        let part = match self.cloned.front().cloned() {
            Some(cloned) if cloned.contains(&self.position) => {
                self.skip_cloned(&cloned, shared)?;
                None
            }
            next => Some(self.read_to(next.map_or(self.stored, |cloned| cloned.start), shared)?),
        };
        if self.is_done() {
            header = self.finish(shared, totals)?.or(header);
        }
        Ok([header, part])
    }

    fn begin(&mut self, shared: &BackupRun) -> Result<()> {
        self.begun = true;
        // Before anything is written around it: the system first writes out what lies in the range.
        let clone = self.clone.take();
        if clone.is_some() {
            self.clone_extents(shared)?;
        }
        if clone == Some(CloneFallback::CoverData) && self.cloned.is_empty() {
            self.cover = Cover::Full;
            let length = self.header.len();
            self.header.clear();
            self.encoded = encode(&mut self.header, &self.entry, self.stored, self.cover, |_| length)
                .map_err(|reason| refused(&self.path, reason))?;
        }
        if self.covers_data() {
            self.hasher.update(&self.header);
        }
        Ok(())
    }

    fn covers_data(&self) -> bool {
        self.cover != Cover::Header
    }

    /// Clones the whole blocks of each extent that are aligned, until that fails.
    fn clone_extents(&mut self, shared: &BackupRun) -> Result<()> {
        let mut position = self.opening.len() as u64;
        for &Extent { offset, length } in self.source.extents() {
            let mut done = 0;
            while length - done >= CLONE_BLOCK {
                let (from, at) = (offset + done, position + done);
                let to = self.data_at() + at;
                if !from.is_multiple_of(CLONE_BLOCK) || !to.is_multiple_of(CLONE_BLOCK) {
                    break;
                }
                shared.check_cancel()?;
                let left = (length - done).min(CLONED_PART);
                let whole = left - left % CLONE_BLOCK;
                let cloned = shared.outlet.archive().is_some_and(|archive| {
                    archive.clone_from(&shared.clones, self.source.handle(), from, whole, to)
                });
                if !cloned {
                    return Ok(());
                }
                match self.cloned.back_mut() {
                    Some(last) if last.end == at => last.end += whole,
                    _ => self.cloned.push_back(at..at + whole),
                }
                done += whole;
            }
            position += length;
        }
        Ok(())
    }

    /// Skips what was cloned, a part at a time where the checksum covers it: that is read from the archive,
    /// where it cannot change.
    fn skip_cloned(&mut self, cloned: &Range<u64>, shared: &BackupRun) -> Result<()> {
        let mut length = cloned.end - self.position;
        if self.covers_data() {
            length = length.min(PART as u64);
            let mut buffer = shared.buffer();
            buffer.resize(usize::try_from(length).unwrap_or(PART), 0);
            if let Some(archive) = shared.outlet.archive() {
                archive.reader().read_exact(&mut buffer, self.data_at() + self.position)?;
            }
            self.hasher.update(&buffer);
            shared.give_back(buffer);
        }
        shared.run.observer.bytes(length);
        self.advance(length);
        if self.position == cloned.end {
            self.cloned.pop_front();
        }
        Ok(())
    }

    /// Reads a part of what lies before `limit`.
    fn read_to(&mut self, limit: u64, shared: &BackupRun) -> Result<Piece> {
        let at = self.data_at() + self.position;
        // From the second part on, whole pages of the archive are written.
        let room = PART as u64 - at % CLONE_BLOCK;
        let length = usize::try_from((limit - self.position).min(room)).unwrap_or(PART);
        let mut bytes = shared.buffer();
        bytes.resize(length, 0);
        self.fill(&mut bytes)?;
        shared.run.observer.bytes(length as u64);
        if self.covers_data() || self.late.is_some() {
            self.hasher.update(&bytes);
        }
        if self.is_done() {
            bytes.resize(length + padding(self.stored), 0);
        }
        Ok(Piece::sealed(at, bytes))
    }

    /// Fills `buffer` with what comes next.
    fn fill(&mut self, buffer: &mut [u8]) -> Result<()> {
        let mut rest = buffer;
        let opened = usize::try_from(self.position).unwrap_or(usize::MAX).min(self.opening.len());
        let (opening, _) = self.opening[opened..].split_at((self.opening.len() - opened).min(rest.len()));
        rest[..opening.len()].copy_from_slice(opening);
        let opening = opening.len();
        self.position += opening as u64;
        rest = &mut rest[opening..];
        while !rest.is_empty() {
            let Extent { offset, length } = self.source.extents()[self.extent];
            let count = usize::try_from(length - self.inside).unwrap_or(usize::MAX).min(rest.len());
            let (now, then) = rest.split_at_mut(count);
            let read =
                if self.shrunk { 0 } else { self.source.read(now, offset + self.inside, &self.path)? };
            self.shrunk |= read < count;
            now[read..].fill(0);
            self.advance(count as u64);
            rest = then;
        }
        Ok(())
    }

    /// `length` more bytes of the extents are done.
    fn advance(&mut self, length: u64) {
        self.position += length;
        self.inside += length;
        while let Some(&Extent { length, .. }) = self.source.extents().get(self.extent)
            && self.inside >= length
        {
            self.inside -= length;
            self.extent += 1;
        }
    }

    /// What is left to be written when all was read: the header, unless that was written first.
    fn finish(&mut self, shared: &BackupRun, totals: &mut Totals) -> Result<Option<Piece>> {
        if let Some(change) = self.source.change(self.shrunk, &self.path)? {
            shared.warn(&self.path, change)?;
        }
        match &self.late {
            Some(late) => drop(late.set(self.hasher.finalize().into())),
            None if !self.covers_data() => totals.unhashed += self.stored,
            None => {}
        }
        Ok(if self.header_first { None } else { Some(self.seal_header(totals)) })
    }

    /// The header with its checksum, to be written.
    fn seal_header(&mut self, totals: &mut Totals) -> Piece {
        let checksum = if self.covers_data() { self.hasher.finalize() } else { blake3::hash(&self.header) };
        seal(&mut self.header, self.encoded.digits_at, checksum);
        totals.add_member(self.at - self.snapshot_start, &checksum);
        Piece::sealed(self.at, std::mem::take(&mut self.header))
    }
}

/// The error for a member whose header cannot be stored.
pub(super) fn refused(path: &[u8], reason: &str) -> Error {
    Error::Volume { action: "store", volume: Shown::from(path), reason: reason.to_owned() }
}
