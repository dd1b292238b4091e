//! Walking the members of an archive from an offset on. Every number is checked against the file's length before it
//! is used, and each step goes forward, so that no archive can make it loop, overflow or allocate without bound.

use std::sync::Arc;

use crate::archive::checksum::Checksum;
use crate::archive::decode::{Extensions, decode};
use crate::archive::encode::PAX_NAME;
use crate::archive::entry::Entry;
use crate::archive::open::{Reader, describe};
use crate::archive::pax::{self, Record};
use crate::archive::ustar::{Block, Parsed, flag, is_header, text};
use crate::archive::{BLOCK, BLOCK_LEN, padded};
use crate::error::{Error, Result};

/// The longest extended header, GNU long name or sparse map that is read, in bytes.
const MAX_EXTENSION: u64 = 4 << 20;
/// The most extended headers in front of one member.
const MAX_EXTENSIONS: usize = 16;

/// One member and where it lies.
#[derive(Debug, Clone)]
pub struct Member {
    /// What it is.
    pub entry: Entry,
    /// Offset of its first header block.
    pub start: u64,
    /// Length of its header blocks.
    pub header_len: u64,
    /// Length of its stored data, without padding.
    pub stored: u64,
    /// Its checksum, which other programs' members lack.
    pub checksum: Option<Checksum>,
}

impl Member {
    /// Offset of its stored data.
    pub fn data(&self) -> u64 {
        self.start + self.header_len
    }

    /// Offset of what follows it.
    pub fn end(&self) -> u64 {
        // The walk has checked both against the archive's length.
        self.data() + padded(self.stored).unwrap_or(self.stored)
    }
}

/// What the walk meets.
#[derive(Debug)]
pub(crate) enum Step {
    Member(Box<Member>),
    /// Two zero blocks, which close the archive, at this offset.
    End(u64),
}

#[derive(Debug)]
pub(crate) struct Walk {
    reader: Arc<Reader>,
    position: u64,
    window: Window,
    header: Vec<u8>,
    /// A global header sets more than a comment: other readers may apply it to members of ours.
    globals: bool,
}

impl Walk {
    /// Walks from `start`, where a header or the end must lie.
    pub(crate) fn new(reader: Arc<Reader>, start: u64) -> Self {
        Walk { reader, position: start, window: Window::default(), header: Vec::new(), globals: false }
    }

    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// The header blocks of the member that was met last.
    pub(crate) fn header(&self) -> &[u8] {
        &self.header
    }

    pub(crate) fn saw_globals(&self) -> bool {
        self.globals
    }

    /// The next member, or the end.
    ///
    /// # Errors
    /// [`Error::Damaged`] with the offset, for anything that is neither.
    pub(crate) fn step(&mut self) -> Result<Step> {
        let mut start = self.position;
        self.header.clear();
        let mut extensions = Extensions::default();
        for _ in 0..=MAX_EXTENSIONS {
            let at = start + self.header.len() as u64;
            let block = self.header_block(at)?;
            if block == [0; BLOCK_LEN] {
                return self.zero_block(start, at);
            }
            if !is_header(&block) {
                return Err(self.damaged(at, describe(at, &block)));
            }
            self.header.extend_from_slice(&block);
            let parsed = Parsed::new(&block);
            let Some(size) = parsed.size() else {
                return Err(self.damaged(at, "a size that is no number"));
            };
            match parsed.flag() {
                flag::PAX | flag::PAX_SOLARIS => {
                    let from = self.extension(at, size)?;
                    extensions.pax_name_is_ours = parsed.name() == PAX_NAME;
                    extensions.pax.push(from);
                }
                flag::PAX_GLOBAL => {
                    let (from, to) = self.extension(at, size)?;
                    let harmless =
                        |record: Result<Record, _>| record.is_ok_and(|record| record.key == b"comment");
                    self.globals |= !pax::records(&self.header[from..to]).all(harmless);
                    if extensions.is_empty() {
                        // It belongs to no member, and may be the last thing in the archive.
                        start += self.header.len() as u64;
                        self.header.clear();
                    }
                }
                flag::GNU_LONG_NAME => {
                    let (from, to) = self.extension(at, size)?;
                    extensions.name = Some(text(&self.header[from..to]).to_vec());
                }
                flag::GNU_LONG_LINK => {
                    let (from, to) = self.extension(at, size)?;
                    extensions.link = Some(text(&self.header[from..to]).to_vec());
                }
                _ => return self.member(start, at, &block, &extensions),
            }
        }
        Err(self.damaged(start, "a long row of extended headers without a member"))
    }

