//! A stored member: where it lies, how its data is stored, and what it is. [`Stored`] is the one description
//! of the first two, on the whole way of a block back from the walk to the file.

use crate::archive::checksum::{Checksum, Cover};
use crate::archive::entry::{Entry, Sparse};
use crate::archive::open::Reader;
use crate::archive::{padded, padding};
use crate::error::Error;
use crate::name::Shown;

/// Where a member lies in its archive, and how its data is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// Offset of its first header block.
    pub start: u64,
    /// Length of its header blocks.
    pub header_len: u64,
    /// Length of its stored data, without padding.
    pub length: u64,
    /// The size of the file, holes included; 0 for all else.
    pub size: u64,
    /// Set when its data is stored with its holes left out.
    pub sparse: Option<Sparse>,
    /// Its checksum, which other programs' members lack.
    pub checksum: Option<Checksum>,
    /// The BLAKE3 of its stored data, where that became known only behind it: the snapshot's index has it.
    pub late: Option<[u8; 32]>,
}

impl Stored {
    /// Offset of its stored data.
    pub fn data(&self) -> u64 {
        self.start + self.header_len
    }

    /// Length of its stored data in whole blocks.
    pub(crate) fn padded(&self) -> u64 {
        // The walk has checked it against the archive's length.
        padded(self.length).unwrap_or(self.length)
    }

    /// How many zeros fill its last block.
    pub(crate) fn padding(&self) -> usize {
        padding(self.length)
    }

    /// Offset of what follows it.
    pub fn end(&self) -> u64 {
        self.data() + self.padded()
    }

    /// Whether a checksum covers its data.
    pub(crate) fn is_hashed(&self) -> bool {
        self.late.is_some() || self.checksum.is_some_and(|checksum| checksum.covers_data())
    }

    /// Whether its checksum says that it closes a snapshot.
    pub(crate) fn is_close(&self) -> bool {
        self.checksum.is_some_and(|checksum| checksum.cover == Cover::Close)
    }
}

/// One member and where it lies.
#[derive(Debug, Clone)]
pub struct Member {
    /// What it is.
    pub entry: Entry,
    /// Where it lies.
    pub stored: Stored,
}

/// A member whose data is to be read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MemberData<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) stored: Stored,
    /// Its header blocks.
    pub(crate) header: &'a [u8],
    /// Its stored data and padding, if that was read already.
    pub(crate) held: Option<&'a [u8]>,
}

impl<'a> MemberData<'a> {
    /// The member of this name whose header blocks begin at `at` in `bytes`, a part of the archive.
    pub(crate) fn within(bytes: &'a [u8], at: usize, name: &'a [u8], stored: Stored) -> Self {
        // The header blocks were all read, so their length fits.
        let from = at + usize::try_from(stored.header_len).unwrap_or_default();
        let length = usize::try_from(stored.padded()).ok();
        let held = length.and_then(|length| bytes.get(from..from.checked_add(length)?));
        MemberData { name, stored, header: &bytes[at..from], held }
    }

    /// Whether it is damage that its data is followed by this.
    pub(crate) fn is_bad_padding(&self, reader: &Reader, padding: &[u8]) -> bool {
        // Other programs may fill up with anything.
        let is_ours = self.stored.checksum.is_some();
        let is_taken = reader.takes_any_padding() && self.stored.is_hashed();
        is_ours && !is_taken && padding.iter().any(|&byte| byte != 0)
    }

    pub(crate) fn damaged(&self, reader: &Reader, reason: &str) -> Error {
        reader.damaged(self.stored.start, format!("{}: {reason}", Shown::from(self.name)))
    }
}
