//! Reading a whole archive and holding everything in it against its checksums.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::archive::content::Content;
use crate::archive::decode::Head;
use crate::archive::end::Tail;
use crate::archive::member::Member;
use crate::archive::open::Reader;
use crate::archive::search::LostName;
use crate::archive::source::Archive;
use crate::error::{Error, Result};
use crate::fs::ids::explain;
use crate::fs::stream;
use crate::name::Shown;
use crate::observer::{Phase, Run};
use crate::report::{ListedSnapshot, Listing, Verification, Verified, VerifiedVolume};
use crate::snapshot::catalog::{self, Problem, problem_of};
use crate::snapshot::close::Census;
use crate::snapshot::gaps::Gaps;
use crate::snapshot::index::check::IndexCheck;
use crate::snapshot::index::place::IndexPlace;
use crate::snapshot::layout::Place;
use crate::snapshot::salvage::{self, Remnant};
use crate::snapshot::select::SnapshotFilter;
use crate::snapshot::whole::{Trust, WholeStep, WholeWalk};
use crate::snapshot::{Snapshot, SnapshotVolume, VOLUMES_DATA, index, resolve, select, under, volumes_data};

/// Which archive, and how long to wait for it.
#[derive(Debug, Clone)]
pub struct ListOptions {
    /// The archive.
    pub archive: Archive,
    /// Which of its snapshots are looked at.
    pub filter: SnapshotFilter,
    /// How long to wait for an append that is under way.
    pub lock_timeout: Duration,
}

impl Default for ListOptions {
    fn default() -> Self {
        ListOptions {
            archive: Archive::default(),
            filter: SnapshotFilter::default(),
            lock_timeout: crate::defaults::DEFAULT_LOCK_TIMEOUT,
        }
    }
}

/// The snapshots in an archive. One that is damaged is listed as far as it can be read, with its problems.
///
/// # Errors
/// When it is no archive, or cannot be read.
pub fn list(options: &ListOptions, run: &Run) -> Result<Listing> {
    let (reader, catalog) =
        catalog::open(&options.archive, &[stream::temporary_directory()], options.lock_timeout, run)
            .map_err(explain)?;
    let filter = &options.filter;
    let named = match &filter.id {
        Some(id) => Some(select::by_id(&catalog.snapshots, reader.name(), id)?.start),
        None => None,
    };
    Ok(Listing::new(options.archive.path(), catalog, |snapshot| {
        named.is_none_or(|start| snapshot.start == start) && filter.admits(snapshot)
    }))
}

/// Calls `each` with the members of the snapshot whose ID begins with `id`, in their order.
///
/// # Errors
/// When there is no such snapshot, when the archive cannot be read, and those of `each`.
pub fn members(
    options: &ListOptions,
    id: &str,
    run: &Run,
    each: &mut dyn FnMut(&Member) -> Result<()>,
) -> Result<ListedSnapshot> {
    let (reader, mut catalog) =
        catalog::open(&options.archive, &[stream::temporary_directory()], options.lock_timeout, run)
            .map_err(explain)?;
    let wanted = select::by_id(&catalog.snapshots, reader.name(), id)?.start;
    let at = catalog.snapshots.iter().position(|snapshot| snapshot.start == wanted).unwrap_or_default();
    let snapshot = catalog.snapshots.swap_remove(at);
    if !options.filter.admits(&snapshot) {
        return Err(options.filter.nothing(&Shown::from(snapshot.id.as_str())));
    }
    let mut walk = WholeWalk::new(&reader, &snapshot, Trust::Jumped)?;
    let mut census = Census::begun(snapshot.start);
    loop {
        let (member, is_own) = match walk.step(snapshot.end)? {
            WholeStep::Own(head) => (head, true),
            WholeStep::Base(head) => (head, false),
            WholeStep::Lost(lost) => return Err(lost.error),
            WholeStep::End => break,
        };
        if is_own && member.stored.start < snapshot.close {
            census.member(&member.stored);
        }
        run.cancel.check("nothing was changed")?;
        let is_close = member.stored.start == snapshot.close;
        let place = snapshot.layout.locate(member.name);
        let is_shown = match &place {
            Some(place) => options.filter.has(&snapshot.volumes[place.volume].path),
            None => options.filter.volumes.is_empty() && (!snapshot.is_go() || is_close),
        };
        if is_shown {
            each(&member.to_member())?;
        }
    }
    census.check_of(&reader, &snapshot)?;
    Ok(snapshot.into())
}

