//! One backup: the configured volumes, appended to the archive as one snapshot.

mod attributes;
mod bundle;
mod earlier;
mod index;
mod large;
mod options;
mod outlet;
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

use std::io::Write;
use std::sync::Arc;
use std::time::Instant;

use crate::archive::append::{Append, AppendOptions};
use crate::archive::checksum::Cover;
use crate::archive::end::Tail;
use crate::archive::entry::{Entry, Kind};
use crate::archive::open::Reader;
use crate::archive::stream::{NO_ARCHIVE, Stream};
use crate::backup::earlier::Earlier;
use crate::backup::index::BackupIndex;
pub use crate::backup::options::{BackupOptions, ChecksumPolicy};
use crate::backup::outlet::Outlet;
use crate::backup::remarks::VolumeBefore;
use crate::backup::scheduler::Scheduler;
use crate::backup::shared::BackupRun;
use crate::backup::sink::{ClosingFiles, Sink};
use crate::backup::tree::Tree;
use crate::backup::volumes::OpenVolume;
use crate::config::Config;
use crate::defaults::PROGRAM;
use crate::error::{Context, Error, Hint, Result};
use crate::fs::FileId;
use crate::fs::ids::explain;
use crate::fs::stdout::{NoStdout, Stdout};
use crate::name::Shown;
use crate::observer::{Phase, Run};
use crate::report::BackupReport;
use crate::snapshot::catalog::{self, Catalog, Depth};
use crate::snapshot::manifest::{
    FORMAT, Manifest, NEEDS_INDEX, NEEDS_LATE, NEEDS_REFERENCES, NEWEST_FORMAT, Warnings,
};
use crate::snapshot::{
    SNAPSHOT_INDEX, SNAPSHOT_JSON, SnapshotVolume, VOLUMES_DATA, begin_block, under, volumes_data,
};
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

/// Writes a whole archive of one snapshot of the configured volumes to `to`, front to back: what
/// [`backup`] would make of an empty archive with `index` set. `name` is what messages call it. What
/// `options` say of a file is of no concern.
///
/// # Errors
/// When anything cannot be read or written. What was written until then is no whole archive, and no program
/// takes it for one.
pub fn backup_to(
    to: &mut (dyn Write + Send),
    name: &str,
    config: &Config,
    options: &BackupOptions,
    run: &Run,
) -> Result<BackupReport> {
    stream(to, name, config.in_use(None), config, options, run).map_err(explain)
}

/// The same, to standard output. Where that is a file, it is on disk in the end.
///
/// # Errors
/// As those of [`backup_to`]; and nothing is written to a terminal, or to a file that holds something.
pub fn backup_to_stdout(config: &Config, options: &BackupOptions, run: &Run) -> Result<BackupReport> {
    const NAME: &str = "standard output";
    let opened = Stdout::open(run.cancel.clone()).context("look at", NAME)?;
    let refused = |no| {
        let (reason, hint) = match no {
            NoStdout::Terminal => ("it is a terminal", Hint::SendStream),
            NoStdout::Closed => ("it is closed", Hint::SendStream),
            NoStdout::Taken => ("it is a file that holds something already", Hint::SendToNewFile),
        };
        let (archive, reason) = (Shown::from(NAME), reason.to_owned());
        Error::Archive { action: "write an archive to", archive, reason }.with_hint(hint)
    };
    let mut stdout = opened.map_err(refused)?;
    let in_use = config.in_use(stdout.id());
    stream(&mut stdout, NAME, in_use, config, options, run).map_err(explain)
}

fn stream(
    to: &mut (dyn Write + Send),
    name: &str,
    in_use: Vec<FileId>,
    config: &Config,
    options: &BackupOptions,
    run: &Run,
) -> Result<BackupReport> {
    let started = Instant::now();
    let kinds = config.check_volumes()?;
    let stream = Stream::new(to, Shown::from(name), run);
    let backup = Backup { config, kinds: &kinds, before: &[], earlier: None, in_use, options, run, started };
    let written = backup.write(Outlet::Stream(&stream)).and_then(|(report, _)| {
        stream.finish()?;
        Ok(report)
    });
    written.map_err(|error| match error {
        error @ Error::Stopped { .. } => error,
        error if stream.has_begun() => {
            Error::Incomplete { what: Box::new(error), state: NO_ARCHIVE.to_owned() }
        }
        error => error,
    })
}

