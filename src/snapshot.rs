//! Which members of an archive make a snapshot: from its `.snapshot-begin` to the `snapshot.json` whose own
//! record closes it. This layer knows the archive below it, and nothing of filesystems.

pub(crate) mod base;
pub(crate) mod catalog;
pub(crate) mod close;
pub(crate) mod digest;
pub(crate) mod gaps;
pub(crate) mod go;
pub(crate) mod index;
pub(crate) mod layout;
pub(crate) mod leap;
pub(crate) mod manifest;
pub(crate) mod resolve;
pub(crate) mod salvage;
pub(crate) mod select;
pub(crate) mod strip;
pub(crate) mod volumes_data;
pub(crate) mod whole;

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use crate::archive::BLOCK;
use crate::archive::ustar::{Block, HeaderFields, flag};
use crate::archive::walk::Walk;
use crate::snapshot::base::Base;
use crate::snapshot::gaps::Gaps;
use crate::snapshot::index::asked::Asked;
use crate::snapshot::index::place::IndexPlace;
use crate::snapshot::layout::Layout;
pub use crate::snapshot::manifest::SnapshotVolume;
use crate::snapshot::manifest::{Manifest, NEEDS_INDEX, NEEDS_LATE, NEEDS_REFERENCES};
use crate::snapshot::strip::Strip;
use crate::time::Time;
use crate::volume::id;
use crate::warning::Warning;

/// The member that opens a snapshot, at the archive's root. Writing its header is the commit.
pub(crate) const BEGIN: &[u8] = b".snapshot-begin";
/// The list of volumes, under the prefix.
pub(crate) const VOLUMES_DATA: &str = "volumes-data.yml";
/// The index of a snapshot, under the prefix: every part of it has this name.
pub(crate) const SNAPSHOT_INDEX: &str = "snapshot.index";
/// The close of a snapshot, under the prefix.
pub(crate) const SNAPSHOT_JSON: &str = "snapshot.json";
/// What the closing files may measure at most, in bytes.
pub(crate) const MAX_CLOSING_FILE: u64 = 16 << 20;

/// The header block of `.snapshot-begin`. It never differs.
pub(crate) fn begin_block() -> Block {
    HeaderFields { name: BEGIN, flag: flag::FILE, mode: 0o600, size: BLOCK, ..HeaderFields::default() }
        .encode()
}

/// `name` under `prefix`, as an archive name.
pub(crate) fn under(prefix: &str, name: &str) -> Vec<u8> {
    if prefix.is_empty() { name.as_bytes().to_vec() } else { format!("{prefix}/{name}").into_bytes() }
}

/// A complete snapshot in an archive.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each says another thing of it")]
pub(crate) struct Snapshot {
    /// Eight hex digits.
    pub(crate) id: String,
    /// When it was taken.
    pub(crate) created: Time,
    /// What wrote it: `snapshotter 1.0.0`, or `go` for the program that this one replaces.
    pub(crate) program: String,
    /// Where in the archive it lives, without slashes around it.
    pub(crate) prefix: String,
    /// Its volumes, in the configuration's order.
    pub(crate) volumes: Vec<SnapshotVolume>,
    /// How many members its volumes have.
    pub(crate) entries: u64,
    /// How many bytes its files have, holes included.
    pub(crate) size: u64,
    /// How many bytes of data no checksum covers.
    pub(crate) unhashed: u64,
    /// What the user noted.
    pub(crate) note: Option<String>,
    /// The patterns of what was not backed up.
    pub(crate) exclude: Vec<String>,
    /// How many warnings the backup gave.
    pub(crate) warning_count: u64,
    /// These warnings, or the first of them.
    pub(crate) warnings: Vec<Warning>,
    /// Why this program does not restore it, where a later one wrote it so that it must not.
    pub(crate) refused: Option<String>,
    /// Offset of its first member.
    pub(crate) start: u64,
    /// Offset behind its last.
    pub(crate) end: u64,
    /// Offset of `snapshot.json`, or of the Go program's `volumes-data.yml`.
    pub(crate) close: u64,
    pub(crate) layout: Layout,
    /// It is a whole tar of another program, taken as one volume: what is cut off its names.
    pub(crate) strip: Option<Strip>,
    /// Its format is not known, and so it is not known what is in it.
    pub(crate) is_later: bool,
    /// How many members it was closed with, and their digest, where its members were not held against these yet.
    pub(crate) closed_with: Option<(u64, String)>,
    /// Stretches of a damaged one that are left out.
    pub(crate) gaps: Gaps,
    /// Stretches of a sound one of which nothing is asked for.
    pub(crate) unwanted: Gaps,
    pub(crate) index: IndexPlace,
    /// Content may have its checksum there.
    pub(crate) has_late: bool,
    /// Members of it may lie in earlier snapshots alone: in these, in the archive's order.
    pub(crate) has_references: bool,
    /// Whether what changes after its beginning has a later time, also where memory is mapped.
    pub(crate) is_settled: bool,
    pub(crate) bases: Vec<Base>,
    /// Of members in earlier snapshots, the offsets of those that are left out as they are damaged.
    pub(crate) lost: Arc<HashSet<u64>>,
    /// Of members in earlier snapshots, which are asked for, where not all are.
    pub(crate) asked: Option<Arc<Asked>>,
}