/// Reads the whole archive and checks what can be checked: the structure, that each snapshot is complete,
/// each member's checksum, and that padding is zeros.
///
/// # Errors
/// When it is no archive, or cannot be read. What is wrong in an archive is a [`Problem`].
pub fn verify(options: &ListOptions, run: &Run) -> Result<Verification> {
    let started = Instant::now();
    let (reader, catalog, salvage) =
        salvage::open(&options.archive, &[stream::temporary_directory()], options.lock_timeout, run)
            .map_err(explain)?;
    // Two zero blocks in the middle of a snapshot are no end, nor are those where it began that no backup
    // left so.
    let is_foreign = matches!(catalog.tail, Tail::Foreign(_));
    let is_inside = |end: &u64, found: &Snapshot| {
        (found.start < *end || is_foreign && found.start == *end) && *end < found.end
    };
    let end = catalog.end.filter(|end| !salvage.remnants.iter().any(|found| is_inside(end, &found.snapshot)));
    let mut problems = with_gaps(catalog.problems, &salvage.gaps, end);
    let mut snapshots = Vec::new();
    let is_reported =
        |found: &&Remnant| is_foreign || end.is_none_or(|end| found.snapshot.start < end) || found.is_whole();
    let reported: Vec<&Remnant> = salvage.remnants.iter().filter(is_reported).collect();
    let chosen = choose(&reported, &options.filter, reader.name())?;
    let is_all = options.filter == SnapshotFilter::default();
    let lengths = chosen.iter().map(|&at| reported[at].snapshot.end - reported[at].snapshot.start);
    run.observer.begin(Phase::Verifying, Some(if is_all { reader.len() } else { lengths.sum() }));
    let later = select::later_before(reported.iter().map(|found| &found.snapshot));
    let mut seen = CheckedBefore::default();
    for &at in &chosen {
        let mut found =
            snapshot_members(&reader, reported[at], &options.filter, run, &mut seen, &mut problems)?;
        found.older_than = later[at].map(|later| reported[later].snapshot.id.clone());
        snapshots.push(found);
    }
    if !is_all {
        let ranges = || chosen.iter().map(|&at| reported[at].snapshot.start..reported[at].snapshot.end);
        problems.retain(|problem| ranges().any(|range| range.contains(&problem.offset)));
    }
    problems.sort_by(|a, b| (a.offset, &a.reason).cmp(&(b.offset, &b.reason)));
    problems.dedup();
    Ok(Verification {
        archive: options.archive.path(),
        ok: problems.is_empty() && snapshots.iter().all(|snapshot| snapshot.ok && snapshot.refused.is_none()),
        others: (reported.len() - chosen.len()) as u64,
        snapshots,
        foreign: catalog.foreign,
        tail: catalog.tail,
        problems,
        elapsed: started.elapsed(),
    })
}

/// Which of the snapshots that are left are asked for.
fn choose(reported: &[&Remnant], filter: &SnapshotFilter, archive: &Shown) -> Result<Vec<usize>> {
    let named = match &filter.id {
        Some(id) => Some(select::by_id(reported.iter().map(|one| &one.snapshot), archive, id)?.start),
        None => None,
    };
    let admits = |one: &Remnant| {
        // Of one that lost the list of its volumes, more may be meant than can be told.
        let is_lost = one.snapshot.volumes.is_empty();
        is_lost && filter.prefix.as_ref().is_none_or(|prefix| one.is_under(prefix))
            || filter.admits(&one.snapshot)
    };
    let is_chosen = |one: &Remnant| named.is_none_or(|start| one.snapshot.start == start) && admits(one);
    let chosen: Vec<usize> = (0..reported.len()).filter(|&at| is_chosen(reported[at])).collect();
    if chosen.is_empty() && *filter != SnapshotFilter::default() {
        return Err(filter.nothing(archive));
    }
    Ok(chosen)
}

/// Each gap before the end is a problem, and says more than what the catalog's walk found there. What follows
/// the end is among the catalog's problems already.
fn with_gaps(mut problems: Vec<Problem>, gaps: &Gaps, end: Option<u64>) -> Vec<Problem> {
    let gaps = || gaps.iter().filter(|gap| end.is_none_or(|end| gap.offset < end));
    let offsets: HashSet<u64> = gaps().map(|gap| gap.offset).collect();
    problems.retain(|problem| !offsets.contains(&problem.offset));
    for gap in gaps() {
        let reason = gap.describe();
        let named = |lost: &LostName| Problem {
            offset: lost.at,
            reason: format!("{}: {reason}", Shown::from(&lost.name)),
        };
        problems.extend(gap.names.iter().map(named));
        problems.push(Problem { offset: gap.offset, reason });
    }
    problems
}