fn append(config: &Config, options: &BackupOptions, run: &Run) -> Result<BackupReport> {
    let started = Instant::now();
    let kinds = config.check_volumes()?;
    let append_options =
        AppendOptions { lock_timeout: options.lock_timeout, discard_tail: options.discard_tail };
    let (mut before, mut previous) = (Vec::new(), Err(None));
    let mut append = Append::open(&options.archive, append_options, run, |reader, run| {
        let (end, catalog) = find_end(reader, run)?;
        if options.incremental {
            previous = earlier::find(&catalog, config, options);
        }
        before = remarks::volumes_before(catalog, &config.prefix);
        Ok(end)
    })?;
    let in_use = config.in_use(append.reader().id());
    let earlier = earlier::open(append.reader(), previous, config, options, run)?;
    let before = before.as_slice();
    let backup = Backup { config, kinds: &kinds, before, earlier, in_use, options, run, started };
    let written = backup.write(Outlet::Archive(&append)).and_then(|(report, end)| {
        run.cancel.check("the archive is as it was")?;
        append.commit(end, &begin_block())?;
        Ok(BackupReport { elapsed: started.elapsed(), ..report })
    });
    written.map_err(|error| append.abandon(error))
}

/// The end of an archive that may be appended to, and what it holds.
fn find_end(reader: &Arc<Reader>, run: &Run) -> Result<(u64, Catalog)> {
    let catalog = catalog::read(reader, Depth::Snapshots, run)?;
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
    /// The last snapshot, if it may be referred to.
    earlier: Option<Earlier>,
    /// Files that this run uses.
    in_use: Vec<FileId>,
    options: &'a BackupOptions,
    run: &'a Run<'a>,
    started: Instant,
}

impl Backup<'_> {
    /// Writes all but what makes it count: reports it, and says where it ends.
    fn write(self, outlet: Outlet) -> Result<(BackupReport, u64)> {
        let Backup { config, kinds, before, earlier, in_use, options, run, started } = self;
        let volumes = volumes::open_all(config, kinds, &in_use, options, run)?;
        let created = Time::now();
        let settled = options.incremental || options.index && !outlet.is_stream();
        let settled = settled && volumes::settle(&volumes, options, run)?;

        run.observer.begin(Phase::BackingUp, None);
        let shared = BackupRun::new(outlet, run);
        let scheduler = Scheduler::new(&shared);
        let has_index = options.index || options.incremental || outlet.is_stream();
        let template = closing_entry(&config.prefix, SNAPSHOT_INDEX, &[], created);
        let (stored, mut closing) = scheduler.with_helpers(|| {
            let index = has_index.then(|| BackupIndex::new(template));
            let mut sink = Sink::new(&scheduler, options.checksum, index, earlier);
            let stored = store(&volumes, config, &in_use, before, &shared, &mut sink)?;
            Ok((stored, sink.settle()?))
        })?;
        let warnings = shared.take_warnings();
        let (entries, size, unhashed) = (closing.entries, closing.size, closing.unhashed);
        let references = closing.references;

        let index = closing.index()?;
        let list = volumes_data::encode(volumes.iter().map(|volume| (volume.path, volume.kind)));
        closing.file(&closing_entry(&config.prefix, VOLUMES_DATA, &list, created), &list, Cover::Full)?;
        closing.settle_leap()?;
        let manifest = manifest(config, options, created, &stored, &closing, &warnings);
        let json = Manifest { settled, ..manifest.with_index(index, created) }.encode();
        let entry = closing_entry(&config.prefix, SNAPSHOT_JSON, &json, created);
        let checksum = closing.file(&entry, &json, Cover::Close)?;
        run.cancel.check(outlet.state())?;
        let end = closing.finish()?;
        let report = BackupReport {
            id: checksum.to_hex()[..8].to_owned(),
            created: created.whole(),
            prefix: config.prefix.clone(),
            volumes: stored,
            entries,
            references,
            size,
            bytes: end - outlet.start(),
            unhashed,
            note: options.note.clone(),
            exclude: config.exclude.patterns().to_vec(),
            warning_count: warnings.count,
            warnings: warnings.kept,
            elapsed: started.elapsed(),
        };
        Ok((report, end))
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
        settled: false,
        index: None,
        bases: closing.bases.clone(),
    }
}

impl Manifest {
    /// With an index: where its last part is, and whether content has its checksum there. The time when it was
    /// begun is then of use to the next one.
    fn with_index(self, index: Option<(u64, bool)>, created: Time) -> Self {
        let Some((offset, has_late)) = index else { return self };
        let needs_bases = (!self.bases.is_empty()).then_some(NEEDS_REFERENCES);
        let needs = [Some(NEEDS_INDEX), has_late.then_some(NEEDS_LATE), needs_bases];
        let needs = needs.into_iter().flatten().map(str::to_owned).collect();
        let created = created.to_rfc3339_exact();
        Manifest { format: NEWEST_FORMAT, needs, created, index: Some(offset), ..self }
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
    remarks::anonymous(volumes, shared)?;
    let mut stored = Vec::new();
    for (number, volume) in volumes.iter().enumerate() {
        sink.enter_volume(number, under(&config.prefix, volume.id).len());
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
