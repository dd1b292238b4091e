//! Where members get their places in the archive, one behind the other, before their data is read. Small ones are
//! gathered into batches, large ones go on their own; both are handed to the [`Crew`].

use crate::archive::append::Append;
use crate::archive::checksum::{Cover, seal};
use crate::archive::encode::encode;
use crate::archive::entry::{Entry, Kind, Sparse};
use crate::archive::ustar::Block;
use crate::archive::{END_LEN, padding};
use crate::backup::ChecksumPolicy;
use crate::backup::batch::Batch;
use crate::backup::crew::{Crew, Job};
use crate::backup::large::{IfNot, Large, refused};
use crate::backup::source::Source;
use crate::error::Result;
use crate::fs::clone::may_share;
use crate::snapshot::MAX_CLOSING_FILE;
use crate::snapshot::digest::Digest;

/// The most stored data of a member that goes into a batch, in bytes.
const MAX_SMALL: u64 = 256 << 10;
/// The smallest file that is cloned, in bytes: each costs up to a block of padding, and is not hashed.
const MIN_CLONED: u64 = 1 << 20;

pub(super) struct Sink<'a> {
    crew: &'a Crew<'a>,
    policy: ChecksumPolicy,
    batch: Batch,
    marked: bool,
    members: u64,
    entries: u64,
    size: u64,
}

impl<'a> Sink<'a> {
    pub(super) fn new(crew: &'a Crew<'a>, policy: ChecksumPolicy) -> Self {
        let start = crew.append.start();
        let batch = Batch::new(start + END_LEN, start, Batch::default());
        Sink { crew, policy, batch, marked: false, members: 1, entries: 0, size: 0 }
    }

    /// How many members the volumes have until now.
    pub(super) fn entries(&self) -> u64 {
        self.entries
    }

    /// The sizes of their files, added up.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    fn cover(&self) -> Cover {
        if self.policy == ChecksumPolicy::Never { Cover::Header } else { Cover::Full }
    }

    /// Stores an entry that has no data. `path` is what a message calls it.
    pub(super) fn entry(&mut self, entry: &Entry, path: &[u8]) -> Result<()> {
        let cover = self.cover();
        let encoded = encode(self.batch.buffer(), entry, 0, cover, |needed| needed)
            .map_err(|reason| refused(path, reason))?;
        self.batch.add(encoded, cover, &[], None);
        self.count(entry)
    }

    /// Stores a regular file.
    pub(super) fn file(&mut self, entry: &mut Entry, source: Source, path: &[u8]) -> Result<()> {
        entry.sparse = source.has_holes().then_some(Sparse::Map);
        let stored = source.stored();
        if stored > MAX_SMALL {
            self.large(entry, source, stored, path)?;
        } else {
            let cover = self.cover();
            let encoded = encode(self.batch.buffer(), entry, stored, cover, |needed| needed)
                .map_err(|reason| refused(path, reason))?;
            let opening = source.opening();
            self.batch.add(encoded, cover, &opening, (stored > 0).then_some((source, path)));
        }
        self.count(entry)
    }

    fn large(&mut self, entry: &Entry, source: Source, stored: u64, path: &[u8]) -> Result<()> {
        self.hand_over()?;
        let may_clone = stored >= MIN_CLONED
            && self.crew.clones.may_clone()
            && may_share(source.handle(), self.crew.append.reader().file().handle());
        let (cover, clone) = match (may_clone, self.policy) {
            (false, _) => (self.cover(), None),
            (true, ChecksumPolicy::Auto) => (Cover::Header, Some(IfNot::Hash)),
            (true, _) => (self.cover(), Some(IfNot::Copy)),
        };
        let (at, start) = (self.batch.end(), self.crew.append.start());
        let large = Large::new(at, start, entry.clone(), source, path, cover, clone)
            .map_err(|reason| refused(path, reason))?;
        self.mark(large.first_block().as_ref())?;
        self.batch = Batch::new(large.end(), start, self.crew.batch());
        self.crew.push(Job::Large(Box::new(large)))
    }

    fn count(&mut self, entry: &Entry) -> Result<()> {
        self.members += 1;
        self.entries += 1;
        if entry.kind == Kind::File {
            // Files of nothing but a hole may have any size.
            self.size = self.size.saturating_add(entry.size);
        }
        if self.batch.is_full() { self.hand_over() } else { Ok(()) }
    }

    fn hand_over(&mut self) -> Result<()> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let first = self.batch.first_block();
        self.mark(first.as_ref())?;
        let next = Batch::new(self.batch.end(), self.crew.append.start(), self.crew.batch());
        self.crew.push(Job::Batch(std::mem::replace(&mut self.batch, next)))
    }

    /// Before anything else is written, the first block is.
    fn mark(&mut self, first: Option<&Block>) -> Result<()> {
        if let (false, Some(first)) = (self.marked, first) {
            self.crew.append.mark(first)?;
            self.marked = true;
        }
        Ok(())
    }

    /// Waits until all is written; what is still to come are the files that close the snapshot.
    pub(super) fn settle(mut self) -> Result<Closing<'a>> {
        self.hand_over()?;
        let tally = self.crew.finish()?;
        Ok(Closing {
            append: self.crew.append,
            at: self.batch.end(),
            bytes: Vec::new(),
            members: self.members,
            entries: self.entries,
            size: self.size,
            unhashed: tally.unhashed,
            digest: tally.digest,
        })
    }
}

/// The end of a snapshot, whose volumes are all written.
pub(super) struct Closing<'a> {
    append: &'a Append,
    at: u64,
    bytes: Vec<u8>,
    /// How many members there are, `.snapshot-begin` counted.
    pub(super) members: u64,
    /// How many of them belong to volumes.
    pub(super) entries: u64,
    /// The sizes of their files, added up.
    pub(super) size: u64,
    /// How many bytes of their data are not hashed.
    pub(super) unhashed: u64,
    pub(super) digest: Digest,
}

impl Closing<'_> {
    /// How many bytes the snapshot has until now.
    pub(super) fn length(&self) -> u64 {
        self.at + self.bytes.len() as u64 - self.append.start()
    }

    /// Stores one of the closing files, and returns its checksum.
    pub(super) fn file(&mut self, entry: &Entry, content: &[u8], cover: Cover) -> Result<blake3::Hash> {
        let stored = content.len() as u64;
        if stored > MAX_CLOSING_FILE {
            let reason = "it would be larger than 16 MiB, which cannot be read back: shorten the note, or back up \
                          fewer volumes at once";
            return Err(refused(&entry.name, reason));
        }
        let (start, offset) = (self.bytes.len(), self.length());
        let encoded = encode(&mut self.bytes, entry, stored, cover, |needed| needed)
            .map_err(|reason| refused(&entry.name, reason))?;
        self.bytes.extend_from_slice(content);
        let checksum = blake3::hash(&self.bytes[start..]);
        seal(&mut self.bytes[start..], encoded.digits_at, checksum);
        self.bytes.resize(self.bytes.len() + padding(stored), 0);
        self.digest.add(offset, checksum.as_bytes());
        self.members += 1;
        Ok(checksum)
    }

    /// Writes them, and returns where the archive now ends.
    pub(super) fn finish(self) -> Result<u64> {
        self.append.write(&self.bytes, self.at)?;
        Ok(self.at + self.bytes.len() as u64)
    }
}