impl Snapshot {
    /// The snapshot that begins at `start` and that `manifest` closes, the member at `close` with the
    /// checksum `digest`.
    pub(crate) fn of_manifest(manifest: Manifest, digest: &[u8; 32], start: u64, close: Range<u64>) -> Self {
        let names = manifest.volumes.iter().map(|volume| under(&manifest.prefix, id(&volume.path)));
        let (refused, is_later) = (manifest.refusal(), manifest.is_later());
        let table = manifest.index.and_then(|offset| start.checked_add(offset));
        let index = match table.filter(|table| (start..close.start).contains(table)) {
            Some(table) => IndexPlace::Table(table),
            None if [NEEDS_INDEX, NEEDS_LATE, NEEDS_REFERENCES].iter().any(|need| manifest.needs(need)) => {
                IndexPlace::Lost
            }
            None => IndexPlace::Nowhere,
        };
        let has_late = manifest.needs(NEEDS_LATE);
        let has_references = manifest.needs(NEEDS_REFERENCES);
        let mut bases: Vec<Base> =
            manifest.bases.into_iter().filter_map(|item| Base::of(item, start)).collect();
        bases.sort_by_key(|base| base.start);
        Snapshot {
            id: blake3::Hash::from_bytes(*digest).to_hex()[..8].to_owned(),
            created: Time::from_rfc3339(&manifest.created).unwrap_or_default(),
            layout: Layout::new(names.collect()),
            program: manifest.program,
            prefix: manifest.prefix,
            volumes: manifest.volumes,
            entries: manifest.entries,
            size: manifest.size,
            unhashed: manifest.unhashed,
            note: manifest.note,
            exclude: manifest.exclude,
            warning_count: manifest.warning_count,
            warnings: manifest.warnings,
            refused,
            is_later,
            strip: None,
            closed_with: None,
            start,
            end: close.end,
            close: close.start,
            gaps: Gaps::default(),
            unwanted: Gaps::default(),
            index,
            has_late,
            has_references,
            is_settled: manifest.settled,
            bases,
            lost: Arc::default(),
            asked: None,
        }
    }

    /// One that nothing is known of but where it lies, by which it is named.
    pub(crate) fn lost(range: Range<u64>) -> Self {
        Snapshot {
            id: format!("@{}", range.start),
            created: Time::default(),
            program: String::new(),
            prefix: String::new(),
            volumes: Vec::new(),
            entries: 0,
            size: 0,
            unhashed: 0,
            note: None,
            exclude: Vec::new(),
            warning_count: 0,
            warnings: Vec::new(),
            refused: None,
            is_later: false,
            strip: None,
            closed_with: None,
            start: range.start,
            end: range.end,
            close: range.end,
            layout: Layout::new(Vec::new()),
            gaps: Gaps::default(),
            unwanted: Gaps::default(),
            index: IndexPlace::Nowhere,
            has_late: false,
            has_references: false,
            is_settled: false,
            bases: Vec::new(),
            lost: Arc::default(),
            asked: None,
        }
    }

    pub(crate) fn set_volumes(&mut self, prefix: String, volumes: Vec<SnapshotVolume>) {
        self.layout = Layout::new(volumes.iter().map(|volume| under(&prefix, id(&volume.path))).collect());
        (self.prefix, self.volumes) = (prefix, volumes);
    }

    /// Whether a member of this name is a part of its index.
    pub(crate) fn is_index(&self, name: &[u8]) -> bool {
        name.ends_with(SNAPSHOT_INDEX.as_bytes())
            && name == under(&self.prefix, SNAPSHOT_INDEX)
            && self.layout.locate(name).is_none()
    }

    /// Has what is left of its index be all that there is of it.
    pub(crate) fn keep_to(&mut self, index: IndexPlace) {
        self.has_late = index != IndexPlace::Nowhere;
        self.has_references = self.has_late;
        self.index = index;
    }

    /// Whether something that was in it is left out, as it is damaged.
    pub(crate) fn is_partial(&self) -> bool {
        !self.gaps.is_empty() || !self.lost.is_empty()
    }

    /// Nothing of these stretches is asked for, and so its members are not counted.
    pub(crate) fn leave_out(&mut self, unwanted: Gaps) {
        if !unwanted.is_empty() {
            (self.unwanted, self.closed_with) = (unwanted, None);
        }
    }

    /// Has `walk` go on behind what it stands in, where that is damaged or not asked for.
    pub(crate) fn step_over(&self, walk: &mut Walk) {
        self.gaps.step_over(walk);
        self.unwanted.step_over(walk);
    }

    /// Whether the Go program wrote it: its members carry no checksums.
    pub(crate) fn is_go(&self) -> bool {
        self.layout.is_go()
    }
}
