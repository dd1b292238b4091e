//! One backup: the configured volumes, appended to the archive as one snapshot.

mod attributes;
mod batch;
mod crew;
mod large;
mod owners;
mod sink;
mod source;
mod tree;

use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::archive::append::{Append, AppendOptions};
use crate::archive::checksum::Cover;
use crate::archive::entry::{Entry, Kind};
use crate::archive::open::Reader;
use crate::backup::crew::Crew;
use crate::backup::sink::Sink;
use crate::backup::tree::Tree;
use crate::config::Config;
use crate::error::{Context, Error, Hint, Result};
use crate::fs::ids::explain;
use crate::fs::lock::{self, Mode};
use crate::fs::{FileId, Handle};
use crate::name::Shown;
use crate::observer::{Phase, Run};
use crate::report::BackupReport;
use crate::snapshot::manifest::{FORMAT, Manifest};
use crate::snapshot::{
    SNAPSHOT_JSON, SnapshotVolume, VOLUMES_DATA, begin_block, catalog, under, volumes_data,
};
use crate::staging;
use crate::time::Time;
use crate::volume::{self, VolumeType};

/// Which members get a checksum over their content.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ChecksumPolicy {
    /// Those whose content is read anyway.
    #[default]
    Auto,
    /// All.
    Always,
    /// None: only headers are covered, and damage to content goes unnoticed.
    Never,
}

/// How a backup is done.
#[derive(Debug, Clone)]
pub struct BackupOptions {
    /// The archive.
    pub archive: PathBuf,
    /// Text to keep with the snapshot.
    pub note: Option<String>,
    /// Which content is hashed.
    pub checksum: ChecksumPolicy,
    /// Cut what lies behind the archive's end, even when it may be another archive.
    pub discard_tail: bool,
    /// How long to wait for other runs on the archive or a volume.
    pub lock_timeout: Duration,
}

impl Default for BackupOptions {
    fn default() -> Self {
        BackupOptions {
            archive: PathBuf::from(crate::DEFAULT_ARCHIVE),
            note: None,
            checksum: ChecksumPolicy::Auto,
            discard_tail: false,
            lock_timeout: crate::DEFAULT_LOCK_TIMEOUT,
        }
    }
}

/// A volume that is open and locked.
struct OpenVolume<'a> {
    path: &'a str,
    id: &'a str,
    kind: VolumeType,
    handle: Handle,
    /// The path without symbolic links.
    real_path: Vec<u8>,
    /// Stray staging directories at its root, which are no content.
    strays: Vec<Vec<u8>>,
}

/// Appends one snapshot of the configured volumes to the archive.
///
/// # Errors
/// When anything cannot be read or written. The archive then is as it was before, unless the error says otherwise.
pub fn backup(config: &Config, options: &BackupOptions, run: &Run) -> Result<BackupReport> {
    append(config, options, run).map_err(explain)
}

fn append(config: &Config, options: &BackupOptions, run: &Run) -> Result<BackupReport> {
    let started = Instant::now();
    let kinds = config.check_volumes()?;
    let append_options =
        AppendOptions { lock_timeout: options.lock_timeout, discard_tail: options.discard_tail };
    let mut append = Append::open(&options.archive, append_options, run, find_end)?;
    match write(&mut append, config, &kinds, options, run, started) {
        Ok(report) => Ok(report),
        Err(error) => Err(append.abandon(error)),
    }
}

/// The end of an archive that may be appended to.
fn find_end(reader: &Arc<Reader>, run: &Run) -> Result<u64> {
    let catalog = catalog::read(reader, run)?;
    let foreign_tail = catalog.end.is_some_and(|_| matches!(catalog.tail, crate::Tail::Foreign(_)));
    if catalog.problems.len() > usize::from(foreign_tail) {
        catalog.require_sound(reader).map_err(|damaged| damaged.with_hint(Hint::KeepDamagedArchive))?;
    }
    if catalog.globals {
        return Err(Error::Archive {
            action: "append to",
            archive: reader.name().clone(),
            reason: "it has a global pax header, which other programs would apply to what is appended: make another \
                     archive with `snapshotter init`"
                .to_owned(),
        });
    }
    catalog.end.ok_or_else(|| Error::Archive {
        action: "append to",
        archive: reader.name().clone(),
        reason: "it has no end".to_owned(),
    })
}

