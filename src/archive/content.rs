//! The stored data of a member, read once and held against the member's checksum on the way.

use crate::archive::checksum::Checksum;
use crate::archive::open::Reader;
use crate::archive::sparse::Map;
use crate::archive::walk::Member;
use crate::archive::{BLOCK_LEN, padding};
use crate::error::{Error, Result};
use crate::name::Shown;

pub(crate) struct Content<'a> {
    reader: &'a Reader,
    member: &'a Member,
    /// With the checksum to compare, where the member has one.
    check: Option<(Checksum, blake3::Hasher)>,
    /// How many bytes of stored data were read.
    position: u64,
    /// How many bytes of padding behind the data are still to be looked at.
    padding: usize,
}

impl<'a> Content<'a> {
    /// `header` is the member's header blocks.
    pub(crate) fn new(reader: &'a Reader, member: &'a Member, header: &[u8]) -> Self {
        let check = member.checksum.map(|checksum| (checksum, checksum.hasher(header)));
        Content { reader, member, check, position: 0, padding: padding(member.stored) }
    }

    /// Reads the map that opens a sparse member's data.
    pub(crate) fn map(&mut self) -> Result<Map> {
        let (size, stored) = (self.member.entry.size, self.member.stored);
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
        let left = self.member.stored - self.position;
        let length = usize::try_from(left).unwrap_or(most).min(most).min(buffer.len());
        let is_last = length as u64 == left;
        let padding = if is_last { self.padding.min(buffer.len() - length) } else { 0 };
        self.reader.read_exact(&mut buffer[..length + padding], self.member.data() + self.position)?;
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
            let mut padding = vec![0; self.padding];
            self.reader.read_exact(&mut padding, self.member.data() + self.member.stored)?;
            self.check_padding(&padding)?;
        }
        match &self.check {
            Some((checksum, hasher)) if !checksum.matches(hasher) => {
                Err(self.damaged("it does not match its checksum"))
            }
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

    fn check_padding(&mut self, padding: &[u8]) -> Result<()> {
        self.padding = 0;
        // Other programs may fill up with anything.
        if self.check.is_some() && padding.iter().any(|&byte| byte != 0) {
            return Err(self.damaged("the padding behind its data is not zeros"));
        }
        Ok(())
    }

    pub(crate) fn damaged(&self, reason: &str) -> Error {
        Error::Damaged {
            archive: self.reader.name().clone(),
            offset: self.member.start,
            reason: format!("{}: {reason}", Shown::from(&self.member.entry.name)),
        }
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
