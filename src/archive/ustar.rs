//! One header block: POSIX ustar as it is written, and ustar, GNU and v7 as they are read.

use tar::{Header, UstarHeader};

use crate::archive::{BLOCK_LEN, number};

pub(crate) type Block = [u8; BLOCK_LEN];

/// Type flags (POSIX, "ustar Header Block"; GNU tar manual, "Basic Tar Format").
pub(crate) mod flag {
    pub(crate) const FILE: u8 = b'0';
    pub(crate) const OLD_FILE: u8 = 0;
    pub(crate) const HARD_LINK: u8 = b'1';
    pub(crate) const SYMLINK: u8 = b'2';
    pub(crate) const CHAR_DEVICE: u8 = b'3';
    pub(crate) const BLOCK_DEVICE: u8 = b'4';
    pub(crate) const DIRECTORY: u8 = b'5';
    pub(crate) const FIFO: u8 = b'6';
    pub(crate) const CONTIGUOUS: u8 = b'7';
    pub(crate) const PAX: u8 = b'x';
    pub(crate) const PAX_SOLARIS: u8 = b'X';
    pub(crate) const PAX_GLOBAL: u8 = b'g';
    pub(crate) const GNU_LONG_NAME: u8 = b'L';
    pub(crate) const GNU_LONG_LINK: u8 = b'K';
    pub(crate) const GNU_SPARSE: u8 = b'S';
    pub(crate) const GNU_DUMPDIR: u8 = b'D';
    pub(crate) const GNU_LABEL: u8 = b'V';
}

/// The fields of a ustar header that is to be written.
#[derive(Debug, Default)]
pub(crate) struct HeaderFields<'a> {
    pub(crate) prefix: &'a [u8],
    pub(crate) name: &'a [u8],
    pub(crate) link: &'a [u8],
    pub(crate) flag: u8,
    pub(crate) mode: u32,
    pub(crate) uid: u64,
    pub(crate) gid: u64,
    pub(crate) size: u64,
    pub(crate) mtime: i64,
    pub(crate) device: (u32, u32),
}

impl HeaderFields<'_> {
    /// The block, with its checksum. Names longer than their fields are cut.
    pub(crate) fn encode(&self) -> Block {
        let mut header = Header::new_ustar();
        // `new_ustar` makes a ustar header, so this always holds.
        if let Some(ustar) = header.as_ustar_mut() {
            self.fill(ustar);
        }
        header.as_old_mut().cksum = [b' '; 8];
        let sum: u32 = header.as_bytes().iter().map(|&byte| u32::from(byte)).sum();
        // Six digits and a NUL; the space stays.
        number::put(&mut header.as_old_mut().cksum[..7], i128::from(sum));
        *header.as_bytes()
    }

    fn fill(&self, ustar: &mut UstarHeader) {
        copy(&mut ustar.name, self.name);
        copy(&mut ustar.prefix, self.prefix);
        copy(&mut ustar.linkname, self.link);
        ustar.typeflag = [self.flag];
        number::put(&mut ustar.mode, i128::from(self.mode));
        number::put(&mut ustar.uid, i128::from(self.uid));
        number::put(&mut ustar.gid, i128::from(self.gid));
        number::put(&mut ustar.size, i128::from(self.size));
        number::put(&mut ustar.mtime, i128::from(self.mtime));
        number::put(&mut ustar.dev_major, i128::from(self.device.0));
        number::put(&mut ustar.dev_minor, i128::from(self.device.1));
    }
}

fn copy(field: &mut [u8], value: &[u8]) {
    let length = value.len().min(field.len());
    field[..length].copy_from_slice(&value[..length]);
}

/// Where a block's own checksum lies, which it counts as spaces.
const SUM: std::ops::Range<usize> = 148..156;

/// The bytes of a block with its checksum field as spaces.
fn checksum_bytes(block: &Block) -> impl Iterator<Item = u8> + '_ {
    block.iter().enumerate().map(|(at, &byte)| if SUM.contains(&at) { b' ' } else { byte })
}

/// Whether the block's own checksum holds, counted as unsigned bytes or, as some old programs did, as signed
/// ones.
pub(crate) fn is_header(block: &Block) -> bool {
    let Some(stored) = number::get(&block[SUM]) else { return false };
    // Summed up as a whole, so that the compiler takes many bytes at once.
    let all: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    let field: u32 = block[SUM].iter().map(|&byte| u32::from(byte)).sum();
    let unsigned = all - field + u32::from(b' ') * 8;
    if stored == i128::from(unsigned) {
        return true;
    }
    let signed: i128 = checksum_bytes(block).map(|byte| i128::from(byte.cast_signed())).sum();
    stored == signed
}

