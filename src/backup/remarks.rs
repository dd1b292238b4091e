//! What is said of a volume as a whole. Of one of which nothing is stored: a wrong name makes a new, empty
//! volume, and one in memory is emptied when its container stops; what is backed up then, a plain restore would
//! put in place of what was there. And of the filesystem's own directory, which may hold what was the user's.

use nix::errno::Errno;

use crate::backup::shared::BackupRun;
use crate::backup::volumes::OpenVolume;
use crate::error::{Context, Result, reason};
use crate::fs::handle::join;
use crate::fs::{has_errno, mounts, space};
use crate::name::Shown;
use crate::snapshot::catalog::Catalog;

/// A volume as the newest snapshot before has it.
pub(super) struct VolumeBefore {
    path: String,
    /// How many members it has; the volume itself is one.
    entries: u64,
    snapshot: String,
}

/// The volumes of the last snapshot under `prefix`.
pub(super) fn volumes_before(catalog: Catalog, prefix: &str) -> Vec<VolumeBefore> {
    let last = catalog.snapshots.into_iter().rev().find(|snapshot| snapshot.prefix == prefix);
    let Some(last) = last else { return Vec::new() };
    let before = |volume: crate::snapshot::SnapshotVolume| VolumeBefore {
        path: volume.path,
        entries: volume.entries,
        snapshot: last.id.clone(),
    };
    last.volumes.into_iter().map(before).collect()
}

/// Says of a directory, of which nothing but itself is stored, whether that is to be wondered at.
pub(super) fn nothing_stored(volume: &OpenVolume, before: &[VolumeBefore], shared: &BackupRun) -> Result<()> {
    let in_memory = space::is_in_memory(&volume.handle).context("look at", volume.path)?;
    let mut names = space::names_in_root(&volume.handle).context("list", volume.path)?;
    names.retain(|name| !volume.strays.contains(name));
    let state = if names.is_empty() { "it is empty" } else { "all that is in it is left out" };
    let path = volume.path.as_bytes();
    match before.iter().find(|before| before.path == volume.path) {
        _ if in_memory => shared.warn(
            path,
            format!(
                "{state}, and it lies in memory (tmpfs), so that it is emptied when its containers stop: back it \
                 up while they run"
            ),
        ),
        Some(VolumeBefore { entries, snapshot, .. }) if *entries > 1 => shared.warn(
            path,
            format!(
                "{state}, and snapshot {snapshot} has {entries} entries of it: see that it is the right volume, as \
                 a restore of this snapshot empties it"
            ),
        ),
        Some(_) => Ok(()),
        None => {
            shared.run.observer.note(&format!("{}: {state}", Shown::from(path)));
            Ok(())
        }
    }
}

/// Says which volumes go with their last container: an engine that removes a run started with `--rm` removes
/// them, if the application's container was removed meanwhile. The run cannot see whether it was started so.
pub(super) fn anonymous(volumes: &[OpenVolume], shared: &BackupRun) -> Result<()> {
    for OpenVolume { path, real_path, .. } in volumes {
        if mounts::is_anonymous(real_path).context("look for mounts in", *path)? {
            shared.run.observer.note(&format!(
                "{}: it is an anonymous volume: if its container is removed meanwhile, a run with --rm takes it along, \
                 so leave --rm out where that may be",
                Shown::from(path.as_bytes())
            ));
        }
    }
    Ok(())
}

/// `lost+found` belongs to the filesystem and is left out, but what fsck has put there was the user's.
pub(super) fn lost_and_found(volume: &OpenVolume, shared: &BackupRun) -> Result<()> {
    let path = join(volume.path.as_bytes(), space::LOST_AND_FOUND);
    let what = match space::found_by_fsck(&volume.handle) {
        Ok(0) => return Ok(()),
        Ok(1) => "the entry that fsck has put there".to_owned(),
        Ok(found) => format!("the {found} entries that fsck has put there"),
        Err(error) if has_errno(&error, &[Errno::EACCES]) => {
            // As a rule it is empty, and closed to all but root.
            let (path, reason) = (Shown::from(&path), reason(&error));
            shared.run.observer.note(&format!("{path}: left out, and not looked into: {reason}"));
            return Ok(());
        }
        Err(error) => return Err(error).context("look for lost+found in", volume.path),
    };
    shared.warn(
        &path,
        format!("left out with {what}, as it is the filesystem's own: move elsewhere what is to be kept"),
    )
}
