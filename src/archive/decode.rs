//! From a member's header blocks to what they say, whichever program wrote them: v7, ustar, GNU and pax
//! headers, and GNU's sparse formats (POSIX, "pax Interchange Format"; GNU tar manual, "Basic Tar Format").
//! Of millions of members most are only looked at, so a [`Head`] borrows from the header blocks and takes no
//! memory of its own.

use std::sync::Arc;

use crate::archive::checksum::Checksum;
use crate::archive::chunk::Chunk;
use crate::archive::entry::{Entry, Kind, Sparse};
use crate::archive::member::{Member, MemberData, Stored};
use crate::archive::pax::{self, Record};
use crate::archive::ustar::{Block, Parsed, flag, text};
use crate::time::Time;

/// What the headers before a member's own say of it, as places in its header blocks.
#[derive(Debug, Default)]
pub(super) struct Extensions {
    /// The records of each extended header.
    pub(super) pax: Vec<(usize, usize)>,
    pub(super) pax_name_is_ours: bool,
    pub(super) name: Option<(usize, usize)>,
    pub(super) link: Option<(usize, usize)>,
}

impl Extensions {
    pub(super) fn is_empty(&self) -> bool {
        self.pax.is_empty() && self.name.is_none() && self.link.is_none()
    }

    pub(super) fn clear(&mut self) {
        self.pax.clear();
        (self.pax_name_is_ours, self.name, self.link) = (false, None, None);
    }
}

/// A member and where it lies, as long as the walk stays at it. All that can be malformed was looked at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head<'w> {
    /// As in [`Entry`], and so are those that follow.
    pub(crate) name: &'w [u8],
    pub(crate) kind: Kind,
    pub(crate) mode: u32,
    pub(crate) uid: u64,
    pub(crate) gid: u64,
    pub(crate) mtime: Time,
    pub(crate) link: &'w [u8],
    pub(crate) device: (u32, u32),
    /// It has extended attributes or ACLs, which [`Head::to_member`] decodes.
    pub(crate) has_attributes: bool,
    /// Where it lies.
    pub(crate) stored: Stored,
    /// Its header blocks.
    pub(crate) header: &'w [u8],
    pub(super) extensions: &'w Extensions,
    pub(super) chunk: &'w Arc<Chunk>,
    /// Where in the chunk its header blocks begin.
    pub(super) at: usize,
}

impl<'w> Head<'w> {
    /// Whether it has several extended headers, as when a header between two of ours is lost.
    pub(crate) fn is_run_together(&self) -> bool {
        self.extensions.pax.len() > 1 && self.extensions.pax_name_is_ours
    }

    /// The records of its extended headers.
    pub(crate) fn records(&self) -> impl Iterator<Item = Record<'w>> {
        let header = self.header;
        // They were all well-formed when the walk came by.
        self.extensions.pax.iter().flat_map(|&(from, to)| pax::records(&header[from..to]).flatten())
    }

    /// What was read of the archive with this member in it, and where its header blocks begin there.
    pub(crate) fn place(&self) -> (&'w Arc<Chunk>, usize) {
        (self.chunk, self.at)
    }

    /// What reads its data.
    pub(crate) fn data(&self) -> MemberData<'w> {
        MemberData::within(self.chunk.bytes(), self.at, self.name, self.stored)
    }

    /// All of it, to keep.
    pub(crate) fn to_member(self) -> Member {
        let mut entry = Entry::new(self.name.to_vec(), self.kind);
        entry.mode = self.mode;
        entry.uid = self.uid;
        entry.gid = self.gid;
        entry.mtime = self.mtime;
        entry.size = self.stored.size;
        entry.link = self.link.to_vec();
        entry.device = self.device;
        entry.sparse = self.stored.sparse;
        if self.has_attributes {
            self.records().for_each(|record| attribute(&mut entry, &record));
            keep_last_of_each(&mut entry.xattrs);
        }
        Member { entry, stored: self.stored }
    }
}

