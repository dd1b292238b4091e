//! The frames of a file, one after the other, as they come. Only headers are read here, so that the content of
//! one frame can be decompressed while the next one arrives.

use std::io::Read;

use zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer};

use super::super::error::{Error, Result};
use super::super::input::Input;
use super::frame::{Header, LARGEST, LARGEST_WINDOW_LOG, LONGEST_HEADER, MAGIC};
use super::table::{Entry, FOOT, Foot, HEAD, MARK, SKIPPABLE_TABLE, Table};

/// Bytes of content that one piece has, at most.
const PIECE: usize = 1 << 20;
/// What a block has at most. RFC 8878, section 3.1.1.2.
const LARGEST_BLOCK: u64 = 128 << 10;
/// So many frames of a file without our mark are held against its table, if it has one. One with it may have one more
/// for each stretch of so many bytes of content, where ours has one for sixteen: what lists more was made to take memory.
const FRAMES: usize = 1 << 20;
const STRETCH: u64 = 256 << 10;

/// What comes next.
#[derive(Debug)]
pub(in super::super) enum Found {
    /// A frame that has so many bytes of content.
    Frame(Vec<u8>, usize),
    /// Content of a frame that is too large to be held, or does not say how large it is.
    Piece(Vec<u8>),
    /// Nothing: all of it was read, and fits together.
    End,
}

/// Goes from frame to frame.
pub(in super::super) struct Frames<R> {
    input: Input<R>,
    met: Table,
    /// Whether there are frames that `met` does not have.
    uncounted: bool,
    /// Bytes of content so far.
    content: u64,
    promised: bool,
    ended: bool,
    large: Option<Large>,
}

/// A frame that is being decompressed piece by piece.
struct Large {
    context: DCtx<'static>,
    /// What was taken of it before it was known to be large.
    head: Vec<u8>,
    taken: usize,
    start: u64,
    content: u64,
}

impl<R: Read> Frames<R> {
    pub(in super::super) fn new(input: Input<R>) -> Self {
        Self {
            input,
            met: Table::default(),
            uncounted: false,
            content: 0,
            promised: false,
            ended: false,
            large: None,
        }
    }

    /// What comes next; `buffer` is used for it.
    pub(in super::super) fn next(&mut self, mut buffer: Vec<u8>) -> Result<Found> {
        loop {
            if let Some(large) = self.large.take() {
                if let Some(piece) = self.piece(large)? {
                    return Ok(Found::Piece(piece));
                }
                continue;
            }
            let head = self.input.peek(LONGEST_HEADER)?;
            let Some(magic) = head.first_chunk().map(|magic| u32::from_le_bytes(*magic)) else {
                return if head.is_empty() { self.end() } else { Err(Error::damaged("it is cut off")) };
            };
            if self.promised && self.ended {
                return Err(Error::damaged(format!(
                    "something follows its end, at byte {}",
                    self.input.position()
                )));
            }
            if magic == MAGIC {
                let header = Header::read(head)?;
                match header.content.filter(|content| *content <= LARGEST) {
                    Some(content) => {
                        if let Some(found) = self.frame(header, content, std::mem::take(&mut buffer))? {
                            return Ok(found);
                        }
                    }
                    None => self.large = Some(Large::new(Vec::new(), self.input.position())?),
                }
            } else if magic & 0xffff_fff0 == 0x184d_2a50 {
                self.skip(magic)?;
            } else {
                return Err(Error::damaged(format!(
                    "at byte {} there is no frame of zstd",
                    self.input.position()
                )));
            }
        }
    }

    fn end(&self) -> Result<Found> {
        if self.promised && !self.ended {
            return Err(Error::damaged("it is cut off: the seek table at its end is missing"));
        }
        // No archive is empty, and the beginning of one of ours, without the mark, looks so.
        if !self.promised && self.content == 0 {
            return Err(Error::damaged("it is empty"));
        }
        Ok(Found::End)
    }

    /// Takes one frame with `content` bytes of content. `None` of one that takes more room than such a frame needs, and so
    /// is not held.
    fn frame(&mut self, header: Header, content: u64, mut buffer: Vec<u8>) -> Result<Option<Found>> {
        let start = self.input.position();
        // What libzstd makes of so much content, and room for blocks that hold little.
        let bound = content + content / 128 + (64 << 10);
        buffer.clear();
        self.need(&mut buffer, header.length as u64)?;
        loop {
            self.need(&mut buffer, 3)?;
            let at = buffer.len() - 3;
            let block = u32::from_le_bytes([buffer[at], buffer[at + 1], buffer[at + 2], 0]);
            let size = match (block >> 1 & 3, u64::from(block >> 3)) {
                (1, _) => 1,
                (0 | 2, size) if size <= LARGEST_BLOCK => size,
                _ => {
                    return Err(Error::damaged(format!(
                        "the frame at byte {start} has a block that cannot be"
                    )));
                }
            };
            self.need(&mut buffer, size)?;
            if block & 1 == 1 {
                break;
            }
            if buffer.len() as u64 > bound {
                self.large = Some(Large::new(buffer, start)?);
                return Ok(None);
            }
        }
        self.need(&mut buffer, if header.checksum { 4 } else { 0 })?;
        let content = usize::try_from(content).map_err(|_| Error::unsupported("a frame is too large"))?;
        let entry = Entry::of(&buffer, content)?;
        self.content += content as u64;
        self.met(Some(Entry { checksum: entry.checksum.filter(|_| header.checksum), ..entry }))?;
        Ok(Some(Found::Frame(buffer, content)))
    }

