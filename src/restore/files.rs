//! All file volumes of a restore: prepared, written, and put back when anything fails.

use crate::error::{Error, Result};
use crate::restore::beside::Beside;
use crate::restore::job::Job;
use crate::restore::overwrite::{FileSource, Former};
use crate::restore::target::FileTarget;

/// File volumes that can be written, and put back.
#[derive(Debug, Default)]
pub(super) struct Files(Vec<Prepared>);

#[derive(Debug)]
enum Prepared {
    Over(Former),
    Beside(Beside),
}

impl Files {
    /// Opens each file that is to be overwritten and reserves its space, and writes those that are made anew
    /// beside their places. When that fails for one, those before are put back.
    pub(super) fn prepare(job: &Job, files: &[FileTarget], sources: &[FileSource]) -> Result<Self> {
        let mut prepared = Files::default();
        for (file, source) in files.iter().zip(sources) {
            let one = if file.former.is_some() {
                file.prepare(source).map(Prepared::Over)
            } else {
                file.prepare_beside(source, job).map(Prepared::Beside)
            };
            match one {
                Ok(one) => prepared.0.push(one),
                Err(error) => return Err(prepared.put_back(error)),
            }
        }
        Ok(prepared)
    }

    /// Gives every file its new content. After an error they are to be put back.
    pub(super) fn write(&mut self, job: &Job, sources: &[FileSource]) -> Result<()> {
        for (prepared, source) in self.0.iter_mut().zip(sources) {
            match prepared {
                Prepared::Over(former) => former.overwrite(source, job)?,
                Prepared::Beside(beside) => beside.place()?,
            }
        }
        Ok(())
    }

    /// Puts all back because of `error`; returns that, and with it what could not be put back.
    pub(super) fn put_back(&self, mut error: Error) -> Error {
        for prepared in self.0.iter().rev() {
            let put_back = match prepared {
                Prepared::Over(former) => former.put_back(),
                Prepared::Beside(beside) => beside.put_back(),
            };
            if let Err(undo) = put_back {
                let state = "it holds part of the snapshot now: restore it again".to_owned();
                error = Error::Undo { what: Box::new(error), undo: Box::new(undo), state };
            }
        }
        error
    }

    /// Removes what is no longer needed, when all is written.
    pub(super) fn finish(&self, job: &Job) -> Result<()> {
        let mut warned = Ok(());
        for prepared in &self.0 {
            if let Prepared::Beside(beside) = prepared
                && let Some((path, reason)) = beside.finish()
            {
                warned = warned.and(job.warn(path, reason));
            }
        }
        warned
    }
}
