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
use crate::snapshot::index::asked::Asked;
use crate::snapshot::index::cursor::IndexCursor;
use crate::snapshot::index::lookup::Reach;
use crate::snapshot::index::place::IndexPlace;
use crate::snapshot::layout::Place;

/// What of `snapshot` no walk need look at; nothing where there is no index, or a whole volume is wanted.
pub(super) fn unwanted(reader: &Arc<Reader>, snapshot: &Snapshot, wanted: &[Wanted]) -> Result<Gaps> {
    let (IndexPlace::Table(table), true) = (&snapshot.index, wanted.iter().all(|one| one.only.is_some()))
    else {
        return Ok(Gaps::default());
    };
    if snapshot.has_references {
        return Ok(Gaps::default());
    }
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

/// Which members of `snapshot`, which has some in earlier snapshots alone, are asked for; `None` for all.
pub(super) fn asked(
    reader: &Arc<Reader>,
    snapshot: &Snapshot,
    wanted: &[Wanted],
) -> Result<Option<Arc<Asked>>> {
    if !snapshot.has_references || wanted.iter().any(|one| one.only.is_none()) {
        return Ok(None);
    }
    let mut asked = Asked::default();
    for one in wanted {
        let (volume, paths) = (one.index as u64, one.only.iter().flat_map(Only::paths));
        asked.members.insert((volume, Vec::new()));
        for path in paths {
            asked.trees.insert((volume, path.clone()));
            asked.members.extend(parents_of(path).map(|parent| (volume, parent.to_vec())));
        }
    }
    // Files that have further names in what is asked for.
    let trees = Snapshot { asked: Some(Arc::new(asked.clone())), ..snapshot.clone() };
    let Some(mut cursor) = IndexCursor::open(reader, &trees)? else { return Ok(None) };
    while cursor.step()? {
        let Some(entry) = cursor.entry().filter(|entry| entry.kind == Kind::HardLink) else { continue };
        if asked.has(entry.volume, entry.path)
            && let Some(source) = snapshot.layout.locate(entry.link)
        {
            asked.members.insert((source.volume as u64, source.path.to_vec()));
        }
    }
    Ok(Some(Arc::new(asked)))
}

/// The directories on the way to `path`, but for the root.
fn parents_of(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.iter().enumerate().filter(|&(_, &byte)| byte == b'/').map(|(at, _)| &path[..at])
}

/// Where the members lie that are asked for in one volume: what lies in the paths, what is on the way to them,
/// and files outside of which there are further names in them.
fn members_of(index: &mut Index, snapshot: &Snapshot, volume: usize, only: &Only) -> Result<Vec<Range<u64>>> {
    let mut kept = Vec::new();
    let mut others: HashSet<Vec<u8>> = HashSet::from([Vec::new()]);
    for path in only.paths() {
        others.extend(parents_of(path).map(<[u8]>::to_vec));
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
