//! Trees for volumes, with every kind of entry and every attribute that the product promises to keep.

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, lchown, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use filetime::FileTime;
use nix::sys::stat::{Mode, SFlag, makedev, mknod};

use super::spot::Spot;

/// Makes a tree below a directory. Names are bytes, parents are made as needed, and attributes belong to the
/// entry that was named last (at first the root itself).
#[must_use = "times of directories are only right after done()"]
pub(crate) struct Tree {
    root: PathBuf,
    current: Vec<u8>,
    times: Vec<(Vec<u8>, FileTime)>,
}

impl Tree {
    /// A tree at `root`, which is made if it does not exist.
    pub(crate) fn at(root: impl AsRef<Path>) -> Self {
        fs::create_dir_all(&root).unwrap();
        Tree { root: root.as_ref().to_owned(), current: Vec::new(), times: Vec::new() }
    }

    /// An entry that is there already, to give it attributes.
    pub(crate) fn at_entry(mut self, name: impl AsRef<[u8]>) -> Self {
        self.current = name.as_ref().to_vec();
        self
    }

    pub(crate) fn file(self, name: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> Self {
        self.make(name, |path| fs::write(path, content).unwrap())
    }

    pub(crate) fn dir(self, name: impl AsRef<[u8]>) -> Self {
        self.make(name, |path| fs::create_dir(path).unwrap())
    }

    pub(crate) fn symlink(self, name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        self.make(name, |path| {
            symlink(OsStr::from_bytes(target.as_ref()), path).unwrap();
        })
    }

    /// A second name for the entry `to` of this tree; a symbolic link is linked, not followed.
    pub(crate) fn hard_link(self, name: impl AsRef<[u8]>, to: impl AsRef<[u8]>) -> Self {
        let to = Spot::below(&self.root, to.as_ref());
        self.make(name, |path| fs::hard_link(&to.path, path).unwrap())
    }

    pub(crate) fn fifo(self, name: impl AsRef<[u8]>) -> Self {
        self.node(name, SFlag::S_IFIFO, 0, 0)
    }

    pub(crate) fn char_device(self, name: impl AsRef<[u8]>, major: u64, minor: u64) -> Self {
        self.node(name, SFlag::S_IFCHR, major, minor)
    }

    pub(crate) fn block_device(self, name: impl AsRef<[u8]>, major: u64, minor: u64) -> Self {
        self.node(name, SFlag::S_IFBLK, major, minor)
    }

    pub(crate) fn socket(self, name: impl AsRef<[u8]>) -> Self {
        self.make(name, |path| drop(UnixListener::bind(path).unwrap()))
    }

    /// A file of `size` bytes that is a hole but for `data`: offsets and what stands there.
    pub(crate) fn sparse(self, name: impl AsRef<[u8]>, size: u64, data: &[(u64, &[u8])]) -> Self {
        self.make(name, |path| {
            let file = File::create_new(path).unwrap();
            file.set_len(size).unwrap();
            for (offset, bytes) in data {
                file.write_all_at(bytes, *offset).unwrap();
            }
        })
    }

    pub(crate) fn mode(self, mode: u32) -> Self {
        fs::set_permissions(&self.here().path, Permissions::from_mode(mode)).unwrap();
        self
    }

    /// Call it before `mode` and `xattr`: a change of owner clears setuid, setgid and capabilities.
    pub(crate) fn owner(self, uid: u32, gid: u32) -> Self {
        lchown(&self.here().path, Some(uid), Some(gid)).unwrap();
        self
    }

    pub(crate) fn mtime(mut self, seconds: i64, nanoseconds: u32) -> Self {
        let time = FileTime::from_unix_time(seconds, nanoseconds);
        set_mtime(&self.here().path, time);
        self.times.push((self.current.clone(), time));
        self
    }

    pub(crate) fn xattr(self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        xattr::set(&self.here().path, OsStr::from_bytes(name.as_ref()), value.as_ref()).unwrap();
        self
    }

    /// An ACL of the kernel's form: `(tag, permissions, id)`, see acl(5).
    pub(crate) fn acl(self, kind: &str, entries: &[(u16, u16, u32)]) -> Self {
        let mut value = 2_u32.to_le_bytes().to_vec();
        for (tag, permissions, id) in entries {
            value.extend(tag.to_le_bytes());
            value.extend(permissions.to_le_bytes());
            value.extend(id.to_le_bytes());
        }
        self.xattr(format!("system.posix_acl_{kind}"), value)
    }

    /// Sets the times of directories, which change while entries are made in them, and gives the root.
    pub(crate) fn done(self) -> PathBuf {
        for (name, time) in self.times.iter().rev() {
            set_mtime(&Spot::below(&self.root, name).path, *time);
        }
        self.root
    }

    fn node(self, name: impl AsRef<[u8]>, kind: SFlag, major: u64, minor: u64) -> Self {
        let mode = Mode::from_bits_truncate(0o644);
        self.make(name, |path| {
            mknod(path, kind, mode, makedev(major, minor)).unwrap();
        })
    }

    fn make(mut self, name: impl AsRef<[u8]>, make: impl FnOnce(&Path)) -> Self {
        self.current = name.as_ref().to_vec();
        make(&self.here().path);
        self
    }

    fn here(&self) -> Spot {
        Spot::below(&self.root, &self.current)
    }
}

/// Sets the time of change of any entry, of a symbolic link itself.
pub(crate) fn set_mtime(path: &Path, time: FileTime) {
    filetime::set_symlink_file_times(path, time, time).unwrap();
}

/// Bytes that repeat nowhere at a distance of whole blocks.
pub(crate) fn pattern(size: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(next).flatten().take(size).collect()
}
