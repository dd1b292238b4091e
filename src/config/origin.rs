//! Where configuration was written, so that a refusal can name the file and the line.

use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::OFlag;

use super::document::{Place, line_of};
use crate::error::{Context as _, Error, Result};
use crate::name::Shown;

const MAX_LEN: u64 = 1 << 20;

/// A configuration file, or the name of a flag or parameter.
#[derive(Clone)]
pub(super) enum Origin {
    File(Arc<File>),
    Named(&'static str),
}

/// A configuration file, read.
pub(super) struct File {
    path: Shown,
    pub(super) text: String,
}

impl Origin {
    /// The error that what stands at `place` cannot be used.
    pub(super) fn refuse(&self, place: Place, reason: impl fmt::Display) -> Error {
        match self {
            Origin::File(file) => file.refuse(line_of(&file.text, place), reason),
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

impl File {
    /// Reads the file at `path`, without waiting for the other end of a FIFO.
    pub(super) fn read(path: &Path) -> Result<File> {
        let opened = OpenOptions::new()
            .read(true)
            .custom_flags((OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits())
            .open(path);
        let file = opened.map_err(|source| hinted("open", path, source))?;
        let metadata = file.metadata().context("read", path)?;
        if metadata.is_dir() {
            return Err(hinted("read", path, Errno::EISDIR.into()));
        }
        let shown = Shown::from(path);
        if !metadata.is_file() {
            return Err(refuse(shown, None, "it is not a regular file: mount a file here"));
        }
        let mut bytes = Vec::new();
        file.take(MAX_LEN + 1).read_to_end(&mut bytes).context("read", path)?;
        if bytes.len() as u64 > MAX_LEN {
            return Err(refuse(shown, None, "it is larger than 1 MiB: is this the configuration?"));
        }
        match String::from_utf8(bytes) {
            Ok(text) => {
                // Some editors begin a file with a byte order mark.
                let text = text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text);
                Ok(File { path: shown, text })
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

/// A value from outside, as a reason shows it.
pub(super) fn quote(value: &str) -> String {
    format!("`{}`", Shown::from(abridged(value).as_str()))
}

/// The two ends of a text that is too long to be shown: a value can be as long as a file.
pub(super) fn abridged(text: &str) -> String {
    let head = text.char_indices().nth(150).map(|(at, _)| at);
    let tail = text.char_indices().nth_back(149).map(|(at, _)| at);
    match (head, tail) {
        (Some(head), Some(tail)) if head < tail => format!("{}…{}", &text[..head], &text[tail..]),
        _ => text.to_owned(),
    }
}

fn refuse(origin: Shown, line: Option<usize>, reason: impl fmt::Display) -> Error {
    Error::Config { origin, line, reason: Shown::from(reason.to_string().as_str()).to_string() }
}

fn hinted(action: &'static str, path: &Path, source: io::Error) -> Error {
    let mount = format!("-v $PWD/config.yml:{}", Shown::from(path));
    let hint = match source.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ENOENT) => format!(
            "write one, such as `{{prefix: web, volumes: [/data]}}`, and mount it with `{mount}`, or name \
             none and give --prefix and --volume"
        ),
        Some(Errno::EISDIR) => format!(
            "docker makes one when the host path of `{mount}` does not exist: remove it, write a file there, and \
             make the container anew"
        ),
        _ => {
            return Error::Io { action, path: path.into(), source };
        }
    };
    Error::IoHint { action, path: path.into(), source, hint }
}
