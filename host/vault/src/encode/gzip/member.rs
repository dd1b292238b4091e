//! One block becomes one member, and back.

use libdeflater::{CompressionLvl, Crc};

use super::super::error::{Error, Result};
use super::super::zstd::is_random;

/// Names of our extra fields: of a member, and of the last one.
pub(super) const MEMBER: [u8; 2] = *b"SV";
pub(super) const LAST: [u8; 2] = *b"SE";
/// Bytes of our headers: the fixed part, the extra field's length, and the field itself.
pub(super) const HEADER: usize = 12 + 4 + 8;
pub(super) const LAST_HEADER: usize = 12 + 4 + 16;
/// Checksum and length.
const FOOT: usize = 8;
/// An empty stream of deflate.
const NOTHING: [u8; 2] = [3, 0];
/// What a member of ours holds at most. Blocks are smaller.
pub(in super::super) const LARGEST: u32 = 4 << 20;

/// Makes members of blocks at one level.
pub(in super::super) struct Compressor {
    deflate: libdeflater::Compressor,
    store: libdeflater::Compressor,
}

/// What the last member says of all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in super::super) struct Sums {
    /// How many members there are in front of it.
    pub(in super::super) members: u64,
    /// Bytes of content.
    pub(in super::super) content: u64,
}

impl Compressor {
    pub(in super::super) fn new(level: i32) -> Result<Self> {
        let level_error = |_| Error::Level { level, name: "gzip", most: 12 };
        let store = CompressionLvl::new(0).map_err(level_error)?;
        let level = CompressionLvl::new(level).map_err(level_error)?;
        Ok(Self { deflate: libdeflater::Compressor::new(level), store: libdeflater::Compressor::new(store) })
    }

    /// Puts one member into `out`. A block of random bytes is stored as it is.
    pub(in super::super) fn member(&mut self, block: &[u8], out: &mut Vec<u8>) -> Result<()> {
        let deflate = if is_random(block) { &mut self.store } else { &mut self.deflate };
        out.clear();
        out.resize(HEADER + deflate.deflate_compress_bound(block.len()) + FOOT, 0);
        let length = deflate
            .deflate_compress(block, &mut out[HEADER..])
            .map_err(|_| Error::unsupported("libdeflate needs more room than it said"))?;
        out.truncate(HEADER + length);
        out.extend_from_slice(&checksum(block).to_le_bytes());
        let (whole, content) = (out.len() + 4, block.len());
        let sizes = [whole, content].map(|size| u32::try_from(size).unwrap_or(u32::MAX).to_le_bytes());
        out.extend_from_slice(&sizes[1]);
        out[..HEADER].copy_from_slice(&header(MEMBER, &sizes.concat()));
        Ok(())
    }
}

impl Sums {
    /// The last member.
    pub(in super::super) fn member(self) -> Vec<u8> {
        let sums = [self.members.to_le_bytes(), self.content.to_le_bytes()].concat();
        [&header(LAST, &sums)[..], &NOTHING, &[0; FOOT]].concat()
    }
}

/// Decompresses members of ours.
pub(in super::super) struct Decompressor(libdeflater::Decompressor);

impl Decompressor {
    pub(in super::super) fn new() -> Self {
        Self(libdeflater::Decompressor::new())
    }

    /// Puts into `out` the content of `member`, all of it or, if the checksum does not hold, none.
    pub(in super::super) fn content(
        &mut self,
        member: &[u8],
        content: usize,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        out.clear();
        out.resize(content, 0);
        let (deflated, foot) = member
            .get(HEADER..)
            .and_then(|rest| rest.split_last_chunk::<FOOT>())
            .ok_or_else(|| Error::damaged("a member is too short"))?;
        let length = self.0.deflate_decompress(deflated, out).unwrap_or(usize::MAX);
        let size = u32::try_from(content).unwrap_or(u32::MAX);
        if length == content && foot[..4] == checksum(out).to_le_bytes() && foot[4..] == size.to_le_bytes() {
            return Ok(());
        }
        out.clear();
        Err(Error::damaged("a member does not decompress to what it was made of"))
    }
}

fn checksum(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}

/// A member's header with one extra field: no name, no time, no system.
fn header(field: [u8; 2], content: &[u8]) -> Vec<u8> {
    let size = u16::try_from(content.len()).unwrap_or(u16::MAX);
    let extra = [&field[..], &size.to_le_bytes(), content].concat();
    let length = u16::try_from(extra.len()).unwrap_or(u16::MAX);
    [&[0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 255][..], &length.to_le_bytes(), &extra].concat()
}
