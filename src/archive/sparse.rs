//! Files with holes, in GNU sparse format 1.0 (GNU tar manual, "Storing Sparse Files"): the stored data
//! begins with a map in decimal text, padded to whole blocks, and goes on with the extents, one after the
//! other.

use crate::archive::{BLOCK_LEN, padding};
use crate::fs::file::Extent;

/// The longest map that is written or read, in bytes. Other readers set limits too.
const MAX_MAP: usize = 1 << 20;

pub(super) const BAD: &str = "its sparse map is malformed";
const OVERLAPS: &str = "its sparse map overlaps itself or runs past the file's end";
const MISFIT: &str = "its sparse map does not fit its stored size";

/// The extents of a file that hold data, in order, without overlap. A last extent
/// of length 0 at the file's size says that the file ends in a hole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SparseMap {
    extents: Vec<Extent>,
    size: u64,
}

impl SparseMap {
    /// For a file of `size` bytes whose data lies in `extents`; `None` when it has no holes. Where the map
    /// would get too long, its smallest holes count as data.
    pub(crate) fn new(extents: Vec<Extent>, size: u64) -> Option<Self> {
        let mut map = SparseMap { extents, size };
        // An extent takes two numbers of at most as many digits as the size has, and two newlines.
        let entry = 2 * (size.to_string().len() + 1);
        map.keep_largest_holes(MAX_MAP / entry - 2);
        map.close();
        (map.extents != [Extent { offset: 0, length: size }]).then_some(map)
    }

    /// For a file of `size` bytes of which `stored` bytes are stored, those in `extents`.
    ///
    /// # Errors
    /// What no file can have.
    pub(crate) fn of_extents(extents: Vec<Extent>, size: u64, stored: u64) -> Result<Self, &'static str> {
        let (mut end, mut data) = (0, 0_u64);
        for extent in &extents {
            let next = extent.offset.checked_add(extent.length).ok_or(BAD)?;
            if extent.offset < end || next > size {
                return Err(OVERLAPS);
            }
            data = data.checked_add(extent.length).ok_or(BAD)?;
            end = next;
        }
        if data == stored { Ok(SparseMap { extents, size }) } else { Err(MISFIT) }
    }

    fn close(&mut self) {
        let end = self.extents.last().map_or(0, Extent::end);
        if end < self.size {
            // Without this entry GNU tar truncates the file in silence.
            self.extents.push(Extent { offset: self.size, length: 0 });
        }
    }

    /// Fills the smallest holes until there are at most `most` extents.
    fn keep_largest_holes(&mut self, most: usize) {
        if self.extents.len() <= most {
            return;
        }
        let mut holes: Vec<Hole> =
            self.extents.windows(2).map(|pair| Hole::between(&pair[0], &pair[1])).collect();
        let (_, &mut smallest_kept, _) = holes.select_nth_unstable_by(most - 2, |a, b| b.cmp(a));
        let mut kept: Vec<Extent> = Vec::with_capacity(most);
        for extent in &self.extents {
            match kept.last_mut() {
                Some(last) if Hole::between(last, extent) < smallest_kept => {
                    last.length = extent.end() - last.offset;
                }
                _ => kept.push(*extent),
            }
        }
        self.extents = kept;
    }

    pub(crate) fn extents(&self) -> &[Extent] {
        &self.extents
    }

    /// Bytes of data, holes and map left out.
    pub(crate) fn data_len(&self) -> u64 {
        self.extents.iter().map(|extent| extent.length).sum()
    }

    /// The map as it opens the stored data: whole blocks.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut text = self.text();
        text.resize(text.len() + padding(text.len() as u64), 0);
        text
    }

    /// The length of that.
    pub(crate) fn encoded_len(&self) -> u64 {
        let length = self.text().len() as u64;
        length + padding(length) as u64
    }

    fn text(&self) -> Vec<u8> {
        let mut text = format!("{}\n", self.extents.len()).into_bytes();
        for Extent { offset, length } in &self.extents {
            text.extend_from_slice(format!("{offset}\n{length}\n").as_bytes());
        }
        text
    }

    /// Reads a map through `next_block`, for a file of `size` bytes with `stored` bytes of stored data.
    /// Returns it and the length of its blocks.
    pub(crate) fn decode<E: From<&'static str>>(
        size: u64,
        stored: u64,
        mut next_block: impl FnMut() -> Result<[u8; BLOCK_LEN], E>,
    ) -> Result<(Self, u64), E> {
        let mut length = 0u64;
        let mut block = [0; BLOCK_LEN];
        let mut position = BLOCK_LEN;
        let mut number = || -> Result<u64, E> {
            let mut value: Option<u64> = None;
            loop {
                if position == BLOCK_LEN {
                    length += BLOCK_LEN as u64;
                    if length > stored || length > 2 * MAX_MAP as u64 {
                        return Err(BAD.into());
                    }
                    block = next_block()?;
                    position = 0;
                }
                let byte = block[position];
                position += 1;
                value = match (byte, value) {
                    (b'\n', Some(value)) => return Ok(value),
                    (b'0'..=b'9', value) => Some(
                        (value.unwrap_or(0).checked_mul(10))
                            .and_then(|value| value.checked_add(u64::from(byte - b'0')))
                            .ok_or(BAD)?,
                    ),
                    _ => return Err(BAD.into()),
                };
            }
        };
        let count = number()?;
        let mut extents = Vec::new();
        for _ in 0..count {
            extents.push(Extent { offset: number()?, length: number()? });
        }
        let data = stored.checked_sub(length).ok_or(MISFIT)?;
        Ok((SparseMap::of_extents(extents, size, data)?, length))
    }
}

