//! The end of an archive, and what lies behind it. The end is where a walk from offset 0 meets two zero
//! blocks, never what the file's tail looks like: other programs pad their archives, a file's data may be
//! zeros, and a killed append leaves bytes behind.

use std::sync::Arc;

use crate::archive::encode::PAX_NAME;
use crate::archive::open::Reader;
use crate::archive::ustar::{Block, Parsed, flag, is_header};
use crate::archive::walk::{Step, Walk};
use crate::archive::{BLOCK, BLOCK_LEN, END_LEN};
use crate::error::Result;
use crate::observer::Run;

/// What lies behind the two zero blocks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Tail {
    /// Nothing.
    #[default]
    Nothing,
    /// So many bytes of zeros, as other programs leave.
    Zeros(u64),
    /// So many bytes that a killed backup of ours left.
    Remains(u64),
    /// Something that may be another archive; this is the offset of its first block.
    Foreign(u64),
}

/// Looks behind the end at `end`.
pub(crate) fn tail(reader: &Arc<Reader>, end: u64, run: &Run) -> Result<Tail> {
    let start = end + END_LEN;
    let length = reader.len().saturating_sub(start);
    if length == 0 {
        return Ok(Tail::Nothing);
    }
    let Some(first) = first_nonzero(reader, start, run)? else { return Ok(Tail::Zeros(length)) };
    if !begins_with_ours(reader, start)? {
        return Ok(Tail::Foreign(block_of(first)));
    }
    // A killed backup may have got as far as its closing file, but nothing of ours follows that.
    match close_of_run(reader, start, run)? {
        Some(close) => Ok(first_nonzero(reader, close, run)?
            .map_or(Tail::Remains(length), |at| Tail::Foreign(block_of(at)))),
        None => Ok(Tail::Remains(length)),
    }
}

fn block_of(offset: u64) -> u64 {
    offset - offset % BLOCK
}

/// The offset of the first byte at or behind `start` that is not zero.
fn first_nonzero(reader: &Reader, start: u64, run: &Run) -> Result<Option<u64>> {
    let mut buffer = vec![0; 1 << 20];
    let mut position = start;
    loop {
        run.cancel.check("nothing was changed")?;
        let count = reader.read(&mut buffer, position)?;
        if count == 0 {
            return Ok(None);
        }
        if let Some(at) = buffer[..count].iter().position(|&byte| byte != 0) {
            return Ok(Some(position + at as u64));
        }
        position += count as u64;
    }
}

fn begins_with_ours(reader: &Reader, start: u64) -> Result<bool> {
    if reader.len() - start < BLOCK {
        return Ok(false);
    }
    let mut block: Block = [0; BLOCK_LEN];
    reader.read_exact(&mut block, start)?;
    let parsed = Parsed::new(&block);
    Ok(is_header(&block) && parsed.flag() == flag::PAX && parsed.name() == (None, PAX_NAME))
}

/// Where the run of members at `start` ends with a snapshot's close; `None` when it is torn before that.
fn close_of_run(reader: &Arc<Reader>, start: u64, run: &Run) -> Result<Option<u64>> {
    let mut walk = Walk::new(Arc::clone(reader), start);
    loop {
        run.cancel.check("nothing was changed")?;
        match walk.step() {
            Ok(Step::Member(member)) => {
                if member.stored.is_close() {
                    return Ok(Some(member.stored.end()));
                }
            }
            Ok(Step::End(_)) | Err(crate::error::Error::Damaged { .. }) => return Ok(None),
            Err(other) => return Err(other),
        }
    }
}
