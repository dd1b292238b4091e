//! Reads the archive inside of an encoded one from front to back, so that nobody takes it for whole before it
//! was found to be: its last part is kept back until the decoder has seen its end in order and the SHA-256 of
//! the file is the one that stands beside it. Whoever gets less gets an archive that is cut off.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use sha2::{Digest, Sha256};
use snapshotter_vault::encode::{Compression, Decoder, Encryption, Keys};
use snapshotter_vault::store::Reader;
use tokio::runtime::Handle;

use crate::job::file::Sum;
use crate::job::found::{Found, Whence};

/// How much is kept back: more than what closes a snapshot.
const KEPT: usize = 1 << 20;
/// How much is read at a time.
const PIECE: usize = 1 << 20;

/// What reads the archive inside of `found`, as it comes. This and what it returns are for threads that may wait.
///
/// # Errors
/// When the file cannot be read, or not be decrypted.
pub(crate) fn open(found: &Found, keys: &Keys) -> anyhow::Result<Box<dyn Read + Send>> {
    decoded(found, raw(found)?, keys)
}

/// The same, with its end kept back until all of it is known to be right.
///
/// # Errors
/// As [`open`].
pub(crate) fn whole(found: &Found, keys: &Keys) -> anyhow::Result<Box<dyn Read + Send>> {
    let sum = Arc::new(Mutex::new(Tally { hash: Sha256::new(), bytes: 0 }));
    let raw = Summed { from: raw(found)?, sum: Arc::clone(&sum) };
    let expected = found.expected().ok().map(str::to_owned);
    let check = Check { sum, expected, shown: found.shown(), length: found.bytes };
    let from = decoded(found, Box::new(raw), keys)?;
    Ok(Box::new(Whole { from, check: Some(check), ready: Vec::new(), given: 0, scratch: vec![0; PIECE] }))
}

/// The file as it lies there.
///
/// # Errors
/// When it cannot be opened.
pub(crate) fn raw(found: &Found) -> anyhow::Result<Box<dyn Read + Send>> {
    Ok(match &found.whence {
        Whence::File(path) => {
            Box::new(File::open(path).with_context(|| format!("cannot read {}", found.shown()))?)
        }
        Whence::Object(store, object) => {
            let reader = Reader::new(Arc::clone(store), object.clone(), Handle::current());
            Box::new(Sequential { reader, position: 0 })
        }
    })
}

fn decoded(found: &Found, raw: Box<dyn Read + Send>, keys: &Keys) -> anyhow::Result<Box<dyn Read + Send>> {
    let encoding = found.encoding;
    if encoding.compression == Compression::None && encoding.encryption == Encryption::None {
        return Ok(raw);
    }
    let decoder = Decoder::new(raw, encoding, keys);
    Ok(Box::new(decoder.with_context(|| format!("cannot read {}", found.shown()))?))
}

/// An object in a store, from front to back.
struct Sequential {
    reader: Reader,
    position: u64,
}

impl Read for Sequential {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read_at(out, self.position)?;
        self.position += count as u64;
        Ok(count)
    }
}

struct Tally {
    hash: Sha256,
    bytes: u64,
}

/// Sums up what is read through it.
struct Summed {
    from: Box<dyn Read + Send>,
    sum: Arc<Mutex<Tally>>,
}

impl Read for Summed {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(out)?;
        let mut sum = self.sum.lock().unwrap_or_else(PoisonError::into_inner);
        sum.hash.update(&out[..count]);
        sum.bytes += count as u64;
        Ok(count)
    }
}

/// What is held against what, at the end.
struct Check {
    sum: Arc<Mutex<Tally>>,
    expected: Option<String>,
    shown: String,
    length: u64,
}

impl Check {
    fn run(self) -> io::Result<()> {
        let sum = self.sum.lock().unwrap_or_else(PoisonError::into_inner);
        if sum.bytes != self.length {
            let problem = format!("{} was read to {} of {} bytes", self.shown, sum.bytes, self.length);
            return Err(io::Error::new(ErrorKind::InvalidData, problem));
        }
        let sum = Sum { bytes: sum.bytes, sha256: hex::encode(sum.hash.clone().finalize()) };
        match self.expected {
            Some(expected) if !sum.sha256.eq_ignore_ascii_case(&expected) => {
                let problem = format!(
                    "the SHA-256 of {} is {}, and was {expected} when it was made: it is damaged, or another \
                     file: take another copy or another snapshot",
                    self.shown, sum.sha256
                );
                Err(io::Error::new(ErrorKind::InvalidData, problem))
            }
            _ => Ok(()),
        }
    }
}

/// Keeps the end back.
struct Whole {
    from: Box<dyn Read + Send>,
    /// Gone when it was done.
    check: Option<Check>,
    /// What was read and not handed out, behind what was.
    ready: Vec<u8>,
    given: usize,
    scratch: Vec<u8>,
}

impl Read for Whole {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            let kept = if self.check.is_some() { KEPT } else { 0 };
            let free = (self.ready.len() - self.given).saturating_sub(kept);
            if free > 0 || self.check.is_none() || out.is_empty() {
                let count = free.min(out.len());
                out[..count].copy_from_slice(&self.ready[self.given..self.given + count]);
                self.given += count;
                return Ok(count);
            }
            self.ready.drain(..self.given);
            self.given = 0;
            match self.from.read(&mut self.scratch)? {
                0 => {
                    let checked = self.check.take().map_or(Ok(()), Check::run);
                    checked.inspect_err(|_| self.ready.clear())?;
                }
                count => self.ready.extend_from_slice(&self.scratch[..count]),
            }
        }
    }
}
