//! What is in an archive, and what of it is sound.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::archive::end::Tail;
use crate::archive::entry::{Entry, Kind};
use crate::report::serial;
use crate::snapshot::catalog::{Catalog, Problem};
use crate::snapshot::{Snapshot, SnapshotVolume, select};
use crate::time::Time;
use crate::warning::Warning;

/// The permission bits, with setuid, setgid and sticky.
const MODE: u32 = 0o7777;

/// What an archive holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// The archive.
    #[serde(with = "serial::path")]
    pub archive: PathBuf,
    /// Its snapshots, or those that were asked for, in the archive's order.
    pub snapshots: Vec<ListedSnapshot>,
    /// How many others it has, that were not asked for.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub others: u64,
    /// How many members belong to no snapshot.
    pub foreign: u64,
    /// What follows the end. JSON has two numbers of it, `remains` and `padding`; where something foreign
    /// follows, both are 0, and that is the last of the problems.
    #[serde(flatten, with = "serial::tail")]
    pub tail: Tail,
    /// What is wrong, in the order of offsets.
    pub problems: Vec<Problem>,
    /// The offset of the end; `None` when the walk could not get there. JSON does not have it.
    #[serde(skip)]
    pub end: Option<u64>,
}

/// A complete snapshot in an archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedSnapshot {
    /// Eight hex digits.
    pub id: String,
    /// When it was taken, to the second.
    #[serde(rename = "time")]
    pub created: Time,
    /// Where in the archive it lives, without slashes around it.
    pub prefix: String,
    /// What wrote it: `snapshotter 1.0.0`, or `go` for the program that this one replaces.
    pub program: String,
    /// Its volumes, in the configuration's order.
    pub volumes: Vec<SnapshotVolume>,
    /// How many members its volumes have.
    pub entries: u64,
    /// How many bytes its files have, holes included.
    pub size: u64,
    /// How many bytes of data no checksum covers.
    pub unhashed: u64,
    /// What the user noted.
    pub note: Option<String>,
    /// The patterns of what was not backed up, and what a restore removes therefore.
    #[serde(default)]
    pub exclude: Vec<String>,
    /// How many warnings the backup gave.
    pub warning_count: u64,
    /// These warnings, or the first of them.
    pub warnings: Vec<Warning>,
    /// The IDs of the earlier snapshots that have members of it, which it needs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bases: Vec<String>,
    /// Why this program does not restore it: it needs something that only a later version knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// The ID of a snapshot under the same prefix that comes before it in the archive, and was taken later.
    /// What comes last counts as the newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub older_than: Option<String>,
    /// Offset of its first member.
    pub offset: u64,
    /// How many bytes of the archive are its own.
    pub bytes: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl Listing {
    pub(crate) fn new(archive: PathBuf, catalog: Catalog, admits: impl Fn(&Snapshot) -> bool) -> Self {
        let admitted: Vec<bool> = catalog.snapshots.iter().map(admits).collect();
        let later = select::later_before(&catalog.snapshots);
        let mut snapshots: Vec<ListedSnapshot> =
            catalog.snapshots.into_iter().map(ListedSnapshot::from).collect();
        for (at, later) in later.into_iter().enumerate() {
            snapshots[at].older_than = later.map(|later| snapshots[later].id.clone());
        }
        let mut admitted = admitted.into_iter();
        let all = snapshots.len();
        snapshots.retain(|_| admitted.next().unwrap_or_default());
        Listing {
            archive,
            others: (all - snapshots.len()) as u64,
            snapshots,
            foreign: catalog.foreign,
            tail: catalog.tail,
            problems: catalog.problems,
            end: catalog.end,
        }
    }
}

impl ListedSnapshot {
    /// Offset of the first byte after its last member.
    pub fn end(&self) -> u64 {
        self.offset.saturating_add(self.bytes)
    }

    /// Whether the Go program wrote it: its members carry no checksums.
    pub fn is_go(&self) -> bool {
        self.program == crate::snapshot::go::PROGRAM
    }
}

