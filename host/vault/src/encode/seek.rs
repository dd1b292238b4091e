//! Reads an encoded archive at an offset, and fetches no more than it takes: the beginning (age's header), the end
//! (the seek table), and then the frames that are asked for, which are kept for a while.
//!
//! What can be read so is zstd in frames with a seek table, or nothing compressed; age, or nothing encrypted. An
//! OpenPGP file can only be used as a whole, and gzip has no table.

mod plain;

use std::collections::VecDeque;
use std::io;
use std::sync::{Mutex, PoisonError};

use super::encoding::{Compression, Encoding, Encryption};
use super::error::{Error, Result};
use super::seal::Keys;
use super::source::ReadAt;
use super::zstd::{self, Decompressor, Foot, LARGEST, Table, checksum};
use plain::Plain;

/// How much of the end is fetched in one request: the table of 80 GiB, and more where it is larger.
const TAIL: u64 = 256 << 10;
/// Compressed bytes that are fetched in one request, at most, but for one frame that is larger.
const REQUEST: u64 = 8 << 20;
/// Content that is kept, at most, but for one frame that is larger.
const KEPT: usize = 24 << 20;

/// So many frames are read at offsets, 8 TiB of ours: the table is in memory.
const MOST: usize = 1 << 21;

/// An encoded archive that is read at offsets. Several threads may do so, one at a time.
pub struct SeekableDecoder<S> {
    length: u64,
    state: Mutex<State<S>>,
}

struct State<S> {
    plain: Plain<S>,
    /// The frames that have content; `None` if nothing is compressed.
    frames: Option<Vec<Frame>>,
    decompressor: Decompressor,
    kept: VecDeque<(usize, Vec<u8>)>,
}

/// Where a frame is.
#[derive(Debug, Clone, Copy)]
struct Frame {
    /// Its offset in the compressed archive, and its length there.
    at: u64,
    compressed: u32,
    /// The offset of its content in the archive, and its length.
    start: u64,
    content: u32,
    checksum: Option<u32>,
}

impl<S: ReadAt> SeekableDecoder<S> {
    /// Opens what `source` has: two or three requests.
    ///
    /// # Errors
    /// As [`Decoder::new`](super::Decoder::new), and [`Error::Unsupported`] where it cannot be read at offsets.
    pub fn open(source: S, encoding: Encoding, keys: &Keys) -> Result<Self> {
        let mut plain = match encoding.encryption {
            Encryption::None => Plain::bare(source)?,
            Encryption::Age => Plain::age(source, keys)?,
            Encryption::OpenPgp => {
                return Err(Error::unsupported("OpenPGP can only be read from its beginning to its end"));
            }
        };
        let frames = match encoding.compression {
            Compression::None => None,
            Compression::Zstd { .. } => Some(frames(&mut plain)?),
            Compression::Gzip { .. } => {
                return Err(Error::unsupported("gzip can only be read from its beginning to its end"));
            }
        };
        let length = match &frames {
            None => plain.len(),
            Some(frames) => frames.last().map_or(0, |last| last.start + u64::from(last.content)),
        };
        let state = State { plain, frames, decompressor: Decompressor::new(), kept: VecDeque::new() };
        Ok(Self { length, state: Mutex::new(state) })
    }
}

impl<S: ReadAt> ReadAt for SeekableDecoder<S> {
    /// The archive's length.
    fn len(&self) -> io::Result<u64> {
        Ok(self.length)
    }

    /// Reads the archive. Errors of this module are inside of those that are returned; where there is one, no byte
    /// of `out` means anything.
    fn read_at(&self, out: &mut [u8], offset: u64) -> io::Result<usize> {
        let left = self.length.saturating_sub(offset);
        let count = out.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        if count == 0 {
            return Ok(0);
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.read(&mut out[..count], offset)?;
        Ok(count)
    }
}

impl<S> std::fmt::Debug for SeekableDecoder<S> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("SeekableDecoder").field("length", &self.length).finish_non_exhaustive()
    }
}

impl<S: ReadAt> State<S> {
    /// Fills `out` with what is at `offset`, where there is enough.
    fn read(&mut self, mut out: &mut [u8], mut offset: u64) -> Result<()> {
        let Some(frames) = &self.frames else {
            let bytes = self.plain.read(offset, out.len() as u64)?;
            out.copy_from_slice(&bytes);
            return Ok(());
        };
        let mut number = frames.partition_point(|frame| frame.start + u64::from(frame.content) <= offset);
        while !out.is_empty() {
            let frame = self.frame(number).ok_or_else(|| Error::damaged("its seek table ends too early"))?;
            let content = self.content(number, offset + out.len() as u64)?;
            let skipped = usize::try_from(offset - frame.start).unwrap_or(usize::MAX);
            let next = content.get(skipped..).ok_or_else(|| Error::damaged("a frame is too short"))?;
            let (head, rest) = out.split_at_mut(next.len().min(out.len()));
            head.copy_from_slice(&next[..head.len()]);
            offset += head.len() as u64;
            (out, number) = (rest, number + 1);
        }
        Ok(())
    }

