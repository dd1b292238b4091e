//! The seek table: the sizes and checksums of all frames, in a skippable frame at the end.
//! <https://github.com/facebook/zstd/blob/dev/contrib/seekable_format/zstd_seekable_compression_format.md>

use super::super::error::{Error, Result};
use super::{Compressor, EMPTY_CHECKSUM};

/// The magic number of the skippable frame that has a table.
pub(in super::super) const SKIPPABLE_TABLE: u32 = 0x184d_2a5e;
/// That of the skippable frame with our mark.
const SKIPPABLE_MARK: u32 = 0x184d_2a53;
/// What the mark says: this file ends with a table.
pub(in super::super) const MARK: &[u8] = b"ends with a seek table\n";
/// That of the skippable frame with the table's checksum, and what it begins with.
const SKIPPABLE_SUM: u32 = 0x184d_2a54;
const SUM: &[u8] = b"BLAKE3 of the seek table\n";
/// Bytes of that frame.
const SUM_LENGTH: usize = HEAD + SUM.len() + blake3::OUT_LEN;
/// The last bytes of a table.
const SEEKABLE: u32 = 0x8f92_eab1;
/// Bytes in front of the entries, and behind them.
pub(in super::super) const HEAD: usize = 8;
pub(in super::super) const FOOT: usize = 9;
/// Bytes of an entry with a checksum.
const ENTRY: usize = 12;
/// More frames than this are not written, and a table that claims them is not believed: 64 TiB of our frames.
const MOST: usize = 1 << 24;

/// What a table says of one frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Entry {
    /// Bytes in the file.
    pub(in super::super) compressed: u32,
    /// Bytes of content.
    pub(in super::super) content: u32,
    /// The least significant half of the content's XXH64, if the table or the frame has it.
    pub(in super::super) checksum: Option<u32>,
}

/// All frames of a file, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in super::super) struct Table {
    entries: Vec<Entry>,
}

/// What the last bytes of a table say of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Foot {
    /// How many frames it has.
    pub(in super::super) frames: usize,
    checksums: bool,
}

impl Entry {
    /// The entry of a frame that was just made, whose last bytes are its checksum.
    pub(in super::super) fn of(frame: &[u8], content: usize) -> Result<Self> {
        let too_large = |_| Error::unsupported("a frame of more than 4 GiB");
        Ok(Self {
            compressed: frame.len().try_into().map_err(too_large)?,
            content: content.try_into().map_err(too_large)?,
            checksum: frame.last_chunk().map(|checksum| u32::from_le_bytes(*checksum)),
        })
    }
}

impl Table {
    /// What a file of ours begins with, and the table that has it.
    pub(in super::super) fn begin() -> Result<(Self, Vec<u8>)> {
        let mut bytes = Vec::new();
        let empty = Compressor::new(3).frame(&[], &mut bytes)?;
        let mark = skippable(SKIPPABLE_MARK, MARK);
        let mut table = Self::default();
        table.push(empty)?;
        table.push(Entry { content: 0, checksum: Some(EMPTY_CHECKSUM), ..Entry::of(&mark, 0)? })?;
        bytes.extend_from_slice(&mark);
        Ok((table, bytes))
    }

    /// Adds the next frame.
    pub(in super::super) fn push(&mut self, entry: Entry) -> Result<()> {
        if self.entries.len() >= MOST {
            return Err(Error::unsupported("more frames than a seek table may have here"));
        }
        self.entries.push(entry);
        Ok(())
    }

    /// All frames.
    pub(in super::super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// What a file of ours ends with: the skippable frame with the table's checksum, and that with the table, which
    /// lists the other one.
    pub(in super::super) fn end(&mut self) -> Result<Vec<u8>> {
        let mut end = self.sum();
        self.push(Entry { content: 0, checksum: Some(EMPTY_CHECKSUM), ..Entry::of(&end, 0)? })?;
        end.extend_from_slice(&self.to_bytes());
        Ok(end)
    }

    /// The skippable frame with the checksum of all entries so far.
    fn sum(&self) -> Vec<u8> {
        let sum = blake3::hash(&self.entry_bytes());
        skippable(SKIPPABLE_SUM, &[SUM, sum.as_bytes()].concat())
    }

    /// Whether the last entry is that of the checksum, and `before`, the bytes in front of the table, end with the right one.
    /// Without it a flipped bit in a size would lead to the wrong place.
    pub(in super::super) fn is_proven_by(&self, before: &[u8]) -> bool {
        let Some((last, rest)) = self.entries.split_last() else { return false };
        let sum = Self { entries: rest.to_vec() }.sum();
        let listed = last.content == 0 && last.compressed as usize == sum.len();
        listed && before.ends_with(&sum)
    }

    /// How many bytes in front of a table [`Table::is_proven_by`] needs.
    pub(in super::super) const PROOF: usize = SUM_LENGTH;

    fn entry_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.entries.len() * ENTRY + FOOT);
        for entry in &self.entries {
            bytes.extend_from_slice(&entry.compressed.to_le_bytes());
            bytes.extend_from_slice(&entry.content.to_le_bytes());
            bytes.extend_from_slice(&entry.checksum.unwrap_or_default().to_le_bytes());
        }
        bytes
    }

    /// The skippable frame of the table alone.
    fn to_bytes(&self) -> Vec<u8> {
        let mut content = self.entry_bytes();
        content.extend_from_slice(&u32::try_from(self.entries.len()).unwrap_or_default().to_le_bytes());
        content.push(0x80);
        content.extend_from_slice(&SEEKABLE.to_le_bytes());
        skippable(SKIPPABLE_TABLE, &content)
    }

    /// Reads the skippable frame whose foot is `foot`; `bytes` are all of it.
    pub(in super::super) fn from_bytes(bytes: &[u8], foot: Foot) -> Result<Self> {
        let broken = || Error::damaged("its seek table is broken");
        let length = u32::try_from(foot.length() - HEAD).map_err(|_| broken())?;
        let head = [SKIPPABLE_TABLE.to_le_bytes(), length.to_le_bytes()].concat();
        if bytes.len() != foot.length() || bytes[..HEAD] != head {
            return Err(broken());
        }
        let word = |bytes: &[u8], n: usize| {
            bytes.get(n * 4..n * 4 + 4).and_then(|word| word.try_into().ok()).map(u32::from_le_bytes)
        };
        let entries = bytes[HEAD..bytes.len() - FOOT].chunks_exact(foot.entry()).map(|entry| {
            let (compressed, content) = (word(entry, 0)?, word(entry, 1)?);
            Some(Entry { compressed, content, checksum: word(entry, 2) })
        });
        Ok(Self { entries: entries.collect::<Option<_>>().ok_or_else(broken)? })
    }

    /// Whether this table, which was read, is one of `frames`, which were met on the way to it.
    pub(in super::super) fn fits(&self, frames: &Self) -> bool {
        let fits = |(said, met): (&Entry, &Entry)| {
            said.compressed == met.compressed
                && said.content == met.content
                && (said.checksum.is_none() || met.checksum.is_none() || said.checksum == met.checksum)
        };
        self.entries.len() == frames.entries.len() && self.entries.iter().zip(&frames.entries).all(fits)
    }
}

