//! What a run of the library did or found. These types are what the functions of this crate return.

use std::time::Duration;

use crate::archive::end::Tail;
use crate::name::Shown;
use crate::observer::Warning;
use crate::snapshot::SnapshotVolume;
use crate::snapshot::catalog::{Catalog, Problem};
use crate::time::Time;
use crate::volume::VolumeType;

/// What a backup did.
#[derive(Debug, Clone)]
pub struct BackupReport {
    /// The snapshot's ID.
    pub id: String,
    /// When it was taken.
    pub created: Time,
    /// Where in the archive it is.
    pub prefix: String,
    /// Its volumes.
    pub volumes: Vec<SnapshotVolume>,
    /// How many members the volumes have.
    pub entries: u64,
    /// How many bytes their files have, holes included.
    pub size: u64,
    /// By how many bytes the archive's end moved.
    pub bytes: u64,
    /// How many bytes no checksum covers.
    pub unhashed: u64,
    /// How many warnings there were.
    pub warning_count: u64,
    /// The warnings, or the first of them.
    pub warnings: Vec<Warning>,
    /// How long it took.
    pub elapsed: Duration,
}

/// What a restore did, or would do.
#[derive(Debug, Clone)]
pub struct RestoreReport {
    /// The snapshot's ID.
    pub id: String,
    /// Where in the archive it is.
    pub prefix: String,
    /// When it was taken.
    pub created: Time,
    /// The volumes.
    pub volumes: Vec<RestoredVolume>,
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
    pub elapsed: Duration,
}

/// A volume that was restored.
#[derive(Debug, Clone)]
pub struct RestoredVolume {
    /// Its path in the snapshot.
    pub path: String,
    /// Where it was restored to.
    pub target: Vec<u8>,
    /// What it is.
    pub kind: VolumeType,
}

/// Something that a restore would change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// How.
    pub kind: ChangeKind,
    /// The full path.
    pub path: Vec<u8>,
}

/// How something would change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// It is not there.
    Create,
    /// It is there and differs in kind, size, time, owner, mode or link.
    Replace,
    /// The snapshot does not have it.
    Remove,
}

/// What `skip_damaged` came upon.
#[derive(Debug, Clone)]
pub struct Skipped {
    /// What is damaged and was left out. When this is empty, nothing is missing.
    pub left_out: Vec<LeftOut>,
    /// How many members there should be, where a sound `snapshot.json` tells.
    pub entries: Option<u64>,
    /// How many of the restored members were found by searching, behind damaged headers. Their checksums hold,
    /// and they may yet have been the content of a file that was an archive itself.
    pub found: u64,
    /// How many of the restored members have no checksum, as all of the Go program: damage to them would not have been noticed.
    pub unchecked: u64,
    /// Full paths of directories that were made, by root and with mode 0700, since only what is in them is left.
    pub made: Vec<Vec<u8>>,
}

/// Something that a restore left out because it is damaged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// Where in the archive it is, in bytes.
    pub offset: u64,
    /// Its name in the archive, as far as that can be told.
    pub name: Option<Vec<u8>>,
    /// What is wrong with it.
    pub reason: String,
}

/// What an archive holds.
#[derive(Debug)]
pub struct Listing {
    /// The archive.
    pub archive: Shown,
    /// Its contents.
    pub catalog: Catalog,
}

/// What was found in an archive.
#[derive(Debug, Clone)]
pub struct Verification {
    /// The archive.
    pub archive: Shown,
    /// Its snapshots, oldest first.
    pub snapshots: Vec<Verified>,
    /// How many members belong to no snapshot; nothing is known about them.
    pub foreign: u64,
    /// What lies behind the end.
    pub tail: Tail,
    /// What is wrong, in the order of offsets.
    pub problems: Vec<Problem>,
    /// How many bytes were read and held against checksums.
    pub bytes: u64,
    /// How long it took.
    pub elapsed: Duration,
}

/// What was found of one snapshot.
#[derive(Debug, Clone)]
pub struct Verified {
    /// Its ID.
    pub id: String,
    /// Where in the archive it is.
    pub prefix: String,
    /// Whether nothing is wrong with it, as far as it could be checked.
    pub ok: bool,
    /// Offset of its first member.
    pub offset: u64,
    /// How many members its volumes have, where a sound `snapshot.json` tells.
    pub entries: Option<u64>,
    /// With how many of them nothing is wrong, as far as that could be checked.
    pub sound: u64,
    /// The same of each volume, where it is known which there are.
    pub volumes: Vec<VerifiedVolume>,
    /// How many bytes of stored data were held against a checksum.
    pub checked: u64,
    /// How many have none that covers them.
    pub unhashed: u64,
}

/// What was found of one volume of a snapshot.
#[derive(Debug, Clone)]
pub struct VerifiedVolume {
    /// Its path.
    pub path: String,
    /// As of the snapshot.
    pub entries: Option<u64>,
    /// As of the snapshot.
    pub sound: u64,
}
