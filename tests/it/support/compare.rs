//! What two trees have in common, down to the last attribute that the product promises to keep.
//!
//! A `Picture` is taken at one moment, so it also serves to show that a command changed nothing.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Display;
use std::fs::{self, File, Metadata};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt};
use std::path::Path;

use nix::errno::Errno;
use nix::unistd::{Whence, lseek};
use walkdir::WalkDir;

use super::spot::{open_directory, path_of};

/// Holes smaller than this may be filled: no filesystem keeps them.
const BLOCK: u64 = 4096;

/// Labels belong to the host, and XFS shows its ACLs a second time.
const NOT_KEPT: [&[u8]; 3] = [b"security.selinux", b"trusted.SGI_ACL_FILE", b"trusted.SGI_ACL_DEFAULT"];

/// A tree at one moment: its entries by their names (the root's is empty).
#[derive(Clone)]
pub(crate) struct Picture {
    pub(crate) entries: BTreeMap<Vec<u8>, Entry>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    pub(crate) kind: &'static str,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime: (i64, i64),
    pub(crate) size: u64,
    content: blake3::Hash,
    /// Where there is data, as offsets of start and end, in order.
    pub(crate) data: Vec<(u64, u64)>,
    pub(crate) target: Vec<u8>,
    device: u64,
    /// The first name of the same file, if it has several in this tree.
    pub(crate) first_name: Vec<u8>,
    pub(crate) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// Panics with every difference there is.
#[track_caller]
pub(crate) fn assert_same_tree(expected: impl AsRef<Path>, found: impl AsRef<Path>) {
    Picture::of(expected).assert_same(found);
}

impl Picture {
    /// The tree at `root`, or the single file, link or node there.
    pub(crate) fn of(root: impl AsRef<Path>) -> Picture {
        let root = root.as_ref();
        let mut entries = BTreeMap::new();
        if fs::symlink_metadata(root).unwrap().is_dir() {
            walk(&OwnedFd::from(File::open(root).unwrap()), b"", &mut entries);
        }
        entries.insert(Vec::new(), Entry::of(root));
        let mut inodes = HashMap::new();
        let entries = entries
            .into_iter()
            .map(|(name, (inode, mut entry))| {
                entry.first_name.clone_from(inodes.entry(inode).or_insert_with(|| name.clone()));
                (name, entry)
            })
            .collect();
        Picture { entries }
    }

    /// The difference of an entry, `name: what: expected, found`, for each there is.
    pub(crate) fn differences(&self, found: &Picture) -> Vec<String> {
        let mut all = Vec::new();
        for (name, entry) in &self.entries {
            match found.entries.get(name) {
                None => all.push(format!("{}: missing", name.escape_ascii())),
                Some(other) => entry.differences(other, &mut |what| {
                    all.push(format!("{}: {what}", name.escape_ascii()));
                }),
            }
        }
        let more = found.entries.keys().filter(|name| !self.entries.contains_key(*name));
        all.extend(more.map(|name| format!("{}: should not be there", name.escape_ascii())));
        all
    }

    /// Panics with every difference between this picture and the tree at `found`.
    #[track_caller]
    pub(crate) fn assert_same(&self, found: impl AsRef<Path>) {
        self.assert_same_picture(&Picture::of(found));
    }

    #[track_caller]
    pub(crate) fn assert_same_picture(&self, found: &Picture) {
        let differences = self.differences(found);
        assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
    }

    /// The entries whose names `keep` holds for, as if there were no others.
    pub(crate) fn part(&self, keep: impl Fn(&[u8]) -> bool) -> Picture {
        let mut first_names = HashMap::new();
        let kept = self.entries.iter().filter(|(name, _)| keep(name));
        let entries = kept.map(|(name, entry)| {
            let first: &Vec<u8> = first_names.entry(&entry.first_name).or_insert(name);
            (name.clone(), Entry { first_name: first.clone(), ..entry.clone() })
        });
        Picture { entries: entries.collect() }
    }

    pub(crate) fn entry(&self, name: &str) -> &Entry {
        self.entries.get(name.as_bytes()).unwrap_or_else(|| panic!("no entry {name}"))
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.entries.contains_key(name.as_bytes())
    }
}

/// Device and inode: what makes two names one file. A directory is never another's.
type Inode = (u64, u64);

impl Entry {
    fn of(path: &Path) -> (Inode, Entry) {
        let metadata = fs::symlink_metadata(path).unwrap();
        let kind = kind_of(&metadata);
        let (data, content) = if kind == "file" { content_of(path) } else { (Vec::new(), blake3::hash(b"")) };
        let target = if kind == "symlink" {
            fs::read_link(path).unwrap().into_os_string().into_encoded_bytes()
        } else {
            Vec::new()
        };
        let entry = Entry {
            kind,
            mode: metadata.mode() & 0o7777,
            uid: metadata.uid(),
            gid: metadata.gid(),
            mtime: (metadata.mtime(), metadata.mtime_nsec()),
            size: if kind == "directory" { 0 } else { metadata.len() },
            content,
            data,
            target,
            device: metadata.rdev(),
            first_name: Vec::new(),
            xattrs: xattrs_of(path),
        };
        ((metadata.dev(), metadata.ino()), entry)
    }

