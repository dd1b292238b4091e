//! From a member's header blocks to its [`Entry`], whichever program wrote them: v7, ustar, GNU and pax headers, and
//! GNU's sparse formats (POSIX, "pax Interchange Format"; GNU tar manual, "Basic Tar Format").

use crate::archive::checksum::Checksum;
use crate::archive::entry::{Entry, Kind, Sparse};
use crate::archive::pax::{self, Record};
use crate::archive::ustar::{Block, Parsed, flag};
use crate::archive::walk::Member;
use crate::time::Time;

/// What the headers before a member's own say of it.
#[derive(Debug, Default)]
pub(super) struct Extensions {
    /// Where in the header blocks the records of each extended header lie.
    pub(super) pax: Vec<(usize, usize)>,
    pub(super) pax_name_is_ours: bool,
    pub(super) name: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
}

impl Extensions {
    pub(super) fn is_empty(&self) -> bool {
        self.pax.is_empty() && self.name.is_none() && self.link.is_none()
    }
}

/// Decodes the member at `start` from its header blocks, the last of which is `block`, its own.
///
/// # Errors
/// What is malformed.
pub(super) fn decode(
    header: &[u8],
    start: u64,
    block: &Block,
    extensions: &Extensions,
) -> Result<Member, String> {
    let parsed = Parsed::new(block);
    let bad = |what: &str| format!("a header with {what} that is no number");
    let mut entry = Entry::new(extensions.name.clone().unwrap_or_else(|| parsed.name()), Kind::File);
    entry.link = extensions.link.clone().unwrap_or_else(|| parsed.link().to_vec());
    entry.mode = parsed.mode().ok_or_else(|| bad("a mode"))?;
    entry.uid = parsed.uid().ok_or_else(|| bad("an owner"))?;
    entry.gid = parsed.gid().ok_or_else(|| bad("a group"))?;
    entry.mtime = Time { secs: parsed.mtime().ok_or_else(|| bad("a time"))?, nanos: 0 };
    let mut stored = parsed.size().ok_or_else(|| bad("a size"))?;
    let mut checksum = None;
    let mut sparse = SparseRecords::default();
    for &(from, to) in &extensions.pax {
        for record in pax::records(&header[from..to]) {
            let record = record?;
            // Only the very last record of a member is its checksum.
            checksum = None;
            match record.key {
                b"size" if !record.value.is_empty() => {
                    stored = decimal(record.value).ok_or_else(|| bad("a size"))?;
                }
                b"comment" if extensions.pax.len() == 1 && extensions.pax_name_is_ours => {
                    checksum = Checksum::parse(record.value, from + record.value_at);
                }
                key if key.starts_with(b"GNU.sparse.") => sparse.apply(&record)?,
                _ => apply(&mut entry, &record).ok_or_else(|| bad("a pax record"))?,
            }
        }
    }
    entry.kind = kind(parsed.flag(), &entry.name);
    keep_last_of_each(&mut entry.xattrs);
    while entry.name.len() > 1 && entry.name.ends_with(b"/") {
        entry.name.pop();
    }
    match entry.kind {
        Kind::File => {
            entry.size = stored;
            sparse.finish(&mut entry, parsed.flag());
        }
        Kind::Other(_) => {}
        Kind::CharDevice | Kind::BlockDevice => {
            entry.device = parsed.device().ok_or_else(|| bad("a device"))?;
            stored = 0;
        }
        // None of these has data, whatever its size field says.
        Kind::Directory | Kind::Symlink | Kind::HardLink | Kind::Fifo => stored = 0,
    }
    Ok(Member { entry, start, header_len: header.len() as u64, stored, checksum })
}

