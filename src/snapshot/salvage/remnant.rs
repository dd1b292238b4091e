//! What is left of one snapshot, and which of the members that were found are its own.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use crate::archive::decode::Head;
use crate::archive::entry::Kind;
use crate::archive::open::Reader;
use crate::archive::walk::{Step, Walk};
use crate::error::Result;
use crate::observer::Run;
use crate::snapshot::digest::Digest;
use crate::snapshot::gaps::Gaps;
use crate::snapshot::manifest::SnapshotVolume;
use crate::snapshot::salvage::marks::{Close, List};
use crate::snapshot::salvage::rests::Rest;
use crate::snapshot::volumes_data::VolumeItem;
use crate::snapshot::{SNAPSHOT_INDEX, Snapshot, VOLUMES_DATA, under};
use crate::volume::VolumeType;

/// What is left of one snapshot.
#[derive(Debug, Clone)]
pub(crate) struct Remnant {
    pub(crate) snapshot: Snapshot,
    /// Its `snapshot.json` is sound, and says how much there was.
    pub(crate) counted: bool,
    /// All members are there, where they were, with the checksums that they had.
    pub(crate) sure: bool,
    /// All of it may be the content of a file of another snapshot.
    pub(crate) doubtful: bool,
    /// What damage there is in it. The gaps of the snapshot itself are what its walks step over.
    pub(crate) gaps: Gaps,
    /// Members without a volume's list, by which their prefix is told.
    names: Vec<Vec<u8>>,
}

impl Remnant {
    pub(crate) fn of_whole(snapshot: &Snapshot) -> Self {
        Remnant {
            counted: !snapshot.is_later,
            sure: true,
            ..Remnant::unsure(snapshot.clone(), Gaps::default())
        }
    }

    /// One of which it is not known what it had.
    pub(super) fn unsure(snapshot: Snapshot, gaps: Gaps) -> Self {
        Remnant { snapshot, counted: false, sure: false, doubtful: false, gaps, names: Vec::new() }
    }

    pub(super) fn new(reader: &Arc<Reader>, rest: Rest, gaps: &Gaps, run: &Run) -> Result<Self> {
        let Rest { range, close, in_place, list, names } = rest;
        let closed = close.as_ref().filter(|_| in_place);
        let closed = closed.map(|close| (close.manifest.members, close.manifest.digest.clone()));
        let counted = close.as_ref().is_some_and(|close| !close.manifest.is_later());
        let snapshot = match close {
            Some(Close { range: close, digest, manifest }) => {
                Snapshot::of_manifest(manifest, &digest, range.start, close)
            }
            None => without_close(range, list),
        };
        let gaps = gaps.within(snapshot.start..snapshot.close);
        let mut remnant = Remnant { counted, names, ..Remnant::unsure(snapshot, gaps) };
        let inventory = Inventory::take(reader, &remnant, run)?;
        remnant.gaps = remnant.gaps.up_to(&inventory.gap_ends);
        if let Some((members, digest)) = closed {
            remnant.sure = inventory.has(members) && inventory.digest.to_hex() == digest;
            if !remnant.sure {
                remnant.leave_surplus(inventory, members);
            }
        }
        remnant.snapshot.gaps = remnant.gaps.clone();
        Ok(remnant)
    }

    /// Takes into the first gap what is more than the `members` that the snapshot was closed with.
    fn leave_surplus(&mut self, inventory: Inventory, members: u64) {
        let Inventory { certain, mut ends, .. } = inventory;
        ends.retain(|end| !self.gaps.hold(end - 1));
        // Whatever the gaps are of, one member at least is lost in them.
        let surplus = (certain + ends.len() as u64).saturating_sub(members.saturating_sub(1));
        let last = usize::try_from(surplus).ok().and_then(|count| ends.get(count.checked_sub(1)?));
        let mut gap_ends: Vec<u64> = self.gaps.iter().map(|gap| gap.range.end).collect();
        if let (Some(&last), Some(first)) = (last, gap_ends.first_mut()) {
            *first = last.max(*first);
        }
        self.gaps = std::mem::take(&mut self.gaps).up_to(&gap_ends);
    }

    /// Whether nothing of it is missing.
    pub(crate) fn is_whole(&self) -> bool {
        self.sure && self.gaps.is_empty()
    }

    /// Whether it can be said to lie under `prefix`.
    pub(crate) fn is_under(&self, prefix: &str) -> bool {
        if !self.snapshot.volumes.is_empty() {
            return self.snapshot.prefix == prefix;
        }
        let inside = under(prefix, "");
        self.names.iter().any(|name| name.starts_with(&inside))
    }

    /// The name of the first member that is left, where no list of volumes is.
    pub(crate) fn first_name(&self) -> Option<&[u8]> {
        self.names.first().map(Vec::as_slice)
    }

