//! What is reported, and is no error.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::name::Shown;

/// Something that was not done as asked, or not kept, about one path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// The full path, as bytes.
    #[serde(with = "crate::name::serial")]
    pub path: Vec<u8>,
    /// What is the matter.
    pub reason: String,
}

/// Reasons by which something was not stored as it was at any one time.
pub(crate) mod changes {
    pub(crate) const SHRUNK: &str =
        "it became shorter while it was read: what is missing was stored as zeros";
    pub(crate) const GREW: &str = "it grew while it was read: what came behind its former size was left out";
    pub(crate) const CHANGED: &str = "it changed while it was read: what was stored may be a mixture";
    pub(crate) const VANISHED: &str = "it vanished before it was read: it is left out";
    pub(crate) const EMPTIED: &str = "it vanished while it was read: what was in it is left out";
    pub(crate) const REPLACED: &str = "something else took its place while it was read: it is left out";
}

impl Warning {
    /// Whether it says that something changed while it was read.
    pub fn is_of_change(&self) -> bool {
        use changes::{CHANGED, EMPTIED, GREW, REPLACED, SHRUNK, VANISHED};
        [SHRUNK, GREW, CHANGED, VANISHED, EMPTIED, REPLACED].contains(&self.reason.as_str())
    }
}

/// How many files something is true of that is said once for all of them, and the path of the first.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    count: u64,
    first: Vec<u8>,
}

impl Tally {
    pub(crate) fn count(&mut self, path: impl FnOnce() -> Vec<u8>) {
        if self.count == 0 {
            self.first = path();
        }
        self.count += 1;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(crate) fn first(&self) -> &[u8] {
        &self.first
    }

    /// "it", or "it and so many other files", which are said to be `of` something, with the verb.
    pub(crate) fn these(&self, one: &str, several: &str, of: &str) -> String {
        match self.count {
            0 | 1 => format!("it {one}"),
            2 => format!("it and another file{of} {several}"),
            count => format!("it and {} other files{of} {several}", count - 1),
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", Shown::from(&self.path), self.reason)
    }
}
