//! An open file, directory or node, and what can be done to it or below it by one name. Names never contain a
//! slash here, and none is followed when it is a symbolic link.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use filetime::FileTime;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, openat, readlinkat};
use nix::sys::stat::{Mode, SFlag, UtimensatFlags, fchmod, futimens, makedev, mkdirat, mknodat, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchownat, linkat, symlinkat, unlinkat};
use rustix::fs::RenameFlags;

use crate::fs::stat::{FileKind, Stat, stat_at, stat_handle};
use crate::fs::{DirBuffer, DirNames, uninterrupted};
use crate::time::Time;

const COMMON: OFlag = OFlag::O_CLOEXEC.union(OFlag::O_NOFOLLOW).union(OFlag::O_NOCTTY);

/// In place of an owner or group: it stays as it is.
pub(crate) const LEAVE: u32 = u32::MAX;

/// How long a file server may keep others from opening a file.
const LEASE: Duration = Duration::from_mins(1);

/// Something open. Dropping it closes it.
#[derive(Debug)]
pub(crate) struct Handle {
    file: File,
    /// Opened with `O_PATH`: it names the file, but cannot read, write or list it.
    path_only: bool,
}

impl AsFd for Handle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Opening.
impl Handle {
    pub(crate) fn directory(&self, name: &[u8]) -> io::Result<Self> {
        Self::open(self, name, OFlag::O_RDONLY | OFlag::O_DIRECTORY)
    }

    /// A file, for reading. It does not wait for a FIFO's other end, but for a file server that has to give
    /// up its lease of the file (fcntl(2)), which it must within `/proc/sys/fs/lease-break-time`, 45 s.
    pub(crate) fn file(&self, name: &[u8]) -> io::Result<Self> {
        let mut start = None;
        loop {
            match Self::open(self, name, OFlag::O_RDONLY | OFlag::O_NONBLOCK) {
                Err(error)
                    if error.kind() == io::ErrorKind::WouldBlock
                        && start.get_or_insert_with(Instant::now).elapsed() < LEASE =>
                {
                    std::thread::sleep(Duration::from_millis(50));
                }
                opened => return opened,
            }
        }
    }

    /// A file, for reading and writing.
    pub(crate) fn file_for_update(&self, name: &[u8]) -> io::Result<Self> {
        Self::open(self, name, OFlag::O_RDWR | OFlag::O_NONBLOCK)
    }

    /// Any node, without opening it for anything.
    pub(crate) fn node(&self, name: &[u8]) -> io::Result<Self> {
        Self::open(self, name, OFlag::O_PATH)
    }

    pub(super) fn open(dir: impl AsFd, name: &[u8], flags: OFlag) -> io::Result<Self> {
        let fd = uninterrupted(|| openat(&dir, name, flags | COMMON, Mode::empty()))?;
        Ok(Handle { file: File::from(fd), path_only: flags.contains(OFlag::O_PATH) })
    }

    pub(super) fn from_file(file: File) -> Self {
        Handle { file, path_only: false }
    }

    /// A second handle on the same open file.
    pub(crate) fn duplicate(&self) -> io::Result<Self> {
        Ok(Handle { file: self.file.try_clone()?, path_only: self.path_only })
    }
}

/// Asking.
impl Handle {
    pub(crate) fn stat(&self) -> io::Result<Stat> {
        stat_handle(self)
    }

    pub(crate) fn stat_name(&self, name: &[u8]) -> io::Result<Stat> {
        stat_at(self, name)
    }

    /// Like [`Handle::stat_name`], with `None` for a name that is not there.
    pub(crate) fn find(&self, name: &[u8]) -> io::Result<Option<Stat>> {
        match stat_at(self, name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            other => other.map(Some),
        }
    }

    /// The names in a directory, without `.` and `..`, sorted by their bytes.
    pub(crate) fn names(&self) -> io::Result<Vec<Vec<u8>>> {
        // A new open file, because listing moves the position of the one that it is done with.
        let mut listing = DirNames::default();
        listing.read(&self.directory(b".")?, &mut DirBuffer::default())?;
        Ok(listing.into_names())
    }

