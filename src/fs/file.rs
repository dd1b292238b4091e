//! A file that is read and written by offset: the archive, and file volumes. Every write, truncation and sync
//! of an append goes through here, and nowhere else, so that they can be recorded and replayed.

use std::io::{self, IoSliceMut};
use std::os::unix::fs::FileExt;

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use nix::unistd::{Whence, lseek};

use crate::fs::{Handle, Stat};

#[derive(Debug)]
pub(crate) struct StoreFile {
    handle: Handle,
}

impl StoreFile {
    pub(crate) fn new(handle: Handle) -> Self {
        StoreFile { handle }
    }

    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }

    pub(crate) fn stat(&self) -> io::Result<Stat> {
        self.handle.stat()
    }

    /// Fills `buffer` from `offset`, or as much of it as there is; returns how much that was.
    pub(crate) fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.handle.as_file().read_at(&mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    /// Fills `buffer` from `offset` like [`StoreFile::read_at`], and says whether the file goes on after
    /// that.
    pub(crate) fn read_whole(&self, buffer: &mut [u8], offset: u64) -> io::Result<(usize, bool)> {
        let length = buffer.len();
        let mut next = [0];
        let mut parts = [IoSliceMut::new(buffer), IoSliceMut::new(&mut next)];
        let count = match rustix::io::preadv(&self.handle, &mut parts, offset) {
            Ok(count) if count >= length => return Ok((length, count > length)),
            Ok(count) => count,
            Err(rustix::io::Errno::INTR) => 0,
            Err(errno) => return Err(errno.into()),
        };
        let filled = count + self.read_at(&mut buffer[count..], offset + count as u64)?;
        Ok((filled, filled == length && self.read_at(&mut next, offset + filled as u64)? > 0))
    }

    pub(crate) fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        recorded!(
            &self.handle,
            Call::Write { offset, data: data.to_vec() },
            self.handle.as_file().write_all_at(data, offset)
        )
    }

    pub(crate) fn truncate(&self, length: u64) -> io::Result<()> {
        recorded!(&self.handle, Call::Truncate(length), self.handle.as_file().set_len(length))
    }

    /// Data, and the metadata that is needed to find it.
    pub(crate) fn sync_data(&self) -> io::Result<()> {
        recorded!(&self.handle, Call::Sync, self.handle.as_file().sync_data())
    }

    /// Reserves space for the first `length` bytes without changing the size; a filesystem that cannot is no
    /// error.
    pub(crate) fn reserve(&self, length: u64) -> io::Result<()> {
        self.allocate(FallocateFlags::FALLOC_FL_KEEP_SIZE, 0, length).map(drop)
    }

    /// Makes a hole; a filesystem that cannot gets zeros written.
    pub(crate) fn punch(&self, offset: u64, length: u64) -> io::Result<()> {
        let mode = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        recorded!(&self.handle, Call::Punch { offset, length }, self.punch_or_write(mode, offset, length))
    }

    fn punch_or_write(&self, mode: FallocateFlags, offset: u64, length: u64) -> io::Result<()> {
        if self.allocate(mode, offset, length)? {
            return Ok(());
        }
        let zeros = [0; 4096];
        let mut done = 0;
        while done < length {
            let part = usize::try_from(length - done).unwrap_or(zeros.len()).min(zeros.len());
            self.write_at(&zeros[..part], offset + done)?;
            done += part as u64;
        }
        Ok(())
    }

    /// Whether the filesystem can do that.
    fn allocate(&self, mode: FallocateFlags, offset: u64, length: u64) -> io::Result<bool> {
        if length == 0 {
            return Ok(true);
        }
        loop {
            match fallocate(&self.handle, mode, offset.cast_signed(), length.cast_signed()) {
                Err(Errno::EINTR) => {}
                Err(Errno::EOPNOTSUPP | Errno::ENOSYS) => return Ok(false),
                other => return Ok(other.map(|()| true)?),
            }
        }
    }
}

/// A run of bytes of a file that holds data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) offset: u64,
    pub(crate) length: u64,
}

impl Extent {
    pub(crate) fn end(&self) -> u64 {
        self.offset + self.length
    }
}

/// The extents of a file that hold data, in order; all between them is holes.
pub(crate) fn data_extents(handle: &Handle, size: u64) -> io::Result<Vec<Extent>> {
    let mut extents = Vec::new();
    let mut position = 0;
    while position < size {
        let offset = match lseek(handle, position.cast_signed(), Whence::SeekData) {
            Ok(offset) => offset.cast_unsigned(),
            Err(Errno::ENXIO) => break,
            Err(errno) => return Err(errno.into()),
        };
        if offset >= size {
            break;
        }
        let end = match lseek(handle, offset.cast_signed(), Whence::SeekHole) {
            Ok(end) => end.cast_unsigned().min(size),
            // It became shorter since the data was found.
            Err(Errno::ENXIO) => break,
            Err(errno) => return Err(errno.into()),
        };
        if end <= offset {
            break;
        }
        extents.push(Extent { offset, length: end - offset });
        position = end;
    }
    Ok(extents)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn a_file_that_shrinks_while_its_holes_are_looked_for_is_no_error() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("f"), [1; 8192]).unwrap();
        let handle = Handle::open_directory(folder.path()).unwrap().file_for_update(b"f").unwrap();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    handle.as_file().set_len(0).unwrap();
                    handle.as_file().write_all_at(&[1; 8192], 0).unwrap();
                }
            });
            let found: io::Result<Vec<_>> = (0..20_000).map(|_| data_extents(&handle, 8192)).collect();
            done.store(true, Ordering::Relaxed);
            found.unwrap();
        });
    }
}