    /// Reads the data of an extension header and returns where in `header` it lies.
    fn extension(&mut self, at: u64, size: u64) -> Result<(usize, usize)> {
        if size > MAX_EXTENSION {
            return Err(self.damaged(at, "an extended header that is too long to be one"));
        }
        let from = self.header.len();
        let (offset, length) = (at + BLOCK, padded(size).unwrap_or(size));
        self.check_fits(at, offset, length)?;
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let bytes = self.window.bytes(&self.reader, offset, length)?;
        self.header.extend_from_slice(bytes);
        Ok((from, from + usize::try_from(size).unwrap_or(0)))
    }

    fn member(&mut self, start: u64, at: u64, block: &Block, extensions: &Extensions) -> Result<Step> {
        let parsed = Parsed::new(block);
        let mut goes_on = parsed.flag() == flag::GNU_SPARSE && parsed.gnu_sparse_goes_on();
        while goes_on {
            let next = start + self.header.len() as u64;
            if self.header.len() as u64 > MAX_EXTENSION {
                return Err(self.damaged(at, "a sparse map that is too long to be one"));
            }
            let more = self.header_block(next)?;
            self.header.extend_from_slice(&more);
            goes_on = more[504] != 0;
        }
        let member =
            decode(&self.header, start, block, extensions).map_err(|reason| self.damaged(start, reason))?;
        let data = start + self.header.len() as u64;
        let length = padded(member.stored).ok_or_else(|| self.damaged(start, "a size beyond all bounds"))?;
        self.check_fits(start, data, length)?;
        self.position = data + length;
        Ok(Step::Member(Box::new(member)))
    }

    fn zero_block(&mut self, start: u64, at: u64) -> Result<Step> {
        if at > start {
            return Err(self.damaged(at, "an extended header that is followed by no member"));
        }
        if at + BLOCK >= self.reader.len() {
            return Err(self.damaged(at, "one zero block where the archive should end with two"));
        }
        if self.header_block(at + BLOCK)? != [0; BLOCK_LEN] {
            return Err(self.damaged(at, "a zero block where a header should be"));
        }
        Ok(Step::End(at))
    }

    fn header_block(&mut self, at: u64) -> Result<Block> {
        self.check_fits(at, at, BLOCK)?;
        let bytes = self.window.bytes(&self.reader, at, BLOCK_LEN)?;
        Ok(bytes.try_into().unwrap_or([0; BLOCK_LEN]))
    }

    fn check_fits(&self, at: u64, offset: u64, length: u64) -> Result<()> {
        if offset.checked_add(length).is_some_and(|end| end <= self.reader.len()) {
            return Ok(());
        }
        Err(self.damaged(
            at,
            if offset == at {
                "it ends here, without the two zero blocks that close an archive"
            } else {
                "it ends in the middle of a member"
            },
        ))
    }

    pub(crate) fn damaged(&self, offset: u64, reason: impl Into<String>) -> Error {
        Error::Damaged { archive: self.reader.name().clone(), offset, reason: reason.into() }
    }
}

/// The part of the archive that was read last: headers of small files lie close together.
#[derive(Debug, Default)]
struct Window {
    bytes: Vec<u8>,
    start: u64,
}

impl Window {
    const LEN: usize = 64 << 10;
    /// Behind data that was skipped only a header is wanted: what follows it will be skipped too.
    const AFTER_DATA: usize = 4 << 10;

    /// `length` bytes from `offset`, which the caller has checked against the archive's length.
    fn bytes(&mut self, reader: &Reader, offset: u64, length: usize) -> Result<&[u8]> {
        let inside = offset.checked_sub(self.start).and_then(|skip| usize::try_from(skip).ok());
        let skip = match inside {
            Some(skip) if skip.checked_add(length).is_some_and(|end| end <= self.bytes.len()) => skip,
            _ => {
                let goes_on = offset <= self.start + self.bytes.len() as u64;
                self.bytes.resize(length.max(if goes_on { Self::LEN } else { Self::AFTER_DATA }), 0);
                let filled = reader.read(&mut self.bytes, offset)?;
                self.bytes.truncate(filled);
                self.start = offset;
                0
            }
        };
        self.bytes.get(skip..skip + length).ok_or_else(|| reader.shrunk(offset))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_is_read_behind_data_that_is_skipped() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(10 << 20).unwrap();
        let reader = Reader::open(file.path(), crate::archive::open::Access::Read).unwrap();
        let mut window = Window::default();
        let mut read = |offset| {
            window.bytes(&reader, offset, BLOCK_LEN).unwrap();
            window.bytes.len()
        };
        assert_eq!(read(0), Window::LEN);
        assert_eq!(read(1 << 20), Window::AFTER_DATA);
        assert_eq!(read((1 << 20) + Window::AFTER_DATA as u64), Window::LEN);
    }
}
