//! The stored data of a member, read once and held against the member's checksum on the way.

use crate::archive::checksum::Checksum;
use crate::archive::decode::Head;
use crate::archive::entry::Sparse;
use crate::archive::open::Reader;
use crate::archive::sparse::Map;
use crate::archive::walk::{Member, damaged};
use crate::archive::{BLOCK_LEN, padding};
use crate::error::{Error, Result};
use crate::name::Shown;

pub(crate) const BAD_CHECKSUM: &str = "it does not match its checksum";
pub(crate) const BAD_PADDING: &str = "the padding behind its data is not zeros";

/// Whose data is read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Of<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) start: u64,
    /// Offset of its stored data, and its length without padding.
    pub(crate) data: u64,
    pub(crate) stored: u64,
    /// The size of the file, with its holes.
    pub(crate) size: u64,
    /// Whether a sparse member's format is the one that is extracted.
    pub(crate) sparse: Option<bool>,
    pub(crate) checksum: Option<Checksum>,
    /// Its stored data and padding, if that was read already.
    pub(crate) held: Option<&'a [u8]>,
}

impl<'a> From<&'a Member> for Of<'a> {
    fn from(member: &'a Member) -> Self {
        let &Member { ref entry, start, stored, checksum, .. } = member;
        let (name, size) = (entry.name.as_slice(), entry.size);
        let sparse = entry.sparse.as_ref().map(|sparse| matches!(sparse, Sparse::Map(_)));
        Of { name, start, data: member.data(), stored, size, sparse, checksum, held: None }
    }
}

impl<'a> From<&Head<'a>> for Of<'a> {
    fn from(head: &Head<'a>) -> Self {
        let &Head { name, start, stored, size, sparse, checksum, .. } = head;
        Of { name, start, data: head.data(), stored, size, sparse, checksum, held: head.held_data() }
    }
}

pub(crate) struct Content<'a> {
    reader: &'a Reader,
    of: Of<'a>,
    /// With the checksum to compare, where the member has one.
    check: Option<(Checksum, blake3::Hasher)>,
    /// How many bytes of stored data were read.
    position: u64,
    /// How many bytes of padding behind the data are still to be looked at.
    padding: usize,
}

impl<'a> Content<'a> {
    /// `header` is the member's header blocks.
    pub(crate) fn new(reader: &'a Reader, of: impl Into<Of<'a>>, header: &[u8]) -> Self {
        let of = of.into();
        let check = of.checksum.map(|checksum| (checksum, checksum.hasher(header)));
        Content { reader, of, check, position: 0, padding: padding(of.stored) }
    }

    pub(crate) fn of(&self) -> &Of<'a> {
        &self.of
    }

    /// Whether the data must be read to be checked.
    pub(crate) fn covers_data(&self) -> bool {
        self.of.checksum.is_some_and(|checksum| checksum.covers_data())
    }

    /// Where in the archive the data lies that is read next.
    pub(crate) fn offset(&self) -> u64 {
        self.of.data + self.position
    }

    /// Leaves out data that no checksum covers.
    pub(crate) fn skip(&mut self, length: u64) {
        self.position = self.of.stored.min(self.position.saturating_add(length));
    }

    /// Reads the map that opens a sparse member's data.
    pub(crate) fn map(&mut self) -> Result<Map> {
        let (size, stored) = (self.of.size, self.of.stored);
        if i64::try_from(size).is_err() {
            return Err(self.damaged("a size that no file has"));
        }
        let map = Map::decode(size, stored, || {
            let mut block = [0; BLOCK_LEN];
            match self.read(&mut block, BLOCK_LEN).map_err(Failed::Read)? {
                BLOCK_LEN => Ok(block),
                _ => Err(Failed::Map("its sparse map is cut off")),
            }
        });
        match map {
            Ok((map, _)) => Ok(map),
            Err(Failed::Read(error)) => Err(error),
            Err(Failed::Map(reason)) => Err(self.damaged(reason)),
        }
    }

    /// Reads up to `most` bytes of what stored data is left into `buffer`, and returns how many. Room behind them
    /// saves a call.
    pub(crate) fn read(&mut self, buffer: &mut [u8], most: usize) -> Result<usize> {
        let left = self.of.stored - self.position;
        let length = usize::try_from(left).unwrap_or(most).min(most).min(buffer.len());
        let is_last = length as u64 == left;
        let padding = if is_last { self.padding.min(buffer.len() - length) } else { 0 };
        self.fill(&mut buffer[..length + padding], self.position)?;
        self.position += length as u64;
        if let Some((checksum, hasher)) = &mut self.check
            && checksum.covers_data()
        {
            hasher.update(&buffer[..length]);
        }
        if padding == self.padding {
            self.check_padding(&buffer[length..length + padding])?;
        }
        Ok(length)
    }

    /// Ends reading: all data must have been read, or none where the checksum does not cover it, and what was read
    /// must be what was written.
    pub(crate) fn finish(mut self) -> Result<()> {
        if self.padding > 0 {
            let mut padding = [0; BLOCK_LEN];
            let padding = &mut padding[..self.padding];
            self.fill(padding, self.of.stored)?;
            self.check_padding(padding)?;
        }
        match &self.check {
            Some((checksum, hasher)) if !checksum.matches(hasher) => Err(self.damaged(BAD_CHECKSUM)),
            _ => Ok(()),
        }
    }

    /// Reads what is left, and [`Content::finish`]es. `seen` is told how many bytes each step read.
    pub(crate) fn check(mut self, buffer: &mut [u8], mut seen: impl FnMut(u64) -> Result<()>) -> Result<()> {
        loop {
            let count = self.read(buffer, buffer.len())?;
            if count == 0 {
                return self.finish();
            }
            seen(count as u64)?;
        }
    }

    /// Fills `buffer` from `position` in the stored data.
    fn fill(&self, buffer: &mut [u8], position: u64) -> Result<()> {
        let held = self.of.held.and_then(|held| held.get(usize::try_from(position).ok()?..));
        match held.and_then(|held| held.get(..buffer.len())) {
            Some(held) => {
                buffer.copy_from_slice(held);
                Ok(())
            }
            None => self.reader.read_exact(buffer, self.of.data + position),
        }
    }

    fn check_padding(&mut self, padding: &[u8]) -> Result<()> {
        self.padding = 0;
        if self.of.is_bad_padding(self.reader, padding) {
            return Err(self.damaged(BAD_PADDING));
        }
        Ok(())
    }

    pub(crate) fn damaged(&self, reason: &str) -> Error {
        self.of.damaged(self.reader, reason)
    }
}

impl Of<'_> {
    /// Whether it is damage that its data is followed by this.
    pub(crate) fn is_bad_padding(&self, reader: &Reader, padding: &[u8]) -> bool {
        // Other programs may fill up with anything.
        let Some(checksum) = self.checksum else { return false };
        let is_taken = reader.takes_any_padding() && checksum.covers_data();
        !is_taken && padding.iter().any(|&byte| byte != 0)
    }

    pub(crate) fn damaged(&self, reader: &Reader, reason: &str) -> Error {
        damaged(reader, self.start, format!("{}: {reason}", Shown::from(self.name)))
    }
}

enum Failed {
    Read(Error),
    Map(&'static str),
}

impl From<&'static str> for Failed {
    fn from(reason: &'static str) -> Self {
        Failed::Map(reason)
    }
}
