//! Walking the members of an archive from an offset on. Every number is checked against the file's length
//! before it is used, and each step goes forward, so that no archive can make it loop, overflow or allocate
//! without bound. A step takes no memory: what it meets lies in the part of the archive that was read last.

use std::sync::Arc;

use crate::archive::beginning::describe;
use crate::archive::chunk::{Chunk, Chunks};
use crate::archive::decode::{Blocks, Extensions, Head, decode};
use crate::archive::encode::PAX_NAME;
use crate::archive::open::Reader;
use crate::archive::pax::{self, Record};
use crate::archive::ustar::{Block, Parsed, flag, is_header};
use crate::archive::{BLOCK, BLOCK_LEN, padded};
use crate::error::{Error, Result};

/// The most header blocks of one member: its extended headers, GNU long names and old sparse map, in bytes.
pub(crate) const MAX_HEADER: u64 = 2 << 20;
/// The most extended headers in front of one member.
const MAX_EXTENSIONS: usize = 16;
/// How much is read at once where data is wanted too, in bytes: the longest member that is held as a whole.
pub(crate) const CHUNK: usize = 256 << 10;

/// What is wrong when the archive ends where a header or its end should be.
const ENDS_BETWEEN: &str = "it ends here, without the two zero blocks that close an archive";
/// What is wrong when the archive is shorter than a member's headers say.
pub(crate) const ENDS_INSIDE: &str = "it ends in the middle of a member";

/// What the walk meets.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "it is looked at and not kept")]
pub(crate) enum Step<'w> {
    Member(Head<'w>),
    /// Two zero blocks, which close the archive, at this offset.
    End(u64),
}

#[derive(Debug)]
pub(crate) struct Walk {
    reader: Arc<Reader>,
    position: u64,
    window: Window,
    /// A global header sets more than a comment: other readers may apply it to members of ours.
    globals: bool,
    extensions: Extensions,
    /// A name that is stored in two parts.
    joined: Vec<u8>,
}

impl Walk {
    /// Walks from `start`, where a header or the end must lie. Only headers are wanted.
    pub(crate) fn new(reader: Arc<Reader>, start: u64) -> Self {
        Self::through(Window::default(), reader, start)
    }

    /// The same, where data is wanted too: all of a member is read at once, where it fits a chunk.
    pub(crate) fn with_data(reader: Arc<Reader>, start: u64, chunks: Arc<Chunks>) -> Self {
        Self::through(Window { chunks: Some(chunks), ..Window::default() }, reader, start)
    }

    fn through(window: Window, reader: Arc<Reader>, start: u64) -> Self {
        let (extensions, joined) = (Extensions::default(), Vec::new());
        Walk { reader, position: start, window, globals: false, extensions, joined }
    }

    pub(crate) fn reader(&self) -> &Arc<Reader> {
        &self.reader
    }

    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// Goes on at `position`, where a header or the end must lie.
    pub(crate) fn jump(&mut self, position: u64) {
        self.position = position;
    }

    pub(crate) fn saw_globals(&self) -> bool {
        self.globals
    }

