//! From an entry to the header blocks of its member: a pax extended header and a ustar header. Nothing here
//! depends on the process, the clock or the host, so the same entry always gives the same bytes.

use std::borrow::Cow;

use crate::archive::checksum::{Cover, DIGITS};
use crate::archive::entry::{Entry, Kind, Sparse};
use crate::archive::ustar::{HeaderFields, flag};
use crate::archive::{BLOCK_LEN, padding, pax};

/// The name of every extended header of ours.
pub(crate) const PAX_NAME: &[u8] = b"PaxHeaders/snapshotter";

/// The most that readers take as an extended header's data, padding included; beyond it busybox, bsdtar and
/// Go give up.
const MAX_PAX: usize = 1_048_575;

/// The largest numbers that ustar's octal fields hold.
const MAX_OCTAL_ID: u64 = 0o7_777_777;
const MAX_OCTAL_SIZE: u64 = 0o77_777_777_777;

/// Where the header blocks of a member lie in the buffer that they were appended to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Encoded {
    /// How many bytes they are.
    pub(crate) length: usize,
    /// Where among them the 64 digits of the checksum stand, now `0` each.
    pub(crate) digits_at: usize,
}

/// Appends the header blocks of `entry`, whose data will be `stored` bytes, to `out`. `length` is told how
/// many bytes they need and says how many they get: as many, or whole blocks more.
///
/// # Errors
/// The reason, when its attributes are more than any reader takes; `out` is as it was then.
pub(crate) fn encode(
    out: &mut Vec<u8>,
    entry: &Entry,
    stored: u64,
    cover: Cover,
    length: impl FnOnce(usize) -> usize,
) -> Result<Encoded, &'static str> {
    let start = out.len();
    let full_name = full_name(entry);
    let map = entry.sparse == Some(Sparse::Map);
    let name = if map { Cow::Owned(sparse_name(&full_name)) } else { Cow::Borrowed(&*full_name) };
    let split = split(&name);

    out.resize(start + BLOCK_LEN, 0);
    if split.is_none() {
        pax::push(out, b"path", &name);
    }
    push_numbers(out, entry, stored, map);
    push_attributes(out, entry);
    if map {
        pax::push(out, b"GNU.sparse.major", b"1");
        pax::push(out, b"GNU.sparse.minor", b"0");
        pax::push(out, b"GNU.sparse.name", &full_name);
        pax::push(out, b"GNU.sparse.realsize", entry.size.to_string().as_bytes());
    }
    let checksum_len = pax::record_len(b"comment".len() + cover.label().len() + DIGITS);
    let needed = out.len() - start + checksum_len;
    let needed = needed + padding(needed as u64) + BLOCK_LEN;
    let length = length(needed).max(needed);
    pax::push_filler(out, length - needed);
    pax::push_parts(out, b"comment", &[cover.label(), &[b'0'; DIGITS]]);
    // The digits are followed by the record's newline.
    let digits_at = out.len() - start - 1 - DIGITS;

    let records = out.len() - start - BLOCK_LEN;
    if records + padding(records as u64) > MAX_PAX {
        out.truncate(start);
        return Err(
            "its extended attributes are more than 1 MiB, which no tar reader takes: remove some, or leave it out with `exclude`",
        );
    }
    let pax = HeaderFields {
        name: PAX_NAME,
        flag: flag::PAX,
        mode: 0o644,
        size: records as u64,
        ..HeaderFields::default()
    };
    out[start..start + BLOCK_LEN].copy_from_slice(&pax.encode());
    out.resize(out.len() + padding(records as u64), 0);
    let (prefix, name) = split.unwrap_or_else(|| (&[], cut(&name, entry.kind)));
    out.extend_from_slice(&ustar(entry, prefix, name, stored).encode());
    debug_assert_eq!(out.len() - start, length);
    Ok(Encoded { length, digits_at })
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
    pax::push_time(records, b"mtime", entry.mtime);
}

