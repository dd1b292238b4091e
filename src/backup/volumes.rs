//! The volumes of one backup, opened and locked before the first of them is read.

use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use crate::backup::options::BackupOptions;
use crate::config::Config;
use crate::error::{Context, Result, reason};
use crate::fs::lock::{self, Mode};
use crate::fs::{FileId, Handle, space};
use crate::name::Shown;
use crate::observer::Run;
use crate::staging;
use crate::volume::{self, VolumeType};

/// A volume that is open and locked.
pub(super) struct OpenVolume<'a> {
    pub(super) path: &'a str,
    pub(super) id: &'a str,
    pub(super) kind: VolumeType,
    pub(super) handle: Handle,
    /// The path without symbolic links.
    pub(super) real_path: Vec<u8>,
    /// Stray staging directories at its root, which are no content.
    pub(super) strays: Vec<Vec<u8>>,
}

/// Brings to disk what the volumes' filesystems have in their caches, so that each change from now on gets a time of its
/// own, also one to memory that is mapped. Says whether that was done; of filesystems in memory there is a note where
/// later backups go by times.
pub(super) fn settle(volumes: &[OpenVolume], options: &BackupOptions, run: &Run) -> Result<bool> {
    let mut settled = true;
    for OpenVolume { path, handle, .. } in volumes {
        if space::is_in_memory(handle).context("look at", *path)? {
            if options.incremental {
                run.observer.note(&format!(
                    "{}: it lies in memory (tmpfs), where a change through mapped memory (mmap) need not change a \
                     file's time: `backup --full` stores such files too",
                    Shown::from(path.as_bytes())
                ));
            }
        } else if let Err(error) = handle.sync_filesystem() {
            settled = false;
            run.observer.note(&format!(
                "{}: its filesystem cannot be synced ({}): the next backup stores all",
                Shown::from(path.as_bytes()),
                reason(&error)
            ));
        }
    }
    Ok(settled)
}

/// Opens the configured volumes, whose `kinds` are known, and locks them. None may be a file of `in_use`.
pub(super) fn open_all<'a>(
    config: &'a Config,
    kinds: &[VolumeType],
    in_use: &[FileId],
    options: &BackupOptions,
    run: &Run,
) -> Result<Vec<OpenVolume<'a>>> {
    let mut opened = Vec::new();
    for (volume, &kind) in config.volumes.iter().zip(kinds) {
        let path = Path::new(volume.path());
        let handle = match kind {
            VolumeType::Dir => Handle::open_directory(path),
            VolumeType::File => Handle::open_for_reading(path),
        };
        let handle = handle.context("open", path)?;
        // The archive's lock would be waited for; the configuration hides what the container has in its
        // place.
        if in_use.contains(&handle.stat().context("look at", path)?.id) {
            return Err(volume::in_use("back up", Shown::from(path)));
        }
        opened.push((volume, kind, handle));
    }
    let named = opened.iter().map(|(volume, _, handle)| (handle, Shown::from(volume.path())));
    lock::lock_all(named, Mode::Shared, options.lock_timeout, run)?;

    let mut volumes = Vec::new();
    for (volume, kind, handle) in opened {
        let path = volume.path();
        let strays = match kind {
            VolumeType::Dir => staging::find_in(&handle, path)?,
            VolumeType::File => Vec::new(),
        };
        staging::refuse_interrupted(&strays, "back up", path)?;
        let strays = strays.iter().map(|found| staging::name(found.index)).collect();
        let real_path = handle.real_path().context("find the path of", path)?.into_os_string().into_vec();
        volumes.push(OpenVolume { path, id: volume.id(), kind, handle, real_path, strays });
    }
    Ok(volumes)
}