    /// The next member, or the end.
    ///
    /// # Errors
    /// [`Error::Damaged`] with the offset, for anything that is neither.
    pub(crate) fn step(&mut self) -> Result<Step<'_>> {
        let mut start = self.position;
        let mut length = 0;
        self.extensions.clear();
        for _ in 0..=MAX_EXTENSIONS {
            let at = start + length as u64;
            let block = self.header_block(start, at)?;
            if block == &[0; BLOCK_LEN] {
                return self.zero_block(start, at);
            }
            if !is_header(block) {
                let reason = describe(at, block);
                return Err(self.damaged(at, reason));
            }
            let parsed = Parsed::new(block);
            let flag = parsed.flag();
            let is_ours = parsed.name() == (None, PAX_NAME);
            let Some(size) = parsed.size() else {
                return Err(self.damaged(at, "a size that is no number"));
            };
            length += BLOCK_LEN;
            match flag {
                flag::PAX | flag::PAX_SOLARIS => {
                    let from = self.extension(start, at, &mut length, size)?;
                    self.extensions.pax_name_is_ours = is_ours;
                    self.extensions.pax.push(from);
                }
                flag::PAX_GLOBAL => {
                    let (from, to) = self.extension(start, at, &mut length, size)?;
                    let harmless =
                        |record: Result<Record, _>| record.is_ok_and(|record| record.key == b"comment");
                    self.globals |= !pax::records(&self.window.from(start)[from..to]).all(harmless);
                    if self.extensions.is_empty() {
                        // It belongs to no member, and may be the last thing in the archive.
                        start += length as u64;
                        length = 0;
                    }
                }
                flag::GNU_LONG_NAME => {
                    self.extensions.name = Some(self.extension(start, at, &mut length, size)?);
                }
                flag::GNU_LONG_LINK => {
                    self.extensions.link = Some(self.extension(start, at, &mut length, size)?);
                }
                _ => return self.member(start, at, length),
            }
        }
        Err(self.damaged(start, "a long row of extended headers without a member"))
    }

    /// Reads the data of the extension header at `at`, of the member at `start`, of which `length` bytes were
    /// seen. Returns where in the member's header blocks it lies.
    fn extension(&mut self, start: u64, at: u64, length: &mut usize, size: u64) -> Result<(usize, usize)> {
        if size > MAX_HEADER - (*length as u64).min(MAX_HEADER) {
            return Err(self.damaged(at, "an extended header that is too long to be one"));
        }
        let from = *length;
        let blocks = padded(size).unwrap_or(size);
        self.check_fits(at, at + BLOCK, blocks)?;
        *length += usize::try_from(blocks).unwrap_or(usize::MAX);
        self.window.hold(&self.reader, start, *length)?;
        Ok((from, from + usize::try_from(size).unwrap_or(0)))
    }

    /// The member at `start`, whose own header block is at `at`; with that, `length` bytes of it were seen.
    fn member(&mut self, start: u64, at: u64, mut length: usize) -> Result<Step<'_>> {
        let own = length - BLOCK_LEN;
        let parsed = Parsed::new(self.header_block(start, at)?);
        let mut goes_on = parsed.flag() == flag::GNU_SPARSE && parsed.gnu_sparse_goes_on();
        while goes_on {
            if length as u64 > MAX_HEADER {
                return Err(self.damaged(at, "a sparse map that is too long to be one"));
            }
            goes_on = self.header_block(start, start + length as u64)?[504] != 0;
            length += BLOCK_LEN;
        }
        self.window.hold_data(&self.reader, start, length, own)?;
        self.window.members += 1;
        let (chunk, inside) = self.window.place(start);
        let header = &chunk.bytes()[inside..inside + length];
        let blocks = Blocks { start, header, own, extensions: &self.extensions, chunk, at: inside };
        let reader = &self.reader;
        let head = decode(&blocks, &mut self.joined).map_err(|reason| reader.damaged(start, reason))?;
        let blocks =
            padded(head.stored.length).ok_or_else(|| reader.damaged(start, "a size beyond all bounds"))?;
        check_fits(reader, start, head.stored.data(), blocks)?;
        self.position = head.stored.end();
        Ok(Step::Member(head))
    }

    fn zero_block(&mut self, start: u64, at: u64) -> Result<Step<'_>> {
        if at > start {
            return Err(self.damaged(at, "an extended header that is followed by no member"));
        }
        if at + BLOCK >= self.reader.len() {
            return Err(ends(&self.reader, at, "one zero block where the archive should end with two"));
        }
        if self.header_block(start, at + BLOCK)? != &[0; BLOCK_LEN] {
            return Err(self.damaged(at, "a zero block where a header should be"));
        }
        Ok(Step::End(at))
    }

    /// The block at `at`, of the member at `start`. All from there on is held.
    fn header_block(&mut self, start: u64, at: u64) -> Result<&Block> {
        self.check_fits(at, at, BLOCK)?;
        let before = usize::try_from(at - start).unwrap_or(usize::MAX - BLOCK_LEN);
        self.window.hold(&self.reader, start, before + BLOCK_LEN)?;
        let held = self.window.from(start).get(before..).and_then(|rest| rest.first_chunk());
        held.ok_or_else(|| self.reader.shrunk(at))
    }

    fn check_fits(&self, at: u64, offset: u64, length: u64) -> Result<()> {
        check_fits(&self.reader, at, offset, length)
    }

    fn damaged(&self, offset: u64, reason: impl Into<String>) -> Error {
        self.reader.damaged(offset, reason)
    }
}

fn check_fits(reader: &Reader, at: u64, offset: u64, length: u64) -> Result<()> {
    if offset.checked_add(length).is_some_and(|end| end <= reader.len()) {
        return Ok(());
    }
    Err(ends(reader, at, if offset == at { ENDS_BETWEEN } else { ENDS_INSIDE }))
}

