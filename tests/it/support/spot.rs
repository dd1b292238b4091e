//! A short path to any entry, however deep it lies: `/proc/self/fd/N/NAME`, where N is its open directory.
//! Trees deeper than `PATH_MAX` can so be made and compared with the calls that take paths.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, mkdirat};

/// An entry of an open directory. The path is good as long as this value lives.
pub(crate) struct Spot {
    _directory: OwnedFd,
    pub(crate) path: PathBuf,
}

impl Spot {
    /// The entry `name` below `root` (empty: `root` itself); directories missing on the way are made.
    pub(crate) fn below(root: &Path, name: &[u8]) -> Spot {
        let mut directory = OwnedFd::from(File::open(root).unwrap());
        let mut parts: Vec<&[u8]> =
            name.split(|byte| *byte == b'/').filter(|part| !part.is_empty()).collect();
        let last = parts.pop().unwrap_or(b".");
        for part in parts {
            let part = OsStr::from_bytes(part);
            match mkdirat(&directory, part, Mode::from_bits_truncate(0o755)) {
                Ok(()) | Err(Errno::EEXIST) => {}
                Err(error) => panic!("cannot make {}: {error}", part.display()),
            }
            directory = open_directory(&directory, part);
        }
        let path = path_of(&directory).join(OsStr::from_bytes(last));
        Spot { _directory: directory, path }
    }
}

/// The directory `name` of an open directory; a symbolic link is not followed.
pub(crate) fn open_directory(parent: &OwnedFd, name: &OsStr) -> OwnedFd {
    let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    openat(parent, name, flags, Mode::empty()).unwrap()
}

/// A path to an open directory that stays short.
pub(crate) fn path_of(directory: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd()))
}
