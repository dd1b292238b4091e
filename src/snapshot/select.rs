//! Which snapshot is meant.

use crate::error::{Error, Result};
use crate::name::Shown;
use crate::snapshot::Snapshot;
use crate::snapshot::catalog::Catalog;

/// The fewest digits that name a snapshot.
const MIN_DIGITS: usize = 4;

/// The one snapshot whose ID begins with `id`. One that lost its ID is named by its place, as `@OFFSET`.
///
/// # Errors
/// [`Error::NoSnapshot`] when none or several do.
pub(crate) fn by_id<'a>(catalog: &'a Catalog, archive: &Shown, id: &str) -> Result<&'a Snapshot> {
    let wanted = id.to_ascii_lowercase();
    if let Some(found) =
        catalog.snapshots.iter().find(|snapshot| wanted.starts_with('@') && snapshot.id == wanted)
    {
        return Ok(found);
    }
    if wanted.len() < MIN_DIGITS || wanted.len() > 8 || !wanted.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(Error::NoSnapshot(format!(
            "{} is no snapshot's ID: give {MIN_DIGITS} to 8 hex digits of one that `snapshotter list` shows",
            Shown::from(id)
        )));
    }
    let found: Vec<&Snapshot> =
        catalog.snapshots.iter().filter(|snapshot| snapshot.id.starts_with(&wanted)).collect();
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