/// Checks each member that is left.
fn snapshot_members(
    reader: &Arc<Reader>,
    remnant: &Remnant,
    filter: &SnapshotFilter,
    run: &Run,
    seen: &mut CheckedBefore,
    problems: &mut Vec<Problem>,
) -> Result<Verified> {
    let (snapshot, before) = (&remnant.snapshot, problems.len());
    let (mut found, mut buffer) = (Verified::new(remnant), vec![0; 1 << 20]);
    let mut index = open_index(reader, remnant, run, problems)?;
    let mut walk = open_walk(reader, snapshot, problems)?;
    loop {
        let (mut member, is_own) = match walk.step(snapshot.end)? {
            WholeStep::Own(head) => (head, true),
            WholeStep::Base(head) => (head, false),
            WholeStep::Lost(lost) => {
                is_sound(Err(lost.error), problems)?;
                continue;
            }
            WholeStep::End => break,
        };
        let place = snapshot.layout.locate(member.name);
        if place.as_ref().is_some_and(|place| !filter.has(&snapshot.volumes[place.volume].path)) {
            index.pass(is_own);
            continue;
        }
        if !is_own {
            let checked = seen.check_reference(reader, snapshot, &member, &mut buffer, run);
            found.count(place.as_ref(), is_sound(checked, problems)?);
            continue;
        }
        is_sound(index.take(&mut member, place.as_ref(), snapshot), problems)?;
        let sound = match &place {
            Some(place) => &mut found.volumes[place.volume].sound,
            None if found.volumes.is_empty() && !is_closing(snapshot, &member) => &mut found.sound,
            None => &mut 0,
        };
        if snapshot.is_go() {
            found.unhashed += place.map_or(0, |_| member.stored.length);
            *sound += 1;
            continue;
        }
        if member.stored.start == snapshot.start && place.is_none() {
            continue;
        }
        let read = if member.stored.is_hashed() { &mut found.checked } else { &mut found.unhashed };
        *read += member.stored.length;
        if is_sound(check(reader, remnant, &member, &mut buffer, run), problems)? {
            *sound += 1;
        } else {
            seen.damaged.insert(member.stored.start);
        }
        run.observer.member(member.name);
    }
    seen.checked.push(snapshot.start..snapshot.end);
    found.keep_to(filter);
    found.ok = remnant.is_whole() && problems.len() == before;
    Ok(found)
}

/// Whether nothing is wrong with what was checked; else that is one more problem.
fn is_sound(checked: Result<()>, problems: &mut Vec<Problem>) -> Result<bool> {
    match checked {
        Ok(()) => Ok(true),
        Err(error) => problem_of(error).map(|problem| problems.push(problem)).map(|()| false),
    }
}

/// A walk over all members; where the index that has its references cannot be read, over its own.
fn open_walk<'s>(
    reader: &Arc<Reader>,
    snapshot: &'s Snapshot,
    problems: &mut Vec<Problem>,
) -> Result<WholeWalk<'s>> {
    if let Some(reason) = resolve::missing(snapshot).filter(|_| snapshot.refused.is_none()) {
        problems.push(Problem { offset: snapshot.start, reason });
    }
    WholeWalk::with_own_data(reader, snapshot).or_else(|error| {
        problems.push(problem_of(error)?);
        Ok(WholeWalk::own_with_data(reader, snapshot))
    })
}

/// What was checked before: later snapshots may refer to it.
#[derive(Debug, Default)]
struct CheckedBefore {
    /// The snapshots whose members were all checked, or all of the volumes that are asked for.
    checked: Vec<Range<u64>>,
    /// Offsets of members that are damaged.
    damaged: HashSet<u64>,
}

impl CheckedBefore {
    /// Checks the content of a member that `snapshot` refers to, unless that was done.
    fn check_reference(
        &self,
        reader: &Reader,
        snapshot: &Snapshot,
        member: &Head,
        buffer: &mut [u8],
        run: &Run,
    ) -> Result<()> {
        let start = member.stored.start;
        let is_as_written = if self.checked.iter().any(|range| range.contains(&start)) {
            !self.damaged.contains(&start)
        } else {
            let content = Content::new(reader, member.data());
            match content.check(buffer, |_| run.cancel.check("nothing was changed")) {
                Err(Error::Damaged { .. }) => false,
                other => other.map(|()| true)?,
            }
        };
        if is_as_written {
            return Ok(());
        }
        let name = Shown::from(member.name);
        let reason =
            format!("{name}: it is stored at offset {start}, in an earlier snapshot, and damaged there");
        Err(reader.damaged(snapshot.start, reason))
    }
}

