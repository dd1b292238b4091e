//! What all threads of one backup use: the archive, the run, and what is kept for several files at once.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::backup::outlet::Outlet;
use crate::error::Result;
use crate::fs::clone::DevicePair;
use crate::observer::Run;
use crate::snapshot::manifest::Warnings;

pub(super) struct BackupRun<'a> {
    pub(super) outlet: Outlet<'a>,
    pub(super) run: &'a Run<'a>,
    pub(super) clones: DevicePair,
    warnings: Mutex<Warnings>,
    /// Buffers that were written, to be used again.
    buffers: Mutex<Vec<Vec<u8>>>,
}

impl<'a> BackupRun<'a> {
    pub(super) fn new(outlet: Outlet<'a>, run: &'a Run<'a>) -> Self {
        BackupRun {
            outlet,
            run,
            clones: DevicePair::default(),
            warnings: Mutex::default(),
            buffers: Mutex::default(),
        }
    }

    /// Fails once the run was asked to stop.
    pub(super) fn check_cancel(&self) -> Result<()> {
        self.run.cancel.check(self.outlet.state())
    }

    pub(super) fn warn(&self, path: &[u8], reason: impl Into<String>) -> Result<()> {
        lock(&self.warnings).warn(self.run, path, reason)
    }

    /// The warnings until now.
    pub(super) fn take_warnings(&self) -> Warnings {
        std::mem::take(&mut lock(&self.warnings))
    }

    /// A buffer with anything in it: one that was used before, if there is one.
    pub(super) fn buffer(&self) -> Vec<u8> {
        lock(&self.buffers).pop().unwrap_or_default()
    }

    pub(super) fn give_back(&self, buffer: Vec<u8>) {
        lock(&self.buffers).push(buffer);
    }
}

/// Locks it. That another thread panicked meanwhile is dealt with where the threads are (see `scheduler`).
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
