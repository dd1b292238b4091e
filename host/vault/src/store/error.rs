//! What can fail at a store, and what a user can do about it. A message is lowercase and never repeats its
//! source; [`Error::advice`] comes after both. No message holds a secret: addresses are shown without what a
//! user may have put into them, and of a server's answer only its own code and words are.

use std::fmt;
use std::io;

/// A result of this module.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why something could not be done at a store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// What is given as the address of a store cannot be one.
    #[error("cannot use the store {address}: {problem}")]
    Address {
        /// The address, without a password.
        address: String,
        /// What is wrong with it.
        problem: String,
        /// What to write instead.
        advice: String,
    },
    /// A setting that a store needs is missing or wrong.
    #[error("cannot use {setting}: {problem}")]
    Setting {
        /// The variable or option.
        setting: String,
        /// What is wrong with it; never its value, where that is secret.
        problem: String,
    },
    /// A name that no store can hold.
    #[error("cannot use {name:?} as a name in a store: {problem}")]
    Name {
        /// The name.
        name: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The store could not do what it was asked for.
    #[error("cannot {action} {what}{cause}")]
    Store {
        /// What was to be done.
        action: Action,
        /// The address of the store and the name in it.
        what: String,
        /// Why it was not done.
        cause: Cause,
        /// What the server or the system says.
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
}

/// What a store was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// To get in touch with it.
    Connect,
    /// To store something under a name.
    Put,
    /// To read a part.
    Get,
    /// To say how long something is.
    Head,
    /// To list names.
    List,
    /// To remove something.
    Delete,
    /// To say what killed runs have left.
    Leftovers,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Action::Connect => "connect to",
            Action::Put => "store",
            Action::Get => "read",
            Action::Head => "look at",
            Action::List => "list",
            Action::Delete => "remove",
            Action::Leftovers => "look for what killed runs left in",
        })
    }
}

/// Why a store did not do what it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// The name is taken. Nothing was changed.
    Exists,
    /// There is no such name, directory or bucket.
    Missing,
    /// The store refuses who asks.
    Denied,
    /// The store has no room.
    Full,
    /// What is read is not any more what it was when it was first looked at.
    Changed,
    /// The store has another number of bytes than it was given. What it had was removed.
    Size {
        /// Bytes that were sent.
        sent: u64,
        /// Bytes that the store says it has.
        stored: u64,
    },
    /// What was to be stored broke off, or had not the length that it was said to have.
    Content,
    /// Whether it was done could not be found out.
    Unclear,
    /// Anything else; the source says it.
    Other,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Exists => f.write_str(": it is there already, and is left as it is"),
            Cause::Missing => f.write_str(": it is not there"),
            Cause::Denied => f.write_str(": the store refuses it"),
            Cause::Full => f.write_str(": the store has no room for it"),
            Cause::Changed => f.write_str(": it was replaced while it was read"),
            Cause::Size { sent, stored } => write!(f, ": {sent} bytes were sent, and the store has {stored}"),
            Cause::Content => f.write_str(": what was to be stored is not complete"),
            Cause::Unclear => f.write_str(": the connection was lost, and whether it is stored is not known"),
            Cause::Other => Ok(()),
        }
    }
}

impl Error {
    /// Why the store did not do it; `None` where no store was asked.
    pub fn cause(&self) -> Option<Cause> {
        match self {
            Error::Store { cause, .. } => Some(*cause),
            _ => None,
        }
    }

    /// What to do about it, where that is known.
    pub fn advice(&self) -> Option<String> {
        let (action, cause) = match self {
            Error::Address { advice, .. } => return Some(advice.clone()),
            Error::Setting { .. } | Error::Name { .. } => return None,
            Error::Store { action, cause, .. } => (action, cause),
        };
        let advice = match cause {
            Cause::Exists => "two runs at once may have chosen the same name: run it again",
            Cause::Missing if *action == Action::Put => "make the bucket or directory, or mend the address",
            Cause::Missing => "see what is there with `docker snapshot list`",
            Cause::Denied => {
                "look at the credentials and what they allow; docs/stores.md says what is needed for what"
            }
            Cause::Full => "make room there, or use another store; nothing is left under the name",
            Cause::Changed => "run it again when nothing else writes there",
            Cause::Size { .. } => "run it again, and do not rely on this store if it happens again",
            Cause::Content => "nothing is left under the name; see why the archive was not finished",
            Cause::Unclear => "list the store: what is there under the name is complete",
            Cause::Other => return None,
        };
        Some(advice.to_owned())
    }

    /// A failure of the system, with the cause that it is.
    pub(crate) fn io(action: Action, what: impl Into<String>, source: io::Error) -> Self {
        let cause = match source.kind() {
            io::ErrorKind::AlreadyExists => Cause::Exists,
            io::ErrorKind::NotFound => Cause::Missing,
            io::ErrorKind::PermissionDenied => Cause::Denied,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                Cause::Full
            }
            _ => Cause::Other,
        };
        // "It is there already" needs no "file exists" after it.
        let source = match cause {
            Cause::Exists | Cause::Missing => None,
            _ => Some(source.into()),
        };
        Error::Store { action, what: what.into(), cause, source }
    }

    /// A failure whose cause says all of it.
    pub(crate) fn plain(action: Action, what: impl Into<String>, cause: Cause) -> Self {
        Error::Store { action, what: what.into(), cause, source: None }
    }

    /// A failure with words of the server's.
    pub(crate) fn said(
        action: Action,
        what: impl Into<String>,
        cause: Cause,
        words: impl Into<String>,
    ) -> Self {
        Error::Store { action, what: what.into(), cause, source: Some(words.into().into()) }
    }

    /// What was to be stored broke off.
    pub(crate) fn content(what: impl Into<String>, source: io::Error) -> Self {
        Error::Store {
            action: Action::Put,
            what: what.into(),
            cause: Cause::Content,
            source: Some(source.into()),
        }
    }
}
