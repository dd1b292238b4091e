//! What goes wrong on a connection to an SFTP server, before it is told as what could not be done.

use super::super::error::{Action, Cause, Error};
use super::protocol::{NO_SUCH_FILE, PERMISSION_DENIED};

/// Why something was not done.
#[derive(Debug, Clone)]
pub(super) enum Failure {
    /// There is no connection, or none any more: another one may do.
    Lost(String),
    /// The server or this program refuses to go on: the key of either, or a password.
    Refused(String),
    /// The server says no.
    Status {
        /// One of the draft's numbers.
        code: u32,
        /// The server's own words.
        words: String,
    },
    /// The server does not keep to the protocol.
    Odd(String),
}

impl Failure {
    /// Whether it may go well the next time.
    pub(super) fn may_pass(&self) -> bool {
        matches!(self, Failure::Lost(_))
    }

    /// Whether the server says that there is no such file.
    pub(super) fn is_missing(&self) -> bool {
        matches!(self, Failure::Status { code: NO_SUCH_FILE, .. })
    }

    /// The failure of `action` at `what`.
    pub(super) fn at(self, action: Action, what: impl Into<String>) -> Error {
        match self {
            Failure::Lost(words) | Failure::Odd(words) => Error::said(action, what, Cause::Other, words),
            Failure::Refused(words) => Error::said(action, what, Cause::Denied, words),
            Failure::Status { code: NO_SUCH_FILE, .. } => Error::plain(action, what, Cause::Missing),
            Failure::Status { code: PERMISSION_DENIED, words } => {
                Error::said(action, what, Cause::Denied, said(&words))
            }
            Failure::Status { words, .. } if is_full(&words) => {
                Error::said(action, what, Cause::Full, said(&words))
            }
            Failure::Status { words, .. } => Error::said(action, what, Cause::Other, said(&words)),
        }
    }
}

fn said(words: &str) -> String {
    format!("the server says {words:?}")
}

/// Servers have no number for it, but some have words.
fn is_full(words: &str) -> bool {
    let words = words.to_ascii_lowercase();
    ["no space", "quota", "disk full"].iter().any(|known| words.contains(known))
}
