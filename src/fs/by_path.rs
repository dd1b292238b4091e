//! What a user names by its path, wherever it lies: the archive, the configuration and the volumes
//! themselves.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{AT_FDCWD, OFlag};

use crate::fs::Handle;

/// `path` as it is without symbolic links; all of it must be there.
pub(crate) fn canonical(path: &Path) -> io::Result<PathBuf> {
    std::fs::canonicalize(path)
}

/// Whether anything is there, for one who follows symbolic links.
pub(crate) fn exists(path: &Path) -> io::Result<bool> {
    path.try_exists()
}

pub(crate) fn remove_file(path: &Path) -> io::Result<()> {
    std::fs::remove_file(path)
}

impl Handle {
    /// The directory at `path`, whose last component must not be a symbolic link; those before may be.
    pub(crate) fn open_directory(path: &Path) -> io::Result<Self> {
        Self::open(AT_FDCWD, path.as_os_str().as_bytes(), OFlag::O_RDONLY | OFlag::O_DIRECTORY)
    }

    /// The node at `path` itself, whatever it is, without opening it for anything.
    pub(crate) fn open_path(path: &Path) -> io::Result<Self> {
        Self::open(AT_FDCWD, path.as_os_str().as_bytes(), OFlag::O_PATH)
    }

    /// The file at `path`, for reading and writing.
    pub(crate) fn open_for_update(path: &Path) -> io::Result<Self> {
        Self::open(AT_FDCWD, path.as_os_str().as_bytes(), OFlag::O_RDWR | OFlag::O_NONBLOCK)
    }

    /// The file at `path`, for reading. It does not wait for a FIFO's other end.
    pub(crate) fn open_for_reading(path: &Path) -> io::Result<Self> {
        Self::open(AT_FDCWD, path.as_os_str().as_bytes(), OFlag::O_RDONLY | OFlag::O_NONBLOCK)
    }

    /// What `path` leads to, through symbolic links too, without opening it for anything.
    pub(crate) fn open_linked_path(path: &Path) -> io::Result<Self> {
        let flags = OFlag::O_PATH.bits();
        Ok(Self::from_file(OpenOptions::new().read(true).custom_flags(flags).open(path)?))
    }

    /// The file that `path` leads to, through symbolic links too, for reading. It does not wait for a FIFO's
    /// other end.
    pub(crate) fn open_linked(path: &Path) -> io::Result<Self> {
        let flags = (OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits();
        Ok(Self::from_file(OpenOptions::new().read(true).custom_flags(flags).open(path)?))
    }

    /// A new file at `path`, for writing, with mode 0600. It fails when the path is taken.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        Ok(Self::from_file(OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?))
    }
}