/// The ACLs and the extended attributes.
fn push_attributes(records: &mut Vec<u8>, entry: &Entry) {
    for (key, acl) in
        [(&b"SCHILY.acl.access"[..], &entry.acl_access), (b"SCHILY.acl.default", &entry.acl_default)]
    {
        if let Some(text) = acl {
            pax::push(records, key, text);
        }
    }
    for (name, value) in &entry.xattrs {
        pax::push(records, &pax::xattr_key(name), value);
    }
}

fn ustar<'a>(entry: &'a Entry, prefix: &'a [u8], name: &'a [u8], size: u64) -> HeaderFields<'a> {
    HeaderFields {
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

fn full_name(entry: &Entry) -> Cow<'_, [u8]> {
    match entry.kind {
        Kind::Directory => Cow::Owned([&entry.name[..], b"/"].concat()),
        _ => Cow::Borrowed(&entry.name),
    }
}

/// `DIR/GNUSparseFile.0/BASE`, by which readers without sparse files know what they see.
fn sparse_name(name: &[u8]) -> Vec<u8> {
    let base = name.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
    [&name[..base], b"GNUSparseFile.0/", &name[base..]].concat()
}

/// `name` as ustar's prefix and name: whole where it fits, else split at the first `/` with which both parts
/// fit.
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

    fn blocks(entry: &Entry, stored: u64, cover: Cover) -> Result<(Vec<u8>, Encoded), &'static str> {
        let mut out = Vec::new();
        let encoded = encode(&mut out, entry, stored, cover, |needed| needed)?;
        Ok((out, encoded))
    }

    #[test]
    fn nearly_every_member_has_three_header_blocks() {
        let mut entry = named("volumes/busy_lewin/home/volume1/file.txt", Kind::File);
        entry.mtime = Time { secs: 1_700_000_000, nanos: 123_456_789 };
        let (blocks, encoded) = blocks(&entry, 5, Cover::Full).unwrap();
        assert_eq!((blocks.len(), encoded.length), (3 * BLOCK_LEN, 3 * BLOCK_LEN));
        assert_eq!(&blocks[encoded.digits_at - 7..][..=7 + DIGITS], {
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
        assert!(blocks(&entry, 0, Cover::Full).is_ok());
        entry.xattrs = vec![(b"user.a".to_vec(), vec![0; 1_048_000])];
        assert!(blocks(&entry, 0, Cover::Full).is_err());
    }

    #[test]
    fn a_header_is_as_long_as_is_asked_for_whatever_the_label() {
        let mut entry = named("f", Kind::File);
        // Around the lengths at which another block is needed.
        for name_len in 300..420 {
            entry.xattrs = vec![(vec![b'x'; name_len], Vec::new())];
            let needed = blocks(&entry, 0, Cover::Header).unwrap().0.len();
            for more in [0, 512, 1024, 3584, 10 * 1024] {
                for cover in [Cover::Full, Cover::Header] {
                    let mut out = vec![7; 512];
                    let encoded = encode(&mut out, &entry, 0, cover, |_| needed + more).unwrap();
                    assert_eq!((encoded.length, out.len()), (needed + more, 512 + needed + more));
                    assert_eq!(
                        &out[512 + encoded.digits_at..][..=DIGITS],
                        [&[b'0'; DIGITS][..], b"\n"].concat()
                    );
                    let size = crate::archive::number::get(&out[512 + 124..][..12]).unwrap();
                    let records = &out[1024..][..usize::try_from(size).unwrap()];
                    assert!(pax::records(records).all(|record| record.is_ok()), "{name_len} {more}");
                }
            }
        }
    }

    #[test]
    fn the_sparse_name_keeps_the_directory() {
        assert_eq!(sparse_name(b"a/b/c"), b"a/b/GNUSparseFile.0/c");
        assert_eq!(sparse_name(b"c"), b"GNUSparseFile.0/c");
    }
}
