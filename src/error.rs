//! What can go wrong, one variant for each kind of operation that failed. A message says what was being done, to
//! what, and why it failed; what to do about it is data, a [`Hint`]. The cause of an [`Error::Io`] is its source and
//! stands in no message of ours, so a chain printed with `: ` between its links says everything once.

mod hint;

use std::{fmt, io};

pub use crate::error::hint::Hint;
use crate::name::Shown;
use crate::warning::Warning;

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
    #[error("{0}")]
    Strict(Warning),
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
    /// Another of these errors, and what can be done about it.
    #[error(transparent)]
    Hinted(Hinted),
}

/// An error with a [`Hint`]. It reads as that error alone.
#[derive(Debug)]
pub struct Hinted {
    error: Box<Error>,
    hint: Hint,
}

impl fmt::Display for Hinted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for Hinted {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error.source()
    }
}

impl Error {
    /// What can be done about it.
    pub fn hint(&self) -> Option<Hint> {
        match self {
            Error::Hinted(Hinted { hint, .. }) => Some(hint.clone()),
            Error::Incomplete { what, .. } | Error::Undo { what, .. } => what.hint(),
            Error::Strict(_) => Some(Hint::BecauseOfStrict),
            other => other.system().and_then(Hint::of_system),
        }
    }

    /// The operating system's reason, if it was one.
    pub fn system(&self) -> Option<&io::Error> {
        match self {
            Error::Io { source, .. } => Some(source),
            Error::Hinted(Hinted { error, .. }) => error.system(),
            Error::Incomplete { what, .. } | Error::Undo { what, .. } => what.system(),
            _ => None,
        }
    }

    /// The error itself, without its hint: one of the other variants.
    pub fn kind(&self) -> &Error {
        match self {
            Error::Hinted(Hinted { error, .. }) => error,
            other => other,
        }
    }

    /// The same error, with what can be done about it, if that is known.
    pub(crate) fn with_hint(self, hint: impl Into<Option<Hint>>) -> Error {
        match (self, hint.into()) {
            (error, None) => error,
            (Error::Hinted(Hinted { error, .. }), Some(hint)) => Error::Hinted(Hinted { error, hint }),
            (error, Some(hint)) => Error::Hinted(Hinted { error: Box::new(error), hint }),
        }
    }
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

/// The whole of an error on one line, without its hint: its message, and its cause in the system's words.
pub fn chain(error: &Error) -> String {
    match error {
        Error::Io { source, .. } => format!("{error}: {}", reason(source)),
        Error::Hinted(Hinted { error, .. }) => chain(error),
        other => other.to_string(),
    }
}
