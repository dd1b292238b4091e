//! Decrypts and decompresses a stream.
//!
//! One thread reads, decrypts and finds frames, a crew decompresses them, and the caller's thread takes the
//! results in order. Each frame's checksum has been checked before a byte of it is handed out.

use std::io::{self, Read};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::{env, thread};

use super::age::AgeReader;
use super::buffers::Buffers;
use super::crew::{Crew, Pending, processors, waiting};
use super::encoding::{Compression, Encoding, Encryption};
use super::error::{Error, Result};
use super::input::Input;
use super::openpgp::OpenPgpReader;
use super::seal::Keys;
use super::{gzip, zstd};

/// Bytes of an archive that is not compressed, in a piece.
const PLAIN: usize = 1 << 20;

/// Reads the archive inside of an encoded one.
pub struct Decoder {
    order: Receiver<Result<Piece>>,
    buffers: Buffers,
    current: Vec<u8>,
    taken: usize,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Reading,
    Complete,
    Failed,
}

/// What comes next.
enum Piece {
    Content(Vec<u8>),
    Pending(Pending<Result<Vec<u8>>>),
    End,
}

/// A frame or member, and how much content it has.
type Job = (Vec<u8>, usize);

impl Decoder {
    /// A decoder of what `reader` reads. What is encrypted with OpenPGP is read to its end here and kept, encrypted,
    /// in a temporary file, since its text may not be used before its end was checked.
    ///
    /// # Errors
    /// [`Error::NoKey`], [`Error::WrongKey`], and whatever is wrong with the beginning of the file. What is found
    /// later is inside of the errors that [`Read`] gives.
    pub fn new<R: Read + Send + 'static>(reader: R, encoding: Encoding, keys: &Keys) -> Result<Self> {
        Self::new_in(reader, encoding, keys, &env::temp_dir())
    }

    /// As [`Decoder::new`], with a directory for the temporary file, which has no name there.
    pub fn new_in<R: Read + Send + 'static>(
        mut reader: R,
        encoding: Encoding,
        keys: &Keys,
        directory: &Path,
    ) -> Result<Self> {
        match encoding.encryption {
            Encryption::None => Ok(Self::start(Input::new(reader), encoding.compression)),
            Encryption::Age => {
                let plain = AgeReader::open(Input::new(reader), keys)?;
                Ok(Self::start(Input::new(plain), encoding.compression))
            }
            Encryption::OpenPgp => {
                let plain = OpenPgpReader::open(&mut reader, keys, directory)?;
                Ok(Self::start(Input::new(plain), encoding.compression))
            }
        }
    }

    fn start<R: Read + Send + 'static>(input: Input<R>, compression: Compression) -> Self {
        let threads = processors();
        let (sender, order) = sync_channel(waiting(threads));
        let buffers = Buffers::default();
        let line = Line { order: sender, buffers: buffers.clone() };
        thread::spawn(move || {
            let end = match compression {
                Compression::None => line.plain(input),
                Compression::Zstd { .. } => line.frames(input, threads),
                Compression::Gzip { .. } => line.members(input, threads),
            };
            // Nobody takes it when the decoder is gone.
            let _ = line.order.send(end.map(|()| Piece::End));
        });
        Self { order, buffers, current: Vec::new(), taken: 0, state: State::Reading }
    }

    /// Whether all was read and found in order. A reader that stops earlier has not seen the end checked.
    pub fn is_complete(&self) -> bool {
        self.state == State::Complete
    }

    fn next(&mut self) -> Result<()> {
        // A thread that is gone has not said that this is the end.
        self.state = State::Failed;
        let next = match self.order.recv().map_err(|_| Error::Stopped)?? {
            Piece::Content(content) => content,
            Piece::Pending(pending) => pending.wait().ok_or(Error::Stopped)??,
            Piece::End => {
                self.state = State::Complete;
                return Ok(());
            }
        };
        self.state = State::Reading;
        self.buffers.give(std::mem::replace(&mut self.current, next));
        self.taken = 0;
        Ok(())
    }
}

impl Read for Decoder {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        while self.taken == self.current.len() {
            match self.state {
                State::Reading => self.next()?,
                State::Complete => return Ok(0),
                State::Failed => return Err(Error::Stopped.into()),
            }
        }
        let count = out.len().min(self.current.len() - self.taken);
        out[..count].copy_from_slice(&self.current[self.taken..self.taken + count]);
        self.taken += count;
        Ok(count)
    }
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Decoder").field("state", &self.state).finish_non_exhaustive()
    }
}

/// What leads from the reading thread to the caller's.
struct Line {
    order: SyncSender<Result<Piece>>,
    buffers: Buffers,
}

impl Line {
    fn send(&self, piece: Piece) -> Result<()> {
        self.order.send(Ok(piece)).map_err(|_| Error::Stopped)
    }

    fn plain(&self, mut input: Input<impl Read>) -> Result<()> {
        loop {
            let mut content = self.buffers.take();
            input.append(&mut content, PLAIN as u64)?;
            if content.is_empty() {
                return Ok(());
            }
            self.send(Piece::Content(content))?;
        }
    }

    fn frames(&self, input: Input<impl Read>, threads: usize) -> Result<()> {
        let crew = self.crew(threads, || {
            let mut decompressor = zstd::Decompressor::new();
            move |(frame, content): &Job, out: &mut Vec<u8>| decompressor.content(frame, *content, out)
        });
        let mut frames = zstd::Frames::new(input);
        loop {
            match frames.next(self.buffers.take())? {
                zstd::Found::Frame(frame, content) => {
                    self.send(Piece::Pending(crew.hand((frame, content))))?;
                }
                zstd::Found::Piece(content) => self.send(Piece::Content(content))?,
                zstd::Found::End => return Ok(()),
            }
        }
    }

    fn members(&self, input: Input<impl Read>, threads: usize) -> Result<()> {
        let crew = self.crew(threads, || {
            let mut decompressor = gzip::Decompressor::new();
            move |(member, content): &Job, out: &mut Vec<u8>| decompressor.content(member, *content, out)
        });
        let mut members = gzip::Members::new(input);
        loop {
            match members.next(self.buffers.take())? {
                gzip::Found::Member(member, content) => {
                    self.send(Piece::Pending(crew.hand((member, content))))?;
                }
                gzip::Found::Piece(content) => self.send(Piece::Content(content))?,
                gzip::Found::End => return Ok(()),
            }
        }
    }

    fn crew<W>(&self, threads: usize, worker: impl Fn() -> W) -> Crew<Job, Result<Vec<u8>>>
    where
        W: FnMut(&Job, &mut Vec<u8>) -> Result<()> + Send + 'static,
    {
        Crew::start(threads, || {
            let (mut decompress, buffers) = (worker(), self.buffers.clone());
            move |job: Job| {
                let mut out = buffers.take();
                decompress(&job, &mut out)?;
                buffers.give(job.0);
                Ok(out)
            }
        })
    }
}
