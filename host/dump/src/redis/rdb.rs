//! The [RDB file](https://rdb.fnordig.de/file_format.html) of Redis, as far as it must be known to tell
//! whether one is whole: `REDIS` and four digits, and at the end the byte 255 and a CRC-64 of all before
//! it.

use std::sync::LazyLock;

use crc::{CRC_64_REDIS, Crc, Digest, Table};

/// Read eight or more bytes at a time.
type Fast = Table<16>;
static CHECKSUM: LazyLock<Crc<u64, Fast>> = LazyLock::new(|| Crc::<u64, Fast>::new(&CRC_64_REDIS));

const HEADER: usize = 9;
const TRAILER: usize = 8;
const END: u8 = 0xff;

/// What an RDB file says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rdb {
    /// The version of its format; a server reads its own and older ones.
    pub version: u32,
    /// Its size in bytes.
    pub bytes: u64,
}

/// An RDB file that is read.
#[derive(Clone)]
pub(super) struct Reading {
    digest: Digest<'static, u64, Fast>,
    header: Vec<u8>,
    /// The last bytes, which may be the trailer.
    last: Vec<u8>,
    /// The last byte before them.
    before: Option<u8>,
    bytes: u64,
}

impl Default for Reading {
    fn default() -> Self {
        Reading { digest: CHECKSUM.digest(), header: Vec::new(), last: Vec::new(), before: None, bytes: 0 }
    }
}

impl Reading {
    pub(super) fn take(&mut self, piece: &[u8]) {
        self.header.extend(piece.iter().take(HEADER - self.header.len()));
        self.bytes += piece.len() as u64;
        let mut summed = |bytes: &[u8]| {
            self.digest.update(bytes);
            self.before = bytes.last().copied().or(self.before);
        };
        // All but the last eight bytes of what has been seen is summed.
        let fresh = piece.len().saturating_sub(TRAILER);
        let (sure, rest) = piece.split_at(fresh);
        let old = (self.last.len() + piece.len()).saturating_sub(TRAILER).min(self.last.len());
        summed(self.last.get(..old).unwrap_or_default());
        self.last.drain(..old);
        summed(sure);
        self.last.extend_from_slice(rest);
    }

    pub(super) fn finish(self) -> Result<Rdb, &'static str> {
        let digits = self.header.strip_prefix(b"REDIS").filter(|digits| digits.len() == 4);
        let version = digits.and_then(|digits| str::from_utf8(digits).ok()?.parse().ok());
        let version = version.ok_or("it does not begin as an RDB file does")?;
        let trailer: [u8; TRAILER] = self.last.try_into().map_err(|_| "it is cut")?;
        if self.before != Some(END) {
            return Err("it is cut: it does not end as an RDB file does");
        }
        match u64::from_le_bytes(trailer) {
            0 => Err("it has no checksum: the server is configured with `rdbchecksum no`"),
            sum if sum == self.digest.finalize() => Ok(Rdb { version, bytes: self.bytes }),
            _ => Err("its checksum is not that of its content"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(file: &[u8], piece: usize) -> Result<Rdb, &'static str> {
        let mut reading = Reading::default();
        file.chunks(piece).for_each(|piece| reading.take(piece));
        reading.finish()
    }

    #[test]
    fn a_file_is_whole_or_it_is_not() {
        let mut file = b"REDIS0011\xfa\x01a\x01b\xfe\x00\xfb\x01\x00\x00\x01k\x03val\xff".to_vec();
        file.extend(CHECKSUM.checksum(&file).to_le_bytes());
        for piece in 1..=file.len() {
            assert_eq!(read(&file, piece), Ok(Rdb { version: 11, bytes: file.len() as u64 }), "{piece}");
        }
        for length in 0..file.len() {
            assert!(read(&file[..length], 7).is_err(), "{length}");
        }
        for at in 0..file.len() {
            let mut changed = file.clone();
            changed[at] ^= 1;
            // The version's last digit is covered by the checksum too.
            assert!(read(&changed, 64).is_err(), "{at}");
        }
    }

    #[test]
    fn the_checksum_is_that_of_redis() {
        // From crc64.c of Redis.
        assert_eq!(CHECKSUM.checksum(b"123456789"), 0xe9c6_d914_c4b8_d9ca);
    }
}
