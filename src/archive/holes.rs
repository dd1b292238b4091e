//! Files with holes in the older formats of GNU tar, whose maps stand in a member's header blocks: the binary
//! one of type `S`, and 0.0 and 0.1 in records of a pax header (GNU tar manual, "Storing Sparse Files").

use crate::archive::number;
use crate::archive::pax::{self, Record};
use crate::archive::sparse::{BAD, SparseMap};
use crate::archive::ustar::{Block, Parsed, flag};
use crate::archive::{BLOCK_LEN, padded};
use crate::fs::file::Extent;

/// Where the binary map lies in the first header block, and in those that continue it.
const FIRST: std::ops::Range<usize> = 386..482;
const MORE: std::ops::Range<usize> = 0..504;
/// Of each of the two numbers of an extent, in bytes.
const NUMBER: usize = 12;

/// The map in `header`, a member's header blocks, for a file of `size` bytes with `stored` bytes of stored data.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn map(header: &[u8], size: u64, stored: u64) -> Result<SparseMap, &'static str> {
    let mut extents = Vec::new();
    let mut at = 0;
    loop {
        let block: &Block = header.get(at..).and_then(|rest| rest.first_chunk()).ok_or(BAD)?;
        let parsed = Parsed::new(block);
        let length = parsed.size().and_then(|size| usize::try_from(size).ok());
        at += BLOCK_LEN;
        match parsed.flag() {
            flag::PAX | flag::PAX_SOLARIS => {
                let end = length.and_then(|length| at.checked_add(length)).ok_or(BAD)?;
                for record in pax::records(header.get(at..end).ok_or(BAD)?) {
                    apply(&record?, &mut extents)?;
                }
            }
            flag::PAX_GLOBAL | flag::GNU_LONG_NAME | flag::GNU_LONG_LINK => {}
            flag::GNU_SPARSE => {
                binary(&block[FIRST], &mut extents)?;
                let more = header.get(at..).unwrap_or_default();
                more.chunks_exact(BLOCK_LEN).try_for_each(|block| binary(&block[MORE], &mut extents))?;
                break;
            }
            _ => break,
        }
        let blocks = length.and_then(|length| usize::try_from(padded(length as u64)?).ok());
        at = blocks.and_then(|blocks| at.checked_add(blocks)).ok_or(BAD)?;
    }
    SparseMap::of_extents(extents, size, stored)
}

/// Pairs of numbers; the first that is empty ends them.
fn binary(field: &[u8], extents: &mut Vec<Extent>) -> Result<(), &'static str> {
    for pair in field.chunks_exact(2 * NUMBER) {
        if pair[NUMBER] == 0 {
            return Ok(());
        }
        let number = |field| number::get(field).and_then(|number| u64::try_from(number).ok()).ok_or(BAD);
        extents.push(Extent { offset: number(&pair[..NUMBER])?, length: number(&pair[NUMBER..])? });
    }
    Ok(())
}

/// Format 0.1 has one record with all numbers, 0.0 two for each extent.
fn apply(record: &Record, extents: &mut Vec<Extent>) -> Result<(), &'static str> {
    let number = |text: &[u8]| {
        let is_number = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
        std::str::from_utf8(text).ok().filter(|_| is_number).and_then(|text| text.parse().ok()).ok_or(BAD)
    };
    match record.key {
        b"GNU.sparse.map" => {
            extents.clear();
            let mut numbers = record.value.split(|&byte| byte == b',').map(number);
            while let Some(offset) = numbers.next() {
                extents.push(Extent { offset: offset?, length: numbers.next().ok_or(BAD)?? });
            }
        }
        b"GNU.sparse.offset" => extents.push(Extent { offset: number(record.value)?, length: 0 }),
        b"GNU.sparse.numbytes" => extents.last_mut().ok_or(BAD)?.length = number(record.value)?,
        _ => {}
    }
    Ok(())
}
