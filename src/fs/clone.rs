//! Cloning: a part of one file becomes a part of another without its data being read or written, where both
//! lie on a filesystem that shares extents (`FICLONERANGE`, `ioctl_ficlonerange(2)`). It always may fail, and
//! then the data is to be copied.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use rustix::ioctl::{Opcode, Setter, ioctl, opcode};

use crate::fs::space::{BCACHEFS_MAGIC, BTRFS_MAGIC, XFS_MAGIC, ZFS_MAGIC, filesystem_type};
use crate::fs::{Handle, has_errno};

/// What offsets and lengths must be multiples of, in bytes. A filesystem with larger blocks refuses some.
pub(crate) const CLONE_BLOCK: u64 = 4096;

/// `f_type` of filesystems that may share extents between files; the one without a name is OCFS2.
const SHARING_MAGIC: [u64; 5] = [XFS_MAGIC, BTRFS_MAGIC, BCACHEFS_MAGIC, 0x7461_636f, ZFS_MAGIC];

/// Whether it is worth a try to clone from one file to the other: both lie on filesystems of a kind that may
/// be able to. (A Btrfs subvolume has a device number of its own, so these do not show whether it is the
/// same.)
pub(crate) fn may_share(one: &Handle, other: &Handle) -> bool {
    let kind = |handle: &Handle| filesystem_type(handle).ok();
    kind(one).is_some_and(|one| SHARING_MAGIC.contains(&one)) && kind(one) == kind(other)
}

/// Whether anything can be cloned from one filesystem to another, as far as that is known.
#[derive(Debug, Default)]
pub(crate) struct DevicePair {
    ended: AtomicBool,
}

impl DevicePair {
    /// Whether it is worth a try.
    pub(crate) fn may_clone(&self) -> bool {
        !self.ended.load(Ordering::Relaxed)
    }

    /// Nothing can.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }

    /// Like [`clone_range`]. Returns whether it was done; if not, the range of `to` may hold anything and is
    /// to be written.
    pub(crate) fn clone_range(
        &self,
        from: &Handle,
        from_offset: u64,
        length: u64,
        to: &Handle,
        to_offset: u64,
    ) -> bool {
        const NEVER: [Errno; 4] = [Errno::EXDEV, Errno::EOPNOTSUPP, Errno::ENOTTY, Errno::ENOSYS];
        if !self.may_clone() {
            return false;
        }
        match clone_range(from, from_offset, length, to, to_offset) {
            Ok(()) => true,
            Err(error) => {
                // Any other reason, as EINVAL for a Btrfs file without copy-on-write, is that file's alone.
                if has_errno(&error, &NEVER) {
                    self.end();
                }
                false
            }
        }
    }
}

/// Makes `length` bytes of `from` at `from_offset` those of `to` at `to_offset`; `to` grows if need be. All
/// three numbers are multiples of [`CLONE_BLOCK`], but `length` may also end with `from`.
pub(crate) fn clone_range(
    from: &Handle,
    from_offset: u64,
    length: u64,
    to: &Handle,
    to_offset: u64,
) -> io::Result<()> {
    if length == 0 {
        // The system would take that for all of the rest.
        return Ok(());
    }
    recorded!(
        to,
        Call::write(to, to_offset, length)?,
        clone(from.as_fd(), from_offset, length, to, to_offset)
    )
}

fn clone(from: BorrowedFd, from_offset: u64, length: u64, to: &Handle, to_offset: u64) -> io::Result<()> {
    let range = FileCloneRange {
        src_fd: i64::from(from.as_raw_fd()),
        src_offset: from_offset,
        src_length: length,
        dest_offset: to_offset,
    };
    #[expect(unsafe_code, reason = "no crate has this call")]
    // SAFETY: the number is FICLONERANGE's, which reads one `struct file_clone_range`; `from` is open until
    // it is done.
    let done = unsafe { ioctl(to, Setter::<FICLONERANGE, FileCloneRange>::new(range)) };
    Ok(done?)
}

/// `_IOW(0x94, 13, struct file_clone_range)` of `linux/fs.h`.
const FICLONERANGE: Opcode = opcode::write::<FileCloneRange>(0x94, 13);

/// `struct file_clone_range`.
#[repr(C)]
struct FileCloneRange {
    src_fd: i64,
    src_offset: u64,
    src_length: u64,
    dest_offset: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::StoreFile;

    #[test]
    fn a_range_is_cloned_or_nothing_is_claimed() {
        let folder = tempfile::tempdir().unwrap();
        let root = Handle::open_directory(folder.path()).unwrap();
        let from = StoreFile::new(root.create_file(b"from").unwrap());
        let to = StoreFile::new(root.create_file(b"to").unwrap());
        from.write_at(&[7; 3 * 4096], 0).unwrap();
        let pair = DevicePair::default();
        if pair.clone_range(from.handle(), 4096, 8192, to.handle(), 4096) {
            let mut read = [1; 4 * 4096];
            assert_eq!(to.read_at(&mut read, 0).unwrap(), 3 * 4096);
            assert!(read[..4096] == [0; 4096] && read[4096..3 * 4096] == [7; 8192]);
        } else {
            assert!(!pair.may_clone(), "the temporary directory's filesystem clones whole blocks or nothing");
            assert_eq!(to.stat().unwrap().size, 0);
        }
    }

    #[test]
    fn nothing_is_cloned_for_a_length_of_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let root = Handle::open_directory(folder.path()).unwrap();
        let (from, to) = (root.create_file(b"from").unwrap(), root.create_file(b"to").unwrap());
        clone_range(&from, 0, 0, &to, 0).unwrap();
        assert_eq!(to.stat().unwrap().size, 0);
    }
}
