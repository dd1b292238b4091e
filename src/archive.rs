//! The archive: a POSIX pax tar that is appended to (IEEE Std 1003.1, `pax`). This layer knows blocks,
//! members and the end; what a snapshot or a volume is, it does not know. The format is described in
//! docs/format.md.

pub(crate) mod append;
pub(crate) mod beginning;
pub(crate) mod checksum;
pub(crate) mod chunk;
pub(crate) mod content;
pub(crate) mod decode;
pub(crate) mod encode;
pub(crate) mod end;
pub(crate) mod entry;
pub(crate) mod holes;
pub(crate) mod init;
pub(crate) mod member;
pub(crate) mod number;
pub(crate) mod open;
pub(crate) mod pax;
pub(crate) mod search;
pub(crate) mod source;
pub(crate) mod sparse;
pub(crate) mod stdin;
pub(crate) mod stream;
pub(crate) mod ustar;
pub(crate) mod walk;

/// The unit of everything in an archive, in bytes.
pub(crate) const BLOCK: u64 = 512;
/// [`BLOCK`] for indexing.
pub(crate) const BLOCK_LEN: usize = 512;
/// The two zero blocks that close an archive.
pub(crate) const END: [u8; 2 * BLOCK_LEN] = [0; 2 * BLOCK_LEN];
/// Their length, in bytes.
pub(crate) const END_LEN: u64 = 2 * BLOCK;

/// `length` rounded up to whole blocks; `None` when that does not fit.
pub(crate) fn padded(length: u64) -> Option<u64> {
    length.checked_next_multiple_of(BLOCK)
}

/// How many zeros follow `length` bytes of data to fill their last block.
pub(crate) fn padding(length: u64) -> usize {
    // Below 512, so it fits.
    (length.wrapping_neg() % BLOCK) as usize
}
