//! Which snapshot is meant.

use std::collections::HashMap;

use crate::error::{Error, Result};
use crate::name::Shown;
use crate::snapshot::Snapshot;
use crate::snapshot::catalog::Catalog;
use crate::time::Time;

/// The fewest digits that name a snapshot.
const MIN_DIGITS: usize = 4;

/// Which snapshots are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SnapshotFilter {
    /// The one whose ID begins so.
    pub id: Option<String>,
    /// Those under this prefix, without slashes around it; else under any.
    pub prefix: Option<String>,
    /// Those that have one of these volumes, by their paths; else all. Of the others, nothing is looked at.
    pub volumes: Vec<String>,
}

impl SnapshotFilter {
    /// Whether `snapshot` is asked for, whatever its ID.
    pub(crate) fn admits(&self, snapshot: &Snapshot) -> bool {
        let of_prefix = self.prefix.as_ref().is_none_or(|prefix| *prefix == snapshot.prefix);
        let mut volumes = snapshot.volumes.iter();
        of_prefix && (self.volumes.is_empty() || volumes.any(|volume| self.has(&volume.path)))
    }

    /// Whether the volume at `path` is asked for.
    pub(crate) fn has(&self, path: &str) -> bool {
        self.volumes.is_empty() || self.volumes.iter().any(|volume| volume == path)
    }

    /// The error that nothing in `archive` is asked for.
    pub(crate) fn nothing(&self, archive: &Shown) -> Error {
        let mut what = Vec::new();
        what.extend(
            self.prefix.iter().map(|prefix| format!("under the prefix \"{}\"", Shown::from(prefix.as_str()))),
        );
        let volumes: Vec<String> =
            self.volumes.iter().map(|volume| Shown::from(volume.as_str()).to_string()).collect();
        what.extend((!volumes.is_empty()).then(|| format!("with the volume {}", volumes.join(" or "))));
        Error::NoSnapshot(format!(
            "{archive} has no snapshot {}: `snapshotter list` shows those it has",
            what.join(" ")
        ))
    }
}

/// The one snapshot whose ID begins with `id`. One that lost its ID is named by its place, as `@OFFSET`.
///
/// # Errors
/// [`Error::NoSnapshot`] when none or several do.
pub(crate) fn by_id<'a>(
    snapshots: impl IntoIterator<Item = &'a Snapshot>,
    archive: &Shown,
    id: &str,
) -> Result<&'a Snapshot> {
    let snapshots: Vec<&Snapshot> = snapshots.into_iter().collect();
    let wanted = id.to_ascii_lowercase();
    if let Some(found) = snapshots.iter().find(|snapshot| wanted.starts_with('@') && snapshot.id == wanted) {
        return Ok(found);
    }
    if wanted.len() < MIN_DIGITS || wanted.len() > 8 || !wanted.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(Error::NoSnapshot(format!(
            "{} is no snapshot's ID: give {MIN_DIGITS} to 8 hex digits of one that `snapshotter list` shows",
            Shown::from(id)
        )));
    }
    let found: Vec<&Snapshot> =
        snapshots.into_iter().filter(|snapshot| snapshot.id.starts_with(&wanted)).collect();
    match found.as_slice() {
        [one] => Ok(one),
        [] => Err(Error::NoSnapshot(format!(
            "no snapshot in {archive} has an ID that begins with {wanted}: `snapshotter list` shows those it has"
        ))),
        // Two runs within a second over the same content close with the same bytes.
        [first @ .., newest] if first.iter().all(|snapshot| snapshot.id == newest.id) => Ok(newest),
        several => Err(Error::NoSnapshot(format!(
            "several snapshots in {archive} have an ID that begins with {wanted} ({}): give more digits",
            several.iter().map(|snapshot| snapshot.id.as_str()).collect::<Vec<_>>().join(", ")
        ))),
    }
}

/// For each of `snapshots`, which are in the archive's order, which one before it under the same prefix was
/// taken later, and last of all: what comes last counts as the newest, and that may be an older one that was
/// appended by another program. One whose time is lost contradicts none.
pub(crate) fn later_before<'a>(snapshots: impl IntoIterator<Item = &'a Snapshot>) -> Vec<Option<usize>> {
    let snapshots: Vec<&Snapshot> = snapshots.into_iter().collect();
    let mut latest: HashMap<&str, usize> = HashMap::new();
    let mut later = Vec::with_capacity(snapshots.len());
    for (at, snapshot) in snapshots.iter().enumerate() {
        let time = |at: usize| snapshots[at].created.whole();
        let before = latest.get(snapshot.prefix.as_str()).copied();
        let is_known = snapshot.created != Time::default();
        later.push(before.filter(|&before| is_known && time(before) > time(at)));
        if is_known && later[at].is_none() {
            latest.insert(&snapshot.prefix, at);
        }
    }
    later
}

/// The newest snapshot under `prefix`.
///
/// # Errors
/// [`Error::NoSnapshot`], which names the prefixes that there are.
pub(crate) fn newest<'a>(catalog: &'a Catalog, archive: &Shown, prefix: &str) -> Result<&'a Snapshot> {
    let newest = catalog.snapshots.iter().rev().find(|snapshot| snapshot.prefix == prefix);
    newest.ok_or_else(|| {
        let mut prefixes: Vec<&str> =
            catalog.snapshots.iter().map(|snapshot| snapshot.prefix.as_str()).collect();
        prefixes.sort_unstable();
        prefixes.dedup();
        let known = if prefixes.is_empty() {
            "it holds no snapshot: make one with `snapshotter backup`".to_owned()
        } else {
            let more = prefixes.len().saturating_sub(5);
            let shown: Vec<String> =
                prefixes.iter().take(5).map(|prefix| format!("\"{}\"", Shown::from(*prefix))).collect();
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            format!("it holds {}{more}: correct `prefix` in the configuration", shown.join(", "))
        };
        Error::NoSnapshot(format!(
            "{archive} has no snapshot under the prefix \"{}\": {known}",
            Shown::from(prefix)
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_before_that_of_an_earlier_one_contradicts_the_order() {
        let taken = |prefix: &str, secs| Snapshot {
            prefix: prefix.to_owned(),
            created: Time { secs, nanos: 0 },
            ..Snapshot::lost(0..0)
        };
        let later = |taken: &[Snapshot]| later_before(taken);
        assert_eq!(later(&[taken("p", 1), taken("p", 2), taken("p", 2)]), [None; 3]);
        assert_eq!(later(&[taken("p", 9), taken("q", 2), taken("p", 3)]), [None, None, Some(0)]);
        assert_eq!(
            later(&[taken("p", 2), taken("p", 9), taken("p", 3), taken("p", 5), taken("p", 9)]),
            [None, None, Some(1), Some(1), None]
        );
        assert_eq!(later(&[taken("p", 9), taken("p", 0), taken("p", 9)]), [None; 3]);
    }
}
