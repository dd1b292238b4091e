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
use crate::restore::owners::{OwnerRules, Remark};
use crate::restore::spare::Spare;
use crate::restore::survey::Survey;
use crate::restore::wanted::Wanted;
use crate::snapshot::Snapshot;
use crate::snapshot::manifest::Warnings;
use crate::warning::Tally;

pub(super) struct Job<'a> {
    pub(super) config: &'a Config,
    pub(super) reader: &'a Arc<Reader>,
    pub(super) snapshot: &'a Snapshot,
    pub(super) wanted: &'a [Wanted],
    pub(super) survey: &'a Survey,
    pub(super) owners: Arc<OwnerRules>,
    pub(super) spare: Spare,
    pub(super) options: &'a RestoreOptions,
    pub(super) run: &'a Run<'a>,
    pub(super) warnings: RefCell<Warnings>,
    /// Files that did not get their owner.
    unowned: RefCell<Tally>,
}

impl<'a> Job<'a> {
    pub(super) fn new(
        config: &'a Config,
        options: &'a RestoreOptions,
        choice: &'a Choice,
        run: &'a Run<'a>,
    ) -> Result<Self> {
        let Choice { reader, snapshot, wanted, survey, .. } = choice;
        let spare = Spare::of(reader)?;
        Ok(Job {
            config,
            reader,
            snapshot,
            wanted,
            survey,
            owners: options.owners()?,
            spare,
            options,
            run,
            warnings: RefCell::default(),
            unowned: RefCell::default(),
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

    /// Reports what a file did not get. That it lacks its owner is only counted, but when strict: that must be
    /// an error before anything is changed.
    pub(super) fn remark(&self, path: &[u8], remark: impl Into<Remark>) -> Result<()> {
        match remark.into() {
            Remark::Said(reason) => return self.warn(path, reason),
            Remark::Unowned => self.unowned.borrow_mut().count(|| path.to_vec()),
        }
        if self.run.strict { self.report_unowned() } else { Ok(()) }
    }

    /// Says how many files did not get their owner, if any.
    pub(super) fn report_unowned(&self) -> Result<()> {
        let unowned = self.unowned.take();
        if unowned.is_empty() {
            return Ok(());
        }
        let reason = format!(
            "{} the owner or group of the snapshot, nor the setuid or setgid bit that goes with it: that needs \
             CAP_CHOWN, and an id that this user namespace maps",
            unowned.these("did not get", "did not get", "")
        );
        self.warn(unowned.first(), reason)
    }
}
