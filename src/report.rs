//! What a run did, found, or says while it goes on, as data. The functions of this crate return these types,
//! and the program's `--json` and `--events json` write them: so a program that runs `snapshotter` reads its
//! output with them.
//!
//! ```
//! use snapshotter::report::BackupReport;
//!
//! // What `snapshotter backup --json` wrote to stdout.
//! let output = r#"{"id":"1a2b3c4d","prefix":"volumes/web","time":"2026-11-20T16:03:00Z",
//!     "volumes":[{"path":"/srv/web","type":"dir","entries":12,"size":3565158}],
//!     "entries":12,"size":3565158,"bytes":3579392,"unhashed":0,"note":null,
//!     "warning_count":1,"warnings":[{"path":"/srv/web/a\\xff","reason":"it is a socket"}],"seconds":0.412}"#;
//! let report: BackupReport = serde_json::from_str(output)?;
//! assert_eq!((report.id.as_str(), report.volumes[0].entries), ("1a2b3c4d", 12));
//! // Paths are bytes.
//! assert_eq!(report.warnings[0].path, b"/srv/web/a\xff");
//! # Ok::<(), serde_json::Error>(())
//! ```

mod backed_up;
mod contents;
mod event;
mod serial;

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use crate::archive::end::Tail;
pub use crate::observer::Phase;
pub use crate::report::backed_up::BackupReport;
pub use crate::report::contents::{
    ListedMember, ListedSnapshot, Listing, MemberKind, MemberList, Verification, Verified, VerifiedVolume,
};
pub use crate::report::event::{End, Event, RunError};
pub use crate::snapshot::SnapshotVolume;
pub use crate::snapshot::catalog::Problem;
use crate::time::Time;
pub use crate::volume::VolumeType;
pub use crate::warning::Warning;

/// What `init` made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InitReport {
    /// The archive.
    #[serde(with = "serial::path")]
    pub archive: PathBuf,
}

/// What a restore did, or would do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RestoreReport {
    /// The tar of another program that was restored, as messages name it; then there is no snapshot, and what
    /// stands here of one is empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tar: Option<String>,
    /// The snapshot's ID.
    pub id: String,
    /// Where in the archive it is.
    pub prefix: String,
    /// When it was taken, to the second.
    #[serde(rename = "time")]
    pub created: Time,
    /// The volumes.
    pub volumes: Vec<RestoredVolume>,
    /// With `skip_read_only`, the paths of the volumes that were left as they are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub read_only: Vec<String>,
    /// How many members were restored.
    pub entries: u64,
    /// How many bytes their files have, holes included.
    pub size: u64,
    /// How many bytes no checksum covers, so that damage to them would not have been noticed.
    pub unhashed: u64,
    /// How many warnings there were.
    pub warning_count: u64,
    /// The warnings, or the first of them.
    pub warnings: Vec<Warning>,
    /// Whether nothing was changed, because that was asked for.
    pub dry_run: bool,
    /// With `dry_run`, what would change.
    pub changes: Vec<Change>,
    /// With `skip_damaged`, what became of that.
    pub skipped: Option<Skipped>,
    /// How long it took.
    #[serde(rename = "seconds", with = "serial::seconds")]
    pub elapsed: Duration,
}

/// A volume that was restored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RestoredVolume {
    /// Its path in the snapshot.
    pub path: String,
    /// Where it was restored to.
    #[serde(with = "serial::name")]
    pub target: Vec<u8>,
    /// What it is.
    #[serde(rename = "type")]
    pub kind: VolumeType,
}

/// Something that a restore would change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// How.
    #[serde(rename = "change")]
    pub kind: ChangeKind,
    /// The full path.
    #[serde(with = "serial::name")]
    pub path: Vec<u8>,
}

/// How something would change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChangeKind {
    /// It is not there.
    Create,
    /// It is there and differs in kind, size, attributes, link or names.
    Replace,
    /// It is a directory, and stays one with other attributes.
    Update,
    /// The snapshot does not have it.
    Remove,
}

/// What `skip_damaged` came upon.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Skipped {
    /// What is damaged and was left out. When this is empty, nothing is missing.
    pub left_out: Vec<LeftOut>,
    /// How many members were not restored that should be there, where a sound `snapshot.json` says how many
    /// there were.
    pub missing: Option<u64>,
    /// How many of the restored members were found by searching, after damaged headers. Their checksums hold,
    /// and still each may have been a part of the content of a file that was an archive itself.
    pub found: u64,
    /// How many of the restored members have no checksum, as all of the Go program's: damage to them would
    /// not have been noticed.
    pub unchecked: u64,
    /// Full paths of directories that were made, owned by root and with mode 0700, since only what is in them
    /// is left.
    #[serde(with = "serial::names")]
    pub made: Vec<Vec<u8>>,
}

/// Something that a restore left out because it is damaged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Where in the archive it is, in bytes.
    pub offset: u64,
    /// Its name in the archive, where that is known.
    #[serde(with = "serial::optional_name")]
    pub name: Option<Vec<u8>>,
    /// What is wrong with it.
    pub reason: String,
}
