//! From an entry to the header blocks of its member: a pax extended header and a ustar header. Nothing here depends
//! on the process, the clock or the host, so the same entry always gives the same bytes.

use crate::archive::checksum::{Cover, DIGITS};
use crate::archive::entry::{Entry, Kind, Sparse};
use crate::archive::ustar::{Fields, flag};
use crate::archive::{BLOCK_LEN, padding, pax};

/// The name of every extended header of ours.
pub(crate) const PAX_NAME: &[u8] = b"PaxHeaders/snapshotter";

/// The most that readers take as an extended header's data, padding included; beyond it busybox, bsdtar and Go
/// give up.
const MAX_PAX: usize = 1_048_575;

/// The largest numbers that ustar's octal fields hold.
const MAX_OCTAL_ID: u64 = 0o7_777_777;
const MAX_OCTAL_SIZE: u64 = 0o77_777_777_777;

/// The header blocks of a member, with its checksum still to be filled in.
#[derive(Debug)]
pub(crate) struct Encoded {
    pub(crate) blocks: Vec<u8>,
    /// Where the 64 digits of the checksum stand, now `0` each.
    pub(crate) digits_at: usize,
}

/// The header blocks of `entry`, whose data will be `stored` bytes.
///
/// # Errors
/// The reason, when its attributes are more than any reader takes.
pub(crate) fn encode(entry: &Entry, stored: u64, cover: Cover) -> Result<Encoded, &'static str> {
    let full_name = full_name(entry);
    let map = matches!(entry.sparse, Some(Sparse::Map(_)));
    let name = if map { sparse_name(&full_name) } else { full_name.clone() };
    let split = split(&name);

    let mut records = Vec::new();
    if split.is_none() {
        pax::push(&mut records, b"path", &name);
    }
    push_numbers(&mut records, entry, stored, map);
    for (key, acl) in
        [(&b"SCHILY.acl.access"[..], &entry.acl_access), (b"SCHILY.acl.default", &entry.acl_default)]
    {
        if let Some(text) = acl {
            pax::push(&mut records, key, text);
        }
    }
    for (name, value) in &entry.xattrs {
        pax::push(&mut records, &pax::xattr_key(name), value);
    }
    if map {
        pax::push(&mut records, b"GNU.sparse.major", b"1");
        pax::push(&mut records, b"GNU.sparse.minor", b"0");
        pax::push(&mut records, b"GNU.sparse.name", &full_name);
        pax::push(&mut records, b"GNU.sparse.realsize", entry.size.to_string().as_bytes());
    }
    let mut comment = cover.label().to_vec();
    comment.resize(comment.len() + DIGITS, b'0');
    pax::push(&mut records, b"comment", &comment);
    // The digits are followed by the record's newline.
    let digits_at = BLOCK_LEN + records.len() - 1 - DIGITS;

    let padding = padding(records.len() as u64);
    if records.len() + padding > MAX_PAX {
        return Err(
            "its extended attributes are more than 1 MiB, which no tar reader takes: remove some, or leave it out with `exclude`",
        );
    }
    let pax = Fields {
        name: PAX_NAME,
        flag: flag::PAX,
        mode: 0o644,
        size: records.len() as u64,
        ..Fields::default()
    };
    let mut blocks = Vec::with_capacity(2 * BLOCK_LEN + records.len() + padding);
    blocks.extend_from_slice(&pax.encode());
    blocks.extend_from_slice(&records);
    blocks.resize(blocks.len() + padding, 0);
    let (prefix, name) = split.unwrap_or_else(|| (&[], cut(&name, entry.kind)));
    blocks.extend_from_slice(&ustar(entry, prefix, name, stored).encode());
    Ok(Encoded { blocks, digits_at })
}

/// The records from `linkpath` to `mtime`.
fn push_numbers(records: &mut Vec<u8>, entry: &Entry, stored: u64, map: bool) {
    if entry.link.len() > 100 {
        pax::push(records, b"linkpath", &entry.link);
    }
    if stored > MAX_OCTAL_SIZE && !map {
        pax::push(records, b"size", stored.to_string().as_bytes());
    }
    for (key, id) in [(&b"uid"[..], entry.uid), (b"gid", entry.gid)] {
        if id > MAX_OCTAL_ID {
            pax::push(records, key, id.to_string().as_bytes());
        }
    }
    pax::push(records, b"mtime", entry.mtime.to_pax().as_bytes());
}

fn ustar<'a>(entry: &'a Entry, prefix: &'a [u8], name: &'a [u8], size: u64) -> Fields<'a> {
    Fields {
        prefix,
        name,
        link: &entry.link,
        flag: type_flag(entry.kind),
        mode: entry.mode,
        uid: entry.uid,
        gid: entry.gid,
        size,
        mtime: entry.mtime.secs,
        device: entry.device,
    }
}

