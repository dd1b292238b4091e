//! How a backup is done.

use std::path::PathBuf;
use std::time::Duration;

use crate::defaults::{DEFAULT_ARCHIVE, DEFAULT_LOCK_TIMEOUT};

/// Which members get a checksum over their content.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ChecksumPolicy {
    /// Those whose content is read anyway.
    #[default]
    Auto,
    /// All.
    Always,
    /// None: only headers are covered, and damage to content goes unnoticed.
    Never,
}

/// How a backup is done.
#[derive(Debug, Clone)]
pub struct BackupOptions {
    /// The archive.
    pub archive: PathBuf,
    /// Text to keep with the snapshot.
    pub note: Option<String>,
    /// Which content is hashed.
    pub checksum: ChecksumPolicy,
    /// Write an index too; older versions of this program do not restore a snapshot that has one. A stream
    /// always has one.
    pub index: bool,
    /// Cut what follows the archive's end, even when it may be another archive.
    pub discard_tail: bool,
    /// How long to wait for other runs on the archive or a volume.
    pub lock_timeout: Duration,
}

impl Default for BackupOptions {
    fn default() -> Self {
        BackupOptions {
            archive: PathBuf::from(DEFAULT_ARCHIVE),
            note: None,
            checksum: ChecksumPolicy::Auto,
            index: false,
            discard_tail: false,
            lock_timeout: DEFAULT_LOCK_TIMEOUT,
        }
    }
}
