//! Compresses and encrypts what is written to it.
//!
//! The caller's thread cuts what comes into blocks, a crew compresses them, and one thread takes the results in
//! order, encrypts, hashes and writes them. Queues are bounded, and so is memory. Whatever goes wrong, also an
//! encoder that is dropped, leaves out what closes the file, so that every decoder refuses it as cut off.

use std::io::{self, Read, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use super::age::AgeEncryptor;
use super::buffers::Buffers;
use super::crew::{Crew, Pending, processors, waiting};
use super::encoding::{Compression, Encoding};
use super::error::{Error, Result};
use super::openpgp;
use super::seal::Seal;
use super::summary::{Summary, Tally};
use super::{gzip, zstd};

/// What one frame or member holds: enough to compress well, little enough to read one file at an offset.
const BLOCK: usize = 4 << 20;
/// What is handed over at a time when nothing is compressed.
const PLAIN: usize = 1 << 20;

/// Writes an encoded archive. What is written to it must be finished with [`Encoder::finish`].
pub struct Encoder<W> {
    block: Vec<u8>,
    size: usize,
    bytes_in: u64,
    line: Option<Line>,
    closer: Option<JoinHandle<Result<(W, Summary)>>>,
}

/// What leads from the caller's thread to the one that writes.
struct Line {
    crew: Option<Crew<Vec<u8>, Result<Block>>>,
    order: SyncSender<Piece>,
    buffers: Buffers,
}

/// A block, compressed.
struct Block {
    bytes: Vec<u8>,
    /// For the table of zstd.
    entry: Option<zstd::Entry>,
    content: u64,
}

/// What the writing thread takes next.
enum Piece {
    Plain(Vec<u8>),
    Compressed(Pending<Result<Block>>),
    /// All was written; so many bytes went in.
    End(u64),
}

impl<W: Write + Send + 'static> Encoder<W> {
    /// An encoder that compresses with `compression`, encrypts as `seal` says, and writes to `writer`.
    ///
    /// # Errors
    /// [`Error::Level`], and [`Error::NoRecipient`] where a seal is empty. Nothing was written then.
    pub fn new(writer: W, compression: Compression, seal: &Seal) -> Result<Self> {
        let buffers = Buffers::default();
        let threads = processors();
        let crew = match compression {
            Compression::None => None,
            Compression::Zstd { level } => Some(zstd_crew(level, threads, &buffers)?),
            Compression::Gzip { level } => Some(gzip_crew(level, threads, &buffers)?),
        };
        let (order, pieces) = sync_channel(waiting(threads));
        let stream = Stream::new(pieces, compression, buffers.clone())?;
        let seal = Sealing::new(seal)?;
        let closer = thread::spawn(move || seal.write(stream, Tally::new(writer)));
        let size = if crew.is_some() { BLOCK } else { PLAIN };
        let line = Some(Line { crew, order, buffers });
        Ok(Self { block: Vec::new(), size, bytes_in: 0, line, closer: Some(closer) })
    }

    /// Writes what is left and what closes the file. Only when this returns is there an encoded archive.
    ///
    /// # Errors
    /// What failed, also in a thread of the encoder.
    pub fn finish(mut self) -> Result<(W, Summary)> {
        if !self.block.is_empty() {
            self.hand_over()?;
        }
        let end = Piece::End(self.bytes_in);
        if self.line.take().is_none_or(|line| line.order.send(end).is_err()) {
            return Err(self.failure());
        }
        self.join()
    }

    fn hand_over(&mut self) -> Result<()> {
        let Some(line) = &self.line else { return Err(Error::Stopped) };
        let block = std::mem::replace(&mut self.block, line.buffers.take());
        let piece = match &line.crew {
            Some(crew) => Piece::Compressed(crew.hand(block)),
            None => Piece::Plain(block),
        };
        if line.order.send(piece).is_err() {
            return Err(self.failure());
        }
        Ok(())
    }

    /// Why the writing thread has ended early.
    fn failure(&mut self) -> Error {
        self.line = None;
        self.join().err().unwrap_or(Error::Stopped)
    }

    fn join(&mut self) -> Result<(W, Summary)> {
        let closer = self.closer.take().ok_or(Error::Stopped)?;
        closer.join().unwrap_or(Err(Error::Stopped))
    }
}

impl<W: Write + Send + 'static> Write for Encoder<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.block.capacity() < self.size {
            self.block.reserve_exact(self.size - self.block.len());
        }
        let count = bytes.len().min(self.size - self.block.len());
        self.block.extend_from_slice(&bytes[..count]);
        if self.block.len() == self.size {
            self.hand_over()?;
        }
        self.bytes_in += count as u64;
        Ok(count)
    }

    /// Does nothing: a block is written when it is full.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<W> Drop for Encoder<W> {
    /// Gives up: when this returns nothing more is written.
    fn drop(&mut self) {
        self.line = None;
        if let Some(closer) = self.closer.take() {
            let _ = closer.join();
        }
    }
}

impl<W> std::fmt::Debug for Encoder<W> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Encoder").field("bytes_in", &self.bytes_in).finish_non_exhaustive()
    }
}

fn zstd_crew(level: i32, threads: usize, buffers: &Buffers) -> Result<Crew<Vec<u8>, Result<Block>>> {
    if !(1..=19).contains(&level) {
        return Err(Error::Level { level, name: "zstd", most: 19 });
    }
    Ok(Crew::start(threads, || {
        let (mut compressor, buffers) = (zstd::Compressor::new(level), buffers.clone());
        move |block: Vec<u8>| {
            let mut bytes = buffers.take();
            let entry = Some(compressor.frame(&block, &mut bytes)?);
            let content = block.len() as u64;
            buffers.give(block);
            Ok(Block { bytes, entry, content })
        }
    }))
}