    /// Gives it volumes that the archive no longer lists.
    pub(crate) fn set_volumes(&mut self, reader: &Arc<Reader>, prefix: &str, paths: &[&str]) -> Result<()> {
        let volume = |path: &&str| empty_volume((*path).to_owned(), VolumeType::Dir);
        self.snapshot.set_volumes(prefix.to_owned(), paths.iter().map(volume).collect());
        let mut walk = Walk::new(Arc::clone(reader), self.snapshot.start);
        loop {
            self.snapshot.gaps.step_over(&mut walk);
            if walk.position() >= self.snapshot.close {
                return Ok(());
            }
            let Step::Member(head) = walk.step()? else { return Ok(()) };
            if let Some(place) = self.snapshot.layout.locate(head.name).filter(|place| place.path.is_empty())
                && head.kind == Kind::File
            {
                self.snapshot.volumes[place.volume].kind = VolumeType::File;
            }
        }
    }
}

/// A snapshot whose `snapshot.json` is lost.
fn without_close(range: Range<u64>, list: Option<List>) -> Snapshot {
    let mut snapshot = Snapshot::lost(range);
    let Some(List { name, items, mtime }) = list else { return snapshot };
    let prefix =
        name.strip_suffix(VOLUMES_DATA.as_bytes()).map(|prefix| prefix.strip_suffix(b"/").unwrap_or(prefix));
    if let Some(Ok(prefix)) = prefix.map(std::str::from_utf8) {
        let volume = |item: VolumeItem| empty_volume(item.target, item.kind);
        snapshot.set_volumes(prefix.to_owned(), items.into_iter().map(volume).collect());
        snapshot.created = mtime;
    }
    snapshot
}

fn empty_volume(path: String, kind: VolumeType) -> SnapshotVolume {
    SnapshotVolume { path, kind, entries: 0, size: 0 }
}

/// The members that lie where a snapshot does.
struct Inventory {
    /// How many come before the first gap: these are its own.
    certain: u64,
    /// Where each of the others ends, in order; of two that are the same, only the first.
    ends: Vec<u64>,
    /// Of all of them.
    digest: Digest,
    /// Where each gap ends, with what follows it and is content.
    gap_ends: Vec<u64>,
}

/// A member that was met after a gap.
struct Met {
    end: u64,
    checksum: [u8; 32],
    /// How many gaps come before it.
    after: usize,
}

impl Inventory {
    fn take(reader: &Arc<Reader>, remnant: &Remnant, run: &Run) -> Result<Self> {
        let (start, close) = (remnant.snapshot.start, remnant.snapshot.close);
        let gap_ends = remnant.gaps.iter().map(|gap| gap.range.end).collect();
        let mut found = Inventory { certain: 0, ends: Vec::new(), digest: Digest::default(), gap_ends };
        // By the hash of their names.
        let mut met = HashMap::new();
        let mut walk = Walk::new(Arc::clone(reader), start);
        loop {
            run.cancel.check("nothing was changed")?;
            remnant.gaps.step_over(&mut walk);
            if walk.position() >= close {
                return Ok(found);
            }
            let Step::Member(head) = walk.step()? else { return Ok(found) };
            if let Some(checksum) = head.stored.checksum {
                found.digest.add(head.stored.start - start, &checksum.digest);
            }
            found.member(&head, remnant.gaps.before(head.stored.start), &mut met);
        }
    }

    fn member(&mut self, head: &Head, after: usize, met: &mut HashMap<[u8; 16], Met>) {
        let end = head.stored.end();
        if after == 0 {
            self.certain += 1;
            return;
        }
        // The parts of an index have one name.
        let is_index = head.name.ends_with(SNAPSHOT_INDEX.as_bytes());
        if let Some(checksum) = head.stored.checksum.map(|checksum| checksum.digest)
            && !is_index
        {
            let this = Met { end, checksum, after };
            match met.insert(short_hash(head.name), this) {
                Some(before) if before.checksum == checksum => return,
                Some(before) if before.after == after => {
                    // The one before is content, and so is all from the gap to it.
                    let gap_end = &mut self.gap_ends[after - 1];
                    *gap_end = before.end.max(*gap_end);
                }
                _ => {}
            }
        }
        self.ends.push(end);
    }

    /// Whether it has as many members as the snapshot was closed with. One that begins without a
    /// `.snapshot-begin` has one less.
    fn has(&self, members: u64) -> bool {
        let count = self.certain + self.ends.len() as u64;
        count == members || count + 1 == members
    }
}

fn short_hash(name: &[u8]) -> [u8; 16] {
    let mut short = [0; 16];
    short.copy_from_slice(&blake3::hash(name).as_bytes()[..16]);
    short
}
