//! What a restore will bring, from the headers alone: how much of it there is, and whether it can go where it
//! must.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::archive::BLOCK_LEN;
use crate::archive::content::Content;
use crate::archive::decode::Head;
use crate::archive::entry::Kind;
use crate::archive::open::Reader;
use crate::error::{Error, Hint, Result};
use crate::fs::handle::join;
use crate::name::Shown;
use crate::restore::only::{is_asked_for, is_inside};
use crate::restore::rules::{Way, check_path};
use crate::restore::wanted::Wanted;
use crate::snapshot::close::Census;
use crate::snapshot::index::Lates;
use crate::snapshot::layout::Place;
use crate::snapshot::whole::{Trust, WholeStep, WholeWalk};
use crate::snapshot::{Snapshot, VOLUMES_DATA, under};
use crate::staging;

/// A file outside of what is restored that has further names inside of it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct OutsideFile {
    /// The offset of its member, once that is found.
    pub(super) start: Option<u64>,
    /// See [`Stored::late`](crate::archive::member::Stored::late).
    pub(super) late: Option<[u8; 32]>,
}

/// Numbers of one wanted volume.
#[derive(Debug, Default)]
pub(super) struct VolumeSurvey {
    entries: u64,
    /// One of the entries is the volume itself.
    has_root_member: bool,
    size: u64,
    /// Of stored data, in whole blocks.
    pub(super) bytes: u64,
    pub(super) inodes: u64,
    unhashed: u64,
    /// Names at the root that a staging directory might have.
    pub(super) staging_names: Vec<Vec<u8>>,
    /// Where only some paths are restored: the members outside of these whose further names lie inside, by their
    /// paths.
    pub(super) sources: HashMap<Vec<u8>, OutsideFile>,
}

#[derive(Debug)]
pub(super) struct Survey {
    pub(super) volumes: Vec<VolumeSurvey>,
    /// Members do not come as a walk down a tree meets them.
    pub(super) any_order: bool,
    /// Files whose further names come before them: the offsets of their members, by their paths.
    pub(super) later: HashMap<Vec<u8>, u64>,
    /// The volumes' roots have members.
    pub(super) has_root: bool,
}

/// A member that is to be restored.
pub(super) struct FoundMember<'a> {
    /// Which of the wanted volumes it belongs to.
    pub(super) wanted: usize,
    /// The path inside that volume.
    pub(super) path: &'a [u8],
    pub(super) member: &'a Head<'a>,
    /// The path of what a hard link is another name of, where that is in the same volume.
    pub(super) source: Option<&'a [u8]>,
}

/// Walks the members of the wanted volumes, in the order of the archive.
pub(super) fn walk(
    reader: &Arc<Reader>,
    snapshot: &Snapshot,
    wanted: &[Wanted],
    each: impl FnMut(FoundMember) -> Result<()>,
) -> Result<()> {
    let walk = WholeWalk::new(reader, snapshot, Trust::Jumped)?;
    walk_on(walk, reader, snapshot, wanted, |_| {}, each)
}

/// Walks the members with `walk`, which stands at the snapshot's start. `seen` is shown all that lie in the snapshot
/// itself, those of other volumes, too.
pub(super) fn walk_on(
    mut walk: WholeWalk,
    reader: &Arc<Reader>,
    snapshot: &Snapshot,
    wanted: &[Wanted],
    mut seen: impl FnMut(&Head),
    mut each: impl FnMut(FoundMember) -> Result<()>,
) -> Result<()> {
    let places = places_of(wanted, snapshot);
    let list = under(&snapshot.prefix, VOLUMES_DATA);
    let mut lates = Lates::of(reader, snapshot)?;
    loop {
        let (mut member, is_own) = match walk.step(snapshot.close)? {
            WholeStep::Own(head) => (head, true),
            WholeStep::Base(head) => (head, false),
            WholeStep::Lost(reference) => return Err(reference.error),
            WholeStep::End => break,
        };
        if is_own {
            seen(&member);
        }
        let name = member.name;
        let (mut path, mut link) = (None, None);
        let Some(place) = place_of(snapshot, name, &mut path) else {
            // The Go program's archives may hold anything between its members.
            let may_be_anything = snapshot.is_go() || snapshot.strip.is_some();
            if may_be_anything || member.stored.start == snapshot.start || snapshot.is_index(name) {
                continue;
            }
            if name == list && member.stored.end() == snapshot.close {
                Content::new(reader, member.data()).check(&mut [0; BLOCK_LEN], |_| Ok(()))?;
                continue;
            }
            return Err(member.data().damaged(reader, "it belongs to no volume"));
        };
        if let Some(wanted) = places[place.volume] {
            check_path(place.path).map_err(|reason| member.data().damaged(reader, reason))?;
            if is_own {
                lates.complete(&mut member, &place)?;
            }
            let is_link = member.kind == Kind::HardLink;
            let source = if is_link { place_of(snapshot, member.link, &mut link) } else { None };
            let source = source.filter(|source| source.volume == place.volume).map(|source| source.path);
            each(FoundMember { wanted, path: place.path, member: &member, source })?;
        }
    }
    match walk.position() {
        at if at < snapshot.close => Err(reader.damaged(at, "the archive ends in the middle of a snapshot")),
        _ => Ok(()),
    }
}

