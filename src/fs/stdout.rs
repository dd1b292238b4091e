//! Standard output as a place for an archive. Nothing of it is taken for granted: it may be a pipe whose
//! reader has stopped reading, and then the run can still be stopped.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};

use crate::fs::{FileId, FileKind, Stat, stat};
use crate::observer::Cancel;

/// How long to wait for the reader before asking whether to go on.
const PATIENCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };
/// So much a pipe takes at once when it takes anything (`PIPE_BUF`, pipe(7)), in bytes.
const PIPE_BUF: usize = 4096;
/// How often to wait for the reader, all in all, when the run is to stop: a stream should not end between
/// two members, where it could pass for whole (see `archive::stream`).
const GRACE: u32 = 10;
/// `/dev/null`.
const NULL: (u32, u32) = (1, 3);

/// Why nothing is written to standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoStdout {
    Terminal,
    Closed,
    /// A file that has something in it.
    Taken,
}

/// Standard output.
#[derive(Debug)]
pub(crate) struct Stdout {
    file: File,
    stat: Stat,
    /// Writes to it return at once.
    ready: bool,
    grace: u32,
    cancel: Cancel,
}

impl Stdout {
    /// # Errors
    /// When the system says nothing of it; the inner one says why no archive is written there.
    pub(crate) fn open(cancel: Cancel) -> io::Result<Result<Self, NoStdout>> {
        let stdout = io::stdout();
        let stat = stat::stat_handle(&stdout)?;
        let flags = rustix::fs::fcntl_getfl(&stdout)?;
        let is_null = stat.kind == FileKind::CharDevice && stat.device == NULL;
        if stdout.is_terminal() {
            return Ok(Err(NoStdout::Terminal));
        }
        // The runtime puts this in the place of a descriptor that was closed.
        if is_null && flags & OFlags::ACCMODE == OFlags::RDWR {
            return Ok(Err(NoStdout::Closed));
        }
        if stat.kind == FileKind::File && stat.size > 0 {
            return Ok(Err(NoStdout::Taken));
        }
        // The same pipe once more: whether writes to this wait is then for nobody else to notice.
        let nonblocking = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let reopened = (stat.kind == FileKind::Fifo)
            .then(|| rustix::fs::open("/proc/self/fd/1", nonblocking, Mode::empty()).ok())
            .flatten();
        let ready = reopened.is_some() || matches!(stat.kind, FileKind::File | FileKind::CharDevice);
        let file = match reopened {
            Some(file) => file.into(),
            None => stdout.as_fd().try_clone_to_owned()?.into(),
        };
        Ok(Ok(Stdout { file, stat, ready, grace: GRACE, cancel }))
    }

    /// The file that it is, where it is one.
    pub(crate) fn id(&self) -> Option<FileId> {
        (self.stat.kind == FileKind::File).then_some(self.stat.id)
    }

    /// Waits until the reader has made room.
    fn wait(&mut self) -> io::Result<()> {
        loop {
            match poll(&mut [PollFd::new(&self.file, PollFlags::OUT)], Some(&PATIENCE)) {
                Ok(0) | Err(rustix::io::Errno::INTR) => {}
                Ok(_) => return Ok(()),
                Err(errno) => return Err(errno.into()),
            }
            if self.cancel.check("").is_err() {
                self.grace = self.grace.checked_sub(1).ok_or_else(|| io::Error::other("it was stopped"))?;
            }
        }
    }
}

impl Write for Stdout {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        loop {
            let most = if self.ready { data.len() } else { data.len().min(PIPE_BUF) };
            if !self.ready {
                self.wait()?;
            }
            match self.file.write(&data[..most]) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait()?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                written => return written,
            }
        }
    }

    /// Has a file on disk.
    fn flush(&mut self) -> io::Result<()> {
        if self.stat.kind == FileKind::File { self.file.sync_data() } else { Ok(()) }
    }
}
