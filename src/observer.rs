//! How the library reports while it works: it never prints, it calls an [`Observer`].

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
pub use crate::warning::Warning;

/// What a run is busy with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Reading volumes into the archive.
    BackingUp,
    /// Reading the archive into the staging directories.
    Restoring,
    /// Reading the archive and comparing checksums.
    Verifying,
    /// Waiting until all that was written is on disk.
    Syncing,
}

/// Receives what a run reports while it goes on. All methods have empty defaults; they may be called from any thread.
pub trait Observer: Sync {
    /// Something that the user should know and may have to mend.
    fn warning(&self, _warning: &Warning) {}
    /// Something worth a line, and in order.
    fn note(&self, _text: &str) {}
    /// A phase begins that will handle `bytes` bytes, where that is known.
    fn begin(&self, _phase: Phase, _bytes: Option<u64>) {}
    /// A member was stored, restored or checked; `name` is its name in the archive or its path.
    fn member(&self, _name: &[u8]) {}
    /// `count` more bytes were handled.
    fn bytes(&self, _count: u64) {}
}

/// Keeps silent.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Observer for Silent {}

/// Asks a run to stop: it then puts everything back and fails with [`Error::Stopped`].
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<AtomicUsize>);

impl Cancel {
    /// What a signal handler sets to the number of its signal.
    pub fn signal(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.0)
    }

    /// Asks the run to stop.
    pub fn stop(&self) {
        self.0.store(usize::MAX, Ordering::Relaxed);
    }

    /// Fails once the run was asked to stop; `state` says how things then are.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub fn check(&self, state: &'static str) -> Result<()> {
        let signal = match self.0.load(Ordering::Relaxed) {
            0 => return Ok(()),
            1 => "SIGHUP",
            2 => "SIGINT",
            15 => "SIGTERM",
            _ => "a signal",
        };
        Err(Error::Stopped { signal, state })
    }
}

/// What every run gets: who receives its reports, when to stop, and how strict to be.
#[derive(Clone)]
pub struct Run<'a> {
    /// Receives what the run reports.
    pub observer: &'a dyn Observer,
    /// When to stop.
    pub cancel: Cancel,
    /// Whether a warning is an error.
    pub strict: bool,
}

impl<'a> Run<'a> {
    /// Reports to `observer`, is never cancelled, and lets warnings pass.
    pub fn new(observer: &'a dyn Observer) -> Self {
        Run { observer, cancel: Cancel::default(), strict: false }
    }

    /// Reports the warning, or fails when strict.
    pub(crate) fn warn(&self, path: &[u8], reason: impl Into<String>) -> Result<Warning> {
        let warning = Warning { path: path.to_vec(), reason: reason.into() };
        if self.strict {
            return Err(Error::Strict(warning));
        }
        self.observer.warning(&warning);
        Ok(warning)
    }
}

impl Default for Run<'_> {
    fn default() -> Self {
        Run::new(&Silent)
    }
}
