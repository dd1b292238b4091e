//! What must stay where it is while a volume's content is exchanged: mount points, the archive and the
//! configuration in use when they lie inside the volume, and `lost+found` where that is the filesystem's. A
//! directory that leads to one stays too.

use std::io;
use std::os::unix::ffi::OsStrExt;

use crate::fs::search::find_files;
use crate::fs::{FileId, Handle, mounts, space};
use crate::restore::only::{Only, is_asked_for, is_below};

/// Paths inside one volume that stay, sorted, as there may be many and each name in the volume asks.
#[derive(Debug, Clone, Default)]
pub(super) struct Pins(Vec<Vec<u8>>);

/// What a restore does with what is at a path now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// Nothing.
    Stays,
    /// It is a directory that stays while what is in it is exchanged. It keeps its metadata, too, where it is
    /// only on the way to a path that alone is restored.
    Opened { on_the_way: bool },
    /// What the snapshot has there, if anything, takes its place.
    Exchanged,
}

impl Pins {
    /// In the volume whose root is `root`: every mount, every file of `in_use`, `lost+found`, and `others`.
    pub(super) fn find(root: &Handle, in_use: &[FileId], others: Vec<Vec<u8>>) -> io::Result<Self> {
        let path = root.real_path()?;
        let mut pins = others;
        let points = mounts::mount_points()?;
        pins.extend(mounts::below(path.as_os_str().as_bytes(), &points).into_iter().map(<[u8]>::to_vec));
        pins.extend(space::lost_and_found(root)?);
        // A mount is not gone into: it stays anyhow. A Btrfs subvolume is none, whatever its device number.
        pins.extend(find_files(root, in_use, &pins)?);
        pins.sort_unstable();
        pins.dedup();
        Ok(Pins(pins))
    }

    /// What becomes of what is at `path`, when all is restored, or `only` some paths. Whoever changes a
    /// volume, or says what would change, asks here.
    pub(super) fn fate(&self, path: &[u8], only: Option<&Only>) -> Fate {
        let on_the_way = only.is_some_and(|only| only.leads(path));
        if self.holds(path) || !is_asked_for(path, only) {
            Fate::Stays
        } else if path.is_empty() || on_the_way || self.leads(path) {
            Fate::Opened { on_the_way }
        } else {
            Fate::Exchanged
        }
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
        let first = self.0.partition_point(|pin| pin.iter().lt(path.iter().chain(b"/")));
        self.0.get(first).is_some_and(|pin| is_below(pin, path))
    }

    /// The pin that `path` lies below.
    pub(super) fn above<'p>(&self, path: &'p [u8]) -> Option<&'p [u8]> {
        let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        slashes.map(|(at, _)| &path[..at]).find(|above| self.holds(above))
    }

    /// Lets `paths` stay too.
    pub(super) fn keep(&mut self, paths: Vec<Vec<u8>>) {
        self.0.extend(paths);
        self.0.sort_unstable();
        self.0.dedup();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
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

    #[test]
    fn what_becomes_of_a_path_is_decided_by_pins_and_by_the_one_path() {
        const OPENED: Fate = Fate::Opened { on_the_way: false };
        const ON_THE_WAY: Fate = Fate::Opened { on_the_way: true };
        let pins = Pins([&b"p/q"[..], b"s"].map(<[u8]>::to_vec).to_vec());
        let only = |path: &str| Only::new(vec![path.as_bytes().to_vec()]);
        for (path, all, only_p, only_within) in [
            ("", OPENED, ON_THE_WAY, ON_THE_WAY),
            ("a", Fate::Exchanged, Fate::Stays, Fate::Stays),
            ("p", OPENED, OPENED, ON_THE_WAY),
            ("p/q", Fate::Stays, Fate::Stays, Fate::Stays),
            ("p/r", Fate::Exchanged, Fate::Exchanged, ON_THE_WAY),
            ("p/r/s", Fate::Exchanged, Fate::Exchanged, Fate::Exchanged),
            ("p/r/s/t", Fate::Exchanged, Fate::Exchanged, Fate::Exchanged),
            ("p/r/t", Fate::Exchanged, Fate::Exchanged, Fate::Stays),
            ("p2", Fate::Exchanged, Fate::Stays, Fate::Stays),
            ("s", Fate::Stays, Fate::Stays, Fate::Stays),
        ] {
            assert_eq!(pins.fate(path.as_bytes(), None), all, "{path}");
            assert_eq!(pins.fate(path.as_bytes(), Some(&only("p"))), only_p, "{path}");
            assert_eq!(pins.fate(path.as_bytes(), Some(&only("p/r/s"))), only_within, "{path}");
        }
    }
}
