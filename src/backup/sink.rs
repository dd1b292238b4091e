//! Members on their way into the archive. Each gets its offset when it comes; small ones are gathered, so that many
//! go out in one write, and file data is read straight into the gathering buffer.

use std::io;

use crate::archive::append::Append;
use crate::archive::checksum::{Checksum, Cover, DIGITS, seal};
use crate::archive::encode::{Encoded, encode};
use crate::archive::entry::{Entry, Kind};
use crate::archive::{BLOCK_LEN, END_LEN, padding};
use crate::error::{Error, Result};
use crate::name::Shown;
use crate::snapshot::MAX_CLOSING_FILE;
use crate::snapshot::digest::Digest;

/// How much is gathered before it is written, in bytes.
const GATHER: usize = 1 << 20;

pub(super) struct Sink<'a> {
    append: &'a mut Append,
    cover: Cover,
    buffer: Vec<u8>,
    /// The archive offset of the buffer's first byte.
    buffer_at: u64,
    marked: bool,
    digest: Digest,
    members: u64,
    entries: u64,
    size: u64,
    unhashed: u64,
}

/// A member whose data is being stored.
pub(super) struct OpenMember {
    at: u64,
    encoded: Encoded,
    cover: Cover,
    hasher: blake3::Hasher,
    stored: u64,
    written: u64,
}

impl<'a> Sink<'a> {
    pub(super) fn new(append: &'a mut Append, cover: Cover) -> Self {
        let buffer_at = append.start() + END_LEN;
        Sink {
            append,
            cover,
            buffer: Vec::with_capacity(GATHER + 2 * BLOCK_LEN),
            buffer_at,
            marked: false,
            digest: Digest::default(),
            members: 1,
            entries: 0,
            size: 0,
            unhashed: 0,
        }
    }

    /// Where the snapshot starts.
    pub(super) fn start(&self) -> u64 {
        self.append.start()
    }

    /// Where the next member goes.
    pub(super) fn position(&self) -> u64 {
        self.buffer_at + self.buffer.len() as u64
    }

    /// How many members there are, `.snapshot-begin` counted.
    pub(super) fn members(&self) -> u64 {
        self.members
    }

    /// How many of them belong to volumes.
    pub(super) fn entries(&self) -> u64 {
        self.entries
    }

    /// The sizes of their files, added up.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// How many bytes of their data are not hashed.
    pub(super) fn unhashed(&self) -> u64 {
        self.unhashed
    }

    pub(super) fn digest(&self) -> Digest {
        self.digest
    }

    /// Stores a volume's entry that has no data. `path` is what a message calls it.
    pub(super) fn entry(&mut self, entry: &Entry, path: &[u8]) -> Result<()> {
        let member = self.begin(entry, 0, path)?;
        self.end(member)
    }

    /// Begins a volume's entry with `stored` bytes of data, which are to be given before [`Sink::end`].
    pub(super) fn begin(&mut self, entry: &Entry, stored: u64, path: &[u8]) -> Result<OpenMember> {
        self.entries += 1;
        if entry.kind == Kind::File {
            // Files of nothing but a hole may have any size.
            self.size = self.size.saturating_add(entry.size);
        }
        self.open(entry, stored, self.cover, path)
    }

    /// Stores one of the files that close a snapshot, and returns its checksum.
    pub(super) fn closing_file(
        &mut self,
        entry: &Entry,
        content: &[u8],
        cover: Cover,
    ) -> Result<blake3::Hash> {
        if content.len() as u64 > MAX_CLOSING_FILE {
            return Err(Error::Volume {
                action: "store",
                volume: Shown::from(&entry.name),
                reason:
                    "it would be larger than 16 MiB, which cannot be read back: shorten the note, or back up \
                         fewer volumes at once"
                        .to_owned(),
            });
        }
        let mut member = self.open(entry, content.len() as u64, cover, &entry.name)?;
        self.data(&mut member, content)?;
        self.close(member)
    }

