//! Where configuration was written, so that a refusal can name the file and the line.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use nix::errno::Errno;

use crate::config::document::line_of;
use crate::config::document::read::DocumentPart;
use crate::error::{Context as _, Error, Hint, Result};
use crate::fs::{FileKind, Handle, StoreFile};
use crate::name::Shown;

const MAX_LEN: usize = 1 << 20;

/// A configuration file, or the name of a flag or parameter.
#[derive(Clone)]
pub(super) enum Origin {
    File(Arc<ConfigFile>),
    Named(&'static str),
}

/// A configuration file, read.
pub(super) struct ConfigFile {
    path: Shown,
    pub(super) text: String,
}

impl Origin {
    /// The error that `part` cannot be used.
    pub(super) fn refuse(&self, part: DocumentPart, reason: impl fmt::Display) -> Error {
        match self {
            // What is not there has no line of its own.
            Origin::File(file) => {
                let line = line_of(&file.text, part).or_else(|| line_of(&file.text, DocumentPart::Document));
                file.refuse(line, reason)
            }
            Origin::Named(name) => refuse(Shown::from(*name), None, reason),
        }
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::File(file) => fmt::Debug::fmt(&file.path, f),
            Origin::Named(name) => f.write_str(name),
        }
    }
}

impl ConfigFile {
    /// Reads the file at `path`, without waiting for the other end of a FIFO.
    pub(super) fn read(path: &Path) -> Result<ConfigFile> {
        let handle = Handle::open_linked(path).map_err(|source| hinted("open", path, source))?;
        let shown = Shown::from(path);
        match handle.stat().context("read", path)?.kind {
            FileKind::File => {}
            FileKind::Directory => return Err(hinted("read", path, Errno::EISDIR.into())),
            _ => return Err(refuse(shown, None, "it is not a regular file: mount a file here")),
        }
        let mut bytes = vec![0; MAX_LEN + 1];
        let length = StoreFile::new(handle).read_at(&mut bytes, 0).context("read", path)?;
        if length > MAX_LEN {
            return Err(refuse(shown, None, "it is larger than 1 MiB: is this the configuration?"));
        }
        bytes.truncate(length);
        match String::from_utf8(bytes) {
            Ok(text) => {
                // Some editors begin a file with a byte order mark.
                let text = text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text);
                Ok(ConfigFile { path: shown, text })
            }
            Err(error) => {
                let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
                let line = good.split(|byte| *byte == b'\n').count();
                Err(refuse(shown, Some(line), "it is not UTF-8: save it as UTF-8"))
            }
        }
    }

    /// The error that something on `line` cannot be used.
    pub(super) fn refuse(&self, line: Option<usize>, reason: impl fmt::Display) -> Error {
        refuse(self.path.clone(), line, reason)
    }
}

fn refuse(origin: Shown, line: Option<usize>, reason: impl fmt::Display) -> Error {
    Error::Config { origin, line, reason: Shown::from(reason.to_string().as_str()).to_string() }
}

fn hinted(action: &'static str, path: &Path, source: io::Error) -> Error {
    let shown = Shown::from(path);
    let hint = match source.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ENOENT) => Some(Hint::WriteConfig { path: shown.to_string() }),
        Some(Errno::EISDIR) => Some(Hint::ConfigIsDirectory { path: shown.to_string() }),
        _ => None,
    };
    Error::Io { action, path: shown, source }.with_hint(hint)
}
