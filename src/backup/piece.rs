//! What comes of reading: bytes that are to be written, and numbers for the end of the snapshot.

use std::io;
use std::sync::{Arc, OnceLock};

use crate::archive::checksum::seal;
use crate::error::{Context, Result};
use crate::snapshot::SNAPSHOT_INDEX;
use crate::snapshot::digest::Digest;

/// Where the checksum of a file's content is put when all of it was read.
pub(super) type LateSlot = Arc<OnceLock<[u8; 32]>>;

/// Bytes that go to an offset of the archive.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) at: u64,
    pub(super) bytes: Vec<u8>,
    /// Set for a member whose data is only known when all before it is written.
    pub(super) unsealed: Option<Box<Unsealed>>,
}

/// A part of the index, all of whose bytes are there but for late checksums and its own.
#[derive(Debug)]
pub(super) struct Unsealed {
    pub(super) digits_at: usize,
    /// Where its data ends.
    pub(super) end: usize,
    /// Where checksums go, and where they come from.
    pub(super) lates: Vec<(usize, LateSlot)>,
    /// Of the member, in bytes from the snapshot's start.
    pub(super) offset: u64,
}

impl Piece {
    /// Bytes that are as they will be.
    pub(super) fn sealed(at: u64, bytes: Vec<u8>) -> Self {
        Piece { at, bytes, unsealed: None }
    }

    /// Puts in what is known now.
    pub(super) fn seal(&mut self, totals: &mut Totals) -> Result<()> {
        let Some(unsealed) = self.unsealed.take() else { return Ok(()) };
        for (place, late) in &unsealed.lates {
            let missing = || io::Error::other("a checksum is missing, which is a bug of this program");
            let late = late.get().ok_or_else(missing).context("write", SNAPSHOT_INDEX)?;
            self.bytes[*place..place + late.len()].copy_from_slice(late);
        }
        let checksum = blake3::hash(&self.bytes[..unsealed.end]);
        seal(&mut self.bytes, unsealed.digits_at, checksum);
        totals.add_member(unsealed.offset, &checksum);
        Ok(())
    }
}

/// Numbers of the members whose checksums are known.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Totals {
    pub(super) digest: Digest,
    pub(super) unhashed: u64,
}

impl Totals {
    /// Counts a member, `offset` bytes from the snapshot's start.
    pub(super) fn add_member(&mut self, offset: u64, checksum: &blake3::Hash) {
        self.digest.add(offset, checksum.as_bytes());
    }

    pub(super) fn add(&mut self, other: &Totals) {
        self.digest.merge(&other.digest);
        self.unhashed += other.unhashed;
    }
}
