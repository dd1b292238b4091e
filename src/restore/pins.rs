//! What must stay where it is while a volume's content is exchanged: mount points, the archive and the configuration
//! in use when they lie inside the volume, and `lost+found` where that is the filesystem's. A directory that leads to one stays too.

use std::collections::HashSet;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use walkdir::{DirEntryExt, WalkDir};

use crate::fs::handle::path as as_path;
use crate::fs::{FileId, Handle, mounts, space};

/// Paths inside one volume that stay, sorted, as there may be many and each name in the volume asks.
#[derive(Debug, Clone, Default)]
pub(super) struct Pins(Vec<Vec<u8>>);

impl Pins {
    /// In the volume whose root is `root`: every mount, every file of `in_use`, `lost+found`, and `others`.
    pub(super) fn find(root: &Handle, in_use: &[FileId], others: Vec<Vec<u8>>) -> io::Result<Self> {
        let path = root.real_path()?;
        let mut pins = others;
        let points = mounts::mount_points()?;
        pins.extend(mounts::below(path.as_os_str().as_bytes(), &points).into_iter().map(<[u8]>::to_vec));
        pins.extend(space::lost_and_found(root)?);
        find_files(root, in_use, &mut pins)?;
        pins.sort_unstable();
        pins.dedup();
        Ok(Pins(pins))
    }

    /// Whether `path` itself stays.
    pub(super) fn holds(&self, path: &[u8]) -> bool {
        self.0.binary_search_by(|pin| pin.as_slice().cmp(path)).is_ok()
    }

    /// Whether `path` is a directory that leads to something that stays.
    pub(super) fn leads(&self, path: &[u8]) -> bool {
        if path.is_empty() {
            return !self.0.is_empty();
        }
        let inside = [path, b"/"].concat();
        let first = self.0.partition_point(|pin| *pin < inside);
        self.0.get(first).is_some_and(|pin| pin.starts_with(&inside))
    }

    /// The pin that `path` lies below.
    pub(super) fn above<'p>(&self, path: &'p [u8]) -> Option<&'p [u8]> {
        let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        slashes.map(|(at, _)| &path[..at]).find(|above| self.holds(above))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Whether `path` lies below `directory`.
pub(super) fn is_below(path: &[u8], directory: &[u8]) -> bool {
    directory.is_empty() && !path.is_empty()
        || path.strip_prefix(directory).is_some_and(|rest| rest.first() == Some(&b'/'))
}

/// Looks for files by their number, which most filesystems list rightly, so that not every file need be looked at.
fn find_files(root: &Handle, in_use: &[FileId], pins: &mut Vec<Vec<u8>>) -> io::Result<()> {
    // The trailing dot makes the walk begin in the directory and not at the link to it.
    let base = root.proc_path().join(".");
    // A mount is not gone into: it stays anyhow. A Btrfs subvolume is none, whatever its device number.
    let mounts: HashSet<PathBuf> = pins.iter().map(|pin| base.join(as_path(pin))).collect();
    let lists_numbers = space::lists_numbers(root);
    let walk = WalkDir::new(&base).follow_links(false).into_iter();
    for entry in walk.filter_entry(|entry| !mounts.contains(entry.path())) {
        // What cannot be looked into cannot be exchanged either: the swap will say so.
        let Ok(entry) = entry else { continue };
        let may_be = !lists_numbers || in_use.iter().any(|id| id.ino == entry.ino());
        if entry.file_type().is_dir() || !may_be {
            continue;
        }
        let relative = entry.path().strip_prefix(&base).map_err(io::Error::other)?;
        let stat = Handle::open_path(entry.path()).and_then(|handle| handle.stat());
        if stat.is_ok_and(|stat| in_use.contains(&stat.id)) {
            pins.push(relative.as_os_str().as_bytes().to_vec());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_in_use_are_found_wherever_they_lie() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("a/b")).unwrap();
        std::fs::write(root.path().join("a/b/archive"), "x").unwrap();
        std::fs::write(root.path().join("other"), "x").unwrap();
        let id = Handle::open_path(&root.path().join("a/b/archive")).unwrap().stat().unwrap().id;
        let pins = Pins::find(&Handle::open_directory(root.path()).unwrap(), &[id], Vec::new()).unwrap();
        assert!(pins.holds(b"a/b/archive") && !pins.holds(b"other"));
        assert!(pins.leads(b"a") && pins.leads(b"a/b") && !pins.leads(b"a/b/archive") && !pins.leads(b"o"));
        assert_eq!(pins.above(b"a/b/archive/x"), Some(&b"a/b/archive"[..]));
        assert_eq!(pins.above(b"a/b/archive2"), None);
        assert!(pins.leads(b"") && !pins.holds(b"") && !Pins::default().leads(b""));
    }

    #[test]
    fn names_that_sort_between_a_directory_and_what_is_in_it_hide_nothing() {
        let mut pins = Pins([&b"a"[..], b"a-b", b"a.b/c", b"a/b", b"a0"].map(<[u8]>::to_vec).to_vec());
        pins.0.sort_unstable();
        for path in [&b"a"[..], b"a-b", b"a/b", b"a0", b"a.b/c"] {
            assert!(pins.holds(path));
        }
        assert!(pins.leads(b"a") && pins.leads(b"a.b") && !pins.leads(b"a-b") && !pins.leads(b"a/b"));
        assert_eq!(pins.above(b"a/b/x"), Some(&b"a"[..]));
        assert_eq!(pins.above(b"a-c"), None);
    }
}
