//! Where the parts of our archives lie, so that each can be damaged or forged. Reads what the program writes,
//! no other tar, and shares no code with it.

use std::ops::Range;

const BLOCK: usize = 512;
const CHECKSUM: usize = 64;

pub(crate) struct Member {
    pub(crate) name: String,
    /// Each part that is not empty, with what it is.
    pub(crate) parts: Vec<(&'static str, Range<usize>)>,
}

impl Member {
    pub(crate) fn part(&self, what: &str) -> Range<usize> {
        let found = self.parts.iter().find(|(name, _)| *name == what);
        found.unwrap_or_else(|| panic!("{} has no {what}", self.name)).1.clone()
    }
}

/// The members up to the end of the archive, and the offset of the end.
pub(crate) fn members(archive: &[u8]) -> (Vec<Member>, usize) {
    let mut all: Vec<Member> = Vec::new();
    let mut parts = Vec::new();
    let mut offset = 0;
    while archive[offset..offset + 2 * BLOCK].iter().any(|byte| *byte != 0) {
        let header = &archive[offset..offset + BLOCK];
        assert_eq!(&header[257..262], b"ustar", "at {offset}");
        let pax = header[156] == b'x';
        let names =
            if pax { ["pax header", "pax data", "pax padding"] } else { ["header", "data", "padding"] };
        let data = offset + BLOCK;
        let end = data + number(&header[124..136]);
        let padded = end.next_multiple_of(BLOCK);
        parts.extend(names.into_iter().zip([offset..data, data..end, end..padded]));
        if !pax {
            let name = text(&header[..100]);
            parts.retain(|(_, range): &(_, Range<usize>)| !range.is_empty());
            all.push(Member { name, parts: std::mem::take(&mut parts) });
        }
        offset = padded;
    }
    (all, offset)
}

fn text(field: &[u8]) -> String {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    String::from_utf8_lossy(&field[..end]).into_owned()
}

fn number(field: &[u8]) -> usize {
    if field[0] & 0x80 != 0 {
        field[4..].iter().fold(0, |number, byte| number << 8 | usize::from(*byte))
    } else {
        usize::from_str_radix(text(field).trim(), 8).unwrap()
    }
}

/// Changes the digits of the note `00000000` in the last snapshot until its ID begins with `start`, and gives
/// that ID.
pub(crate) fn forge_id(archive: &mut [u8], start: &str) -> String {
    let (all, _) = members(archive);
    let close = all.last().unwrap();
    let whole = close.part("pax header").start..close.part("data").end;
    let find = |archive: &[u8], what: &[u8]| {
        let found = archive[whole.clone()].windows(what.len()).position(|window| window == what);
        whole.start + found.unwrap_or_else(|| panic!("no {} in {}", what.escape_ascii(), close.name))
    };
    let record = b"comment=snapshot-blake3:";
    let digits = find(archive, record) + record.len();
    let digits = digits..digits + CHECKSUM;
    let text = close.part("data");
    let note = archive[text.clone()].windows(8).position(|window| window == b"00000000");
    let note = text.start + note.expect("the note in snapshot.json");
    for n in 0..10_000_000 {
        archive[note..note + 8].copy_from_slice(format!("{n:08}").as_bytes());
        archive[digits.clone()].fill(b'0');
        let checksum = blake3::hash(&archive[whole.clone()]).to_hex();
        archive[digits.clone()].copy_from_slice(checksum.as_bytes());
        if checksum.starts_with(start) {
            return checksum[..8].to_owned();
        }
    }
    panic!("no note gives an ID that begins with {start}");
}
