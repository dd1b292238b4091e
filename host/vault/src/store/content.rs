//! What is to be stored: bytes, a file, or what another thread writes as it goes.
//!
//! A stream that merely ends is no proof that all of it was there: whoever wrote it may have died. So the
//! writing end says explicitly that it is done, and what ends without that is an error, on which no store
//! publishes anything.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc::{self, Receiver, Sender};

/// Bytes in one piece of a content. An upload's progress is seen piece by piece.
pub(crate) const PIECE: usize = 256 << 10;
/// Pieces between the writing end and the store, so that neither waits for each of the other's pauses.
pub(crate) const AHEAD: usize = 16;

/// How many bytes there will be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// Exactly so many. Any other number is an error, and nothing is stored.
    Exact(u64),
    /// Not known yet, but hardly more than so many: parts of uploads are sized for it.
    About(u64),
    /// Not known.
    Unknown,
}

/// What is to be stored. It is read once, from front to back, unless it can be [rewound](Content::rewind).
#[derive(Debug)]
pub struct Content {
    source: Source,
    length: Length,
    given: u64,
}

#[derive(Debug)]
enum Source {
    Bytes { all: Bytes, rest: Bytes },
    File(Arc<File>),
    Pipe(Receiver<Piece>),
    Spent,
}

/// What goes through a pipe.
#[derive(Debug)]
pub(crate) enum Piece {
    /// Some bytes.
    Data(Bytes),
    /// There are no more.
    End,
    /// There would be more, but they could not be read.
    Broken(io::Error),
}

impl Content {
    /// Bytes that are in memory.
    pub fn bytes(bytes: impl Into<Bytes>) -> Self {
        let all: Bytes = bytes.into();
        Content {
            length: Length::Exact(all.len() as u64),
            source: Source::Bytes { rest: all.clone(), all },
            given: 0,
        }
    }

    /// A file, from its beginning to its end as it is now. It is read by offset: several stores can be given
    /// the same one.
    ///
    /// # Errors
    ///
    /// When the file's length cannot be told.
    pub fn file(file: Arc<File>) -> io::Result<Self> {
        let length = Length::Exact(file.metadata()?.len());
        Ok(Content { source: Source::File(file), length, given: 0 })
    }

    /// A pipe: what is written at the one end is stored from the other. The writing end blocks when the store
    /// is slower, and belongs in a thread of its own.
    pub fn pipe(length: Length) -> (PipeWriter, Self) {
        let (to, from) = mpsc::channel(AHEAD);
        (PipeWriter { to, buffer: Vec::new() }, Self::from_pieces(from, length))
    }

    /// What comes through a channel.
    pub(crate) fn from_pieces(from: Receiver<Piece>, length: Length) -> Self {
        Content { source: Source::Pipe(from), length, given: 0 }
    }

    /// The same again, from the front; `None` of a pipe, which is there once.
    pub(crate) fn copy(&self) -> Option<Self> {
        let source = match &self.source {
            Source::Bytes { all, .. } => Source::Bytes { all: all.clone(), rest: all.clone() },
            Source::File(file) => Source::File(file.clone()),
            Source::Pipe(_) | Source::Spent => return None,
        };
        Some(Content { source, length: self.length, given: 0 })
    }

    /// How many bytes there will be.
    pub fn length(&self) -> Length {
        self.length
    }

    /// How many bytes were given so far.
    pub fn given(&self) -> u64 {
        self.given
    }

    /// The next bytes, at most 256 KiB of a file; `None` at the end.
    ///
    /// # Errors
    ///
    /// When the content breaks off, or is shorter or longer than it was said to be.
    pub async fn next(&mut self) -> io::Result<Option<Bytes>> {
        let piece = match &mut self.source {
            Source::Bytes { rest, .. } => {
                let piece = rest.split_to(rest.len().min(PIECE));
                (!piece.is_empty()).then_some(piece)
            }
            Source::File(file) => read(file, self.given).await?,
            Source::Pipe(from) => match from.recv().await {
                Some(Piece::Data(data)) => Some(data),
                Some(Piece::End) => None,
                Some(Piece::Broken(error)) => return Err(error),
                None => return Err(io::Error::new(ErrorKind::UnexpectedEof, "what writes it has stopped")),
            },
            Source::Spent => None,
        };
        self.given += piece.as_ref().map_or(0, |piece| piece.len() as u64);
        if let Length::Exact(length) = self.length
            && (self.given > length || (piece.is_none() && self.given < length))
        {
            let problem = format!(
                "it should have {length} bytes, and has {}",
                if piece.is_none() { "fewer" } else { "more" }
            );
            return Err(io::Error::new(ErrorKind::InvalidData, problem));
        }
        if piece.is_none() && matches!(self.source, Source::Pipe(_)) {
            self.source = Source::Spent;
        }
        Ok(piece)
    }

