//! What can fail while encoding or decoding. A message is lowercase and never repeats its source, no message has
//! a key or a part of one, and [`Error::advice`] comes after both.

use std::io;

/// A result of this module.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why something could not be encoded or decoded. Where a [`Read`](io::Read) or [`Write`](io::Write) must return
/// an [`io::Error`], this is inside it: [`Error::inside`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A level that the compression does not have.
    #[error("cannot compress at level {level}: {name} has 1 to {most}")]
    Level {
        /// The level that was asked for.
        level: i32,
        /// The compression.
        name: &'static str,
        /// The highest level.
        most: i32,
    },
    /// Something is to be encrypted, and for nobody.
    #[error("cannot encrypt with {encryption}: no key is given")]
    NoRecipient {
        /// `age` or `OpenPGP`.
        encryption: &'static str,
    },
    /// Something is encrypted, and no key was given that could decrypt it.
    #[error("cannot decrypt: it is encrypted with {encryption}, and no {needed} is given")]
    NoKey {
        /// `age` or `OpenPGP`.
        encryption: &'static str,
        /// What it takes: `passphrase`, `identity`, `secret key`.
        needed: &'static str,
    },
    /// None of the keys that were given decrypts it.
    #[error("cannot decrypt: none of the given keys and passphrases fits, or it is damaged")]
    WrongKey,
    /// A key or passphrase cannot be read where it should be.
    #[error("cannot read {what} from {from}")]
    KeyUnread {
        /// Such as `a passphrase`.
        what: &'static str,
        /// The file or the variable, never its content.
        from: String,
        /// Why.
        source: io::Error,
    },
    /// A key or passphrase that is of no use.
    #[error("cannot use {from} as {what}: {problem}")]
    KeyUnfit {
        /// Such as `a passphrase`.
        what: &'static str,
        /// The file or the variable, never its content.
        from: String,
        /// What is wrong with it.
        problem: String,
    },
    /// What is read is not what its encoder wrote.
    #[error("the file is damaged or incomplete: {problem}")]
    Damaged {
        /// What does not fit.
        problem: String,
    },
    /// What is read may be in order, but is not of a kind that is read here.
    #[error("the file cannot be read: {problem}")]
    Unsupported {
        /// What it has, and what is read here.
        problem: String,
    },
    /// The encoder was given up, or has failed before.
    #[error("the encoder has stopped")]
    Stopped,
    /// The system refuses what encoding or decoding needs.
    #[error("cannot {action}")]
    System {
        /// Such as `make a temporary file`.
        action: &'static str,
        /// Why.
        source: io::Error,
    },
}

impl Error {
    /// This module's error inside of one that a [`Read`](io::Read) or [`Write`](io::Write) returned.
    pub fn inside(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }

    /// What a user can do about it, as a sentence without a full stop.
    pub fn advice(&self) -> Option<&'static str> {
        match self {
            Self::NoRecipient { .. } => {
                Some("nothing was written: a backup that should be encrypted is never stored otherwise")
            }
            Self::WrongKey => {
                Some("it takes the key or passphrase that belongs to the ones of the time of the backup")
            }
            Self::Damaged { .. } => {
                Some("take another copy if there is one; compare its SHA-256 with the one in its .json file")
            }
            Self::System { .. } => Some("TMPDIR names another directory for temporary files"),
            _ => None,
        }
    }

    pub(super) fn damaged(problem: impl Into<String>) -> Self {
        Self::Damaged { problem: problem.into() }
    }

    pub(super) fn unsupported(problem: impl Into<String>) -> Self {
        Self::Unsupported { problem: problem.into() }
    }

    /// The error of this module that `error` is or holds; any other is one of `action`.
    pub(super) fn of(error: io::Error, action: &'static str) -> Self {
        match error.downcast::<Self>() {
            Ok(error) => error,
            Err(source) => Self::System { action, source },
        }
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::System { source, .. } | Error::KeyUnread { source, .. } => source.kind(),
            Error::Stopped => io::ErrorKind::BrokenPipe,
            Error::Damaged { .. } | Error::Unsupported { .. } => io::ErrorKind::InvalidData,
            _ => io::ErrorKind::InvalidInput,
        };
        Self::new(kind, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_found_again_inside_of_one_of_io() {
        let error = io::Error::from(Error::damaged("a checksum differs"));
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(matches!(Error::inside(&error), Some(Error::Damaged { .. })));
        assert!(matches!(Error::of(error, "read"), Error::Damaged { .. }));
        assert!(matches!(Error::of(io::Error::other("x"), "read"), Error::System { action: "read", .. }));
    }
}