/// A hole between two extents, by its length. No two are equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Hole {
    length: u64,
    /// Where it ends.
    end: u64,
}

impl Hole {
    fn between(before: &Extent, after: &Extent) -> Self {
        Hole { length: after.offset - before.end(), end: after.offset }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extent(offset: u64, length: u64) -> Extent {
        Extent { offset, length }
    }

    fn read_back(encoded: &[u8], size: u64, stored: u64) -> Result<(SparseMap, u64), &'static str> {
        let mut blocks = encoded.chunks(BLOCK_LEN);
        SparseMap::decode(size, stored, || blocks.next().and_then(|b| b.try_into().ok()).ok_or("short"))
    }

    #[test]
    fn a_file_without_holes_has_no_map() {
        assert_eq!(SparseMap::new(vec![extent(0, 700)], 700), None);
    }

    #[test]
    fn a_trailing_hole_is_closed_by_an_empty_extent() {
        let map = SparseMap::new(vec![extent(4096, 10)], 10_000).unwrap();
        assert!(map.encode().starts_with(b"2\n4096\n10\n10000\n0\n\0"));
        let all_hole = SparseMap::new(vec![], 9 << 30).unwrap();
        assert!(all_hole.encode().starts_with(b"1\n9663676416\n0\n\0"));
        assert_eq!(read_back(&map.encode(), 10_000, 522), Ok((map, 512)));
    }

    #[test]
    fn a_map_that_would_be_too_long_loses_its_smallest_holes_only() {
        let offset = |i: u64| i * 1_000_000 + if i.is_multiple_of(2) { 0 } else { 900_000 };
        let extents: Vec<Extent> = (0..100_000).map(|i| extent(offset(i), 50_000)).collect();
        let size = extents.last().unwrap().end();
        let map = SparseMap::new(extents, size).unwrap();
        let encoded = map.encode();
        assert!(encoded.len() <= MAX_MAP + BLOCK_LEN && map.extents.len() > 20_000);
        let (read, length) = read_back(&encoded, size, encoded.len() as u64 + map.data_len()).unwrap();
        assert_eq!((read, length), (map, encoded.len() as u64));
    }

    #[test]
    fn hostile_maps_are_refused() {
        let block = |text: &str| {
            let mut bytes = text.as_bytes().to_vec();
            bytes.resize(512, 0);
            bytes
        };
        for text in [
            "2\n0\n10\n5\n10\n",
            "1\n90\n20\n",
            "1\n18446744073709551615\n1\n",
            "1\n0\n99999999999999999999999\n",
            "9\n0\n1\n",
            "1\n-1\n1\n",
            "\n",
            "1 0 1",
        ] {
            assert!(read_back(&block(text), 100, 612).is_err(), "{text}");
        }
        assert!(read_back(&block("1\n0\n10\n"), 100, 100).is_err());
        assert!(read_back(&[b'1'; 4096], 100, 4096).is_err());
    }
}
