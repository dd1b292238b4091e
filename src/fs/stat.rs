//! What the system says of one file: `statx`, because it alone tells mounts apart that share a device number.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, StatxTimestamp};

use crate::time::Time;

/// A file's identity within one machine: `st_dev` and `st_ino`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct FileId {
    pub(crate) dev: (u32, u32),
    pub(crate) ino: u64,
}

impl FileId {
    /// Of what `path` leads to, through symbolic links too.
    pub(crate) fn of_path(path: &Path) -> io::Result<Self> {
        Ok(stat(CWD, path.as_os_str().as_bytes(), AtFlags::empty())?.id)
    }
}

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileKind {
    File,
    Directory,
    Symlink,
    Fifo,
    CharDevice,
    BlockDevice,
    Socket,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Stat {
    pub(crate) kind: FileKind,
    /// The lower twelve bits: permissions, setuid, setgid, sticky.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) size: u64,
    /// Bytes that are allocated on disk.
    pub(crate) allocated: u64,
    pub(crate) mtime: Time,
    /// When its attributes changed last.
    pub(crate) ctime: Time,
    /// When it was made, where the filesystem knows.
    pub(crate) born: Option<Time>,
    pub(crate) id: FileId,
    pub(crate) nlink: u64,
    /// Major and minor number of a device.
    pub(crate) device: (u32, u32),
    /// It may not be changed, moved or removed (`chattr +i`), as far as the filesystem says.
    pub(crate) immutable: bool,
    /// It may only grow (`chattr +a`).
    pub(crate) append_only: bool,
    /// The mount that the file was reached through; `None` before Linux 5.8.
    pub(crate) mount: Option<u64>,
}

impl Stat {
    /// Of what is at `path` itself, be it a symbolic link.
    pub(crate) fn of_path(path: &Path) -> io::Result<Self> {
        stat(CWD, path.as_os_str().as_bytes(), AtFlags::SYMLINK_NOFOLLOW)
    }
}

/// Of `name` in `dir`, itself and not what it links to.
pub(crate) fn stat_at(dir: impl AsFd, name: &[u8]) -> io::Result<Stat> {
    stat(dir, name, AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT)
}

/// Of what `handle` has open.
pub(crate) fn stat_handle(handle: impl AsFd) -> io::Result<Stat> {
    stat(handle, b"", AtFlags::EMPTY_PATH)
}

fn stat(dir: impl AsFd, name: &[u8], flags: AtFlags) -> io::Result<Stat> {
    let wanted = StatxFlags::BASIC_STATS | StatxFlags::BTIME | StatxFlags::MNT_ID;
    let found = rustix::fs::statx(dir, name, flags, wanted)?;
    let mode = u32::from(found.stx_mode);
    let kind = match mode & 0o170_000 {
        0o100_000 => FileKind::File,
        0o040_000 => FileKind::Directory,
        0o120_000 => FileKind::Symlink,
        0o010_000 => FileKind::Fifo,
        0o020_000 => FileKind::CharDevice,
        0o060_000 => FileKind::BlockDevice,
        0o140_000 => FileKind::Socket,
        other => return Err(io::Error::other(format!("a file of unknown type {other:o}"))),
    };
    let has_born = found.stx_mask & StatxFlags::BTIME.bits() != 0;
    let has_mount = found.stx_mask & StatxFlags::MNT_ID.bits() != 0
        && found.stx_attributes_mask.contains(StatxAttributes::MOUNT_ROOT);
    Ok(Stat {
        kind,
        mode: mode & 0o7777,
        uid: found.stx_uid,
        gid: found.stx_gid,
        size: found.stx_size,
        allocated: found.stx_blocks.saturating_mul(512),
        mtime: time(&found.stx_mtime),
        ctime: time(&found.stx_ctime),
        born: has_born.then(|| time(&found.stx_btime)),
        id: FileId { dev: (found.stx_dev_major, found.stx_dev_minor), ino: found.stx_ino },
        nlink: u64::from(found.stx_nlink),
        device: (found.stx_rdev_major, found.stx_rdev_minor),
        immutable: found.stx_attributes.contains(StatxAttributes::IMMUTABLE),
        append_only: found.stx_attributes.contains(StatxAttributes::APPEND),
        mount: has_mount.then_some(found.stx_mnt_id),
    })
}

fn time(found: &StatxTimestamp) -> Time {
    Time { secs: found.tv_sec, nanos: found.tv_nsec }
}
