//! What is reported, and is no error.

use std::fmt;

use crate::name::Shown;

/// Something that was not done as asked, or not kept, about one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The full path, as bytes.
    pub path: Vec<u8>,
    /// What is the matter.
    pub reason: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", Shown::from(&self.path), self.reason)
    }
}