/// Where a member's blocks are.
pub(super) struct Blocks<'w> {
    pub(super) start: u64,
    pub(super) header: &'w [u8],
    /// Where its own header block begins, behind the extended ones.
    pub(super) own: usize,
    pub(super) extensions: &'w Extensions,
    pub(super) chunk: &'w Arc<Chunk>,
    pub(super) at: usize,
}

/// Decodes a member. A name that is stored in two parts is put together in `joined`.
///
/// # Errors
/// What is malformed.
pub(super) fn decode<'w>(blocks: &Blocks<'w>, joined: &'w mut Vec<u8>) -> Result<Head<'w>, String> {
    let block: &Block = blocks.header[blocks.own..].first_chunk().ok_or("a header that is cut off")?;
    let parsed = Parsed::new(block);
    let mut head = of_block(blocks, &parsed, joined)?;
    let sparse = apply_records(&mut head)?;
    head.kind = kind(parsed.flag(), head.name);
    while let [shorter @ .., b'/'] = head.name
        && !shorter.is_empty()
    {
        head.name = shorter;
    }
    match head.kind {
        Kind::File => {
            head.stored.size = head.stored.length;
            sparse.finish(&mut head, &parsed)?;
        }
        Kind::Other(_) => {}
        // A list of what it held follows, of an incremental backup.
        Kind::Directory if parsed.flag() == flag::GNU_DUMPDIR => {}
        Kind::CharDevice | Kind::BlockDevice => {
            head.device = parsed.device().ok_or_else(|| no_number("a device"))?;
            head.stored.length = 0;
        }
        // None of these has data, whatever its size field says.
        Kind::Directory | Kind::Symlink | Kind::HardLink | Kind::Fifo => head.stored.length = 0,
    }
    Ok(head)
}

fn no_number(what: &str) -> String {
    format!("a header with {what} that is no number")
}

/// What the member's own header block says, and GNU's long names before it.
fn of_block<'w>(
    blocks: &Blocks<'w>,
    parsed: &Parsed<'w>,
    joined: &'w mut Vec<u8>,
) -> Result<Head<'w>, String> {
    let &Blocks { start, header, extensions, chunk, at, .. } = blocks;
    let inside = |(from, to): (usize, usize)| text(&header[from..to]);
    let name = match (extensions.name.map(inside), parsed.name()) {
        (Some(long), _) => long,
        (None, (None, name)) => name,
        (None, (Some(prefix), name)) => {
            joined.clear();
            joined.extend_from_slice(prefix);
            joined.push(b'/');
            joined.extend_from_slice(name);
            joined
        }
    };
    Ok(Head {
        name,
        kind: Kind::File,
        mode: parsed.mode().ok_or_else(|| no_number("a mode"))?,
        uid: parsed.uid().ok_or_else(|| no_number("an owner"))?,
        gid: parsed.gid().ok_or_else(|| no_number("a group"))?,
        mtime: Time { secs: parsed.mtime().ok_or_else(|| no_number("a time"))?, nanos: 0 },
        link: extensions.link.map_or_else(|| parsed.link(), inside),
        device: (0, 0),
        has_attributes: false,
        stored: Stored {
            start,
            header_len: header.len() as u64,
            length: parsed.size().ok_or_else(|| no_number("a size"))?,
            size: 0,
            sparse: None,
            checksum: None,
            late: None,
        },
        header,
        extensions,
        chunk,
        at,
    })
}

/// What the records of the extended headers say. Those of sparse files depend on what the member turns out to be.
fn apply_records<'w>(head: &mut Head<'w>) -> Result<SparseRecords<'w>, String> {
    let (header, extensions) = (head.header, head.extensions);
    let mut sparse = SparseRecords::default();
    for &(from, to) in &extensions.pax {
        for record in pax::records(&header[from..to]) {
            let record = record?;
            // Only the very last record of a member is its checksum.
            head.stored.checksum = None;
            match record.key {
                b"size" if !record.value.is_empty() => {
                    head.stored.length = decimal(record.value).ok_or_else(|| no_number("a size"))?;
                }
                b"comment" if extensions.pax.len() == 1 && extensions.pax_name_is_ours => {
                    head.stored.checksum = Checksum::parse(record.value, from + record.value_at);
                }
                key if key.starts_with(b"GNU.sparse.") => sparse.apply(&record)?,
                _ => apply(head, &record).ok_or_else(|| no_number("a pax record"))?,
            }
        }
    }
    Ok(sparse)
}