/// Where a member of this name belongs. `stripped` has the path, where that is not a part of the name.
fn place_of<'n>(
    snapshot: &Snapshot,
    name: &'n [u8],
    stripped: &'n mut Option<Cow<'n, [u8]>>,
) -> Option<Place<'n>> {
    let Some(strip) = &snapshot.strip else { return snapshot.layout.locate(name) };
    *stripped = strip.path(name);
    stripped.as_deref().map(|path| Place { volume: 0, path })
}

/// Which of the wanted volumes each of the snapshot's is, if it is one.
fn places_of(wanted: &[Wanted], snapshot: &Snapshot) -> Vec<Option<usize>> {
    let mut places = vec![None; snapshot.volumes.len()];
    for (at, wanted) in wanted.iter().enumerate().rev() {
        places[wanted.index] = Some(at);
    }
    places
}

impl Survey {
    pub(super) fn read(reader: &Arc<Reader>, snapshot: &Snapshot, wanted: &[Wanted]) -> Result<Self> {
        let mut volumes: Vec<VolumeSurvey> = wanted.iter().map(|_| VolumeSurvey::default()).collect();
        let mut roots = vec![false; wanted.len()];
        let mut missing: HashSet<(usize, &[u8])> = HashSet::new();
        for (at, only) in wanted.iter().enumerate().filter_map(|(at, one)| Some((at, one.only.as_ref()?))) {
            missing.extend(only.paths().iter().map(|path| (at, path.as_slice())));
        }
        let mut order = OrderCheck::new(snapshot, wanted.len());
        let mut census = snapshot.closed_with.as_ref().map(|_| Census::begun(snapshot.start));
        let count = |member: &Head| {
            if let Some(census) = &mut census {
                census.member(&member.stored);
            }
        };
        let trust = if snapshot.asked.is_none() { Trust::Walked } else { Trust::Jumped };
        let headers = WholeWalk::new(reader, snapshot, trust)?;
        walk_on(headers, reader, snapshot, wanted, count, |found| {
            order.member(&found);
            let (at, path) = (found.wanted, found.path);
            roots[at] |= path.is_empty();
            let Some(only) = &wanted[at].only else {
                volumes[at].count(path, found.member, true);
                return Ok(());
            };
            // Of a damaged snapshot, a directory may have no member of its own.
            missing.retain(|&(of, only)| of != at || !is_inside(path, only));
            if is_asked_for(path, Some(only)) {
                volumes[at].count(path, found.member, only.holds(path));
            }
            if let Some(source) = found.source.filter(|source| only.holds(path) && !only.holds(source)) {
                volumes[at].sources.insert(source.to_vec(), OutsideFile::default());
            }
            Ok(())
        })?;
        census.map_or(Ok(()), |census| census.check_of(reader, snapshot))?;
        if let Some(missing) = roots
            .iter()
            .position(|&found| !found)
            .filter(|_| !snapshot.is_partial() && snapshot.strip.is_none())
        {
            let (id, archive, volume) = (&snapshot.id, reader.name(), &wanted[missing].path);
            let reason =
                format!("snapshot {id} in {archive} lists the volume {volume} and has no members of it");
            return Err(Error::NoSnapshot(reason).with_hint(Hint::ChooseAnotherSnapshot));
        }
        if let Some((at, path)) = missing.into_iter().min() {
            return Err(not_found(reader, snapshot, &join(wanted[at].path.as_bytes(), path)));
        }
        let mut survey =
            Survey { volumes, any_order: order.any_order, later: HashMap::new(), has_root: true };
        survey.find_sources(reader, snapshot, wanted)?;
        Ok(survey)
    }

