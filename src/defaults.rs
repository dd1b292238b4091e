//! What holds where nothing else is said, and the name under which this program signs.

use std::time::Duration;

/// Where a configuration is looked for.
pub const DEFAULT_CONFIG: &str = "/config.yml";
/// Where an archive is looked for.
pub const DEFAULT_ARCHIVE: &str = "/backup.tar";
/// How long a run waits for another one.
pub const DEFAULT_LOCK_TIMEOUT: Duration = Duration::from_mins(10);
/// The name and version that snapshots carry.
pub const PROGRAM: &str = concat!("snapshotter ", env!("CARGO_PKG_VERSION"));
/// Of so many incremental snapshots under one prefix, one at least stores all.
pub const DEFAULT_FULL_EVERY: u64 = 30;
/// Times are trusted that lie this much before a snapshot was begun: filesystems keep them to two seconds, or better.
pub const DEFAULT_CLOCK_MARGIN: Duration = Duration::from_secs(2);
