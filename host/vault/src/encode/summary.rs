//! What an encoder wrote: how much, and with which checksum.

use std::io::{self, Write};

use sha2::{Digest as _, Sha256};

/// What an [`Encoder`](super::Encoder) did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Bytes of the archive that went in.
    pub bytes_in: u64,
    /// Bytes of the encoded archive that were written.
    pub bytes_out: u64,
    /// SHA-256 of what was written.
    pub sha256: [u8; 32],
}

impl Summary {
    /// The SHA-256 as `sha256sum` prints it.
    pub fn sha256_hex(&self) -> String {
        hex::encode(self.sha256)
    }
}

/// Counts and hashes all that is written through it.
#[derive(Debug)]
pub(super) struct Tally<W> {
    inner: W,
    bytes: u64,
    sha256: Sha256,
    /// Why the last write failed, since others may hand on its words alone.
    pub(super) failure: Option<io::Error>,
}

impl<W: Write> Tally<W> {
    pub(super) fn new(inner: W) -> Self {
        Self { inner, bytes: 0, sha256: Sha256::new(), failure: None }
    }

    /// Flushes, and gives back the writer.
    pub(super) fn finish(mut self, bytes_in: u64) -> io::Result<(W, Summary)> {
        self.inner.flush()?;
        let summary = Summary { bytes_in, bytes_out: self.bytes, sha256: self.sha256.finalize().into() };
        Ok((self.inner, summary))
    }
}

impl<W: Write> Write for Tally<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes).map_err(|error| {
            let kind = error.kind();
            self.failure = Some(error);
            io::Error::from(kind)
        })?;
        // A writer that claims more than it was given would make the sums those of something else.
        let taken = bytes.get(..written).ok_or_else(|| io::Error::other("the writer claims too much"))?;
        self.sha256.update(taken);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