fn type_flag(kind: Kind) -> u8 {
    match kind {
        Kind::File => flag::FILE,
        Kind::Directory => flag::DIRECTORY,
        Kind::Symlink => flag::SYMLINK,
        Kind::HardLink => flag::HARD_LINK,
        Kind::Fifo => flag::FIFO,
        Kind::CharDevice => flag::CHAR_DEVICE,
        Kind::BlockDevice => flag::BLOCK_DEVICE,
        Kind::Other(flag) => flag,
    }
}

fn full_name(entry: &Entry) -> Vec<u8> {
    let mut name = entry.name.clone();
    if entry.kind == Kind::Directory {
        name.push(b'/');
    }
    name
}

/// `DIR/GNUSparseFile.0/BASE`, by which readers without sparse files know what they see.
fn sparse_name(name: &[u8]) -> Vec<u8> {
    let base = name.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
    [&name[..base], b"GNUSparseFile.0/", &name[base..]].concat()
}

/// `name` as ustar's prefix and name: whole where it fits, else split at the first `/` with which both parts fit.
fn split(name: &[u8]) -> Option<(&[u8], &[u8])> {
    if name.len() <= 100 {
        return Some((&[], name));
    }
    let slashes = name.iter().enumerate().filter(|&(_, &byte)| byte == b'/').map(|(at, _)| at);
    slashes
        .map(|at| (&name[..at], &name[at + 1..]))
        .find(|(prefix, rest)| (1..=155).contains(&prefix.len()) && (1..=100).contains(&rest.len()))
}

/// What stands in the ustar name of a member with a `path` record.
fn cut(name: &[u8], kind: Kind) -> &[u8] {
    let mut cut = &name[..name.len().min(100)];
    if kind != Kind::Directory {
        while let [rest @ .., b'/'] = cut {
            cut = rest;
        }
    }
    cut
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Time;

    fn named(name: &str, kind: Kind) -> Entry {
        Entry::new(name.as_bytes().to_vec(), kind)
    }

    #[test]
    fn nearly_every_member_has_three_header_blocks() {
        let mut entry = named("volumes/busy_lewin/home/volume1/file.txt", Kind::File);
        entry.mtime = Time { secs: 1_700_000_000, nanos: 123_456_789 };
        let encoded = encode(&entry, 5, Cover::Full).unwrap();
        assert_eq!(encoded.blocks.len(), 3 * BLOCK_LEN);
        assert_eq!(&encoded.blocks[encoded.digits_at - 7..][..=7 + DIGITS], {
            let mut record = b"blake3:".to_vec();
            record.extend_from_slice(&[b'0'; DIGITS]);
            record.push(b'\n');
            record
        });
    }

    #[test]
    fn names_split_at_the_first_slash_that_fits_or_get_a_record() {
        let long = "d".repeat(155);
        let base = "b".repeat(100);
        for (name, split_at) in [
            ("x".repeat(100), Some(None)),
            ("x".repeat(101), None),
            (format!("{long}/{base}"), Some(Some(155))),
            (format!("{long}d/{base}"), None),
            (format!("{long}/{base}b"), None),
            (format!("a/{}/{base}", "c".repeat(60)), Some(Some(62))),
            (format!("{}/", "x".repeat(101)), None),
            (format!("{}/", "x".repeat(99)), Some(None)),
        ] {
            let found =
                split(name.as_bytes()).map(|(prefix, _)| (!prefix.is_empty()).then_some(prefix.len()));
            assert_eq!(found, split_at, "{name}");
        }
    }

    #[test]
    fn a_cut_name_ends_in_a_slash_only_for_directories() {
        let name = format!("{}/{}", "x".repeat(99), "y".repeat(120));
        assert_eq!(cut(name.as_bytes(), Kind::File).len(), 99);
        assert_eq!(cut(name.as_bytes(), Kind::Directory).len(), 100);
    }

    #[test]
    fn too_many_attributes_are_an_error() {
        let mut entry = named("f", Kind::File);
        entry.xattrs = vec![(b"user.a".to_vec(), vec![0; 1_047_000])];
        assert!(encode(&entry, 0, Cover::Full).is_ok());
        entry.xattrs = vec![(b"user.a".to_vec(), vec![0; 1_048_000])];
        assert!(encode(&entry, 0, Cover::Full).is_err());
    }

    #[test]
    fn the_sparse_name_keeps_the_directory() {
        assert_eq!(sparse_name(b"a/b/c"), b"a/b/GNUSparseFile.0/c");
        assert_eq!(sparse_name(b"c"), b"GNUSparseFile.0/c");
    }
}
