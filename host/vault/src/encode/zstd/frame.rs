//! What a frame's header says, and a frame's content.

use zstd_safe::DCtx;

use super::super::error::{Error, Result};

/// The magic number of a frame.
pub(super) const MAGIC: u32 = 0xfd2f_b528;
/// Bytes that a header has at most, with the magic number.
pub(super) const LONGEST_HEADER: usize = 18;
/// A frame with more content than this, which is what ours have, is decompressed piece by piece, and cannot be read at
/// an offset: each of the crew's threads holds some of those that are smaller.
pub(in super::super) const LARGEST: u64 = 4 << 20;
/// The largest window that is taken, as `zstd -d` without `--long`.
pub(super) const LARGEST_WINDOW_LOG: u32 = 27;

/// A frame's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// Its own bytes.
    pub(super) length: usize,
    /// Bytes of content, if it says so.
    pub(super) content: Option<u64>,
    /// Whether a checksum follows the last block.
    pub(super) checksum: bool,
}

impl Header {
    /// Reads the header that `bytes` begin with; `bytes` are [`LONGEST_HEADER`] ones, or all that there are. What
    /// takes too much memory, or a dictionary, is refused. RFC 8878, section 3.1.1.1.
    pub(super) fn read(bytes: &[u8]) -> Result<Self> {
        let cut = || Error::damaged("it is cut off in a frame's header");
        let descriptor = *bytes.get(4).ok_or_else(cut)?;
        let single = descriptor & 0x20 != 0;
        if descriptor & 0x08 != 0 {
            return Err(Error::unsupported("a frame uses a bit that is reserved"));
        }
        let mut at = 5;
        let mut window = 0;
        if !single {
            let byte = u64::from(*bytes.get(at).ok_or_else(cut)?);
            let base = 1_u64 << (10 + (byte >> 3));
            window = base + base / 8 * (byte & 7);
            at += 1;
        }
        let dictionary = [0, 1, 2, 4][usize::from(descriptor & 3)];
        if bytes.get(at..at + dictionary).ok_or_else(cut)?.iter().any(|byte| *byte != 0) {
            return Err(Error::unsupported("a frame needs a dictionary"));
        }
        at += dictionary;
        let (size, plus) = [(usize::from(single), 0), (2, 256), (4, 0), (8, 0)][usize::from(descriptor >> 6)];
        let content = bytes.get(at..at + size).ok_or_else(cut)?;
        let content = content.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)) + plus;
        if single {
            window = content;
        }
        if window > 1 << LARGEST_WINDOW_LOG {
            return Err(Error::unsupported(format!(
                "a frame needs a window of {} MiB, and 128 are allowed",
                window >> 20
            )));
        }
        Ok(Self {
            length: at + size,
            content: (size > 0).then_some(content),
            checksum: descriptor & 0x04 != 0,
        })
    }
}

/// The bytes that a frame with so much content may have, if libzstd made it.
pub(in super::super) fn longest(content: u32) -> usize {
    zstd_safe::compress_bound(content as usize)
}

/// The checksum at the end of a whole frame, if it has one.
pub(in super::super) fn checksum(frame: &[u8]) -> Option<u32> {
    let has_one = Header::read(frame).is_ok_and(|header| header.checksum);
    frame.last_chunk().filter(|_| has_one).map(|bytes| u32::from_le_bytes(*bytes))
}

/// Decompresses whole frames.
pub(in super::super) struct Decompressor(DCtx<'static>);

impl Decompressor {
    pub(in super::super) fn new() -> Self {
        Self(DCtx::create())
    }

    /// Puts into `out` the content of `frame`, all of it or, if the checksum does not hold, none.
    pub(in super::super) fn content(
        &mut self,
        frame: &[u8],
        content: usize,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        out.clear();
        out.reserve_exact(content);
        match self.0.decompress(out, frame) {
            Ok(length) if length == content => Ok(()),
            Ok(_) => {
                out.clear();
                Err(Error::damaged("a frame has another length than it says"))
            }
            Err(code) => {
                out.clear();
                Err(Error::damaged(format!(
                    "a frame does not decompress ({})",
                    zstd_safe::get_error_name(code)
                )))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(bytes: &[u8]) -> Result<Header> {
        Header::read(&[&MAGIC.to_le_bytes(), bytes].concat())
    }

    #[test]
    fn a_header_says_how_much_there_is() {
        let read = |bytes: &[u8]| header(bytes).unwrap();
        assert_eq!(read(&[0x24, 7]), Header { length: 6, content: Some(7), checksum: true });
        assert_eq!(read(&[0x60, 1, 1]), Header { length: 7, content: Some(513), checksum: false });
        assert_eq!(
            read(&[0x84, 0x58, 0, 0, 64, 0]),
            Header { length: 10, content: Some(4 << 20), checksum: true }
        );
        assert_eq!(read(&[0x00, 0x58]), Header { length: 6, content: None, checksum: false });
    }

    #[test]
    fn a_header_that_claims_too_much_or_is_cut_is_refused() {
        // A window of 128 MiB is allowed, the next larger one is not.
        assert!(header(&[0x00, 17 << 3]).is_ok());
        for bytes in [
            &[0x00, 17 << 3 | 1][..],
            &[0x00, 0xff],
            &[0xe0, 0, 0, 0, 0x80, 0, 0, 0, 0],
            &[0xe0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[0x08, 0],
            &[0x01, 0, 5],
            &[0x00],
            &[0x24],
            &[],
        ] {
            assert!(header(bytes).is_err(), "{bytes:x?}");
        }
    }
}