    fn differences(&self, found: &Entry, tell: &mut dyn FnMut(String)) {
        if self.kind != found.kind {
            return tell(format!("kind: {}, {}", self.kind, found.kind));
        }
        unequal("mode", format!("{:04o}", self.mode), format!("{:04o}", found.mode), tell);
        unequal("uid", self.uid, found.uid, tell);
        unequal("gid", self.gid, found.gid, tell);
        unequal("mtime", seconds(self.mtime), seconds(found.mtime), tell);
        unequal("size", self.size, found.size, tell);
        unequal("content", self.content, found.content, tell);
        unequal("device", self.device, found.device, tell);
        unequal("target", self.target.escape_ascii(), found.target.escape_ascii(), tell);
        unequal("hard link to", self.first_name.escape_ascii(), found.first_name.escape_ascii(), tell);
        if self.size == found.size {
            for (start, end) in filled_holes(&self.data, &found.data, self.size) {
                tell(format!("hole at {start}..{end} is filled"));
            }
        }
        for (name, value) in &self.xattrs {
            let name_shown = name.escape_ascii();
            match found.xattrs.get(name) {
                None => tell(format!("xattr {name_shown}: missing")),
                Some(other) => {
                    let what = format!("xattr {name_shown}");
                    unequal(&what, value.escape_ascii(), other.escape_ascii(), tell);
                }
            }
        }
        for name in found.xattrs.keys().filter(|name| !self.xattrs.contains_key(*name)) {
            tell(format!("xattr {}: should not be there", name.escape_ascii()));
        }
    }
}

fn walk(directory: &OwnedFd, name: &[u8], entries: &mut BTreeMap<Vec<u8>, (Inode, Entry)>) {
    for entry in WalkDir::new(path_of(directory)).min_depth(1).max_depth(1) {
        let entry = entry.unwrap();
        let last = entry.file_name();
        let mut full = name.to_vec();
        if !full.is_empty() {
            full.push(b'/');
        }
        full.extend(last.as_bytes());
        if entry.file_type().is_dir() {
            walk(&open_directory(directory, last), &full, entries);
        }
        entries.insert(full, Entry::of(entry.path()));
    }
}

pub(crate) fn kind_of(metadata: &Metadata) -> &'static str {
    let kind = metadata.file_type();
    match () {
        () if kind.is_file() => "file",
        () if kind.is_dir() => "directory",
        () if kind.is_symlink() => "symlink",
        () if kind.is_fifo() => "fifo",
        () if kind.is_char_device() => "char device",
        () if kind.is_block_device() => "block device",
        () => "socket",
    }
}

/// Where a file's data is, and a hash of its content that does not depend on where its holes are.
fn content_of(path: &Path) -> (Vec<(u64, u64)>, blake3::Hash) {
    const CHUNK: usize = 512;
    let file = File::open(path).unwrap();
    let size = file.metadata().unwrap().len();
    let extents = extents(&file, size);
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 1 << 20];
    for (start, end) in &extents {
        let mut offset = start - start % CHUNK as u64;
        while offset < *end {
            let wanted = usize::try_from(end - offset).unwrap_or(usize::MAX).min(buffer.len());
            let wanted = wanted.next_multiple_of(CHUNK).min(buffer.len());
            let wanted = wanted.min(usize::try_from(size - offset).unwrap_or(usize::MAX));
            file.read_exact_at(&mut buffer[..wanted], offset).unwrap();
            for chunk in buffer[..wanted].chunks(CHUNK) {
                if chunk.iter().any(|byte| *byte != 0) {
                    hasher.update(&offset.to_le_bytes()).update(chunk);
                }
                offset += chunk.len() as u64;
            }
        }
    }
    (extents, hasher.finalize())
}

fn extents(file: &File, size: u64) -> Vec<(u64, u64)> {
    let seek = |offset: u64, whence| {
        lseek(file, i64::try_from(offset).unwrap(), whence).map(|found| u64::try_from(found).unwrap())
    };
    let mut all = Vec::new();
    let mut offset = 0;
    while offset < size {
        match seek(offset, Whence::SeekData) {
            Err(Errno::ENXIO) => break,
            start => {
                let start = start.unwrap();
                offset = seek(start, Whence::SeekHole).unwrap().min(size);
                all.push((start, offset));
            }
        }
    }
    all
}

/// The holes of at least a block between `data`, in which `found` has data.
fn filled_holes(data: &[(u64, u64)], found: &[(u64, u64)], size: u64) -> Vec<(u64, u64)> {
    let starts = std::iter::once(0).chain(data.iter().map(|(_, end)| *end));
    let ends = data.iter().map(|(start, _)| *start).chain(std::iter::once(size));
    let mut filled = Vec::new();
    for (start, end) in starts.zip(ends) {
        for (data_start, data_end) in found {
            let (from, to) = (start.max(*data_start), end.min(*data_end));
            if from < to && to - from >= BLOCK {
                filled.push((from, to));
            }
        }
    }
    filled
}

fn xattrs_of(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let names = xattr::list(path).unwrap();
    names
        .filter(|name| !NOT_KEPT.contains(&name.as_bytes()))
        .map(|name| {
            let value = xattr::get(path, &name).unwrap().unwrap();
            (name.into_encoded_bytes(), value)
        })
        .collect()
}

fn seconds((seconds, nanoseconds): (i64, i64)) -> String {
    format!("{seconds}s + {nanoseconds}ns")
}

fn unequal(what: &str, expected: impl Display, found: impl Display, tell: &mut dyn FnMut(String)) {
    let (expected, found) = (expected.to_string(), found.to_string());
    if expected != found {
        tell(format!("{what}: {expected}, {found}"));
    }
}
