//! Pieces of an archive as they were read, and the buffers for them, which go round: whoever drops the last
//! share of a piece gives its buffer back. So a walk can hand on what it has read, and no more memory is
//! taken than there are buffers, however long the archive is.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// Bytes that were read from an archive, one after the other.
#[derive(Debug, Default)]
pub(crate) struct Chunk {
    buffer: Vec<u8>,
    filled: usize,
    home: Option<Arc<Chunks>>,
}

impl Chunk {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.buffer[..self.filled]
    }

    /// Whether its buffer comes from [`Chunks`].
    pub(super) fn has_home(&self) -> bool {
        self.home.is_some()
    }

    /// At least `length` bytes to be filled.
    pub(super) fn room(&mut self, length: usize) -> &mut [u8] {
        self.filled = 0;
        if self.buffer.len() < length {
            // What was in it is not needed.
            self.buffer.clear();
            self.buffer.resize(length, 0);
        }
        &mut self.buffer[..length]
    }

    /// So many of them were.
    pub(super) fn set_filled(&mut self, filled: usize) {
        self.filled = filled.min(self.buffer.len());
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        if let Some(home) = self.home.take() {
            home.give(std::mem::take(&mut self.buffer));
        }
    }
}

/// Where the buffers of chunks come from.
#[derive(Debug)]
pub(crate) struct Chunks {
    free: Mutex<Free>,
    given: Condvar,
    /// The largest buffer that is kept, in bytes.
    largest: usize,
}

#[derive(Debug)]
struct Free {
    buffers: Vec<Vec<u8>>,
    /// How many may still be made.
    left: usize,
}

impl Chunks {
    /// At most `count` of them at a time, at least two.
    pub(crate) fn new(count: usize, largest: usize) -> Arc<Self> {
        let free = Free { buffers: Vec::new(), left: count.max(2) };
        Arc::new(Chunks { free: Mutex::new(free), given: Condvar::new(), largest })
    }

    /// An empty chunk; waits for one when all are in use.
    pub(super) fn take(self: &Arc<Self>) -> Chunk {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let buffer = loop {
            if let Some(buffer) = free.buffers.pop() {
                break buffer;
            }
            if free.left > 0 {
                free.left -= 1;
                break Vec::new();
            }
            free = self.given.wait(free).unwrap_or_else(PoisonError::into_inner);
        };
        Chunk { buffer, filled: 0, home: Some(Arc::clone(self)) }
    }

    fn give(&self, mut buffer: Vec<u8>) {
        if buffer.len() > self.largest {
            // A member with an enormous header was in it.
            buffer = Vec::new();
        }
        self.free.lock().unwrap_or_else(PoisonError::into_inner).buffers.push(buffer);
        self.given.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_go_round_and_are_waited_for() {
        let chunks = Chunks::new(2, 100);
        let mut first = chunks.take();
        first.room(100)[0] = 7;
        let address = first.buffer.as_ptr() as usize;
        let second = chunks.take();
        let third = std::thread::scope(|scope| {
            let waiting = scope.spawn(|| chunks.take());
            std::thread::sleep(std::time::Duration::from_millis(20));
            assert!(!waiting.is_finished());
            drop(first);
            waiting.join().unwrap()
        });
        assert_eq!(third.buffer.as_ptr() as usize, address);
        assert!(third.bytes().is_empty() && second.bytes().is_empty());
    }

    #[test]
    fn an_enormous_buffer_is_not_kept() {
        let chunks = Chunks::new(2, 100);
        let mut chunk = chunks.take();
        chunk.room(101);
        drop(chunk);
        assert_eq!(chunks.take().buffer.capacity(), 0);
    }
}
