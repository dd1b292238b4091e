//! From a member's stored data to a file's content, checked on the way: cloned where the filesystem can, else
//! copied.

use crate::archive::checksum::{Checksum, DIGITS};
use crate::archive::content::Content;
use crate::archive::entry::Sparse;
use crate::archive::open::Reader;
use crate::error::{Context, Result};
use crate::fs::StoreFile;
use crate::fs::clone::{CLONE_BLOCK, DevicePair};
use crate::fs::file::Extent;
use crate::observer::Run;
use crate::restore::parts::{Idle, Parts, write_parts};
use crate::restore::rules::FOREIGN_SPARSE;

/// The shortest run of data that is worth a try to clone it, in bytes.
pub(super) const MIN_CLONE: u64 = 64 << 10;

/// What is in the file that is written.
#[derive(Debug, Clone, Copy)]
pub(super) enum Room<'a> {
    /// Nothing, and there may be means to be faster.
    Empty(Option<Means<'a>>),
    /// Something, which is overwritten.
    Taken,
}

/// What makes writing faster.
#[derive(Debug, Clone, Copy)]
pub(super) struct Means<'a> {
    /// Data may be cloned from the archive.
    pub(super) pair: &'a DevicePair,
    /// While others wait for work, another thread may write.
    pub(super) idle: &'a Idle,
}

/// Writes a file member's content into `file`, holes as holes, and checks it. The file then has the right
/// length.
pub(super) fn write_content(
    file: &StoreFile,
    room: Room,
    reader: &Reader,
    content: Content,
    path: &[u8],
    buffer: &mut Vec<u8>,
    run: &Run,
) -> Result<()> {
    let idle = if let Room::Empty(Some(means)) = room { Some(means.idle) } else { None };
    let size = content.stored().size;
    write_parts(file, path, size, idle, |parts| write_extents(parts, room, reader, content, buffer, run))
}

fn write_extents(
    parts: &mut Parts,
    room: Room,
    reader: &Reader,
    mut content: Content,
    buffer: &mut Vec<u8>,
    run: &Run,
) -> Result<()> {
    let (file, path) = (parts.file, parts.path);
    let size = content.stored().size;
    let (map, whole);
    let extents = match content.stored().sparse {
        None => {
            whole = [Extent { offset: 0, length: size }];
            whole.as_slice()
        }
        Some(Sparse::Map | Sparse::InHeader) => {
            map = content.map()?;
            map.extents()
        }
        Some(Sparse::Foreign) => {
            return Err(content.damaged(FOREIGN_SPARSE));
        }
    };
    let (mut end, mut written) = (0, 0);
    for &Extent { offset, length } in extents {
        if matches!(room, Room::Taken) {
            file.punch(end, offset - end).context("make a hole in", path)?;
        }
        let cloned = clone(file, offset, length, room, reader, &content);
        let mut done = 0;
        if !content.stored().is_hashed() {
            content.skip(cloned);
            run.observer.bytes(cloned);
            done = cloned;
        }
        while done < length {
            run.cancel.check("the volumes are as they were")?;
            let until = if done < cloned { cloned } else { length };
            let count = content.read(buffer, usize::try_from(until - done).unwrap_or(usize::MAX))?;
            if count == 0 {
                return Err(content.damaged("its data is cut off"));
            }
            if done >= cloned {
                parts.write(buffer, count, offset + done)?;
            }
            done += count as u64;
            run.observer.bytes(count as u64);
        }
        end = offset + length;
        if length > 0 {
            written = end;
        }
    }
    content.finish()?;
    match room {
        Room::Empty(_) if written == size => Ok(()),
        _ => file.truncate(size).context("set the size of", path),
    }
}

/// Clones what can be cloned from the start of an extent whose data `content` stands at; returns how much
/// that is.
fn clone(file: &StoreFile, offset: u64, length: u64, room: Room, reader: &Reader, content: &Content) -> u64 {
    let (from, whole) = (content.offset(), length - length % CLONE_BLOCK);
    match room {
        Room::Empty(Some(Means { pair, .. }))
            if is_worth_cloning(from, length, pair) && offset.is_multiple_of(CLONE_BLOCK) =>
        {
            let Some(archive) = reader.file() else {
                pair.end();
                return 0;
            };
            if pair.clone_range(archive.handle(), from, whole, file.handle(), offset) { whole } else { 0 }
        }
        _ => 0,
    }
}

/// Whether to try to clone `length` bytes that lie at `offset` in the archive.
pub(super) fn is_worth_cloning(offset: u64, length: u64, pair: &DevicePair) -> bool {
    length >= MIN_CLONE && offset.is_multiple_of(CLONE_BLOCK) && pair.may_clone()
}

/// Whether a member has this checksum. `header` and `data`, without padding, are hashed in one piece, put
/// together in `scratch`: that is what makes small members fast.
pub(super) fn matches(checksum: &Checksum, header: &[u8], data: &[u8], scratch: &mut Vec<u8>) -> bool {
    scratch.clear();
    scratch.extend_from_slice(header);
    if let Some(digits) = scratch.get_mut(checksum.digits_at..checksum.digits_at + DIGITS) {
        digits.fill(b'0');
    }
    if checksum.covers_data() {
        scratch.extend_from_slice(data);
    }
    blake3::hash(scratch) == blake3::Hash::from_bytes(checksum.digest)
}