impl Foot {
    /// What the last bytes of a file say; `None` if they are no table's.
    pub(in super::super) fn read(end: &[u8]) -> Result<Option<Self>> {
        let Some([a, b, c, d, flags, magic @ ..]) = end.last_chunk::<FOOT>() else { return Ok(None) };
        if u32::from_le_bytes(*magic) != SEEKABLE {
            return Ok(None);
        }
        // Bits 2 to 6 are reserved, 0 and 1 may be anything.
        if flags & 0x7c != 0 {
            return Err(Error::unsupported("its seek table is of a kind that is not known here"));
        }
        let frames = u32::from_le_bytes([*a, *b, *c, *d]) as usize;
        if frames > MOST {
            return Err(Error::damaged("its seek table claims more frames than a file has"));
        }
        Ok(Some(Self { frames, checksums: flags & 0x80 != 0 }))
    }

    /// Bytes of the whole table.
    pub(in super::super) fn length(self) -> usize {
        HEAD + self.frames * self.entry() + FOOT
    }

    fn entry(self) -> usize {
        if self.checksums { ENTRY } else { ENTRY - 4 }
    }
}

/// A frame that every decoder skips.
fn skippable(magic: u32, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap_or(u32::MAX);
    [&magic.to_le_bytes()[..], &length.to_le_bytes(), content].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::default();
        for n in 0..100 {
            table.push(Entry { compressed: n * 7, content: n * 9, checksum: Some(n) }).unwrap();
        }
        table
    }

    #[test]
    fn a_table_is_read_as_it_was_written() {
        let bytes = table().to_bytes();
        let foot = Foot::read(&bytes).unwrap().unwrap();
        assert_eq!((foot.frames, foot.length()), (100, bytes.len()));
        assert_eq!(Table::from_bytes(&bytes, foot).unwrap(), table());
    }

    #[test]
    fn a_table_that_lies_about_itself_is_refused() {
        let bytes = table().to_bytes();
        let foot = Foot::read(&bytes).unwrap().unwrap();
        assert!(Table::from_bytes(&bytes[1..], foot).is_err());
        assert!(Table::from_bytes(&[&bytes[..], &[0]].concat(), foot).is_err());
        for at in 0..8 {
            let mut other = bytes.clone();
            other[at] ^= 1;
            assert!(Table::from_bytes(&other, foot).is_err(), "{at}");
        }
        let mut other = bytes.clone();
        let end = other.len();
        other[end - 9..end - 5].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(Foot::read(&other).is_err());
        other[end - 5] = 0xff;
        assert!(Foot::read(&other).is_err());
        assert_eq!(Foot::read(&bytes[..end - 1]).unwrap(), None);
        assert_eq!(Foot::read(&[]).unwrap(), None);
    }

    #[test]
    fn a_table_is_proven_by_its_checksum_and_no_other_is() {
        let mut table = table();
        let end = table.end().unwrap();
        let foot = Foot::read(&end).unwrap().unwrap();
        let (before, bytes) = end.split_at(end.len() - foot.length());
        assert_eq!(before.len(), Table::PROOF);
        assert!(Table::from_bytes(bytes, foot).unwrap().is_proven_by(before));
        for at in HEAD..bytes.len() - FOOT {
            let mut other = bytes.to_vec();
            other[at] ^= 4;
            let proven = Table::from_bytes(&other, foot).unwrap().is_proven_by(before);
            // The checksum of the last entry, which has no content, is not looked at.
            assert!(!proven || at >= bytes.len() - FOOT - 4, "{at}");
        }
        assert!(!Table::default().is_proven_by(before));
    }

    #[test]
    fn a_table_of_other_frames_does_not_fit() {
        let (mut other, table) = (table(), table());
        assert!(table.fits(&other));
        other.entries.swap(3, 4);
        assert!(!table.fits(&other));
        other.entries.swap(3, 4);
        other.entries.pop();
        assert!(!table.fits(&other));
    }
}
