//! Where a backup goes: behind what an archive has, or as a whole archive to a stream.

use crate::archive::append::Append;
use crate::archive::stream::{NO_ARCHIVE, TakesPieces};
use crate::archive::ustar::Block;
use crate::archive::{BLOCK_LEN, END_LEN};
use crate::error::Result;
use crate::fs::Handle;
use crate::fs::clone::may_share;
use crate::snapshot::begin_block;

#[derive(Clone, Copy)]
pub(super) enum Outlet<'a> {
    Archive(&'a Append),
    Stream(&'a dyn TakesPieces),
}

impl<'a> Outlet<'a> {
    /// The offset of `.snapshot-begin`.
    pub(super) fn start(self) -> u64 {
        match self {
            Outlet::Archive(append) => append.start(),
            Outlet::Stream(_) => 0,
        }
    }

    /// Where the first member of a volume goes.
    pub(super) fn first(self) -> u64 {
        self.start() + END_LEN
    }

    /// Whether what comes first must be written first, and nothing can be changed.
    pub(super) fn is_stream(self) -> bool {
        matches!(self, Outlet::Stream(_))
    }

    /// Before anything else is written. `first` is the first member's first block.
    pub(super) fn mark(self, first: &Block) -> Result<()> {
        match self {
            Outlet::Archive(append) => append.mark(first),
            Outlet::Stream(stream) => {
                let begin = [begin_block(), [0; BLOCK_LEN]].concat();
                stream.write(begin, 0).map(drop)
            }
        }
    }

    /// Writes at an offset: in any order, or in a stream what comes next. Returns a buffer to be used
    /// again.
    pub(super) fn write(self, bytes: Vec<u8>, offset: u64) -> Result<Vec<u8>> {
        match self {
            Outlet::Archive(append) => append.write(&bytes, offset).map(|()| bytes),
            Outlet::Stream(stream) => stream.write(bytes, offset),
        }
    }

    /// The archive, if it is worth a try to clone `source` into it.
    pub(super) fn may_clone(self, source: &Handle) -> bool {
        match self {
            Outlet::Archive(append) => may_share(source, append.handle()),
            Outlet::Stream(_) => false,
        }
    }

    /// The archive, from which only what was cloned is read.
    pub(super) fn archive(self) -> Option<&'a Append> {
        match self {
            Outlet::Archive(append) => Some(append),
            Outlet::Stream(_) => None,
        }
    }

    /// How things are when the run is stopped.
    pub(super) fn state(self) -> &'static str {
        match self {
            Outlet::Archive(_) => "the archive is as it was",
            Outlet::Stream(_) => NO_ARCHIVE,
        }
    }
}
