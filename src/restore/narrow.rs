//! Where only some paths are restored of a snapshot with an index: the rest of it is stepped over, and its
//! headers are not read.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use crate::archive::entry::Kind;
use crate::archive::open::Reader;
use crate::error::Result;
use crate::restore::only::Only;
use crate::restore::wanted::Wanted;
use crate::snapshot::Snapshot;
use crate::snapshot::gaps::{Gap, Gaps};
use crate::snapshot::index::Index;
use crate::snapshot::index::lookup::Reach;
use crate::snapshot::index::place::IndexPlace;
use crate::snapshot::layout::Place;

/// What of `snapshot` no walk need look at; nothing where there is no index, or a whole volume is wanted.
pub(super) fn unwanted(reader: &Arc<Reader>, snapshot: &Snapshot, wanted: &[Wanted]) -> Result<Gaps> {
    let (IndexPlace::Table(table), true) = (&snapshot.index, wanted.iter().all(|one| one.only.is_some()))
    else {
        return Ok(Gaps::default());
    };
    let Some(mut index) = Index::open(reader, snapshot)? else { return Ok(Gaps::default()) };
    let mut kept = Vec::new();
    for one in wanted {
        let Some(only) = &one.only else { continue };
        kept.extend(members_of(&mut index, snapshot, one.index, only)?);
    }
    kept.push(*table..snapshot.end);
    kept.sort_by_key(|range| range.start);
    let (mut rest, mut from) = (Gaps::default(), snapshot.start);
    for range in kept {
        if from < range.start {
            rest.push(Gap::silent(from..range.start));
        }
        from = from.max(range.end);
    }
    Ok(rest)
}

/// Where the members lie that are asked for in one volume: what lies in the paths, what is on the way to them,
/// and files outside of which there are further names in them.
fn members_of(index: &mut Index, snapshot: &Snapshot, volume: usize, only: &Only) -> Result<Vec<Range<u64>>> {
    let mut kept = Vec::new();
    let mut others: HashSet<Vec<u8>> = HashSet::from([Vec::new()]);
    for path in only.paths() {
        let slashes = path.iter().enumerate().filter(|&(_, &byte)| byte == b'/');
        others.extend(slashes.map(|(at, _)| path[..at].to_vec()));
        let tree = Place { volume, path };
        kept.extend(index.find(snapshot, &tree, Reach::Tree, |entry| {
            let source = snapshot.layout.locate(entry.link).filter(|_| entry.kind == Kind::HardLink);
            let source = source.filter(|source| source.volume == volume && !only.holds(source.path));
            others.extend(source.map(|source| source.path.to_vec()));
        })?);
    }
    for path in &others {
        kept.extend(index.find(snapshot, &Place { volume, path }, Reach::Member, |_| {})?);
    }
    Ok(kept)
}
