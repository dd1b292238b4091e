//! What can be read only once, taken into a file without a name: nothing is left of it when it is closed, or
//! when this process is killed.

use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, Mode, OFlags};

use crate::fs::{Handle, StoreFile};

/// How long to wait for more before asking whether to go on: a signal need not interrupt a wait.
const PATIENCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };

/// How much of the beginning is shown before the rest is read, in bytes.
const BEGINNING: usize = 512;

/// Standard input, where it is no terminal.
pub(crate) fn stdin() -> Option<impl AsFd> {
    let stdin = io::stdin();
    (!stdin.is_terminal()).then_some(stdin)
}

/// Standard input, where it is a regular file that is still to be read from its beginning. It is opened once
/// more, since a lock of the one that is open would be that of whoever opened it, too.
pub(crate) fn stdin_file() -> Option<Handle> {
    let stdin = io::stdin();
    let stat = rustix::fs::fstat(&stdin).ok()?;
    let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    if !is_file || rustix::fs::tell(&stdin).ok()? != 0 {
        return None;
    }
    Handle::open_linked(Path::new("/proc/self/fd/0")).ok()
}

/// Where temporary files are made: what `TMPDIR` says, or `/tmp`.
pub(crate) fn temporary_directory() -> PathBuf {
    std::env::temp_dir()
}

/// A file without a name on the filesystem of `directory`, open for reading and writing.
pub(crate) fn unnamed(directory: &Path) -> io::Result<Handle> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    match rustix::fs::open(directory, flags, Mode::RUSR | Mode::WUSR) {
        Ok(file) => Ok(Handle::from_file(file.into())),
        // The filesystem has none.
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::ISDIR | rustix::io::Errno::INVAL) => {
            let parent = Handle::open_directory(directory)?;
            let mtime = parent.stat()?.mtime;
            let name = format!(".snapshotter-stream-{}", std::process::id());
            let path = directory.join(&name);
            Handle::create(&path)?;
            let file = Handle::open_for_update(&path);
            let removed = parent.remove_file(name.as_bytes());
            parent.set_mtime(mtime)?;
            removed.and(file)
        }
        Err(errno) => Err(errno.into()),
    }
}

/// Copies all of `from` into `file`. `look` is shown how it begins, and `go_on` is asked before each part.
pub(crate) fn copy<E: From<CopyFailed>>(
    from: &impl AsFd,
    file: &StoreFile,
    look: impl FnOnce(&[u8]) -> Result<(), E>,
    mut go_on: impl FnMut() -> Result<(), E>,
) -> Result<(), E> {
    let mut buffer = vec![0; 1 << 20];
    let (mut held, mut written, mut look) = (0, 0, Some(look));
    loop {
        go_on()?;
        let count = read(from, &mut buffer[held..]).map_err(CopyFailed::Read)?;
        let Some(count) = count else { continue };
        held += count;
        // Small reads, as pipes give them, become large writes.
        if count > 0 && held < BEGINNING.max(buffer.len() / 2) {
            continue;
        }
        if let Some(look) = look.take() {
            look(&buffer[..held.min(BEGINNING)])?;
        }
        file.write_at(&buffer[..held], written).map_err(CopyFailed::Write)?;
        written += held as u64;
        held = 0;
        if count == 0 {
            return Ok(());
        }
    }
}

/// On which side a copy failed.
#[derive(Debug)]
pub(crate) enum CopyFailed {
    Read(io::Error),
    Write(io::Error),
}

/// How much was read, 0 at the end; `None` when there was nothing for a while.
fn read(from: &impl AsFd, buffer: &mut [u8]) -> io::Result<Option<usize>> {
    let ready = poll(&mut [PollFd::new(from, PollFlags::IN)], Some(&PATIENCE));
    match ready.and_then(|ready| if ready == 0 { Ok(None) } else { rustix::io::read(from, buffer).map(Some) })
    {
        Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => Ok(None),
        other => Ok(other?),
    }
}