    fn frame(&self, number: usize) -> Option<Frame> {
        self.frames.as_ref()?.get(number).copied()
    }

    /// The content of a frame. Those behind it are fetched with it, as far as `end` needs them.
    fn content(&mut self, number: usize, end: u64) -> Result<&[u8]> {
        if let Some(place) = self.kept.iter().position(|(kept, _)| *kept == number) {
            let newest = self.kept.remove(place).into_iter();
            self.kept.extend(newest);
        } else {
            self.fetch(number, end)?;
        }
        let newest = self.kept.iter().rev().find(|(kept, _)| *kept == number);
        newest.map(|(_, content)| &content[..]).ok_or(Error::Stopped)
    }

    fn fetch(&mut self, first: usize, end: u64) -> Result<()> {
        let frames = self.frames.as_deref().unwrap_or_default();
        let Some(start) = frames.get(first).map(|frame| frame.at) else { return Ok(()) };
        let mut content = 0;
        let wanted = frames[first..].iter().enumerate().take_while(|(n, frame)| {
            content += frame.content as usize;
            let length = frame.at + u64::from(frame.compressed) - start;
            *n == 0 || frame.start < end && length <= REQUEST && content <= KEPT
        });
        let wanted: Vec<Frame> = wanted.map(|(_, frame)| *frame).collect();
        let Some(last) = wanted.last() else { return Ok(()) };
        let bytes = self.plain.read(start, last.at + u64::from(last.compressed) - start)?;
        for (n, frame) in wanted.iter().enumerate() {
            let from = usize::try_from(frame.at - start).unwrap_or(usize::MAX);
            let compressed = bytes.get(from..).and_then(|bytes| bytes.get(..frame.compressed as usize));
            let compressed = compressed.ok_or_else(|| Error::damaged("a frame is cut off"))?;
            // libzstd checks a frame against its own checksum, which so is the one of the table, too.
            let own = checksum(compressed).ok_or_else(|| Error::damaged("a frame has no checksum"))?;
            if frame.checksum.is_some_and(|checksum| checksum != own) {
                return Err(Error::damaged("a frame is another one than its seek table says"));
            }
            let mut content = Vec::new();
            self.decompressor.content(compressed, frame.content as usize, &mut content)?;
            self.kept.push_back((first + n, content));
        }
        while self.kept.len() > wanted.len()
            && self.kept.iter().map(|(_, content)| content.len()).sum::<usize>() > KEPT
        {
            self.kept.pop_front();
        }
        Ok(())
    }
}

/// Reads the seek table, and holds it against the length of the file.
fn frames<S: ReadAt>(plain: &mut Plain<S>) -> Result<Vec<Frame>> {
    let length = plain.len();
    let missing = || Error::unsupported("it has no seek table of ours, so it can only be read as a whole");
    let mut tail = plain.read(length - length.min(TAIL), length.min(TAIL))?;
    let foot = Foot::read(&tail)?.ok_or_else(missing)?;
    if foot.frames > MOST {
        return Err(Error::unsupported(
            "it has too many frames to be read at offsets, and can only be read as a whole",
        ));
    }
    let size = (foot.length() + Table::PROOF) as u64;
    let start =
        length.checked_sub(size).ok_or_else(|| Error::damaged("its seek table claims more than there is"))?;
    if tail.len() as u64 <= size {
        tail = plain.read(start, size)?;
    }
    let (before, bytes) = tail.split_at(tail.len() - foot.length());
    let table = Table::from_bytes(bytes, foot)?;
    if !table.is_proven_by(before) {
        return Err(Error::damaged(
            "its seek table has not the checksum that it should have, or is another program's",
        ));
    }
    let (mut frames, mut at, mut content) = (Vec::with_capacity(table.entries().len()), 0_u64, 0_u64);
    for entry in table.entries() {
        if u64::from(entry.content) > LARGEST {
            return Err(Error::unsupported(
                "it has a frame of more than 4 MiB, so it can only be read as a whole",
            ));
        }
        if entry.content > 0 && entry.compressed as usize > zstd::longest(entry.content) {
            return Err(Error::damaged("its seek table has a frame that cannot be"));
        }
        if entry.content > 0 {
            let (compressed, checksum) = (entry.compressed, entry.checksum);
            frames.push(Frame { at, compressed, start: content, content: entry.content, checksum });
        }
        at += u64::from(entry.compressed);
        content += u64::from(entry.content);
    }
    if at != start + Table::PROOF as u64 {
        return Err(Error::damaged("its seek table is not one of its frames"));
    }
    Ok(frames)
}
