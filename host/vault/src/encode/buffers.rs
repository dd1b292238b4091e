//! Buffers that go round, since a new one of some MiB costs as much as the kernel takes to clear it.

use std::sync::{Arc, Mutex, PoisonError};

/// No more are kept than a run needs at a time.
const KEPT: usize = 16;

/// Buffers that are not in use.
#[derive(Debug, Clone, Default)]
pub(super) struct Buffers(Arc<Mutex<Vec<Vec<u8>>>>);

impl Buffers {
    /// An empty buffer.
    pub(super) fn take(&self) -> Vec<u8> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    /// Gives one back.
    pub(super) fn give(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if buffer.capacity() > 0 && kept.len() < KEPT {
            kept.push(buffer);
        }
    }
}
