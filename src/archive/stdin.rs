//! Standard input, which can be read only once: it is taken whole into a file without a name before anything is
//! looked at, so that a stream that is cut off is seen to be.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::archive::beginning::{packed_as, unpacker};
use crate::archive::source::STDIN;
use crate::error::{Context, Error, Hint, Result};
use crate::fs::stream::{self, CopyFailed};
use crate::fs::{StoreFile, by_path};
use crate::name::Shown;
use crate::observer::Run;

/// An archive, and whether it came as a stream. A regular file is taken as it is, one of which something was
/// read already as a stream of the rest.
pub(super) fn archive(spool: &[PathBuf], run: &Run) -> Result<(Arc<StoreFile>, bool)> {
    match stream::stdin_file() {
        Some(file) => Ok((Arc::new(StoreFile::new(file)), false)),
        None => Ok((taken(spool, Hint::PipeArchive, check_beginning, run)?, true)),
    }
}

/// What is read of standard input, in a file without a name in the first of the directories `spool` that can
/// have one; where one is still to be made, in the directory above. `look` is shown how it begins.
pub(crate) fn taken(
    spool: &[PathBuf],
    at_terminal: Hint,
    look: impl FnOnce(&[u8]) -> Result<()>,
    run: &Run,
) -> Result<Arc<StoreFile>> {
    let Some(stdin) = stream::stdin() else {
        let reason = "it is a terminal".to_owned();
        let error = Error::Archive { action: "read", archive: Shown::from(STDIN), reason };
        return Err(error.with_hint(at_terminal));
    };
    let (file, directory) = unnamed(spool)?;
    let copied = stream::copy(
        &stdin,
        &file,
        |beginning| look(beginning).map_err(SpoolError::Own),
        || run.cancel.check("nothing was changed").map_err(SpoolError::Own),
    );
    match copied {
        Ok(()) => Ok(file),
        Err(SpoolError::Own(error)) => Err(error),
        Err(SpoolError::Copy(CopyFailed::Read(error))) => Err(error).context("read", STDIN),
        Err(SpoolError::Copy(CopyFailed::Write(error))) => {
            Err(error).context("write what is read from standard input to", directory.as_path())
        }
    }
}

/// A file without a name, and in which directory it is.
fn unnamed(spool: &[PathBuf]) -> Result<(Arc<StoreFile>, PathBuf)> {
    let mut first = None;
    for directory in spool {
        match unnamed_in(directory) {
            Ok((file, directory)) => return Ok((file, directory)),
            // The first is the most telling; that a container has no room at all is mended by a mount.
            Err(error) if error.hint() == Some(Hint::MountWritable) => {
                first = first.or(Some(error.with_hint(Hint::MountTemporary)));
            }
            Err(error) => first = first.or(Some(error)),
        }
    }
    Err(first.unwrap_or_else(|| {
        let reason = "there is no directory to keep it in".to_owned();
        Error::Archive { action: "read", archive: Shown::from(STDIN), reason }
    }))
}

fn unnamed_in(directory: &Path) -> Result<(Arc<StoreFile>, PathBuf)> {
    let mut above = std::path::absolute(directory).context("find", directory)?;
    while !by_path::exists(&above).context("look at", above.as_path())? && above.pop() {}
    let above = by_path::canonical(&above).context("open", above.as_path())?;
    let file = stream::unnamed(&above);
    let file = file.context("make a file for standard input in", above.as_path())?;
    Ok((Arc::new(StoreFile::new(file)), above))
}

/// Says of what is packed that it is, before all of it was read.
fn check_beginning(beginning: &[u8]) -> Result<()> {
    let Some(format) = packed_as(beginning) else { return Ok(()) };
    let reason = format!("it is a {format} file, which this program does not unpack");
    let error = Error::Archive { action: "read", archive: Shown::from(STDIN), reason };
    Err(error.with_hint(Hint::UnpackOnTheWay { unpack: unpacker(format).map(str::to_owned) }))
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
