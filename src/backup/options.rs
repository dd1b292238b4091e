//! How a backup is done.

use std::path::PathBuf;
use std::time::Duration;

use crate::defaults::{DEFAULT_ARCHIVE, DEFAULT_CLOCK_MARGIN, DEFAULT_FULL_EVERY, DEFAULT_LOCK_TIMEOUT};

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
    /// Store what changed since the snapshot before, under the same prefix, and refer to that for the rest. Such a
    /// snapshot has an index. Where the one before cannot be referred to, all is stored. A stream stores all.
    pub incremental: bool,
    /// With `incremental`: of so many snapshots, one at least stores all.
    pub full_every: u64,
    /// With `incremental`: what has a time less than this before the snapshot before was begun is read again, as it
    /// may have changed once more within a tick of the clock that sets times. Filesystems of the network have their
    /// own clock.
    pub clock_margin: Duration,
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
            incremental: false,
            full_every: DEFAULT_FULL_EVERY,
            clock_margin: DEFAULT_CLOCK_MARGIN,
            discard_tail: false,
            lock_timeout: DEFAULT_LOCK_TIMEOUT,
        }
    }
}
