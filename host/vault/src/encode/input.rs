//! A reader whose next bytes can be looked at before they are taken, however the bytes arrive.

use std::io::{self, BufRead, Read};

use super::error::{Error, Result};

/// Bytes that are read at a time, at most.
const ROOM: usize = 256 << 10;

/// A reader with a buffer, and its position.
#[derive(Debug)]
pub(super) struct Input<R> {
    reader: R,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    position: u64,
}

impl<R: Read> Input<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader, buffer: vec![0; ROOM].into(), start: 0, end: 0, position: 0 }
    }

    /// Bytes that were taken so far.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// The next `count` bytes, at most 128 KiB; fewer only where nothing follows them.
    pub(super) fn peek(&mut self, count: usize) -> Result<&[u8]> {
        if self.end - self.start < count && self.buffer.len() - self.start < count {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        while self.end - self.start < count {
            if self.fill()? == 0 {
                break;
            }
        }
        Ok(&self.buffer[self.start..self.end.min(self.start + count)])
    }

    /// What is in the buffer, or was just read; nothing at the end.
    pub(super) fn next(&mut self) -> Result<&[u8]> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
            self.fill()?;
        }
        Ok(&self.buffer[self.start..self.end])
    }

    /// Takes what was looked at.
    pub(super) fn advance(&mut self, count: usize) {
        let count = count.min(self.end - self.start);
        self.start += count;
        self.position += count as u64;
    }

    /// Moves `count` bytes to the end of `out`, and says whether there were so many. `out` grows with what there
    /// is, not with what `count` claims.
    pub(super) fn append(&mut self, out: &mut Vec<u8>, mut count: u64) -> Result<bool> {
        while count > 0 {
            let next = self.next()?;
            let taken = next.len().min(usize::try_from(count).unwrap_or(usize::MAX));
            if taken == 0 {
                return Ok(false);
            }
            out.extend_from_slice(&next[..taken]);
            self.advance(taken);
            count -= taken as u64;
        }
        Ok(true)
    }

    fn fill(&mut self) -> Result<usize> {
        loop {
            match self.reader.read(&mut self.buffer[self.end..]) {
                Ok(count) if count > self.buffer.len() - self.end => {
                    return Err(Error::System {
                        action: "read",
                        source: io::Error::other("the reader claims too much"),
                    });
                }
                Ok(count) => {
                    self.end += count;
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::of(error, "read the encoded archive")),
            }
        }
    }
}

impl<R: Read> Read for Input<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let next = self.next()?;
        let count = next.len().min(out.len());
        out[..count].copy_from_slice(&next[..count]);
        self.advance(count);
        Ok(count)
    }
}

impl<R: Read> BufRead for Input<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        Ok(self.next()?)
    }

    fn consume(&mut self, count: usize) {
        self.advance(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives at most three bytes at a time.
    struct Drops<'a>(&'a [u8]);

    impl Read for Drops<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let count = out.len().min(3);
            self.0.read(&mut out[..count])
        }
    }

    #[test]
    fn what_was_looked_at_is_still_there() {
        let bytes: Vec<u8> = (0..=255).cycle().take(600_000).collect();
        let mut input = Input::new(Drops(&bytes));
        let mut out = Vec::new();
        while !input.peek(1).unwrap().is_empty() {
            let next = input.peek(18).unwrap().to_vec();
            assert_eq!(next, bytes[out.len()..(out.len() + 18).min(bytes.len())]);
            let count = next.len().min(7);
            assert!(input.append(&mut out, count as u64).unwrap());
            assert_eq!(input.position(), out.len() as u64);
        }
        assert_eq!(out, bytes);
        assert!(!input.append(&mut out, 1).unwrap());
    }
}
