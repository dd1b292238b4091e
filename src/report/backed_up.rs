//! What a backup did.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::report::serial;
use crate::snapshot::SnapshotVolume;
use crate::time::Time;
use crate::warning::Warning;

/// What a backup did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BackupReport {
    /// The snapshot's ID.
    pub id: String,
    /// Where in the archive it is.
    pub prefix: String,
    /// When it was taken, to the second.
    #[serde(rename = "time")]
    pub created: Time,
    /// Its volumes.
    pub volumes: Vec<SnapshotVolume>,
    /// How many members the volumes have.
    pub entries: u64,
    /// How many of these are stored in earlier snapshots alone, and were not stored again.
    #[serde(default)]
    pub references: u64,
    /// How many bytes their files have, holes included.
    pub size: u64,
    /// By how many bytes the archive's end moved.
    pub bytes: u64,
    /// How many bytes no checksum covers.
    pub unhashed: u64,
    /// The text that was to be kept with it.
    pub note: Option<String>,
    /// The patterns of what was not backed up.
    #[serde(default)]
    pub exclude: Vec<String>,
    /// How many warnings there were.
    pub warning_count: u64,
    /// The warnings, or the first of them.
    pub warnings: Vec<Warning>,
    /// How long it took.
    #[serde(rename = "seconds", with = "serial::seconds")]
    pub elapsed: Duration,
}