fn write(
    append: &mut Append,
    config: &Config,
    kinds: &[VolumeType],
    options: &BackupOptions,
    run: &Run,
    started: Instant,
) -> Result<BackupReport> {
    let left_out = config.in_use(append.reader().id());
    let volumes = open_volumes(config, kinds, &left_out, options, run)?;
    let created = Time::now();

    run.observer.begin(Phase::BackingUp, None);
    let crew = Crew::new(append, run);
    let (stored, mut closing) = crew.with_helpers(|| {
        let mut sink = Sink::new(&crew, options.checksum);
        let stored = store(&volumes, config, &left_out, &crew, &mut sink)?;
        Ok((stored, sink.settle()?))
    })?;
    let warnings = crew.take_warnings();
    let (entries, size, unhashed) = (closing.entries, closing.size, closing.unhashed);

    let list = volumes_data::encode(volumes.iter().map(|volume| (volume.path, volume.kind)));
    closing.file(&closing_entry(&config.prefix, VOLUMES_DATA, &list, created), &list, Cover::Full)?;
    let manifest = Manifest {
        format: FORMAT,
        program: crate::PROGRAM.to_owned(),
        created: created.to_rfc3339(),
        prefix: config.prefix.clone(),
        note: options.note.clone(),
        volumes: stored.clone(),
        exclude: config.exclude.patterns().to_vec(),
        members: closing.members,
        bytes: closing.length(),
        entries,
        size,
        unhashed,
        warning_count: warnings.count,
        warnings: warnings.kept.clone(),
        digest: closing.digest.to_hex(),
    };
    let json = manifest.encode();
    let entry = closing_entry(&config.prefix, SNAPSHOT_JSON, &json, created);
    let checksum = closing.file(&entry, &json, Cover::Close)?;
    let end = closing.finish()?;
    run.cancel.check("the archive is as it was")?;
    append.commit(end, &begin_block())?;
    Ok(BackupReport {
        id: checksum.to_hex()[..8].to_owned(),
        created: created.whole(),
        prefix: config.prefix.clone(),
        volumes: stored,
        entries,
        size,
        bytes: end - append.start(),
        unhashed,
        note: options.note.clone(),
        warning_count: warnings.count,
        warnings: warnings.kept,
        elapsed: started.elapsed(),
    })
}

/// Stores the volumes, one after the other.
fn store(
    volumes: &[OpenVolume],
    config: &Config,
    left_out: &[FileId],
    crew: &Crew,
    sink: &mut Sink,
) -> Result<Vec<SnapshotVolume>> {
    let mut stored = Vec::new();
    for volume in volumes {
        let (entries, size) = (sink.entries(), sink.size());
        Tree::new(config, volumes, volume, left_out, crew, sink)?.store()?;
        stored.push(SnapshotVolume {
            path: volume.path.to_owned(),
            kind: volume.kind,
            entries: sink.entries() - entries,
            size: sink.size() - size,
        });
    }
    Ok(stored)
}

fn open_volumes<'a>(
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
        // The archive's lock would be waited for; the configuration hides what the container has in its place.
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

fn closing_entry(prefix: &str, name: &str, content: &[u8], created: Time) -> Entry {
    let mut entry = Entry::new(under(prefix, name), Kind::File);
    entry.mode = 0o600;
    entry.mtime = created;
    entry.size = content.len() as u64;
    entry
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Exclude, Need};

    #[test]
    fn a_snapshot_that_could_not_be_read_back_is_not_committed() {
        let folder = tempfile::tempdir().unwrap();
        let (volume, archive) = (folder.path().join("v"), folder.path().join("a.tar"));
        std::fs::create_dir(&volume).unwrap();
        crate::init_archive(&archive).unwrap();
        let config =
            Config::from_parts("p", [volume.to_str().unwrap()], Exclude::default(), Need::Volumes).unwrap();
        let note = Some("x".repeat(17 << 20));
        let options = BackupOptions { archive: archive.clone(), note, ..BackupOptions::default() };
        let error = backup(&config, &options, &Run::default()).unwrap_err().to_string();
        assert!(error.contains("16 MiB"), "{error}");
        assert_eq!(std::fs::read(&archive).unwrap(), [0; 1024]);
    }
    #[test]
    fn of_snapshots_with_one_id_the_newest_is_meant() {
        let folder = tempfile::tempdir().unwrap();
        let (volume, archive) = (folder.path().join("v"), folder.path().join("a.tar"));
        std::fs::create_dir(&volume).unwrap();
        crate::init_archive(&archive).unwrap();
        let config =
            Config::from_parts("p", [volume.to_str().unwrap()], Exclude::default(), Need::Volumes).unwrap();
        let options = BackupOptions { archive: archive.clone(), ..BackupOptions::default() };
        let ids: Vec<String> =
            (0..3).map(|_| backup(&config, &options, &Run::default()).unwrap().id).collect();
        let list = crate::ListOptions { archive, ..crate::ListOptions::default() };
        // At least two of three quick runs fall into one second, all but always.
        for id in ids {
            crate::members(&list, &id, &Run::default(), &mut |_| Ok(())).unwrap();
        }
    }
}