    fn open(&mut self, entry: &Entry, stored: u64, cover: Cover, path: &[u8]) -> Result<OpenMember> {
        let encoded = encode(entry, stored, cover).map_err(|reason| Error::Volume {
            action: "store",
            volume: Shown::from(path),
            reason: reason.to_owned(),
        })?;
        let checksum = Checksum { cover, digest: [0; 32], digits_at: encoded.digits_at };
        let hasher = checksum.hasher(&encoded.blocks);
        let at = self.position();
        self.buffer.extend_from_slice(&encoded.blocks);
        self.flush_when_full()?;
        Ok(OpenMember { at, encoded, cover, hasher, stored, written: 0 })
    }

    /// Stores data that is in memory.
    pub(super) fn data(&mut self, member: &mut OpenMember, data: &[u8]) -> Result<()> {
        for part in data.chunks(GATHER) {
            self.buffer.extend_from_slice(part);
            self.count(member, part.len());
            self.flush_when_full()?;
        }
        Ok(())
    }

    /// Stores up to `length` bytes that `read` puts into the buffer it is handed. Returns how many it gave, fewer
    /// only at the file's end.
    pub(super) fn data_from(
        &mut self,
        member: &mut OpenMember,
        length: u64,
        read: impl FnOnce(&mut [u8]) -> io::Result<usize>,
    ) -> Result<io::Result<usize>> {
        let room = GATHER - self.buffer.len();
        let length = usize::try_from(length).unwrap_or(room).min(room);
        let from = self.buffer.len();
        self.buffer.resize(from + length, 0);
        let given = read(&mut self.buffer[from..]);
        let count = *given.as_ref().unwrap_or(&0);
        self.buffer.truncate(from + count);
        self.count(member, count);
        self.flush_when_full()?;
        Ok(given)
    }

    /// Stores zeros.
    pub(super) fn zeros(&mut self, member: &mut OpenMember, length: u64) -> Result<()> {
        let mut left = length;
        while left > 0 {
            let given = self.data_from(member, left, |buffer| Ok(buffer.len()))?;
            left -= given.unwrap_or(0) as u64;
        }
        Ok(())
    }

    pub(super) fn end(&mut self, member: OpenMember) -> Result<()> {
        self.close(member).map(drop)
    }

    fn close(&mut self, mut member: OpenMember) -> Result<blake3::Hash> {
        debug_assert_eq!(member.written, member.stored);
        self.buffer.resize(self.buffer.len() + padding(member.stored), 0);
        if member.cover == Cover::Header {
            self.unhashed += member.stored;
        }
        let checksum = member.hasher.finalize();
        self.digest.add(member.at - self.start(), checksum.as_bytes());
        self.members += 1;
        seal(&mut member.encoded.blocks, member.encoded.digits_at, checksum);
        let digits_at = member.at + member.encoded.digits_at as u64;
        let digits = &member.encoded.blocks[member.encoded.digits_at..][..DIGITS];
        match digits_at.checked_sub(self.buffer_at) {
            Some(inside) => {
                // What lies behind the buffer's start is in the buffer.
                let inside = usize::try_from(inside).unwrap_or(usize::MAX);
                self.buffer[inside..inside + DIGITS].copy_from_slice(digits);
            }
            None => self.append.write(digits, digits_at)?,
        }
        self.flush_when_full()?;
        Ok(checksum)
    }

    /// Writes out what is left and returns where the archive now ends.
    pub(super) fn finish(mut self) -> Result<u64> {
        self.flush()?;
        Ok(self.position())
    }

    /// Takes the buffer's last `count` bytes as data of `member`.
    fn count(&mut self, member: &mut OpenMember, count: usize) {
        member.written += count as u64;
        if member.cover != Cover::Header {
            let from = self.buffer.len() - count;
            member.hasher.update(&self.buffer[from..]);
        }
    }

    fn flush_when_full(&mut self) -> Result<()> {
        if self.buffer.len() >= GATHER { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        if !self.marked
            && let Some((first, _)) = self.buffer.split_first_chunk::<BLOCK_LEN>()
        {
            self.append.mark(first)?;
            self.marked = true;
        }
        self.append.write(&self.buffer, self.buffer_at)?;
        self.buffer_at = self.position();
        self.buffer.clear();
        Ok(())
    }
}
