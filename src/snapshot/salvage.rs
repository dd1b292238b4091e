//! What is left of the snapshots in a damaged archive.
//!
//! Up to the first place where the walk cannot go on, all is as certain as in a sound archive. What is found
//! behind such a gap may lie in the content of a file, which may be an archive of ours itself. Nothing in a
//! member says which archive it was written for, so this is told from how the members lie:
//!
//! - A close belongs to the beginning that lies as many bytes before it as it says.
//! - What leads to another close and the end of an archive, behind which there is more, is content.
//! - Of two members with one name that differ, found behind the same gap, the first is content, and so is all
//!   between the gap and it: once the walk stands on a member of the archive itself, it stays on such.
//! - No more is taken than the snapshot was closed with; what is too much is taken from the front, for the
//!   same reason.

mod chart;
mod marks;
mod remnant;
mod rests;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::archive::open::Reader;
use crate::archive::source::Archive;
use crate::error::{Error, Result};
use crate::observer::Run;
use crate::snapshot::catalog::{self, Catalog, Depth, problem_of};
use crate::snapshot::gaps::{Gap, Gaps};
use crate::snapshot::resolve::find_bases;
use crate::snapshot::salvage::chart::Chart;
pub(crate) use crate::snapshot::salvage::remnant::Remnant;
use crate::snapshot::salvage::rests::rests;
use crate::snapshot::{Snapshot, go};

/// All that is left of an archive.
#[derive(Debug)]
pub(crate) struct Salvage {
    /// In the order of their offsets.
    pub(crate) remnants: Vec<Remnant>,
    pub(crate) gaps: Gaps,
}

/// Opens `archive` as [`catalog::open`] does, and where that meets damage, looks for what is
/// left.
pub(crate) fn open(
    archive: &Archive,
    spool: &[PathBuf],
    lock_timeout: Duration,
    run: &Run,
) -> Result<(Arc<Reader>, Catalog, Salvage)> {
    let look = |reader: &Arc<Reader>, run: &Run| catalog::read(reader, Depth::Members, run);
    let (reader, catalog) = Reader::open_settled(archive, spool, lock_timeout, run, look)?;
    let catalog = match catalog {
        Ok(catalog) if catalog.problems.is_empty() => {
            let remnants = catalog.snapshots.iter().map(Remnant::of_whole).collect();
            return Ok((reader, catalog, Salvage { remnants, gaps: Gaps::default() }));
        }
        Ok(catalog) => catalog,
        // It may have been one, whose very first block is damaged.
        Err(error @ Error::Archive { .. }) => {
            let salvage = read(&reader, &Catalog::default(), run)?;
            if salvage.remnants.is_empty() {
                return Err(error);
            }
            return Ok((
                reader,
                Catalog { problems: vec![problem_of(error)?], ..Catalog::default() },
                salvage,
            ));
        }
        Err(error) => return Err(error),
    };
    let salvage = read(&reader, &catalog, run)?;
    Ok((reader, catalog, salvage))
}

/// Looks through the archive for all that `catalog` could not get at.
fn read(reader: &Arc<Reader>, catalog: &Catalog, run: &Run) -> Result<Salvage> {
    let Chart { gaps, marks, end, loose, .. } = Chart::draw(reader, run)?;
    let mut remnants: Vec<Remnant> = catalog.snapshots.iter().map(Remnant::of_whole).collect();
    let range = |known: &Remnant| (known.snapshot.start, known.snapshot.end);
    let mut known: BTreeMap<u64, u64> = remnants.iter().map(range).collect();
    for rest in rests(&gaps, marks, end) {
        let before = known.range(..rest.range.end).next_back();
        if before.is_none_or(|(_, &end)| end <= rest.range.start) {
            known.insert(rest.range.start, rest.range.end);
            let mut remnant = Remnant::new(reader, rest, &gaps, run)?;
            if loose.iter().any(|loose| loose.contains(&remnant.snapshot.start)) {
                (remnant.doubtful, remnant.sure) = (true, false);
            }
            remnants.push(remnant);
        }
    }
    if let Some(found) = cut_off(reader, &remnants, &gaps)? {
        remnants.push(found);
    }
    remnants.sort_by_key(|remnant| remnant.snapshot.start);
    let is_sound = |remnant: &&Remnant| remnant.is_whole() && !remnant.doubtful;
    let sound: Vec<Snapshot> = remnants.iter().filter(is_sound).map(|one| one.snapshot.clone()).collect();
    for remnant in &mut remnants {
        find_bases(&mut remnant.snapshot, &sound);
    }
    Ok(Salvage { remnants, gaps })
}

/// What is left of a snapshot of the Go program before the first gap. After that there is nothing to tell its
/// members by.
fn cut_off(reader: &Arc<Reader>, remnants: &[Remnant], gaps: &Gaps) -> Result<Option<Remnant>> {
    let Some(gap) = gaps.iter().next() else { return Ok(None) };
    let before = remnants.iter().filter(|known| known.snapshot.start < gap.range.start);
    let from = before.map(|known| known.snapshot.end).max().unwrap_or(0);
    let found = go::cut_off(reader, from..gap.range.start)?;
    Ok(found.map(|snapshot| Remnant::unsure(snapshot, std::iter::once(gap.clone()).collect())))
}

impl Salvage {
    /// The first gap after `end` where there may have been another snapshot: none that is known takes all of
    /// it up.
    pub(crate) fn lost_after(&self, end: u64) -> Option<&Gap> {
        let takes_up = |known: &Remnant, gap: &Range<u64>| {
            let snapshot = &known.snapshot;
            known.counted && !known.doubtful && snapshot.start < gap.start && gap.end < snapshot.end
        };
        self.gaps.iter().find(|gap| {
            let range = &gap.range;
            (range.start >= end || range.end > end)
                && !self.remnants.iter().any(|known| takes_up(known, range))
        })
    }
}