/// The index of a snapshot, or what is left of it.
fn open_index(
    reader: &Arc<Reader>,
    remnant: &Remnant,
    run: &Run,
    problems: &mut Vec<Problem>,
) -> Result<IndexCheck> {
    let snapshot = &remnant.snapshot;
    let left;
    let place = match () {
        () if snapshot.refused.is_some() => &IndexPlace::Nowhere,
        () if remnant.is_whole() => &snapshot.index,
        () => {
            left = index::what_is_left(reader, snapshot, run)?;
            &left
        }
    };
    IndexCheck::open(reader, snapshot, place).or_else(|error| {
        problems.push(problem_of(error)?);
        Ok(IndexCheck::nothing())
    })
}

impl Verified {
    /// Counts a member of a volume.
    fn count(&mut self, place: Option<&Place>, is_sound: bool) {
        if let Some(volume) = place.and_then(|place| self.volumes.get_mut(place.volume)) {
            volume.sound += u64::from(is_sound);
        }
    }

    /// Adds up the volumes, and leaves out those that are not asked for.
    fn keep_to(&mut self, filter: &SnapshotFilter) {
        self.sound += self.volumes.iter().map(|volume| volume.sound).sum::<u64>();
        if !filter.volumes.is_empty() {
            self.volumes.retain(|volume| filter.has(&volume.path));
            self.entries = self.volumes.iter().map(|volume| volume.entries).sum();
        }
    }

    fn new(remnant: &Remnant) -> Self {
        let snapshot = &remnant.snapshot;
        let volume = |volume: &SnapshotVolume| VerifiedVolume {
            path: volume.path.clone(),
            entries: remnant.counted.then_some(volume.entries),
            sound: 0,
        };
        Verified {
            id: snapshot.id.clone(),
            prefix: snapshot.prefix.clone(),
            ok: false,
            refused: snapshot.refused.clone(),
            older_than: None,
            offset: snapshot.start,
            entries: remnant.counted.then_some(snapshot.entries),
            sound: 0,
            volumes: snapshot.volumes.iter().map(volume).collect(),
            checked: 0,
            unhashed: 0,
        }
    }
}

/// Whether a member belongs to no volume, as one that closes a snapshot, or is of its index.
fn is_closing(snapshot: &Snapshot, member: &Head) -> bool {
    member.stored.start == snapshot.close || is_list(snapshot, member) || snapshot.is_index(member.name)
}

fn is_list(snapshot: &Snapshot, member: &Head) -> bool {
    member.name == under(&snapshot.prefix, VOLUMES_DATA)
}

fn check(reader: &Reader, remnant: &Remnant, member: &Head, buffer: &mut [u8], run: &Run) -> Result<()> {
    let snapshot = &remnant.snapshot;
    let content = Content::new(reader, member.data());
    let is_close = member.stored.start == snapshot.close || !remnant.counted && member.stored.is_close();
    let is_in_place = member.stored.end() == snapshot.close || !remnant.is_whole();
    // What a later program puts into a snapshot may be of other names, and its lists may say more.
    let is_known = snapshot.refused.is_none();
    if is_list(snapshot, member) && is_in_place && is_known {
        check_list(reader, snapshot, member).map_err(|reason| content.damaged(&reason))?;
    } else if !is_close
        && is_known
        && !snapshot.is_index(member.name)
        && !snapshot.volumes.is_empty()
        && snapshot.layout.locate(member.name).is_none()
    {
        return Err(content.damaged("it belongs to no volume"));
    }
    content.check(buffer, |count| {
        run.observer.bytes(count);
        run.cancel.check("nothing was changed")
    })
}

/// The list that the Go program reads must say what `snapshot.json` says.
fn check_list(reader: &Reader, snapshot: &Snapshot, member: &Head) -> Result<(), String> {
    let mut text =
        vec![0; usize::try_from(member.stored.length.min(crate::snapshot::MAX_CLOSING_FILE)).unwrap_or(0)];
    reader.read_exact(&mut text, member.stored.data()).map_err(|error| error.to_string())?;
    let expected =
        volumes_data::encode(snapshot.volumes.iter().map(|volume| (volume.path.as_str(), volume.kind)));
    if text == expected { Ok(()) } else { Err("it does not list the snapshot's volumes".to_owned()) }
}