/// One record of the keys that are not about size or holes; `None` when its value is malformed.
fn apply(entry: &mut Entry, record: &Record) -> Option<()> {
    let value = record.value;
    if let Some(encoded) = record.key.strip_prefix(pax::XATTR) {
        entry.xattrs.push((pax::xattr_name(encoded), value.to_vec()));
        return Some(());
    }
    // POSIX: an empty value takes back what was said before, here what the header itself says.
    if value.is_empty() {
        return Some(());
    }
    match record.key {
        b"path" => entry.name = value.to_vec(),
        b"linkpath" => entry.link = value.to_vec(),
        b"uid" => entry.uid = decimal(value)?,
        b"gid" => entry.gid = decimal(value)?,
        b"mtime" => entry.mtime = Time::from_pax(std::str::from_utf8(value).ok()?)?,
        b"SCHILY.acl.access" => entry.acl_access = Some(value.to_vec()),
        b"SCHILY.acl.default" => entry.acl_default = Some(value.to_vec()),
        _ => {}
    }
    Some(())
}

/// Sorts by name; of several values for one name the last holds. There may be a hundred thousand in one header.
fn keep_last_of_each(xattrs: &mut Vec<(Vec<u8>, Vec<u8>)>) {
    xattrs.reverse();
    xattrs.sort_by(|a, b| a.0.cmp(&b.0));
    xattrs.dedup_by(|later, first| later.0 == first.0);
}

/// The records of GNU's sparse formats.
#[derive(Debug, Default)]
struct SparseRecords {
    seen: bool,
    version: (u64, u64),
    name: Option<Vec<u8>>,
    real_size: Option<u64>,
}

impl SparseRecords {
    fn apply(&mut self, record: &Record) -> Result<(), String> {
        self.seen = true;
        let number = || decimal(record.value).ok_or("a sparse record that is no number");
        match record.key {
            b"GNU.sparse.major" => self.version.0 = number()?,
            b"GNU.sparse.minor" => self.version.1 = number()?,
            b"GNU.sparse.name" => self.name = Some(record.value.to_vec()),
            b"GNU.sparse.realsize" | b"GNU.sparse.size" => self.real_size = Some(number()?),
            _ => {}
        }
        Ok(())
    }

    fn finish(self, entry: &mut Entry, type_flag: u8) {
        if let Some(name) = self.name {
            entry.name = name;
        }
        if let Some(size) = self.real_size {
            entry.size = size;
        }
        if self.seen || type_flag == flag::GNU_SPARSE {
            let known = self.version == (1, 0) && self.real_size.is_some();
            entry.sparse = Some(if known { Sparse::Map(None) } else { Sparse::Foreign });
        }
    }
}

fn kind(type_flag: u8, name: &[u8]) -> Kind {
    match type_flag {
        // Before there were directories of their own, a slash made one.
        flag::FILE | flag::OLD_FILE if name.ends_with(b"/") => Kind::Directory,
        flag::FILE | flag::OLD_FILE | flag::CONTIGUOUS | flag::GNU_SPARSE => Kind::File,
        flag::HARD_LINK => Kind::HardLink,
        flag::SYMLINK => Kind::Symlink,
        flag::CHAR_DEVICE => Kind::CharDevice,
        flag::BLOCK_DEVICE => Kind::BlockDevice,
        flag::DIRECTORY => Kind::Directory,
        flag::FIFO => Kind::Fifo,
        other => Kind::Other(other),
    }
}

fn decimal(value: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(value).ok()?;
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_an_attribute_that_is_there_twice_the_last_holds() {
        let xattr = |name: &str, value: &str| (name.as_bytes().to_vec(), value.as_bytes().to_vec());
        let mut xattrs =
            vec![xattr("b", "1"), xattr("a", "2"), xattr("b", "0"), xattr("c", ""), xattr("a", "1")];
        keep_last_of_each(&mut xattrs);
        assert_eq!(xattrs, [xattr("a", "1"), xattr("b", "0"), xattr("c", "")]);
    }

    #[test]
    fn a_header_full_of_attributes_is_read_at_once() {
        let many: u32 = 150_000;
        let mut xattrs: Vec<_> = (0..many).map(|i| (i.to_be_bytes().to_vec(), Vec::new())).collect();
        let start = std::time::Instant::now();
        keep_last_of_each(&mut xattrs);
        assert!(xattrs.len() == many as usize && start.elapsed().as_secs() < 5, "{:?}", start.elapsed());
    }
}
