//! What `redis-cli --rdb -` writes to a pipe: the RDB file, and behind it, if the server sent the file
//! without knowing its length, the mark of 40 bytes by which the end was known. (Redis 7.0 cuts that off a
//! file, and cannot cut it off a pipe.) So that many bytes are held back until it is known what they are.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncWrite, AsyncWriteExt};

use crate::error::{Error, Result};

use super::damaged;
use super::rdb::Reading;

const MARK: usize = 40;

/// Passes an RDB file on, without a mark.
pub(super) struct MarkedRdb<'a> {
    output: &'a mut (dyn AsyncWrite + Send + Unpin),
    /// All but what is held.
    passed: Reading,
    held: Vec<u8>,
}

impl<'a> MarkedRdb<'a> {
    pub(super) fn new(output: &'a mut (dyn AsyncWrite + Send + Unpin)) -> Self {
        MarkedRdb { output, passed: Reading::default(), held: Vec::new() }
    }

    /// Passes all on but as many bytes as a mark has.
    fn poll_pass(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(spare) = self.held.len().checked_sub(MARK).filter(|spare| *spare > 0) {
            let sure = self.held.get(..spare).unwrap_or_default();
            let written = ready!(Pin::new(&mut *self.output).poll_write(context, sure))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.passed.take(sure.get(..written).unwrap_or_default());
            self.held.drain(..written);
        }
        Poll::Ready(Ok(()))
    }

    /// The file's size.
    pub(super) async fn finish(self) -> Result<u64> {
        if let Ok(whole) = self.passed.clone().finish() {
            return Ok(whole.bytes);
        }
        let mut all = self.passed;
        all.take(&self.held);
        let whole = all.finish().map_err(damaged)?;
        self.output.write_all(&self.held).await.map_err(Error::Write)?;
        self.output.flush().await.map_err(Error::Write)?;
        Ok(whole.bytes)
    }
}

impl AsyncWrite for MarkedRdb<'_> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_pass(context))?;
        this.held.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_pass(context))?;
        Pin::new(&mut *this.output).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(context)
    }
}