/// Reading.
pub(crate) struct Parsed<'a>(&'a Header);

impl<'a> Parsed<'a> {
    pub(crate) fn new(block: &'a Block) -> Self {
        Parsed(Header::from_byte_slice(block))
    }

    pub(crate) fn flag(&self) -> u8 {
        self.0.as_old().linkflag[0]
    }

    /// The name without its prefix, and where the format has one, that.
    pub(crate) fn name(&self) -> (Option<&'a [u8]>, &'a [u8]) {
        let prefix = self.0.as_ustar().filter(|ustar| ustar.prefix[0] != 0);
        (prefix.map(|ustar| text(&ustar.prefix)), text(&self.0.as_old().name))
    }

    pub(crate) fn link(&self) -> &'a [u8] {
        text(&self.0.as_old().linkname)
    }

    pub(crate) fn size(&self) -> Option<u64> {
        number::get(&self.0.as_old().size).and_then(|size| u64::try_from(size).ok())
    }

    pub(crate) fn mode(&self) -> Option<u32> {
        // Old programs put the file type above the twelve bits.
        number::get(&self.0.as_old().mode).and_then(|mode| u32::try_from(mode & 0o7777).ok())
    }

    pub(crate) fn uid(&self) -> Option<u64> {
        number::get(&self.0.as_old().uid).and_then(|id| u64::try_from(id).ok())
    }

    pub(crate) fn gid(&self) -> Option<u64> {
        number::get(&self.0.as_old().gid).and_then(|id| u64::try_from(id).ok())
    }

    pub(crate) fn mtime(&self) -> Option<i64> {
        number::get(&self.0.as_old().mtime).and_then(|secs| i64::try_from(secs).ok())
    }

    pub(crate) fn device(&self) -> Option<(u32, u32)> {
        let (major, minor) = match (self.0.as_ustar(), self.0.as_gnu()) {
            (Some(ustar), _) => (&ustar.dev_major, &ustar.dev_minor),
            (None, Some(gnu)) => (&gnu.dev_major, &gnu.dev_minor),
            (None, None) => return Some((0, 0)),
        };
        let number = |field| number::get(field).and_then(|id| u32::try_from(id).ok());
        Some((number(major)?, number(minor)?))
    }

    /// The size of a file with an old GNU sparse map, holes included.
    pub(crate) fn gnu_real_size(&self) -> Option<u64> {
        number::get(&self.0.as_gnu()?.realsize).and_then(|size| u64::try_from(size).ok())
    }

    /// Whether a block with more of an old GNU sparse map follows.
    pub(crate) fn gnu_sparse_goes_on(&self) -> bool {
        self.0.as_gnu().is_some_and(|gnu| gnu.isextended[0] != 0)
    }
}

/// A field up to its first NUL.
pub(crate) fn text(field: &[u8]) -> &[u8] {
    field.split(|&byte| byte == 0).next().unwrap_or(&[])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_the_one_that_the_tar_crate_makes() {
        let fields = HeaderFields {
            name: b"a/b",
            flag: flag::FILE,
            mode: 0o644,
            uid: 7,
            gid: 8,
            size: 9,
            mtime: 10,
            ..HeaderFields::default()
        };
        let ours = fields.encode();
        let mut theirs = Header::new_ustar();
        theirs.set_path("a/b").unwrap();
        theirs.set_entry_type(tar::EntryType::Regular);
        theirs.set_mode(0o644);
        theirs.set_uid(7);
        theirs.set_gid(8);
        theirs.set_size(9);
        theirs.set_mtime(10);
        theirs.set_device_major(0).unwrap();
        theirs.set_device_minor(0).unwrap();
        let ours_by_tar = Header::from_byte_slice(&ours);
        assert_eq!(ours_by_tar.cksum().unwrap(), {
            theirs.set_cksum();
            theirs.cksum().unwrap()
        });
        assert_eq!(ours_by_tar.path().unwrap().to_str(), Some("a/b"));
        assert!(is_header(&ours));
    }

    #[test]
    fn a_flipped_bit_is_no_header() {
        let good = HeaderFields { name: b"a", flag: flag::FILE, ..HeaderFields::default() }.encode();
        for at in 0..BLOCK_LEN {
            let mut block = good;
            block[at] ^= 1;
            // The byte behind the checksum's digits is not part of the number.
            assert!(!is_header(&block) || (154..156).contains(&at), "{at}");
        }
        assert!(!is_header(&[0xff; BLOCK_LEN]));
    }
}