    /// Where a symbolic link leads, for a handle on the link itself.
    pub(crate) fn link_target(&self) -> io::Result<Vec<u8>> {
        Ok(readlinkat(self, "")?.into_vec())
    }

    /// The path by which the system knows what is open.
    pub(crate) fn real_path(&self) -> io::Result<PathBuf> {
        std::fs::read_link(self.proc_path())
    }

    /// A path that leads to the open file itself, for the calls that know no handles.
    pub(crate) fn proc_path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.file.as_raw_fd()))
    }

    pub(crate) fn path_only(&self) -> bool {
        self.path_only
    }

    pub(crate) fn as_file(&self) -> &File {
        &self.file
    }
}

/// Making and removing names in a directory.
impl Handle {
    /// A new file for writing, with mode 0600. It fails when the name is taken.
    pub(crate) fn create_file(&self, name: &[u8]) -> io::Result<Self> {
        self.create_file_with(name, 0o600)
    }

    /// The same with these permissions, of which the umask may take some away.
    pub(crate) fn create_file_with(&self, name: &[u8], permissions: u32) -> io::Result<Self> {
        let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL | COMMON;
        let mode = Mode::from_bits_truncate(permissions & 0o777);
        let make = || uninterrupted(|| openat(self, name, flags, mode));
        let fd = recorded!(self, Call::create(self, name)?, make())?;
        Ok(Self::from_file(File::from(fd)))
    }

    pub(crate) fn make_directory(&self, name: &[u8], mode: u32) -> io::Result<()> {
        let mode = Mode::from_bits_truncate(mode);
        Ok(recorded!(self, Call::create(self, name)?, mkdirat(self, name, mode))?)
    }

    pub(crate) fn make_symlink(&self, name: &[u8], target: &[u8]) -> io::Result<()> {
        Ok(recorded!(self, Call::create(self, name)?, symlinkat(target, self, name))?)
    }

    /// A FIFO or device, with mode 0600.
    pub(crate) fn make_node(&self, name: &[u8], kind: FileKind, device: (u32, u32)) -> io::Result<()> {
        let kind = match kind {
            FileKind::CharDevice => SFlag::S_IFCHR,
            FileKind::BlockDevice => SFlag::S_IFBLK,
            _ => SFlag::S_IFIFO,
        };
        let device = makedev(u64::from(device.0), u64::from(device.1));
        let mode = Mode::S_IRUSR | Mode::S_IWUSR;
        Ok(recorded!(self, Call::create(self, name)?, mknodat(self, name, kind, mode, device))?)
    }

    /// `name` becomes another name of `from`'s `original`, which is not followed.
    pub(crate) fn make_hard_link(&self, name: &[u8], from: &Handle, original: &[u8]) -> io::Result<()> {
        Ok(recorded!(
            self,
            Call::Link { name: name.to_vec(), from: from.stat()?.id, original: original.to_vec() },
            linkat(from, original, self, name, AtFlags::empty())
        )?)
    }

    /// Moves `name` to `target`'s `new_name`, which must not be there.
    pub(crate) fn rename(&self, name: &[u8], target: &Handle, new_name: &[u8]) -> io::Result<()> {
        recorded!(
            self,
            Call::Rename { name: name.to_vec(), to: target.stat()?.id, new_name: new_name.to_vec() },
            self.rename_new(name, target, new_name)
        )
    }

