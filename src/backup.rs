//! One backup: the configured volumes, appended to the archive as one snapshot.

mod attributes;
mod bundle;
mod large;
mod options;
mod owners;
mod piece;
mod queue;
mod remarks;
mod scheduler;
mod shared;
mod sink;
mod source;
mod tree;
mod volumes;

use std::sync::Arc;
use std::time::Instant;

use crate::archive::append::{Append, AppendOptions};
use crate::archive::checksum::Cover;
use crate::archive::end::Tail;
use crate::archive::entry::{Entry, Kind};
use crate::archive::open::Reader;
pub use crate::backup::options::{BackupOptions, ChecksumPolicy};
use crate::backup::remarks::VolumeBefore;
use crate::backup::scheduler::Scheduler;
use crate::backup::shared::BackupRun;
use crate::backup::sink::{ClosingFiles, Sink};
use crate::backup::tree::Tree;
use crate::backup::volumes::OpenVolume;
use crate::config::Config;
use crate::defaults::PROGRAM;
use crate::error::{Error, Hint, Result};
use crate::fs::FileId;
use crate::fs::ids::explain;
use crate::observer::{Phase, Run};
use crate::report::BackupReport;
use crate::snapshot::catalog::{self, Catalog};
use crate::snapshot::manifest::{FORMAT, Manifest, Warnings};
use crate::snapshot::{SNAPSHOT_JSON, SnapshotVolume, VOLUMES_DATA, begin_block, under, volumes_data};
use crate::time::Time;
use crate::volume::VolumeType;

/// Appends one snapshot of the configured volumes to the archive.
///
/// # Errors
/// When anything cannot be read or written. The archive then is as it was before, unless the error says
/// otherwise.
pub fn backup(config: &Config, options: &BackupOptions, run: &Run) -> Result<BackupReport> {
    append(config, options, run).map_err(explain)
}

fn append(config: &Config, options: &BackupOptions, run: &Run) -> Result<BackupReport> {
    let started = Instant::now();
    let kinds = config.check_volumes()?;
    let append_options =
        AppendOptions { lock_timeout: options.lock_timeout, discard_tail: options.discard_tail };
    let mut before = Vec::new();
    let mut append = Append::open(&options.archive, append_options, run, |reader, run| {
        let (end, catalog) = find_end(reader, run)?;
        before = remarks::volumes_before(catalog, &config.prefix);
        Ok(end)
    })?;
    let backup = Backup { config, kinds: &kinds, before: &before, options, run, started };
    match backup.write(&mut append) {
        Ok(report) => Ok(report),
        Err(error) => Err(append.abandon(error)),
    }
}

/// The end of an archive that may be appended to, and what it holds.
fn find_end(reader: &Arc<Reader>, run: &Run) -> Result<(u64, Catalog)> {
    let catalog = catalog::read(reader, run)?;
    let foreign_tail = catalog.end.is_some_and(|_| matches!(catalog.tail, Tail::Foreign(_)));
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
    let end = catalog.end.ok_or_else(|| Error::Archive {
        action: "append to",
        archive: reader.name().clone(),
        reason: "it has no end".to_owned(),
    })?;
    Ok((end, catalog))
}

/// What one backup is made of.
struct Backup<'a> {
    config: &'a Config,
    /// What each of the volumes is.
    kinds: &'a [VolumeType],
    /// The volumes as the last snapshot has them.
    before: &'a [VolumeBefore],
    options: &'a BackupOptions,
    run: &'a Run<'a>,
    started: Instant,
}

impl Backup<'_> {
    fn write(&self, append: &mut Append) -> Result<BackupReport> {
        let Backup { config, kinds, before, options, run, started } = *self;
        let left_out = config.in_use(append.reader().id());
        let volumes = volumes::open_all(config, kinds, &left_out, options, run)?;
        let created = Time::now();

        run.observer.begin(Phase::BackingUp, None);
        let shared = BackupRun::new(append, run);
        let scheduler = Scheduler::new(&shared);
        let (stored, mut closing) = scheduler.with_helpers(|| {
            let mut sink = Sink::new(&scheduler, options.checksum);
            let stored = store(&volumes, config, &left_out, before, &shared, &mut sink)?;
            Ok((stored, sink.settle()?))
        })?;
        let warnings = shared.take_warnings();
        let (entries, size, unhashed) = (closing.entries, closing.size, closing.unhashed);

        let list = volumes_data::encode(volumes.iter().map(|volume| (volume.path, volume.kind)));
        closing.file(&closing_entry(&config.prefix, VOLUMES_DATA, &list, created), &list, Cover::Full)?;
        let json = manifest(config, options, created, &stored, &closing, &warnings).encode();
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
            exclude: config.exclude.patterns().to_vec(),
            warning_count: warnings.count,
            warnings: warnings.kept,
            elapsed: started.elapsed(),
        })
    }
}

/// What the snapshot's last file says of it.
fn manifest(
    config: &Config,
    options: &BackupOptions,
    created: Time,
    stored: &[SnapshotVolume],
    closing: &ClosingFiles,
    warnings: &Warnings,
) -> Manifest {
    Manifest {
        format: FORMAT,
        needs: Vec::new(),
        program: PROGRAM.to_owned(),
        created: created.to_rfc3339(),
        prefix: config.prefix.clone(),
        note: options.note.clone(),
        volumes: stored.to_vec(),
        exclude: config.exclude.patterns().to_vec(),
        members: closing.members,
        bytes: closing.length(),
        entries: closing.entries,
        size: closing.size,
        unhashed: closing.unhashed,
        warning_count: warnings.count,
        warnings: warnings.kept.clone(),
        digest: closing.digest.to_hex(),
    }
}

/// Stores the volumes, one after the other.
fn store(
    volumes: &[OpenVolume],
    config: &Config,
    left_out: &[FileId],
    before: &[VolumeBefore],
    shared: &BackupRun,
    sink: &mut Sink,
) -> Result<Vec<SnapshotVolume>> {
    let mut stored = Vec::new();
    for volume in volumes {
        let (entries, size) = (sink.entries(), sink.size());
        if volume.kind == VolumeType::Dir {
            remarks::lost_and_found(volume, shared)?;
        }
        Tree::new(config, volumes, volume, left_out, shared, sink)?.store()?;
        let (entries, size) = (sink.entries() - entries, sink.size() - size);
        if volume.kind == VolumeType::Dir && entries <= 1 {
            remarks::nothing_stored(volume, before, shared)?;
        }
        stored.push(SnapshotVolume { path: volume.path.to_owned(), kind: volume.kind, entries, size });
    }
    Ok(stored)
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
        let list = crate::ListOptions { archive: archive.into(), ..crate::ListOptions::default() };
        // At least two of three quick runs fall into one second, all but always.
        for id in ids {
            crate::members(&list, &id, &Run::default(), &mut |_| Ok(())).unwrap();
        }
    }
}