    fn find_sources(&mut self, reader: &Arc<Reader>, snapshot: &Snapshot, wanted: &[Wanted]) -> Result<()> {
        if self.volumes.iter().all(|volume| volume.sources.is_empty()) {
            return Ok(());
        }
        walk(reader, snapshot, wanted, |found| {
            let volume = &mut self.volumes[found.wanted];
            if let Some(source) = volume.sources.get_mut(found.path) {
                let stored = &found.member.stored;
                *source = OutsideFile { start: Some(stored.start), late: stored.late };
                // One of its further names becomes the file.
                volume.count_file(found.member);
                volume.inodes += 1;
            }
            Ok(())
        })?;
        for volume in &mut self.volumes {
            volume.sources.retain(|_, source| source.start.is_some());
        }
        Ok(())
    }

    pub(super) fn bytes(&self) -> u64 {
        self.total(|volume| volume.bytes)
    }

    pub(super) fn entries(&self) -> u64 {
        self.total(|volume| volume.entries)
    }

    pub(super) fn size(&self) -> u64 {
        self.total(|volume| volume.size)
    }

    pub(super) fn unhashed(&self) -> u64 {
        self.total(|volume| volume.unhashed)
    }

    /// Sizes are what headers claim, and may be beyond all bounds.
    fn total(&self, of: impl Fn(&VolumeSurvey) -> u64) -> u64 {
        self.volumes.iter().map(of).fold(0, u64::saturating_add)
    }
}

/// Whether members come in the order of a tree. All of ours do, or they are refused; those of the Go program
/// may have been packed again by another one, which may put all directories before all files.
struct OrderCheck {
    /// One for each wanted volume; none once nothing is left to be found out.
    ways: Vec<Way<()>>,
    any_order: bool,
}

impl OrderCheck {
    fn new(snapshot: &Snapshot, wanted: usize) -> Self {
        let any_order = snapshot.is_partial() || snapshot.strip.is_some();
        let ways = if snapshot.is_go() && !any_order { wanted } else { 0 };
        OrderCheck { ways: (0..ways).map(|_| Way::default()).collect(), any_order }
    }

    fn member(&mut self, found: &FoundMember) {
        let Some(way) = self.ways.get_mut(found.wanted) else { return };
        loop {
            match way.leads_to(found.path) {
                Ok(true) => break,
                Ok(false) => drop(way.leave()),
                // A second root is wrong in any order.
                Err(_) => {
                    self.any_order = !found.path.is_empty();
                    return self.ways.clear();
                }
            }
        }
        if found.member.kind == Kind::Directory {
            way.enter(found.path, ());
        }
    }
}

/// Nothing of `path` is in the snapshot, or nothing is left of it.
fn not_found(reader: &Reader, snapshot: &Snapshot, path: &[u8]) -> Error {
    let (id, archive, path) = (&snapshot.id, reader.name(), Shown::from(path));
    Error::NoSnapshot(if snapshot.is_partial() {
        format!("nothing that is sound is left of {path} in snapshot {id} in {archive}")
    } else {
        format!(
            "snapshot {id} in {archive} does not hold {path}: `snapshotter list {id}` shows what it holds"
        )
    })
}

impl VolumeSurvey {
    /// Whether it has nothing but the volume itself.
    pub(super) fn is_empty(&self) -> bool {
        self.entries == u64::from(self.has_root_member)
    }

    /// Counts a member. One that is only on the way to what is asked for is no entry of it.
    fn count(&mut self, path: &[u8], member: &Head, is_entry: bool) {
        self.entries += u64::from(is_entry);
        self.has_root_member |= is_entry && path.is_empty();
        self.count_file(member);
        self.inodes += u64::from(member.kind != Kind::HardLink);
        if path.starts_with(staging::NAME.as_bytes()) && !path.contains(&b'/') {
            self.staging_names.push(path.to_vec());
        }
    }

    fn count_file(&mut self, member: &Head) {
        self.size = self.size.saturating_add(member.stored.size);
        self.bytes = self.bytes.saturating_add(member.stored.padded());
        if !member.stored.is_hashed() {
            self.unhashed = self.unhashed.saturating_add(member.stored.length);
        }
    }
}
