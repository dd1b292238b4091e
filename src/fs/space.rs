//! How much a filesystem still takes.

use std::io;

use rustix::fs::{Access, AtFlags, CWD, StatVfsMountFlags, accessat};
use rustix::io::Errno;

use crate::fs::{FileKind, Handle, uninterrupted};

/// `f_type` of filesystems; that of ext is of ext2, ext3 and ext4.
pub(crate) const BCACHEFS_MAGIC: u64 = 0xca45_1a4e;
pub(crate) const BTRFS_MAGIC: u64 = 0x9123_683e;
const EXT_MAGIC: u64 = 0xef53;
const RAMFS_MAGIC: u64 = 0x8584_58f6;
const TMPFS_MAGIC: u64 = 0x0102_1994;
pub(crate) const XFS_MAGIC: u64 = 0x5846_5342;
pub(crate) const ZFS_MAGIC: u64 = 0x2fc1_2fc1;

/// `f_type` of filesystems that compress or share data: how many bytes a file will need is not known there.
const SHARING_MAGIC: [u64; 3] = [BTRFS_MAGIC, ZFS_MAGIC, BCACHEFS_MAGIC];

/// `f_type` of filesystems that list each file with the number that `stat` gives it. An overlay does not for
/// some that were changed (docs.kernel.org/filesystems/overlayfs.html, "Inode properties"), nor does FUSE.
const NUMBERING_MAGIC: [u64; 4] = [EXT_MAGIC, XFS_MAGIC, BTRFS_MAGIC, TMPFS_MAGIC];

/// The directory that fsck makes at the root of ext filesystems.
pub(crate) const LOST_AND_FOUND: &[u8] = b"lost+found";

#[derive(Debug, Clone, Copy)]
pub(crate) struct Space {
    /// Bytes that this user can still write; `u64::MAX` where the filesystem does not say.
    pub(crate) bytes: u64,
    /// Files that can still be made; `None` where the filesystem has no limit.
    pub(crate) inodes: Option<u64>,
    /// It may need less than that.
    pub(crate) shares: bool,
}

pub(crate) fn space(handle: &Handle) -> io::Result<Space> {
    let found = uninterrupted(|| rustix::fs::fstatvfs(handle))?;
    // One in memory without a limit, or one of FUSE, may not say.
    let is_known = found.f_blocks > 0;
    Ok(Space {
        bytes: if is_known { found.f_bavail.saturating_mul(found.f_frsize) } else { u64::MAX },
        inodes: (found.f_files > 0).then_some(found.f_favail),
        shares: SHARING_MAGIC.contains(&filesystem_type(handle)?),
    })
}

impl Handle {
    /// Whether this directory may not be written, and that is not for its mount: of Btrfs, a subvolume may be
    /// read-only, as snapshots often are.
    pub(crate) fn is_read_only_subvolume(&self) -> bool {
        let writable = accessat(CWD, self.proc_path(), Access::WRITE_OK, AtFlags::EACCESS);
        writable == Err(Errno::ROFS)
            && rustix::fs::fstatvfs(self).is_ok_and(|found| !found.f_flag.contains(StatVfsMountFlags::RDONLY))
    }
}

/// The names in the root of a volume, without `lost+found` where that belongs to the filesystem.
pub(crate) fn names_in_root(root: &Handle) -> io::Result<Vec<Vec<u8>>> {
    let mut names = root.names()?;
    if let Some(own) = lost_and_found(root)? {
        names.retain(|name| *name != own);
    }
    Ok(names)
}

/// The name in this directory that belongs to the filesystem, if it is an ext filesystem's root.
pub(crate) fn lost_and_found(root: &Handle) -> io::Result<Option<Vec<u8>>> {
    let is_there = is_ext_root(root)?
        && root.find(LOST_AND_FOUND)?.is_some_and(|found| found.kind == FileKind::Directory);
    Ok(is_there.then(|| LOST_AND_FOUND.to_vec()))
}

/// How many names are in the `lost+found` that belongs to the filesystem: what fsck has found.
pub(crate) fn found_by_fsck(root: &Handle) -> io::Result<usize> {
    match lost_and_found(root)? {
        Some(name) => Ok(root.directory(&name)?.names()?.len()),
        None => Ok(0),
    }
}

/// Whether this is the root directory of an ext filesystem, where `lost+found` belongs to the filesystem.
fn is_ext_root(handle: &Handle) -> io::Result<bool> {
    // EXT4_ROOT_INO is 2.
    Ok(handle.stat()?.id.ino == 2 && filesystem_type(handle)? == EXT_MAGIC)
}

/// Whether the numbers that directories of this filesystem list are those of their files.
pub(crate) fn lists_numbers(handle: &Handle) -> bool {
    filesystem_type(handle).is_ok_and(|kind| NUMBERING_MAGIC.contains(&kind))
}

/// Whether what is in it is lost when it is unmounted.
pub(crate) fn is_in_memory(handle: &Handle) -> io::Result<bool> {
    Ok([TMPFS_MAGIC, RAMFS_MAGIC].contains(&filesystem_type(handle)?))
}

/// Whether it is mounted read-only, by its filesystem or by the mount alone.
pub(crate) fn is_read_only(handle: &Handle) -> io::Result<bool> {
    let found = uninterrupted(|| rustix::fs::fstatvfs(handle))?;
    Ok(found.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY))
}

/// The number by which the kernel knows a kind of filesystem (`f_type` of `statfs(2)`).
pub(crate) fn filesystem_type(handle: &Handle) -> io::Result<u64> {
    Ok(uninterrupted(|| rustix::fs::fstatfs(handle))?.f_type.cast_unsigned())
}
