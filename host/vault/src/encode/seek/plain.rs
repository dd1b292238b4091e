//! An encoded archive without its encryption, read at offsets: one request a read, whatever is between.

use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::sync::{Arc, Mutex, PoisonError};

use age::stream::StreamReader;

use super::super::age::{chunk_error, decrypt, payload_start};
use super::super::error::{Error, Result};
use super::super::seal::Keys;
use super::super::source::ReadAt;

/// age's chunks, without and with their tag: <https://age-encryption.org/v1>, "Payload".
const CHUNK: u64 = 64 << 10;
const SEALED: u64 = CHUNK + 16;
/// How much of the beginning is fetched, which is more than most headers have.
const HEAD: u64 = 16 << 10;
/// A header that is larger is fetched as a whole.
const LARGE_HEAD: u64 = 64 << 10;
/// How much of the end is fetched at once: the last chunk, and those that have the last 256 KiB of text.
const TAIL: u64 = 6 * SEALED;

/// The compressed archive, encrypted or not.
pub(super) struct Plain<S> {
    source: Arc<S>,
    length: u64,
    age: Option<Age<S>>,
}

/// What it takes to decrypt chunks.
struct Age<S> {
    stream: StreamReader<BufReader<Fetched<S>>>,
    pieces: Pieces,
    /// Where the first chunk is, and how long the file is.
    start: u64,
    end: u64,
}

/// Pieces of the file, by their offset: beginning, end, and what was fetched last.
type Pieces = Arc<Mutex<Vec<(u64, Vec<u8>)>>>;

impl<S: ReadAt> Plain<S> {
    /// Not encrypted.
    pub(super) fn bare(source: S) -> Result<Self> {
        let length = source.len().map_err(source_error)?;
        Ok(Self { source: Arc::new(source), length, age: None })
    }

    /// Decrypts the last chunk at once: only that shows that nothing is missing at the end.
    pub(super) fn age(source: S, keys: &Keys) -> Result<Self> {
        let source = Arc::new(source);
        let end = source.len().map_err(source_error)?;
        let mut head = fetch(&*source, 0, end.min(HEAD))?;
        if end > HEAD && payload_start(&head).is_err() {
            head = fetch(&*source, 0, end.min(LARGE_HEAD))?;
        }
        let start = payload_start(&head)? as u64;
        let tail = end.saturating_sub(TAIL);
        let tail = (tail, fetch(&*source, tail, end - tail)?);
        let pieces: Pieces = Arc::new(Mutex::new(vec![(0, head), tail]));
        let fetched = Fetched { source: Arc::clone(&source), pieces: Arc::clone(&pieces), end, position: 0 };
        let mut stream = decrypt(BufReader::new(fetched), keys)?;
        let length = stream.seek(SeekFrom::End(0)).map_err(payload_error)?;
        Ok(Self { source, length, age: Some(Age { stream, pieces, start, end }) })
    }

    /// Its length.
    pub(super) fn len(&self) -> u64 {
        self.length
    }

    /// `count` bytes at `offset`, which must be there.
    pub(super) fn read(&mut self, offset: u64, count: u64) -> Result<Vec<u8>> {
        let inside = offset.checked_add(count).is_some_and(|end| end <= self.length);
        let size = usize::try_from(count).ok().filter(|_| inside);
        let size = size.ok_or_else(|| Error::damaged("it claims more than there is"))?;
        match &mut self.age {
            None => fetch(&*self.source, offset, count),
            Some(_) if size == 0 => Ok(Vec::new()),
            Some(age) => age.read(&*self.source, offset, size),
        }
    }
}

impl<S: ReadAt> Age<S> {
    fn read(&mut self, source: &S, offset: u64, size: usize) -> Result<Vec<u8>> {
        let from = self.start + offset / CHUNK * SEALED;
        let to = (self.start + (offset + size as u64).div_ceil(CHUNK) * SEALED).min(self.end);
        {
            let mut pieces = self.pieces.lock().unwrap_or_else(PoisonError::into_inner);
            if !pieces.iter().any(|piece| slice(piece, from, to - from).is_some()) {
                pieces.truncate(2);
                pieces.push((from, fetch(source, from, to - from)?));
            }
        }
        let mut out = vec![0; size];
        self.stream.seek(SeekFrom::Start(offset)).map_err(payload_error)?;
        self.stream.read_exact(&mut out).map_err(payload_error)?;
        Ok(out)
    }
}

/// The file as age's reader sees it. What was fetched beforehand costs no request.
struct Fetched<S> {
    source: Arc<S>,
    pieces: Pieces,
    end: u64,
    position: u64,
}

impl<S: ReadAt> Read for Fetched<S> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let pieces = self.pieces.lock().unwrap_or_else(PoisonError::into_inner);
        let left = self.end.saturating_sub(self.position);
        let wanted = (out.len() as u64).min(left);
        let ready = pieces.iter().find_map(|piece| {
            let inside = (piece.0 + piece.1.len() as u64).saturating_sub(self.position);
            slice(piece, self.position, wanted.min(inside)).filter(|bytes| !bytes.is_empty())
        });
        let count = match ready {
            Some(bytes) => {
                out[..bytes.len()].copy_from_slice(bytes);
                bytes.len()
            }
            None if wanted == 0 => 0,
            None => self.source.read_at(out, self.position)?.min(out.len()),
        };
        self.position += count as u64;
        Ok(count)
    }
}

impl<S> Seek for Fetched<S> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(by) => self.end.checked_add_signed(by),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

/// `count` bytes of a piece, by their offset in the file.
fn slice((at, bytes): &(u64, Vec<u8>), offset: u64, count: u64) -> Option<&[u8]> {
    let from = usize::try_from(offset.checked_sub(*at)?).ok()?;
    bytes.get(from..)?.get(..usize::try_from(count).ok()?)
}

/// All of `count` bytes; one request, unless the source gives them in parts.
fn fetch(source: &impl ReadAt, offset: u64, count: u64) -> Result<Vec<u8>> {
    let size = usize::try_from(count).map_err(|_| Error::unsupported("it is too large for this machine"))?;
    let mut out = vec![0; size];
    let mut done = 0;
    while done < size {
        match source.read_at(&mut out[done..], offset + done as u64) {
            Ok(0) => return Err(Error::damaged("it is shorter than its store says")),
            Ok(count) if count <= size - done => done += count,
            Ok(_) => return Err(source_error(io::Error::other("the source claims too much"))),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(source_error(error)),
        }
    }
    Ok(out)
}

fn source_error(error: io::Error) -> Error {
    Error::of(error, "read the encoded archive")
}

fn payload_error(error: io::Error) -> Error {
    source_error(chunk_error(error))
}