/// One record of the keys that are not about size or holes; `None` when its value is malformed.
fn apply<'w>(head: &mut Head<'w>, record: &Record<'w>) -> Option<()> {
    let value = record.value;
    if record.key.starts_with(pax::XATTR) {
        head.has_attributes = true;
        return Some(());
    }
    if record.key.starts_with(pax::LIBARCHIVE_XATTR) {
        head.has_attributes = true;
        return pax::libarchive_xattr(record).map(drop);
    }
    // POSIX: an empty value takes back what was said before, here what the header itself says.
    if value.is_empty() {
        return Some(());
    }
    match record.key {
        b"path" => head.name = value,
        b"linkpath" => head.link = value,
        b"uid" => head.uid = decimal(value)?,
        b"gid" => head.gid = decimal(value)?,
        b"mtime" => head.mtime = Time::from_pax(std::str::from_utf8(value).ok()?)?,
        b"SCHILY.acl.access" | b"SCHILY.acl.default" => head.has_attributes = true,
        _ => {}
    }
    Some(())
}

/// One record, if it is of an extended attribute or an ACL.
fn attribute(entry: &mut Entry, record: &Record) {
    let value = record.value.to_vec();
    match record.key {
        b"SCHILY.acl.access" if !value.is_empty() => entry.acl_access = Some(value),
        b"SCHILY.acl.default" if !value.is_empty() => entry.acl_default = Some(value),
        key => {
            let name = key.strip_prefix(pax::XATTR).map(pax::xattr_name);
            let named = name.map(|name| (name, value));
            entry.xattrs.extend(named.or_else(|| pax::libarchive_xattr(record)));
        }
    }
}

/// Sorts by name; of several values for one name the last holds. There may be a hundred thousand in one
/// header.
fn keep_last_of_each(xattrs: &mut Vec<(Vec<u8>, Vec<u8>)>) {
    xattrs.reverse();
    xattrs.sort_by(|a, b| a.0.cmp(&b.0));
    xattrs.dedup_by(|later, first| later.0 == first.0);
}

/// The records of GNU's sparse formats.
#[derive(Debug, Default)]
struct SparseRecords<'w> {
    seen: bool,
    version: (u64, u64),
    name: Option<&'w [u8]>,
    real_size: Option<u64>,
}

impl<'w> SparseRecords<'w> {
    fn apply(&mut self, record: &Record<'w>) -> Result<(), String> {
        self.seen = true;
        let number = || decimal(record.value).ok_or("a sparse record that is no number");
        match record.key {
            b"GNU.sparse.major" => self.version.0 = number()?,
            b"GNU.sparse.minor" => self.version.1 = number()?,
            b"GNU.sparse.name" => self.name = Some(record.value),
            b"GNU.sparse.realsize" | b"GNU.sparse.size" => self.real_size = Some(number()?),
            _ => {}
        }
        Ok(())
    }

    fn finish(self, head: &mut Head<'w>, parsed: &Parsed) -> Result<(), String> {
        if let Some(name) = self.name {
            head.name = name;
        }
        if let Some(size) = self.real_size {
            head.stored.size = size;
        }
        let is_old = parsed.flag() == flag::GNU_SPARSE && !self.seen;
        if is_old {
            head.stored.size = parsed.gnu_real_size().ok_or_else(|| no_number("a size"))?;
        }
        if self.seen || is_old {
            head.stored.sparse = Some(match self.version {
                (1, 0) if self.real_size.is_some() => Sparse::Map,
                (0, 0 | 1) if self.real_size.is_some() || is_old => Sparse::InHeader,
                _ => Sparse::Foreign,
            });
        }
        Ok(())
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
        flag::DIRECTORY | flag::GNU_DUMPDIR => Kind::Directory,
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
