//! Where the earlier snapshots are that a snapshot needs.

use crate::name::Shown;
use crate::snapshot::Snapshot;
use crate::snapshot::base::Base;

/// Finds the bases of each of `snapshots`, which are in the archive's order.
pub(crate) fn resolve(snapshots: &mut [Snapshot]) {
    for at in 0..snapshots.len() {
        let (before, rest) = snapshots.split_at_mut(at);
        if let Some(snapshot) = rest.first_mut() {
            find_bases(snapshot, before);
        }
    }
}

/// Finds the bases of `snapshot` among `sound`, which are in the archive's order.
pub(crate) fn find_bases(snapshot: &mut Snapshot, sound: &[Snapshot]) {
    let mut bases = std::mem::take(&mut snapshot.bases);
    for base in &mut bases {
        let found = sound.binary_search_by_key(&base.start, |other| other.start).ok();
        let found = found.map(|found| &sound[found]);
        if let Some(found) = found.filter(|found| is_base(found, base, snapshot)) {
            (base.close, base.closed_with) = (found.close, found.closed_with.clone());
        }
    }
    snapshot.bases = bases;
}

fn is_base(found: &Snapshot, base: &Base, of: &Snapshot) -> bool {
    let is_ours = !found.is_go() && found.refused.is_none();
    is_ours && found.id == base.id && found.prefix == of.prefix && found.end <= of.start
}

/// What is wrong where a base of `snapshot` is missing.
pub(crate) fn missing(snapshot: &Snapshot) -> Option<String> {
    let lost: Vec<String> =
        snapshot.bases.iter().filter(|base| !base.is_there()).map(|base| base.id.clone()).collect();
    let first = lost.first()?;
    let first = Shown::from(first.as_str());
    Some(match lost.len() {
        1 => format!("it needs snapshot {first}, which is missing or damaged"),
        count => format!("it needs {count} snapshots that are missing or damaged, {first} first"),
    })
}