fn gzip_crew(level: i32, threads: usize, buffers: &Buffers) -> Result<Crew<Vec<u8>, Result<Block>>> {
    if !(1..=12).contains(&level) {
        return Err(Error::Level { level, name: "gzip", most: 12 });
    }
    Ok(Crew::start(threads, || {
        let (compressor, buffers) = (gzip::Compressor::new(level), buffers.clone());
        let mut compressor = compressor.ok();
        move |block: Vec<u8>| {
            let mut bytes = buffers.take();
            compressor.as_mut().ok_or(Error::Stopped)?.member(&block, &mut bytes)?;
            let content = block.len() as u64;
            buffers.give(block);
            Ok(Block { bytes, entry: None, content })
        }
    }))
}

/// The compressed archive, as the writing thread reads it.
#[derive(Debug)]
pub(super) struct Stream {
    pieces: Receiver<Piece>,
    buffers: Buffers,
    current: Vec<u8>,
    taken: usize,
    closing: Closing,
    bytes_in: Option<u64>,
    /// What went wrong here, since others may hand on its words alone.
    failure: Option<Error>,
}

/// What closes the file.
#[derive(Debug)]
enum Closing {
    Nothing,
    Table(zstd::Table),
    Sums(gzip::Sums),
}

impl std::fmt::Debug for Piece {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Piece")
    }
}

impl Stream {
    fn new(pieces: Receiver<Piece>, compression: Compression, buffers: Buffers) -> Result<Self> {
        let (closing, current) = match compression {
            Compression::None => (Closing::Nothing, Vec::new()),
            Compression::Zstd { .. } => {
                let (table, begin) = zstd::Table::begin()?;
                (Closing::Table(table), begin)
            }
            Compression::Gzip { .. } => (Closing::Sums(gzip::Sums::default()), Vec::new()),
        };
        Ok(Self { pieces, buffers, current, taken: 0, closing, bytes_in: None, failure: None })
    }

    /// The next bytes, or none behind the last ones.
    fn next(&mut self) -> Result<&[u8]> {
        while self.taken == self.current.len() && self.bytes_in.is_none() {
            let next = self.receive()?;
            self.buffers.give(std::mem::replace(&mut self.current, next));
            self.taken = 0;
        }
        Ok(&self.current[self.taken..])
    }

    fn receive(&mut self) -> Result<Vec<u8>> {
        // Without an end the encoder was given up.
        match self.pieces.recv().map_err(|_| Error::Stopped)? {
            Piece::Plain(bytes) => Ok(bytes),
            Piece::Compressed(pending) => {
                let block = pending.wait().ok_or(Error::Stopped)??;
                match (&mut self.closing, block.entry) {
                    (Closing::Table(table), Some(entry)) => table.push(entry)?,
                    (Closing::Sums(sums), _) => {
                        sums.members += 1;
                        sums.content += block.content;
                    }
                    _ => {}
                }
                Ok(block.bytes)
            }
            Piece::End(bytes_in) => {
                self.bytes_in = Some(bytes_in);
                Ok(match &mut self.closing {
                    Closing::Nothing => Vec::new(),
                    Closing::Table(table) => table.end()?,
                    Closing::Sums(sums) => sums.member(),
                })
            }
        }
    }

    /// Writes all of it, and says how many bytes of the archive that was.
    fn copy(&mut self, to: &mut impl Write) -> Result<()> {
        loop {
            let next = self.next()?;
            if next.is_empty() {
                return Ok(());
            }
            to.write_all(next).map_err(write_error)?;
            self.taken = self.current.len();
        }
    }
}

impl Read for Stream {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = match self.next() {
            Ok(next) => {
                let count = next.len().min(out.len());
                out[..count].copy_from_slice(&next[..count]);
                count
            }
            Err(error) => {
                self.failure = Some(error);
                return Err(io::ErrorKind::BrokenPipe.into());
            }
        };
        self.taken += count;
        Ok(count)
    }
}

/// How the writing thread encrypts.
enum Sealing {
    None,
    Age(Box<AgeEncryptor>),
    OpenPgp(openpgp::Recipients),
}

impl Sealing {
    fn new(seal: &Seal) -> Result<Self> {
        Ok(match seal {
            Seal::None => Self::None,
            Seal::Age(recipients) => Self::Age(Box::new(recipients.encryptor()?)),
            Seal::OpenPgp(recipients) => Self::OpenPgp(recipients.checked()?),
        })
    }

    fn write<W: Write>(self, mut stream: Stream, mut tally: Tally<W>) -> Result<(W, Summary)> {
        if let Err(error) = self.seal(&mut stream, &mut tally) {
            return Err(tally.failure.map(write_error).or(stream.failure).unwrap_or(error));
        }
        let bytes_in = stream.bytes_in.ok_or(Error::Stopped)?;
        tally.finish(bytes_in).map_err(write_error)
    }

    fn seal(self, stream: &mut Stream, mut tally: &mut impl Write) -> Result<()> {
        match self {
            Self::None => stream.copy(&mut tally),
            Self::Age(encryptor) => {
                let mut sealed = encryptor.wrap_output(tally).map_err(write_error)?;
                stream.copy(&mut sealed)?;
                sealed.finish().map(drop).map_err(write_error)
            }
            Self::OpenPgp(recipients) => recipients.encrypt(stream, tally),
        }
    }
}

fn write_error(error: io::Error) -> Error {
    Error::of(error, "write the encoded archive")
}

impl Seal {
    /// What is done with this seal and `compression`.
    pub fn encoding(&self, compression: Compression) -> Encoding {
        Encoding { compression, encryption: self.encryption() }
    }
}
