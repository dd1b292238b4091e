//! Zstandard as RFC 8878 and zstd's seekable format describe it: independent frames, each with its content's size
//! and checksum, and in the end a table of them in a skippable frame.
//!
//! A file that is cut off between two frames is one that every decoder takes for complete. So each of ours
//! begins with an empty frame and a mark, which promise a table at the end: a decoder here misses it,
//! and others skip both.

mod compress;
mod frame;
mod scan;
mod table;

pub(super) use compress::{Compressor, is_random};
pub(super) use frame::{Decompressor, LARGEST, checksum, longest};
pub(super) use scan::{Found, Frames};
pub(super) use table::{Entry, Foot, Table};

/// The least significant bytes of XXH64 of nothing.
const EMPTY_CHECKSUM: u32 = 0x51d8_e999;
