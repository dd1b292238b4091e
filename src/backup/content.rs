//! The content of a regular file on its way into the archive. The size that the file had when it was opened is a
//! promise: one that shrinks is filled up with zeros, one that grows is cut.

use crate::archive::entry::{Entry, Sparse};
use crate::archive::sparse::Map;
use crate::backup::sink::Sink;
use crate::error::{Context, Result};
use crate::fs::file::data_extents;
use crate::fs::{Handle, Stat, StoreFile};
use crate::observer::Run;

/// Files of this size are asked for holes even when they take up as much space as they should.
const ALWAYS_ASK: u64 = 64 << 10;

/// Stores a file's entry and content; returns what changed while it was read.
pub(super) fn store(
    sink: &mut Sink,
    mut entry: Entry,
    handle: Handle,
    stat: &Stat,
    path: &[u8],
    run: &Run,
) -> Result<Option<&'static str>> {
    let size = stat.size;
    entry.size = size;
    let map = if size > 0 && (stat.allocated < size || size >= ALWAYS_ASK) {
        let extents = data_extents(&handle, size).context("find the holes of", path)?;
        Map::new(extents, size)
    } else {
        None
    };
    let file = StoreFile::new(handle);
    let whole = [(0, size)];
    let (opening, extents, stored) = match &map {
        Some(map) => {
            let opening = map.encode();
            let stored = opening.len() as u64 + map.data_len();
            (opening, map.extents(), stored)
        }
        None => (Vec::new(), &whole[..], size),
    };
    entry.sparse = map.clone().map(|map| Sparse::Map(Some(map)));
    let mut member = sink.begin(&entry, stored, path)?;
    sink.data(&mut member, &opening)?;
    let mut shrunk = false;
    for &(offset, length) in extents {
        let mut done = 0;
        while done < length && !shrunk {
            run.cancel.check("the archive is as it was")?;
            let given =
                sink.data_from(&mut member, length - done, |buffer| file.read_at(buffer, offset + done))?;
            let count = given.context("read", path)?;
            shrunk = count == 0;
            done += count as u64;
            run.observer.bytes(count as u64);
        }
        if done < length {
            sink.zeros(&mut member, length - done)?;
        }
    }
    sink.end(member)?;
    let after = file.stat().context("look at", path)?;
    Ok(if shrunk {
        Some("it became shorter while it was read: what is missing was stored as zeros")
    } else if after.size > size {
        Some("it grew while it was read: what came behind its former size was left out")
    } else if (after.size, after.mtime) != (size, stat.mtime) {
        Some("it changed while it was read: what was stored may be a mixture")
    } else {
        None
    })
}
