//! The parts of a large file: written by who reads and checks them, or, when a processor has nothing to do,
//! by a thread of their own while the next one is read.

use std::io;
use std::mem;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::thread::{self, Builder, Scope, ScopedJoinHandle};

use crate::error::{Context, Result};
use crate::fs::StoreFile;

/// The smallest file that may have a thread of its own, in bytes.
const MIN_SIZE: u64 = 1 << 20;
/// How many parts may wait to be written.
const WAITING: usize = 2;

/// How many threads wait for work.
pub(super) type Idle = AtomicUsize;

struct Part {
    bytes: Vec<u8>,
    length: usize,
    offset: u64,
}

/// Where the parts of one file go.
pub(super) struct Parts<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    pub(super) file: &'env StoreFile,
    /// For messages.
    pub(super) path: &'env [u8],
    idle: Option<&'env Idle>,
    thread: Option<Thread<'scope>>,
}

struct Thread<'scope> {
    full: SyncSender<Part>,
    empty: Receiver<Vec<u8>>,
    handle: ScopedJoinHandle<'scope, io::Result<()>>,
}

/// Calls `read`, which hands over the parts of a file of `size` bytes. An error of writing comes before one
/// of reading: what was written lies before what was read.
pub(super) fn write_parts(
    file: &StoreFile,
    path: &[u8],
    size: u64,
    idle: Option<&Idle>,
    read: impl FnOnce(&mut Parts) -> Result<()>,
) -> Result<()> {
    thread::scope(|scope| {
        let idle = idle.filter(|_| size >= MIN_SIZE);
        let mut parts = Parts { scope, file, path, idle, thread: None };
        let read = read(&mut parts);
        parts.finish().and(read)
    })
}

impl Parts<'_, '_> {
    /// Writes the first `length` bytes of `buffer` to `offset`, or hands them over. `buffer` is then another
    /// one of the same length.
    pub(super) fn write(&mut self, buffer: &mut Vec<u8>, length: usize, offset: u64) -> Result<()> {
        if self.idle.is_some_and(|idle| idle.load(Ordering::Relaxed) > 0) {
            if self.thread.is_none() {
                self.thread = Thread::start(self.scope, self.file, buffer.len());
            }
            match &self.thread {
                Some(thread) if thread.hand_over(buffer, length, offset) => return Ok(()),
                _ => self.finish()?,
            }
        }
        self.file.write_at(&buffer[..length], offset).context("write", self.path)
    }

    /// Waits until all is written.
    fn finish(&mut self) -> Result<()> {
        let Some(Thread { full, empty, handle }) = self.thread.take() else { return Ok(()) };
        drop((full, empty));
        let written = handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        written.context("write", self.path)
    }
}

impl<'scope> Thread<'scope> {
    /// `None` where there can be no more threads.
    fn start<'env>(scope: &'scope Scope<'scope, 'env>, file: &'env StoreFile, length: usize) -> Option<Self> {
        let (full, parts) = sync_channel::<Part>(WAITING);
        let (give_back, empty) = channel();
        for _ in 0..WAITING {
            give_back.send(vec![0; length]).ok()?;
        }
        let write = move || {
            for Part { bytes, length, offset } in parts {
                file.write_at(&bytes[..length], offset)?;
                // Nobody may be there to take it any more.
                let _ = give_back.send(bytes);
            }
            Ok(())
        };
        let handle = Builder::new().name("writer".to_owned()).spawn_scoped(scope, write).ok()?;
        Some(Thread { full, empty, handle })
    }

    /// Not if the thread has failed.
    fn hand_over(&self, buffer: &mut Vec<u8>, length: usize, offset: u64) -> bool {
        let Ok(next) = self.empty.recv() else { return false };
        let bytes = mem::replace(buffer, next);
        self.full.send(Part { bytes, length, offset }).is_ok()
    }
}

#[cfg(test)]
mod tests;
