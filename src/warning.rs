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

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", Shown::from(&self.path), self.reason)
    }
}
