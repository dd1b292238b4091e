//! What a volume can be, and the paths of volumes.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Hint};
use crate::name::Shown;

/// What a volume is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VolumeType {
    /// A directory with all below it.
    Dir,
    /// A single regular file.
    File,
}

impl VolumeType {
    /// As a person reads it.
    pub fn name(self) -> &'static str {
        match self {
            VolumeType::Dir => "directory",
            VolumeType::File => "file",
        }
    }

    /// As the archive and JSON have it.
    pub fn short_name(self) -> &'static str {
        match self {
            VolumeType::Dir => "dir",
            VolumeType::File => "file",
        }
    }
}

/// The path of the volume at `path` below the prefix, and below a directory that is restored to.
pub(crate) fn id(path: &str) -> &str {
    path.trim_start_matches('/')
}

/// The error for a volume that is a file which this run uses itself.
pub(crate) fn in_use(action: &'static str, volume: Shown) -> Error {
    let reason = "it is the archive or the configuration of this run".to_owned();
    Error::Volume { action, volume, reason }.with_hint(Hint::OtherPathForOwnFile)
}

/// The names that `path` consists of, without what leads nowhere: empty ones, and `.`.
pub(crate) fn components(path: &str) -> Vec<&str> {
    path.split('/').filter(|name| !matches!(*name, "" | ".")).collect()
}
