//! Members that follow each other in the archive, laid out in a buffer before their data is read: the data of
//! each file is read straight to its place, each member is hashed in one go, and all are written with one
//! call.

use std::ops::Range;

use crate::archive::checksum::{Cover, seal};
use crate::archive::encode::Encoded;
use crate::archive::padding;
use crate::archive::ustar::Block;
use crate::backup::piece::{Piece, Totals};
use crate::backup::shared::BackupRun;
use crate::backup::source::SourceFile;
use crate::error::Result;

/// A bundle with this many bytes gets no more: few enough to stay in a processor's cache.
const FULL: usize = 128 << 10;
/// How many files a bundle holds open at most.
const MOST_FILES: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Bundle {
    at: u64,
    snapshot_start: u64,
    bytes: Vec<u8>,
    members: Vec<Placed>,
    files: usize,
    /// What messages call the files, one after the other.
    paths: Vec<u8>,
}

/// A member whose header blocks are in the buffer, and room for its data after them.
#[derive(Debug)]
struct Placed {
    start: usize,
    encoded: Encoded,
    stored: usize,
    cover: Cover,
    /// A file that is still to be read, and where its path is.
    source: Option<(SourceFile, Range<usize>)>,
}

impl Bundle {
    /// An empty one that goes to offset `at`, in the buffers of `former`.
    pub(super) fn new(at: u64, snapshot_start: u64, mut former: Bundle) -> Self {
        former.bytes.clear();
        former.members.clear();
        former.paths.clear();
        Bundle { at, snapshot_start, files: 0, ..former }
    }

    pub(super) fn with_buffer(self, bytes: Vec<u8>) -> Self {
        Bundle { bytes, ..self }
    }

    pub(super) fn at(&self) -> u64 {
        self.at
    }

    /// Where the next member goes.
    pub(super) fn end(&self) -> u64 {
        self.at + self.bytes.len() as u64
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.bytes.len() >= FULL || self.files >= MOST_FILES
    }

    pub(super) fn first_block(&self) -> Option<Block> {
        self.bytes.first_chunk().copied()
    }

    /// The buffer, to which the next member's header blocks are appended.
    pub(super) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// The buffer's last bytes become the header blocks of a member, whose data begins with `opening` and
    /// goes on with what `source` has.
    pub(super) fn add(
        &mut self,
        encoded: Encoded,
        cover: Cover,
        opening: &[u8],
        source: Option<(SourceFile, &[u8])>,
    ) {
        let start = self.bytes.len() - encoded.length;
        self.bytes.extend_from_slice(opening);
        let length = source.as_ref().map_or(0, |(source, _)| source.stored());
        let stored = usize::try_from(length).unwrap_or(usize::MAX);
        // What a file turns out not to have stays zeros.
        self.bytes.resize(start + encoded.length + stored + padding(length), 0);
        self.files += usize::from(source.is_some());
        let source = source.map(|(source, path)| {
            let from = self.paths.len();
            self.paths.extend_from_slice(path);
            (source, from..self.paths.len())
        });
        self.members.push(Placed { start, encoded, stored, cover, source });
    }

    /// Reads all files, and seals every member.
    pub(super) fn read(&mut self, shared: &BackupRun, totals: &mut Totals) -> Result<Piece> {
        shared.check_cancel()?;
        let mut read = 0;
        for member in self.members.drain(..) {
            let start = member.start + member.encoded.length;
            let data = start..start + member.stored;
            if let Some((source, path)) = member.source {
                let path = &self.paths[path];
                if let Some(change) = source.read_all(&mut self.bytes[data.clone()], path)? {
                    shared.warn(path, change)?;
                }
                read += data.len() as u64;
            }
            let covered = if member.cover == Cover::Header { data.start } else { data.end };
            let checksum = blake3::hash(&self.bytes[member.start..covered]);
            seal(&mut self.bytes[member.start..], member.encoded.digits_at, checksum);
            totals.add_member(self.at + member.start as u64 - self.snapshot_start, &checksum);
            if member.cover == Cover::Header {
                totals.unhashed += member.stored as u64;
            }
        }
        shared.run.observer.bytes(read);
        Ok(Piece::sealed(self.at, std::mem::take(&mut self.bytes)))
    }
}
