//! Outputs and inputs that fail.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use async_trait::async_trait;
use snapshotter_dump::Source;
use snapshotter_dump::source::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

/// A disk with room for so many bytes, which looks for a password in all command lines when it is written to.
pub(crate) struct Disk {
    pub(crate) room: usize,
    pub(crate) secret: &'static str,
    pub(crate) seen: bool,
}

impl AsyncWrite for Disk {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if !self.secret.is_empty() {
            self.seen |= command_lines().iter().any(|line| line.contains(self.secret));
        }
        if bytes.len() > self.room {
            return Poll::Ready(Err(io::Error::from_raw_os_error(28)));
        }
        self.room -= bytes.len();
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// The command lines of all processes.
pub(crate) fn command_lines() -> Vec<String> {
    let entries = std::fs::read_dir("/proc").unwrap();
    let lines = entries.filter_map(|entry| std::fs::read(entry.ok()?.path().join("cmdline")).ok());
    lines.map(|line| String::from_utf8_lossy(&line).into_owned()).filter(|line| !line.is_empty()).collect()
}

/// A dump of which only the beginning is there, or whose store fails after it.
pub(crate) struct Cut<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) fails: bool,
}

#[async_trait]
impl Source for Cut<'_> {
    async fn open(&self) -> io::Result<Bytes> {
        let bytes = io::Cursor::new(self.bytes.to_vec());
        Ok(if self.fails { Box::new(bytes.chain(Broken)) } else { Box::new(bytes) })
    }
}

struct Broken;

impl AsyncRead for Broken {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
    }
}

/// A whole dump that is in memory.
pub(crate) fn whole(bytes: &[u8]) -> Cut<'_> {
    Cut { bytes, fails: false }
}

/// Lengths at which a dump is cut: all of the last ones, and some between.
pub(crate) fn lengths(whole: usize, some: usize, last: usize) -> impl Iterator<Item = usize> {
    let step = (whole / some).max(1);
    (0..whole.saturating_sub(last)).step_by(step).chain(whole.saturating_sub(last)..whole)
}