    fn need(&mut self, buffer: &mut Vec<u8>, count: u64) -> Result<()> {
        if self.input.append(buffer, count)? {
            return Ok(());
        }
        Err(Error::damaged("it is cut off in the middle of a frame"))
    }

    /// The next piece of a large frame; `None` behind its last one.
    fn piece(&mut self, mut large: Large) -> Result<Option<Vec<u8>>> {
        let mut piece = Vec::with_capacity(PIECE);
        loop {
            let ready = large.head.len() - large.taken;
            let bytes = if ready > 0 { &large.head[large.taken..] } else { self.input.next()? };
            let (produced, mut from) = (piece.len(), InBuffer::around(bytes));
            let mut to = OutBuffer::around_pos(&mut piece, produced);
            let left = large.context.decompress_stream(&mut to, &mut from).map_err(|code| {
                Error::damaged(format!("a frame does not decompress ({})", zstd_safe::get_error_name(code)))
            })?;
            let consumed = from.pos();
            if ready > 0 {
                large.taken += consumed;
            } else {
                self.input.advance(consumed);
            }
            large.content += (piece.len() - produced) as u64;
            self.content += (piece.len() - produced) as u64;
            if left == 0 {
                self.met(large.entry(self.input.position()))?;
                return Ok((!piece.is_empty()).then_some(piece));
            }
            if piece.len() == piece.capacity() {
                self.large = Some(large);
                return Ok(Some(piece));
            }
            if consumed == 0 && piece.len() == produced {
                return Err(Error::damaged("it is cut off in the middle of a frame"));
            }
        }
    }

    /// Steps over a skippable frame, and reads those that mean something here.
    fn skip(&mut self, magic: u32) -> Result<()> {
        let cut = || Error::damaged("it is cut off in a skippable frame");
        let start = self.input.position();
        let size = match self.input.peek(HEAD)? {
            [_, _, _, _, a, b, c, d] => u64::from(u32::from_le_bytes([*a, *b, *c, *d])),
            _ => return Err(cut()),
        };
        let frames = self.met.entries().len() as u64;
        let tables = [frames * 12, frames * 8].map(|entries| entries + FOOT as u64);
        let mut bytes = Vec::new();
        if size == MARK.len() as u64 || magic == SKIPPABLE_TABLE && tables.contains(&size) {
            if !self.input.append(&mut bytes, HEAD as u64 + size)? {
                return Err(cut());
            }
        } else {
            let mut left = HEAD as u64 + size;
            while left > 0 {
                let count = self.input.next()?.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                if count == 0 {
                    return Err(cut());
                }
                let kept = bytes.len().min(FOOT);
                bytes.drain(..bytes.len() - kept);
                let next = self.input.next()?;
                bytes.extend_from_slice(&next[count.saturating_sub(FOOT)..count]);
                self.input.advance(count);
                left -= count as u64;
            }
        }
        self.promised |= bytes.get(HEAD..) == Some(MARK);
        if magic == SKIPPABLE_TABLE
            && let Some(foot) = Foot::read(&bytes)?
        {
            return self.table(&bytes, foot);
        }
        let compressed = u32::try_from(self.input.position() - start).ok();
        self.met(compressed.map(|compressed| Entry { compressed, content: 0, checksum: None }))
    }

    fn table(&mut self, bytes: &[u8], foot: Foot) -> Result<()> {
        if !self.uncounted && !Table::from_bytes(bytes, foot).is_ok_and(|table| table.fits(&self.met)) {
            return Err(Error::damaged(
                "its seek table is not one of its frames: some are missing, or others",
            ));
        }
        self.ended = true;
        Ok(())
    }

    fn met(&mut self, entry: Option<Entry>) -> Result<()> {
        let more = usize::try_from(self.content / STRETCH).unwrap_or(usize::MAX);
        match entry {
            Some(entry) if self.met.entries().len() < FRAMES => self.met.push(entry),
            Some(entry) if self.promised && self.met.entries().len() < FRAMES.saturating_add(more) => {
                self.met.push(entry)
            }
            Some(_) if self.promised => {
                Err(Error::damaged("it has far more frames than there is content for them"))
            }
            _ => {
                self.uncounted = true;
                Ok(())
            }
        }
    }
}

impl Large {
    fn new(head: Vec<u8>, start: u64) -> Result<Self> {
        let mut context = DCtx::create();
        context
            .set_parameter(DParameter::WindowLogMax(LARGEST_WINDOW_LOG))
            .map_err(|code| Error::unsupported(zstd_safe::get_error_name(code)))?;
        Ok(Self { context, head, taken: 0, start, content: 0 })
    }

    /// What a table can say of it.
    fn entry(&self, end: u64) -> Option<Entry> {
        let compressed = u32::try_from(end - self.start).ok()?;
        Some(Entry { compressed, content: u32::try_from(self.content).ok()?, checksum: None })
    }
}
