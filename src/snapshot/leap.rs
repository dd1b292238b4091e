//! From the beginning of a snapshot to its close without what lies between: the first directory of a snapshot
//! says how far that is, in a `comment`. It is filled in before the commit, when all is written, and is covered
//! by that member's checksum. Only headers to which a walk from the archive's start leads are asked, so nothing
//! that a volume holds, and nothing behind the end, can say it.
//!
//! A stream cannot say it: its first directory is gone when the close is written. Where a source is read that
//! nobody appends to, the one snapshot in it closes at its end, and is looked for there: what was read of a store
//! is dear.

use std::sync::Arc;

use crate::archive::checksum::{Checksum, Cover, seal};
use crate::archive::content::Content;
use crate::archive::decode::Head;
use crate::archive::encode::Encoded;
use crate::archive::open::Reader;
use crate::archive::ustar::{Block, Parsed, flag, is_header};
use crate::archive::walk::{Step, Walk};
use crate::archive::{BLOCK, BLOCK_LEN, END_LEN};
use crate::error::{Error, Result};
use crate::snapshot::Snapshot;
use crate::snapshot::close::read_manifest;
use crate::snapshot::digest::Digest;

/// What the value of the record begins with.
const LABEL: &[u8] = b"snapshot-close:";
/// How many digits the number behind it has.
const DIGITS: usize = 20;
/// How much of an archive's end is looked at: mostly little is enough.
const LAST: [u64; 2] = [16 << 10, 1 << 20];
/// How much longer header blocks with the record are, in bytes: a filler of so many has room for it.
pub(crate) const ROOM: usize = BLOCK_LEN;

/// Header blocks with room for the record, which are written once more when the number is known.
#[derive(Debug)]
pub(crate) struct Leap {
    offset: u64,
    header: Vec<u8>,
    cover: Cover,
    digits_at: usize,
}

impl Leap {
    /// `header` are the blocks of a member without data that lies `offset` bytes behind the snapshot's start,
    /// which were encoded with [`ROOM`] and have no checksum yet.
    pub(crate) fn new(offset: u64, header: &[u8], cover: Cover, encoded: Encoded) -> Self {
        Leap { offset, header: header.to_vec(), cover, digits_at: encoded.digits_at }
    }

    /// The header blocks of a snapshot whose close lies `bytes` bytes behind its start. `digest` had those that
    /// were written before.
    pub(crate) fn settle(mut self, bytes: u64, digest: &mut Digest) -> (u64, Vec<u8>) {
        digest.remove(self.offset, blake3::hash(&self.header).as_bytes());
        // The filler ends where the checksum's record begins: its length, ` comment=`, and the label.
        let filler = &mut self.header[..self.digits_at - self.cover.label().len() - b"99 comment=".len()];
        let from = filler.len() - ROOM + b"512 comment=".len();
        let text = [LABEL, format!("{bytes:0DIGITS$}").as_bytes()].concat();
        filler[from..from + text.len()].copy_from_slice(&text);
        let checksum = blake3::hash(&self.header);
        digest.add(self.offset, checksum.as_bytes());
        seal(&mut self.header, self.digits_at, checksum);
        (self.offset, self.header)
    }
}

/// How many bytes behind its beginning the snapshot closes that `member` belongs to, if it says that.
pub(crate) fn said_by(member: &Head) -> Option<u64> {
    let mut comments = member.records().filter(|record| record.key == b"comment");
    let value = comments.find_map(|record| record.value.strip_prefix(LABEL))?;
    let (digits, rest) = value.split_at_checked(DIGITS)?;
    let is_number = digits.iter().all(u8::is_ascii_digit) && rest.iter().all(|&byte| byte == b' ');
    std::str::from_utf8(digits).ok().filter(|_| is_number)?.parse().ok()
}

/// The snapshot that began at `start`, where `member` says, soundly, where its close is, and that is sound and
/// says the same. What lies between was not looked at.
///
/// # Errors
/// When the archive cannot be read.
pub(crate) fn from(reader: &Arc<Reader>, start: u64, member: &Head) -> Result<Option<Snapshot>> {
    let Some(bytes) = said_by(member) else {
        let found = if reader.grows() { Ok(None) } else { at_the_end(reader, start) };
        return found.or_else(undamaged);
    };
    let to = start.checked_add(bytes).filter(|&to| member.stored.end() <= to && to < reader.len());
    let Some(to) = to.filter(|_| member.stored.length == 0) else { return Ok(None) };
    Content::new(reader, member.data())
        .finish()
        .and_then(|()| closed_at(reader, start, to))
        .or_else(undamaged)
}

/// What is damaged is looked at by whoever walks over it.
fn undamaged(error: Error) -> Result<Option<Snapshot>> {
    if matches!(error, Error::Damaged { .. }) { Ok(None) } else { Err(error) }
}

/// The snapshot that began at `start`, if the last member of all closes it. The last extended header is its: text
/// in JSON cannot look like one.
fn at_the_end(reader: &Arc<Reader>, start: u64) -> Result<Option<Snapshot>> {
    let length = reader.len();
    let is_extended = |block: &Block| is_header(block) && Parsed::new(block).flag() == flag::PAX;
    for most in LAST {
        let from = length.saturating_sub(most).max(start);
        let size = usize::try_from(length - from).ok().filter(|size| size.is_multiple_of(BLOCK_LEN));
        let Some(size) = size else { return Ok(None) };
        let mut last = vec![0; size];
        reader.read_exact(&mut last, from)?;
        let Some(at) = last.as_chunks().0.iter().rposition(is_extended) else { continue };
        let found = closed_at(reader, start, from + at as u64 * BLOCK)?;
        let is_last = |snapshot: &Snapshot| {
            let behind = usize::try_from(snapshot.end - from).ok().and_then(|end| last.get(end..));
            behind
                .is_some_and(|behind| behind.len() as u64 >= END_LEN && behind.iter().all(|&byte| byte == 0))
        };
        return Ok(found.filter(is_last));
    }
    Ok(None)
}

fn closed_at(reader: &Arc<Reader>, start: u64, to: u64) -> Result<Option<Snapshot>> {
    let mut walk = Walk::new(Arc::clone(reader), to);
    let Step::Member(close) = walk.step()? else { return Ok(None) };
    let is_close = |checksum: &Checksum| checksum.cover == Cover::Close;
    let Some(checksum) = close.stored.checksum.filter(is_close) else { return Ok(None) };
    // Global headers before it would be between.
    if close.stored.start != to {
        return Ok(None);
    }
    let manifest = read_manifest(reader, &close)?;
    if manifest.is_later() || manifest.bytes != to - start {
        return Ok(None);
    }
    let closed_with = Some((manifest.members, manifest.digest.clone()));
    let snapshot = Snapshot::of_manifest(manifest, &checksum.digest, start, to..close.stored.end());
    Ok(Some(Snapshot { closed_with, ..snapshot }))
}
