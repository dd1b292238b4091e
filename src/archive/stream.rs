//! An archive that is written front to back, to where nothing can be read or written a second time.
//!
//! Every tar program takes a stream for whole that ends between two members, whether the two zero blocks
//! follow or not. So a stream must never stand there while it is not complete: of what was handed over
//! last, all but the beginning is held back until there is more. Whatever ends the run before its end,
//! the stream then ends in the middle of a header, or of a file's data, which they all complain of.

use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

use crate::archive::END;
use crate::error::{Context, Result};
use crate::name::Shown;
use crate::observer::Run;

/// How much is not held back, in bytes: a whole header block, and a part of what it announces.
const AHEAD: usize = 700;

/// What takes an archive piece by piece.
pub(crate) trait TakesPieces: Sync {
    /// Writes what comes next, which must begin at `offset`. Returns a buffer that is no longer needed.
    fn write(&self, bytes: Vec<u8>, offset: u64) -> Result<Vec<u8>>;
}

/// Where the archive goes, and what it is called.
pub(crate) struct Stream<'a> {
    name: Shown,
    run: &'a Run<'a>,
    state: Mutex<StreamState<'a>>,
}

struct StreamState<'a> {
    to: &'a mut (dyn Write + Send),
    /// The offset of what comes next.
    position: u64,
    /// What was handed over last, and how much of it is written.
    last: Vec<u8>,
    written: usize,
}

/// How things are when a stream ends too soon.
pub(crate) const NO_ARCHIVE: &str = "what was written is no whole archive: throw it away";

impl<'a> Stream<'a> {
    pub(crate) fn new(to: &'a mut (dyn Write + Send), name: Shown, run: &'a Run<'a>) -> Self {
        let state = StreamState { to, position: 0, last: Vec::new(), written: 0 };
        Stream { name, run, state: Mutex::new(state) }
    }

    /// Writes what was held back, and the end.
    pub(crate) fn finish(&self) -> Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let finished = state.write(END.to_vec()).and_then(|_| state.rest()).and_then(|()| state.to.flush());
        self.explain(finished)
    }

    /// Whether anything was written.
    pub(crate) fn has_begun(&self) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).position > 0
    }

    fn explain<T>(&self, written: io::Result<T>) -> Result<T> {
        if written.is_err() {
            // A write that waits for its reader ends when the run is to stop.
            self.run.cancel.check(NO_ARCHIVE)?;
        }
        written.context("write to", &self.name)
    }
}

impl TakesPieces for Stream<'_> {
    fn write(&self, bytes: Vec<u8>, offset: u64) -> Result<Vec<u8>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let written = if state.position == offset {
            state.write(bytes)
        } else {
            Err(io::Error::other("what follows does not come next, which is a bug of this program"))
        };
        self.explain(written)
    }
}

impl StreamState<'_> {
    fn write(&mut self, bytes: Vec<u8>) -> io::Result<Vec<u8>> {
        self.rest()?;
        self.position += bytes.len() as u64;
        let last = std::mem::replace(&mut self.last, bytes);
        self.written = AHEAD.min(self.last.len() / 2);
        self.to.write_all(&self.last[..self.written])?;
        Ok(last)
    }

    fn rest(&mut self) -> io::Result<()> {
        self.to.write_all(&self.last[self.written..])?;
        self.written = self.last.len();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_never_ends_where_a_piece_does_but_at_its_end() {
        let (mut written, run) = (Vec::new(), Run::default());
        let stream = Stream::new(&mut written, Shown::from("a stream"), &run);
        let mut offset = 0;
        for (length, mark) in [(1024, 1), (1536, 2), (512, 3), (9000, 4)] {
            stream.write(vec![mark; length], offset).unwrap();
            offset += length as u64;
        }
        assert!(stream.write(vec![0], offset + 1).is_err());
        drop(stream);
        assert_eq!(written.len(), 1024 + 1536 + 512 + AHEAD);
        let mut whole = Vec::new();
        let stream = Stream::new(&mut whole, Shown::from("a stream"), &run);
        stream.write(vec![1; 512], 0).unwrap();
        stream.finish().unwrap();
        drop(stream);
        assert_eq!(whole, [&[1; 512][..], &END].concat());
    }
}
