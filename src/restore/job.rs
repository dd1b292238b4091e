//! All that the steps of one restore share.

use std::cell::RefCell;
use std::sync::Arc;

use crate::archive::open::Reader;
use crate::config::Config;
use crate::error::Result;
use crate::fs::FileId;
use crate::observer::Run;
use crate::restore::choice::Choice;
use crate::restore::options::RestoreOptions;
use crate::restore::spare::Spare;
use crate::restore::survey::Survey;
use crate::restore::wanted::Wanted;
use crate::snapshot::Snapshot;
use crate::snapshot::manifest::Warnings;

pub(super) struct Job<'a> {
    pub(super) config: &'a Config,
    pub(super) reader: &'a Arc<Reader>,
    pub(super) snapshot: &'a Snapshot,
    pub(super) wanted: &'a [Wanted],
    /// The one path inside the one wanted volume that is to be restored.
    pub(super) only: Option<&'a [u8]>,
    pub(super) survey: &'a Survey,
    pub(super) spare: Spare,
    pub(super) options: &'a RestoreOptions,
    pub(super) run: &'a Run<'a>,
    pub(super) warnings: RefCell<Warnings>,
}

impl<'a> Job<'a> {
    pub(super) fn new(
        config: &'a Config,
        options: &'a RestoreOptions,
        choice: &'a Choice,
        run: &'a Run<'a>,
    ) -> Result<Self> {
        let Choice { reader, snapshot, wanted, only, survey, .. } = choice;
        let (only, spare) = (only.as_deref(), Spare::of(reader)?);
        Ok(Job {
            config,
            reader,
            snapshot,
            wanted,
            only,
            survey,
            spare,
            options,
            run,
            warnings: RefCell::default(),
        })
    }

    /// The archive and the configuration.
    pub(super) fn in_use(&self) -> Vec<FileId> {
        self.config.in_use(self.reader.id())
    }

    /// Reports a warning and keeps it, or fails when strict.
    pub(super) fn warn(&self, path: &[u8], reason: impl Into<String>) -> Result<()> {
        self.warnings.borrow_mut().warn(self.run, path, reason)
    }
}
