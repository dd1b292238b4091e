//! A tar that can be read only once. It is taken whole onto the filesystem that it is restored to, before
//! anything is looked at: so a stream that is cut off restores nothing.

use std::path::Path;
use std::sync::Arc;

use crate::archive::open::Reader;
use crate::error::{Context, Error, Hint, Result};
use crate::fs::stream::{self, CopyFailed};
use crate::fs::{StoreFile, by_path};
use crate::name::Shown;
use crate::observer::Run;
use crate::restore::tar::check_beginning;

/// What the stream is called in messages.
const NAME: &str = "standard input";

/// Takes standard input, to be restored to `target`.
pub(super) fn spool(target: &Path, run: &Run) -> Result<Arc<Reader>> {
    let Some(stdin) = stream::stdin() else {
        let reason = "it is a terminal".to_owned();
        let error = Error::Archive { action: "read", archive: Shown::from(NAME), reason };
        return Err(error.with_hint(Hint::PipeTar { unpack: None }));
    };
    let mut directory = std::path::absolute(target).context("find", target)?;
    while !by_path::exists(&directory).context("look at", directory.as_path())? && directory.pop() {}
    let directory = by_path::canonical(&directory).context("open", directory.as_path())?;
    let unnamed = stream::unnamed(&directory);
    let file = StoreFile::new(unnamed.context("make a file for standard input in", directory.as_path())?);
    let copied = stream::copy(
        &stdin,
        &file,
        |beginning| check_beginning(beginning, &Shown::from(NAME)).map_err(SpoolError::Own),
        || run.cancel.check("nothing was changed").map_err(SpoolError::Own),
    );
    match copied {
        Ok(()) => Reader::of_stream(file.into_handle(), Shown::from(NAME)),
        Err(SpoolError::Own(error)) => Err(error),
        Err(SpoolError::Copy(CopyFailed::Read(error))) => Err(error).context("read", NAME),
        Err(SpoolError::Copy(CopyFailed::Write(error))) => {
            Err(error).context("write what is read from standard input to", directory.as_path())
        }
    }
}

enum SpoolError {
    Own(Error),
    Copy(CopyFailed),
}

impl From<CopyFailed> for SpoolError {
    fn from(failed: CopyFailed) -> Self {
        SpoolError::Copy(failed)
    }
}
