//! The stored data of a member, read once and held against the member's checksum on the way.

use crate::archive::BLOCK_LEN;
use crate::archive::checksum::Checksum;
use crate::archive::entry::Sparse;
use crate::archive::holes;
use crate::archive::member::{MemberData, Stored};
use crate::archive::open::Reader;
use crate::archive::sparse::SparseMap;
use crate::error::{Error, Result};

pub(crate) const BAD_CHECKSUM: &str = "it does not match its checksum";
pub(crate) const BAD_PADDING: &str = "the padding behind its data is not zeros";

pub(crate) struct Content<'a> {
    reader: &'a Reader,
    data: MemberData<'a>,
    /// With the checksum to compare, where the member has one.
    check: Option<(Checksum, blake3::Hasher)>,
    /// Of the data alone, where that has a checksum of its own.
    late: Option<blake3::Hasher>,
    /// How many bytes of stored data were read.
    position: u64,
    /// How many bytes of padding behind the data are still to be looked at.
    padding: usize,
}

impl<'a> Content<'a> {
    pub(crate) fn new(reader: &'a Reader, data: MemberData<'a>) -> Self {
        let stored = &data.stored;
        let check = stored.checksum.map(|checksum| (checksum, checksum.hasher(data.header)));
        let late = stored.late.map(|_| blake3::Hasher::new());
        Content { reader, check, late, position: 0, padding: stored.padding(), data }
    }

    pub(crate) fn stored(&self) -> &Stored {
        &self.data.stored
    }

    /// Where in the archive the data lies that is read next.
    pub(crate) fn offset(&self) -> u64 {
        self.data.stored.data() + self.position
    }

    /// Leaves out data that no checksum covers.
    pub(crate) fn skip(&mut self, length: u64) {
        self.position = self.data.stored.length.min(self.position.saturating_add(length));
    }

    /// Reads the map of a sparse member: it opens its data, or stands in its header blocks.
    pub(crate) fn map(&mut self) -> Result<SparseMap> {
        let (size, stored) = (self.data.stored.size, self.data.stored.length);
        if i64::try_from(size).is_err() {
            return Err(self.damaged("a size that no file has"));
        }
        if self.data.stored.sparse == Some(Sparse::InHeader) {
            return holes::map(self.data.header, size, stored).map_err(|reason| self.damaged(reason));
        }
        let map = SparseMap::decode(size, stored, || {
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

    /// Reads up to `most` bytes of what stored data is left into `buffer`, and returns how many. Room behind
    /// them saves a call.
    pub(crate) fn read(&mut self, buffer: &mut [u8], most: usize) -> Result<usize> {
        let left = self.data.stored.length - self.position;
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
        if let Some(hasher) = &mut self.late {
            hasher.update(&buffer[..length]);
        }
        if padding == self.padding {
            self.check_padding(&buffer[length..length + padding])?;
        }
        Ok(length)
    }

    /// All data of a member that may be held in memory, checked.
    pub(crate) fn read_all(mut self) -> Result<Vec<u8>> {
        let mut data = vec![0; usize::try_from(self.data.stored.length).unwrap_or(0)];
        self.read(&mut data, usize::MAX)?;
        self.finish()?;
        Ok(data)
    }

    /// Ends reading: all data must have been read, or none where the checksum does not cover it, and what was
    /// read must be what was written.
    pub(crate) fn finish(mut self) -> Result<()> {
        if self.padding > 0 {
            let mut padding = [0; BLOCK_LEN];
            let padding = &mut padding[..self.padding];
            self.fill(padding, self.data.stored.length)?;
            self.check_padding(padding)?;
        }
        let is_sound = self.check.as_ref().is_none_or(|(checksum, hasher)| checksum.matches(hasher));
        let data = self.late.as_ref().map(|hasher| *hasher.finalize().as_bytes());
        if is_sound && data == self.data.stored.late { Ok(()) } else { Err(self.damaged(BAD_CHECKSUM)) }
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
        let held = self.data.held.and_then(|held| held.get(usize::try_from(position).ok()?..));
        match held.and_then(|held| held.get(..buffer.len())) {
            Some(held) => {
                buffer.copy_from_slice(held);
                Ok(())
            }
            None => self.reader.read_exact(buffer, self.data.stored.data() + position),
        }
    }

    fn check_padding(&mut self, padding: &[u8]) -> Result<()> {
        self.padding = 0;
        if self.data.is_bad_padding(self.reader, padding) {
            return Err(self.damaged(BAD_PADDING));
        }
        Ok(())
    }

    pub(crate) fn damaged(&self, reason: &str) -> Error {
        self.data.damaged(self.reader, reason)
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