    fn rename_new(&self, name: &[u8], target: &Handle, new_name: &[u8]) -> io::Result<()> {
        match rustix::fs::renameat_with(self, name, target, new_name, RenameFlags::NOREPLACE) {
            // The filesystem does not know the flag.
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
                if target.find(new_name)?.is_some() {
                    return Err(io::ErrorKind::AlreadyExists.into());
                }
                Ok(rustix::fs::renameat(self, name, target, new_name)?)
            }
            other => Ok(other?),
        }
    }

    /// Gives `name` what `other` is, and the other way round, both in this directory, in one step.
    pub(crate) fn exchange(&self, name: &[u8], other: &[u8]) -> io::Result<()> {
        Ok(recorded!(
            self,
            Call::Exchange { name: name.to_vec(), other: other.to_vec() },
            rustix::fs::renameat_with(self, name, self, other, RenameFlags::EXCHANGE)
        )?)
    }

    pub(crate) fn remove_file(&self, name: &[u8]) -> io::Result<()> {
        Ok(recorded!(self, Call::Remove(name.to_vec()), unlinkat(self, name, UnlinkatFlags::NoRemoveDir))?)
    }

    pub(crate) fn remove_directory(&self, name: &[u8]) -> io::Result<()> {
        Ok(recorded!(self, Call::Remove(name.to_vec()), unlinkat(self, name, UnlinkatFlags::RemoveDir))?)
    }
}

/// Changing metadata.
impl Handle {
    pub(crate) fn set_owner(&self, uid: u32, gid: u32) -> io::Result<()> {
        let (user, group) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        Ok(recorded!(self, Call::Owner(uid, gid), fchownat(self, "", user, group, AtFlags::AT_EMPTY_PATH))?)
    }

    /// Of anything but a symbolic link, which has none.
    pub(crate) fn set_mode(&self, mode: u32) -> io::Result<()> {
        recorded!(self, Call::Mode(mode), self.change_mode(mode))
    }

    fn change_mode(&self, mode: u32) -> io::Result<()> {
        let mode = Mode::from_bits_truncate(mode);
        if self.path_only {
            let path = self.proc_path();
            let flag = nix::sys::stat::FchmodatFlags::FollowSymlink;
            return Ok(nix::sys::stat::fchmodat(AT_FDCWD, &path, mode, flag)?);
        }
        Ok(fchmod(self, mode)?)
    }

    /// The modification time; the access time stays.
    pub(crate) fn set_mtime(&self, time: Time) -> io::Result<()> {
        recorded!(self, Call::Mtime(time), self.change_mtime(time))
    }

    fn change_mtime(&self, time: Time) -> io::Result<()> {
        let spec = || TimeSpec::new(time.secs, i64::from(time.nanos));
        if self.path_only {
            let path = self.proc_path();
            let flag = UtimensatFlags::FollowSymlink;
            return Ok(utimensat(AT_FDCWD, &path, &TimeSpec::UTIME_OMIT, &spec(), flag)?);
        }
        // The crate negates the seconds, which the first of all times does not survive.
        if time.secs == i64::MIN {
            return Ok(futimens(self, &TimeSpec::UTIME_OMIT, &spec())?);
        }
        let mtime = FileTime::from_unix_time(time.secs, time.nanos);
        filetime::set_file_handle_times(&self.file, None, Some(mtime))
    }

    /// Everything of this filesystem onto its disk.
    pub(crate) fn sync_filesystem(&self) -> io::Result<()> {
        Ok(recorded!(self, Call::SyncAll, nix::unistd::syncfs(self))?)
    }

    /// This file or directory onto its disk.
    pub(crate) fn sync(&self) -> io::Result<()> {
        recorded!(self, Call::Sync, self.file.sync_all())
    }
}

/// The owner and the group that a file has which this process makes.
pub(crate) fn process_owner() -> (u32, u32) {
    (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw())
}

/// `parent` and `name` as one path.
pub(crate) fn join(parent: &[u8], name: &[u8]) -> Vec<u8> {
    let mut path = Vec::with_capacity(parent.len() + 1 + name.len());
    join_into(&mut path, parent, name);
    path
}

/// Like [`join`], in a buffer that is used again.
pub(crate) fn join_into(path: &mut Vec<u8>, parent: &[u8], name: &[u8]) {
    path.clear();
    path.extend_from_slice(parent);
    if name.is_empty() {
        return;
    }
    if !parent.is_empty() && !parent.ends_with(b"/") {
        path.push(b'/');
    }
    path.extend_from_slice(name);
}

/// The directory that a relative path lies in, and its last name.
pub(crate) fn parent_and_name(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&byte| byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (&[], path),
    }
}

/// Bytes as a path.
pub(crate) fn path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}