    /// Begins again from the front; false where that cannot be done, because the bytes are gone.
    pub fn rewind(&mut self) -> bool {
        match &mut self.source {
            Source::Bytes { all, rest } => *rest = all.clone(),
            Source::File(_) => {}
            Source::Pipe(_) | Source::Spent => return self.given == 0,
        }
        self.given = 0;
        true
    }
}

/// The piece of `file` at `offset`.
async fn read(file: &Arc<File>, offset: u64) -> io::Result<Option<Bytes>> {
    let file = file.clone();
    let work = move || {
        let mut piece = vec![0; PIECE];
        let length = loop {
            match file.read_at(&mut piece, offset) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => break read?,
            }
        };
        piece.truncate(length);
        Ok((length > 0).then(|| Bytes::from(piece)))
    };
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

/// The writing end of a [`Content::pipe`]. Dropped without [`finish`](PipeWriter::finish), nothing is stored.
#[derive(Debug)]
pub struct PipeWriter {
    to: Sender<Piece>,
    buffer: Vec<u8>,
}

impl PipeWriter {
    /// Says that all is written. Without it, what was written is not stored.
    ///
    /// # Errors
    ///
    /// When the store has failed meanwhile; the store says why.
    pub fn finish(mut self) -> io::Result<()> {
        self.flush()?;
        self.send(Piece::End)
    }

    fn send(&self, piece: Piece) -> io::Result<()> {
        let gone = |_| io::Error::new(ErrorKind::BrokenPipe, "the store takes no more");
        self.to.blocking_send(piece).map_err(gone)
    }
}

impl Write for PipeWriter {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if self.buffer.capacity() == 0 {
            self.buffer.reserve_exact(PIECE);
        }
        let taken = data.len().min(PIECE - self.buffer.len());
        self.buffer.extend_from_slice(&data[..taken]);
        if self.buffer.len() == PIECE {
            self.flush()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let piece = Piece::Data(std::mem::take(&mut self.buffer).into());
        self.send(piece)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn all(content: &mut Content) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        while let Some(piece) = content.next().await? {
            all.extend_from_slice(&piece);
        }
        Ok(all)
    }

    #[tokio::test]
    async fn a_pipe_gives_what_was_written_and_an_error_when_nobody_finished_it() {
        let data: Vec<u8> = (0..251).cycle().take(PIECE * 3 + 7).collect();
        for finish in [true, false] {
            let (mut to, mut from) = Content::pipe(Length::Unknown);
            let written = data.clone();
            let writer = std::thread::spawn(move || {
                to.write_all(&written).unwrap();
                to.flush().unwrap();
                if finish {
                    to.finish().unwrap();
                }
            });
            match all(&mut from).await {
                Ok(read) => assert!(finish && read == data),
                Err(error) => assert!(!finish && error.kind() == ErrorKind::UnexpectedEof),
            }
            assert!(!finish || from.next().await.unwrap().is_none(), "the end stays the end");
            writer.join().unwrap();
        }
    }

    #[tokio::test]
    async fn a_content_of_another_length_than_it_was_said_to_have_is_an_error() {
        for (said, ok) in [(9, false), (10, true), (11, false)] {
            let (mut to, mut from) = Content::pipe(Length::Exact(said));
            let writer = std::thread::spawn(move || {
                to.write_all(b"0123456789").unwrap();
                let _ = to.finish();
            });
            assert_eq!(all(&mut from).await.is_ok(), ok, "{said}");
            drop(from);
            writer.join().unwrap();
        }
    }

    #[tokio::test]
    async fn a_file_is_read_again_after_a_rewind_and_one_that_shrinks_is_an_error() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&vec![7; PIECE + 5]).unwrap();
        let mut content = Content::file(Arc::new(file.try_clone().unwrap())).unwrap();
        assert_eq!(all(&mut content).await.unwrap().len(), PIECE + 5);
        assert!(content.rewind());
        assert_eq!(all(&mut content).await.unwrap().len(), PIECE + 5);
        assert!(content.rewind());
        file.set_len(3).unwrap();
        assert!(all(&mut content).await.is_err());
    }
}
