//! What comes of reading: bytes that are to be written, and numbers for the end of the snapshot.

use crate::snapshot::digest::Digest;

/// Bytes that go to an offset of the archive.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) at: u64,
    pub(super) bytes: Vec<u8>,
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