impl From<Snapshot> for ListedSnapshot {
    fn from(snapshot: Snapshot) -> Self {
        ListedSnapshot {
            id: snapshot.id,
            created: snapshot.created.whole(),
            prefix: snapshot.prefix,
            program: snapshot.program,
            volumes: snapshot.volumes,
            entries: snapshot.entries,
            size: snapshot.size,
            unhashed: snapshot.unhashed,
            note: snapshot.note,
            exclude: snapshot.exclude,
            warning_count: snapshot.warning_count,
            warnings: snapshot.warnings,
            bases: snapshot.bases.into_iter().map(|base| base.id).collect(),
            refused: snapshot.refused,
            older_than: None,
            offset: snapshot.start,
            bytes: snapshot.end.saturating_sub(snapshot.start),
        }
    }
}

/// The members of one snapshot: what `list --json ID` writes, each as soon as it is met.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberList {
    /// The members, in the archive's order.
    pub members: Vec<ListedMember>,
    /// The whole ID of the snapshot.
    pub id: String,
}

/// A member of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedMember {
    /// Its name in the archive.
    #[serde(with = "serial::name")]
    pub name: Vec<u8>,
    /// What it is.
    #[serde(rename = "type")]
    pub kind: MemberKind,
    /// Its permission bits, with setuid, setgid and sticky.
    #[serde(with = "serial::octal")]
    pub mode: u32,
    /// Its owner.
    pub uid: u64,
    /// Its group.
    pub gid: u64,
    /// How many bytes the file has, holes included.
    pub size: u64,
    /// When its content was changed.
    pub mtime: Time,
    /// Where a symbolic link leads, or the name of the member that a hard link is another name of.
    #[serde(with = "serial::optional_name")]
    pub link: Option<Vec<u8>>,
}

/// What a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names say it")]
pub enum MemberKind {
    File,
    Dir,
    Symlink,
    HardLink,
    Fifo,
    Char,
    Block,
    Other,
}

impl From<&Entry> for ListedMember {
    fn from(entry: &Entry) -> Self {
        let is_link = matches!(entry.kind, Kind::Symlink | Kind::HardLink);
        ListedMember {
            name: entry.name.clone(),
            kind: match entry.kind {
                Kind::File => MemberKind::File,
                Kind::Directory => MemberKind::Dir,
                Kind::Symlink => MemberKind::Symlink,
                Kind::HardLink => MemberKind::HardLink,
                Kind::Fifo => MemberKind::Fifo,
                Kind::CharDevice => MemberKind::Char,
                Kind::BlockDevice => MemberKind::Block,
                Kind::Other(_) => MemberKind::Other,
            },
            mode: entry.mode & MODE,
            uid: entry.uid,
            gid: entry.gid,
            size: entry.size,
            mtime: entry.mtime,
            link: is_link.then(|| entry.link.clone()),
        }
    }
}

/// What `verify` found in an archive.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verification {
    /// The archive.
    #[serde(with = "serial::path")]
    pub archive: PathBuf,
    /// Whether nothing is wrong, as far as it could be checked, and each snapshot is one that this version
    /// restores.
    pub ok: bool,
    /// Its snapshots, or those that were asked for, in the archive's order.
    pub snapshots: Vec<Verified>,
    /// How many others it has, that were not asked for and are not checked.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub others: u64,
    /// How many members belong to no snapshot; nothing is known about them.
    pub foreign: u64,
    /// What follows the end. JSON has of it how many bytes a killed backup left.
    #[serde(rename = "remains", with = "serial::remains")]
    pub tail: Tail,
    /// What is wrong, in the order of offsets.
    pub problems: Vec<Problem>,
    /// How long it took.
    #[serde(rename = "seconds", with = "serial::seconds")]
    pub elapsed: Duration,
}

impl Verification {
    /// How many bytes were read and held against checksums.
    pub fn bytes(&self) -> u64 {
        self.snapshots.iter().map(|snapshot| snapshot.checked).sum()
    }
}

/// What was found of one snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    /// Its ID.
    pub id: String,
    /// Where in the archive it is.
    pub prefix: String,
    /// Whether nothing is wrong with it, as far as it could be checked.
    pub ok: bool,
    /// Why it is not vouched for even so: only a later version can restore it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// The ID of a snapshot under the same prefix that comes before it in the archive, and was taken later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub older_than: Option<String>,
    /// Offset of its first member.
    pub offset: u64,
    /// How many members its volumes have, where a sound `snapshot.json` says it.
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifiedVolume {
    /// Its path.
    pub path: String,
    /// How many members it has, where a sound `snapshot.json` says it.
    pub entries: Option<u64>,
    /// With how many of them nothing is wrong, as far as that could be checked.
    pub sound: u64,
}
