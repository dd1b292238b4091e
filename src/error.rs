//! What can go wrong, one variant for each kind of operation that failed. A message says what was being done,
//! to what, why it failed and what to do about it; the cause of an [`Error::Io`] is its source and stands in no
//! message of ours, so that a chain printed with `: ` between its links says everything once.

use std::io;

use nix::errno::Errno;

use crate::fs::ids::Namespace;
use crate::name::Shown;

/// The result of this library's operations.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failed operation. Unless its message says otherwise, nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused a call.
    #[error("cannot {action} {path}")]
    Io {
        /// What was being done, as a verb: `open`, `read`.
        action: &'static str,
        /// To what.
        path: Shown,
        /// The system's reason.
        source: io::Error,
    },
    /// The same, and there is something that the user can do.
    #[error("cannot {action} {path}: {}: {hint}", reason(source))]
    IoHint {
        /// What was being done, as a verb.
        action: &'static str,
        /// To what.
        path: Shown,
        /// The system's reason. It stands in the message, before the hint.
        source: io::Error,
        /// The way out.
        hint: String,
    },
    /// The configuration, from a file or from the command line, cannot be used.
    #[error("{origin}{}: {reason}", line.map(|l| format!(", line {l}")).unwrap_or_default())]
    Config {
        /// The file, or the flag.
        origin: Shown,
        /// The line of the file, counted from 1.
        line: Option<usize>,
        /// What is wrong, and what would be right.
        reason: String,
    },
    /// The archive as a whole cannot be used for this.
    #[error("cannot {action} {archive}: {reason}")]
    Archive {
        /// What was being done, as a verb.
        action: &'static str,
        /// The archive.
        archive: Shown,
        /// What is wrong, and the way out.
        reason: String,
    },
    /// The archive is damaged or cut off at an offset.
    #[error("{archive} is damaged at offset {offset}: {reason}")]
    Damaged {
        /// The archive.
        archive: Shown,
        /// Bytes from its start.
        offset: u64,
        /// What was found there, and the way out.
        reason: String,
    },
    /// No snapshot fits what was asked for.
    #[error("{0}")]
    NoSnapshot(String),
    /// A volume cannot be backed up or restored.
    #[error("cannot {action} {volume}: {reason}")]
    Volume {
        /// What was being done, as a verb.
        action: &'static str,
        /// The volume, or the path inside it.
        volume: Shown,
        /// Why, and the way out.
        reason: String,
    },
    /// A warning under `strict`.
    #[error("{0} (an error because of --strict)")]
    Strict(crate::observer::Warning),
    /// The run was asked to stop.
    #[error("stopped by {signal}: {state}")]
    Stopped {
        /// By which signal.
        signal: &'static str,
        /// The state that things are in now.
        state: &'static str,
    },
    /// Something failed after what was there before had to go.
    #[error("{what}; {state}", what = chain(what))]
    Incomplete {
        /// What failed.
        what: Box<Error>,
        /// The state that things are in now, and what to do.
        state: String,
    },
    /// Something failed, and so did putting back what it had changed.
    #[error("{what}; putting it back failed too ({undo}): {state}", what = chain(what), undo = chain(undo))]
    Undo {
        /// What failed first.
        what: Box<Error>,
        /// What failed then.
        undo: Box<Error>,
        /// The state that things are in now, and what to do.
        state: String,
    },
}

/// Attaches what was being done, and to what, to an error of the operating system.
pub(crate) trait Context<T> {
    /// `cannot ACTION PATH`.
    fn context(self, action: &'static str, path: impl Into<Shown>) -> Result<T>;
}

impl<T, E: Into<io::Error>> Context<T> for Result<T, E> {
    fn context(self, action: &'static str, path: impl Into<Shown>) -> Result<T> {
        self.map_err(|error| Error::Io { action, path: path.into(), source: error.into() })
    }
}

/// The system's own words for `error`, without the number that Rust appends.
pub fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((words, _)) => words.to_owned(),
        None => text,
    }
}

/// The whole of an error on one line: its message, its cause in the system's words, and the way out where there is
/// one that always holds.
pub fn chain(error: &Error) -> String {
    match error {
        Error::Io { source, .. } => match way_out(source) {
            Some(way_out) => format!("{error}: {}: {way_out}", reason(source)),
            None => format!("{error}: {}", reason(source)),
        },
        other => other.to_string(),
    }
}

/// What helps against an error of the system, whatever was being done.
fn way_out(source: &io::Error) -> Option<&'static str> {
    let errno = Errno::from_raw(source.raw_os_error().unwrap_or(0));
    match source.kind() {
        io::ErrorKind::StorageFull => Some("make room on that filesystem"),
        io::ErrorKind::QuotaExceeded => Some("make room in that quota, or raise it"),
        io::ErrorKind::FileTooLarge => {
            Some("that filesystem, or the limit that `ulimit -f` shows, takes no larger file")
        }
        io::ErrorKind::OutOfMemory => Some("give the container, or the machine, more memory"),
        io::ErrorKind::ReadOnlyFilesystem => Some("mount it without `:ro`"),
        io::ErrorKind::CrossesDevices => {
            Some("a part of the volume is a filesystem or subvolume of its own: restore with --in-place")
        }
        io::ErrorKind::PermissionDenied if errno == Errno::EPERM => {
            Some(
                "run as root, with `--cap-add FOWNER` where capabilities were dropped, and see with `lsattr` whether it is \
                 immutable",
            )
        }
        io::ErrorKind::PermissionDenied => {
            Some(closed_to_root().unwrap_or(
                "run as a user that may, or as root, with `--cap-add DAC_OVERRIDE` where capabilities were dropped",
            ))
        }
        _ => match errno {
            Errno::EIO => Some("its disk or its file server fails: look at what `dmesg` says"),
            Errno::EMFILE => Some("let it open more files, with `docker run --ulimit nofile=1024`"),
            Errno::ENOSYS => Some("this kernel is too old, or the container's seccomp profile too narrow: Linux 4.11 is needed"),
            Errno::ENFILE => Some("the whole machine may not open more: raise `fs.file-max` with `sysctl`"),
            _ => None,
        },
    }
}

/// What helps against a permission that root does not have, if that is for the user namespace it is root of.
pub(crate) fn closed_to_root() -> Option<&'static str> {
    Namespace::of_this_process().is_ok_and(|here| here.confines()).then_some(
        "root of this user namespace is another user of the host, to whom it is closed: `chown` it there, or run with \
         `docker run --userns=host`",
    )
}