/// The error that the archive ends where it must not.
fn ends(reader: &Reader, at: u64, reason: &str) -> Error {
    let why = if reader.is_stream() { ": the program that writes the stream may have failed" } else { "" };
    reader.damaged(at, format!("{reason}{why}"))
}

/// The part of the archive that was read last.
#[derive(Debug, Default)]
struct Window {
    chunk: Arc<Chunk>,
    start: u64,
    /// How many members it had.
    members: u64,
    /// Where chunks come from, when data is wanted too.
    chunks: Option<Arc<Chunks>>,
}

impl Window {
    /// Of small files, header and data are read together.
    const LEN: usize = 64 << 10;
    /// Where data is to be skipped, only a header is wanted: what follows it will be skipped too.
    const HEADER: usize = 4 << 10;
    /// Members this far apart are worth skipping what lies between them.
    const FAR: u64 = 10 << 10;

    /// What is held from the archive's `offset` on.
    fn from(&self, offset: u64) -> &[u8] {
        let (chunk, at) = self.place(offset);
        chunk.bytes().get(at..).unwrap_or_default()
    }

    /// The chunk, and where in it the archive's `offset` lies.
    fn place(&self, offset: u64) -> (&Arc<Chunk>, usize) {
        (&self.chunk, usize::try_from(offset.wrapping_sub(self.start)).unwrap_or(usize::MAX))
    }

    fn holds(&self, offset: u64, length: usize) -> bool {
        let inside = offset.checked_sub(self.start).and_then(|skip| usize::try_from(skip).ok());
        inside.and_then(|skip| skip.checked_add(length)).is_some_and(|end| end <= self.chunk.bytes().len())
    }

    /// Reads, unless they are held, the `length` bytes of the member at `start`, which the caller has checked
    /// against the archive's length.
    fn hold(&mut self, reader: &Reader, start: u64, length: usize) -> Result<()> {
        if self.holds(start, length) {
            return Ok(());
        }
        let distance = start.saturating_sub(self.start) / self.members.max(1);
        let read = match &self.chunks {
            Some(_) => CHUNK,
            None if distance > Self::FAR => Self::HEADER,
            None => Self::LEN,
        };
        self.read(reader, start, length.max(read))?;
        if self.holds(start, length) { Ok(()) } else { Err(reader.shrunk(start)) }
    }

    /// Where data is wanted too: begins a new chunk when all of the member fits one, but not what is left of
    /// this.
    fn hold_data(&mut self, reader: &Reader, start: u64, header: usize, own: usize) -> Result<()> {
        let block = self.from(start).get(own..).and_then(|block| block.first_chunk());
        let size = block.and_then(|block| Parsed::new(block).size()).filter(|_| self.chunks.is_some());
        let whole = size.and_then(padded).and_then(|data| usize::try_from(data).ok()?.checked_add(header));
        match whole {
            Some(whole) if whole <= CHUNK && start > self.start && !self.holds(start, whole) => {
                self.read(reader, start, CHUNK)
            }
            _ => Ok(()),
        }
    }

    fn read(&mut self, reader: &Reader, start: u64, length: usize) -> Result<()> {
        let most = usize::try_from(reader.len().saturating_sub(start)).unwrap_or(usize::MAX);
        let wants_home = self.chunks.is_some();
        if Arc::get_mut(&mut self.chunk).is_none_or(|chunk| chunk.has_home() != wants_home) {
            // Somebody else has a share of it, or it is the first.
            self.chunk = self.chunks.as_ref().map_or_else(Arc::default, |chunks| Arc::new(chunks.take()));
        }
        (self.start, self.members) = (start, 0);
        if let Some(chunk) = Arc::get_mut(&mut self.chunk) {
            let filled = reader.read(chunk.room(length.min(most)), start)?;
            chunk.set_filled(filled);
        }
        Ok(())
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
            window.hold(&reader, offset, BLOCK_LEN).unwrap();
            window.members += 1;
            window.chunk.bytes().len()
        };
        assert_eq!(read(0), Window::LEN);
        assert_eq!(read(6 << 10), Window::LEN, "it is held");
        assert_eq!(read(1 << 20), Window::HEADER);
        assert_eq!(read((1 << 20) + Window::HEADER as u64), Window::LEN);
    }
}
