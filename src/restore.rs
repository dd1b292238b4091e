//! One restore: a snapshot's volumes, staged, checked, and swapped for what is in the volumes now.

mod beside;
mod content;
mod crew;
mod dry_run;
mod extract;
mod files;
mod in_place;
mod journal;
mod metadata;
mod moves;
mod outline;
mod overwrite;
mod parts;
mod pass;
mod pins;
mod sift;
mod spare;
mod staged;
mod survey;
mod swap;
mod target;
mod wanted;
mod worker;

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::archive::open::Reader;
use crate::config::Config;
use crate::error::{Context, Error, Hint, Result};
use crate::fs::handle::path;
use crate::fs::ids::explain;
use crate::fs::lock::{self, Mode};
use crate::fs::{FileId, Handle, mounts};
use crate::name::Shown;
use crate::observer::{Phase, Run};
use crate::report::{LeftOut, RestoreReport, RestoredVolume, Skipped};
use crate::restore::spare::Spare;
use crate::restore::survey::Survey;
use crate::restore::target::{DirTarget, FileTarget, Into};
use crate::restore::wanted::{Wanted, choose, choose_damaged, narrow, want};
use crate::snapshot::Snapshot;
use crate::snapshot::catalog::{self, Catalog};
use crate::snapshot::manifest::Warnings;
use crate::snapshot::salvage::{self, Remnant, Salvage};
use crate::volume::{self, VolumeType};

/// How a restore is done.
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
#[derive(Debug, Clone)]
pub struct RestoreOptions {
    /// The archive.
    pub archive: PathBuf,
    /// The ID of the snapshot, or its first digits; else the newest under the prefix.
    pub snapshot: Option<String>,
    /// Restore below this directory: volume `/a/b` goes to `DIR/a/b`.
    pub into: Option<PathBuf>,
    /// With `into`: only this file or directory, given by its absolute path in the container.
    pub path: Option<OsString>,
    /// Change nothing, and report what would change.
    pub dry_run: bool,
    /// Check the whole snapshot, then clear each volume and extract into it: for want of room for two copies.
    pub in_place: bool,
    /// Leave owners as they are.
    pub no_owner: bool,
    /// With `into`, where there must be nothing yet: restore what is sound of a damaged snapshot, and list the rest.
    pub skip_damaged: bool,
    /// How long to wait for other runs on the archive or a volume.
    pub lock_timeout: Duration,
}

impl Default for RestoreOptions {
    fn default() -> Self {
        RestoreOptions {
            archive: PathBuf::from(crate::defaults::DEFAULT_ARCHIVE),
            snapshot: None,
            into: None,
            path: None,
            dry_run: false,
            in_place: false,
            no_owner: false,
            skip_damaged: false,
            lock_timeout: crate::defaults::DEFAULT_LOCK_TIMEOUT,
        }
    }
}

/// All that the steps of one restore share.
struct Job<'a> {
    config: &'a Config,
    reader: &'a Arc<Reader>,
    snapshot: &'a Snapshot,
    wanted: &'a [Wanted],
    /// The one path inside the one wanted volume that is to be restored.
    only: Option<Vec<u8>>,
    survey: Survey,
    spare: Spare,
    options: &'a RestoreOptions,
    run: &'a Run<'a>,
}

/// Puts the configured volumes back as a snapshot has them.
///
/// # Errors
/// When the archive, the snapshot or a volume cannot be used, when anything in the snapshot is damaged, or when
/// something cannot be written. The volumes then are as they were, unless the error says otherwise.
pub fn restore(config: &Config, options: &RestoreOptions, run: &Run) -> Result<RestoreReport> {
    put_back(config, options, run).map_err(explain)
}

fn put_back(config: &Config, options: &RestoreOptions, run: &Run) -> Result<RestoreReport> {
    let started = Instant::now();
    check_options(options)?;
    let kinds = if options.into.is_none() { Some(config.check_volumes()?) } else { None };
    let (reader, catalog, mut salvage) = open(options, run)?;
    let mut remnant = match &mut salvage {
        Some(salvage) => choose_damaged(&reader, salvage, config, options)?,
        None => Remnant::of_whole(choose(&reader, &catalog, config, options)?),
    };
    let newer = salvage.filter(|_| options.snapshot.is_none() && remnant.counted);
    let newer = newer.and_then(|salvage| salvage.lost_behind(remnant.snapshot.end).map(LeftOut::newer));
    let mut wanted = want(config, &remnant.snapshot, kinds.as_deref(), reader.name())?;
    let only =
        options.path.as_deref().map(|path| narrow(path, &mut wanted, &remnant.snapshot)).transpose()?;
    // The volume itself is all of it.
    let only = only.filter(|only| !only.is_empty());
    let mut skipped = None;
    if options.skip_damaged {
        refuse_taken(&wanted, options)?;
        let mut found = skip_damaged(&reader, &mut remnant, &mut wanted, only.as_deref(), options, run)?;
        found.left_out.extend(newer);
        skipped = Some(found);
    }
    let snapshot = &remnant.snapshot;
    let survey = Survey::read(&reader, snapshot, &wanted, only.as_deref())?;
    if let Some(skipped) = skipped.as_mut().filter(|_| snapshot.is_go()) {
        skipped.unchecked = survey.entries();
    }
    if let Some(missing) = skipped.as_mut().and_then(|skipped| skipped.missing.as_mut()) {
        *missing = missing.saturating_sub(survey.entries());
    }
    let spare = Spare::of(&reader)?;
    let job = Job { config, reader: &reader, snapshot, wanted: &wanted, only, survey, spare, options, run };

    job.refuse_in_use()?;
    let mut warnings = Warnings::default();
    let mut changes = Vec::new();
    run.observer.begin(Phase::Restoring, Some(job.survey.bytes()));
    if options.dry_run {
        changes = dry_run::changes(&job)?;
    } else {
        job.restore(&mut warnings).map_err(with_way_out)?;
    }
    Ok(RestoreReport {
        id: snapshot.id.clone(),
        prefix: snapshot.prefix.clone(),
        created: snapshot.created.whole(),
        volumes: wanted.iter().map(|wanted| restored(wanted, options)).collect(),
        entries: job.survey.entries(),
        size: job.survey.size(),
        unhashed: job.survey.unhashed(),
        warning_count: warnings.count,
        warnings: warnings.kept,
        dry_run: options.dry_run,
        changes,
        skipped,
        elapsed: started.elapsed(),
    })
}

/// The archive, and with `skip_damaged` what is left of its snapshots.
fn open(options: &RestoreOptions, run: &Run) -> Result<(Arc<Reader>, Catalog, Option<Salvage>)> {
    if options.skip_damaged {
        let (reader, catalog, salvage) = salvage::open(&options.archive, options.lock_timeout, run)?;
        return Ok((reader.with_any_padding()?, catalog, Some(salvage)));
    }
    let (reader, catalog) = catalog::open(&options.archive, options.lock_timeout, run)?;
    Ok((reader, catalog, None))
}

fn skip_damaged(
    reader: &Arc<Reader>,
    remnant: &mut Remnant,
    wanted: &mut Vec<Wanted>,
    only: Option<&[u8]>,
    options: &RestoreOptions,
    run: &Run,
) -> Result<Skipped> {
    let counted = remnant.counted && only.is_none();
    let volumes = &remnant.snapshot.volumes;
    // What is restored is taken off once it is counted.
    let missing =
        counted.then(|| wanted.iter().map(|one| volumes[one.index].entries).fold(0, u64::saturating_add));
    let sift::Sifted { left_out, made, found } = if remnant.snapshot.is_go() {
        // Its members carry nothing that they could be held against.
        sift::what_is_left(reader, remnant, wanted)?
    } else {
        sift::sift(reader, remnant, wanted, only, options.no_owner, run)?
    };
    Ok(Skipped { left_out, missing, found, made, unchecked: 0 })
}

/// What is there already is never replaced by less than all of a snapshot.
fn refuse_taken(wanted: &[Wanted], options: &RestoreOptions) -> Result<()> {
    for wanted in wanted {
        let target = restored(wanted, options).target;
        if target::holds_something(&target)? {
            let reason = "there is something, and what is left of a damaged snapshot may be less".to_owned();
            let error = Error::Volume { action: "restore to", volume: Shown::from(&target), reason };
            return Err(error.with_hint(Hint::NameNewDirectory));
        }
    }
    Ok(())
}

/// What to do about a damaged snapshot.
fn with_way_out(error: Error) -> Error {
    match error {
        Error::Damaged { .. } => error.with_hint(Hint::SkipDamaged),
        other => other,
    }
}

impl Job<'_> {
    fn restore(&self, warnings: &mut Warnings) -> Result<()> {
        let mut into = self.options.into.as_deref().map(Into::open).transpose()?;
        let result = self.targets(into.as_mut()).and_then(|(dirs, files)| {
            Survey::check_pins(self, &dirs)?;
            if self.options.in_place {
                in_place::restore(self, &dirs, &files, warnings)
            } else {
                staged::restore(self, &dirs, &files, warnings)
            }
        });
        if let (Err(_), Some(into)) = (&result, &mut into) {
            into.remove_made();
        }
        result
    }

    /// Opens and locks what is to be restored to.
    fn targets(&self, mut into: Option<&mut Into>) -> Result<(Vec<DirTarget>, Vec<FileTarget>)> {
        let in_use = self.in_use();
        let (mut roots, mut files) = (Vec::new(), Vec::new());
        for (index, wanted) in self.wanted.iter().enumerate() {
            let path = wanted.path.as_str();
            let relative = volume::id(path).as_bytes();
            match (wanted.kind, &mut into) {
                (VolumeType::Dir, Some(into)) => {
                    roots.push((index, into.directory(relative)?, into.full(relative)));
                }
                (VolumeType::Dir, None) => {
                    let root = Handle::open_directory(path.as_ref()).context("open", path)?;
                    roots.push((index, root, path.as_bytes().to_vec()));
                }
                (VolumeType::File, Some(into)) => files.push(FileTarget::open_into(index, into, relative)?),
                (VolumeType::File, None) => files.push(FileTarget::open(index, path)?),
            }
        }
        let overwritten =
            files.iter().filter_map(|file| Some((file.former.as_ref()?, Shown::from(&file.path))));
        let named = roots.iter().map(|(_, root, path)| (root, Shown::from(path)));
        lock::lock_all(named.chain(overwritten), Mode::Exclusive, self.options.lock_timeout, self.run)?;
        check_sharing(&roots)?;
        // Only now, as it may be a stray in one of the directories.
        files
            .iter()
            .filter(|file| file.former.is_none())
            .try_for_each(|file| file.remove_strays(self.run))?;
        let open = |(index, root, path): (usize, Handle, Vec<u8>)| {
            let nested = target::nested_in(&self.wanted[index].path, self.snapshot);
            DirTarget::open(index, root, &path, &in_use, nested, self.run)
        };
        Ok((roots.into_iter().map(open).collect::<Result<_>>()?, files))
    }

    /// A file volume would be overwritten, whatever it is.
    fn refuse_in_use(&self) -> Result<()> {
        let in_use = self.in_use();
        for wanted in self.wanted.iter().filter(|wanted| wanted.kind == VolumeType::File) {
            let target = restored(wanted, self.options).target;
            let now = Handle::open_path(path(&target)).and_then(|handle| handle.stat());
            if now.is_ok_and(|now| in_use.contains(&now.id)) {
                return Err(volume::in_use("restore", Shown::from(&target)));
            }
        }
        Ok(())
    }

    /// The archive and the configuration.
    fn in_use(&self) -> Vec<FileId> {
        self.config.in_use(self.reader.id())
    }
}

/// Below another directory, too, no volume may be a part of another one that is mounted a second time.
fn check_sharing(roots: &[(usize, Handle, Vec<u8>)]) -> Result<()> {
    if roots.len() < 2 {
        return Ok(());
    }
    let path =
        |(_, root, path): &(usize, Handle, Vec<u8>)| root.real_path().context("find the path of", path);
    let paths: Vec<PathBuf> = roots.iter().map(path).collect::<Result<_>>()?;
    let paths: Vec<&Path> = paths.iter().map(PathBuf::as_path).collect();
    let shared = mounts::shared(&paths).context("look for mounts in", &*roots[0].2)?;
    let Some(mounts::SharedPath { inner, second, .. }) = shared else { return Ok(()) };
    let second = Shown::from(second.as_path());
    let reason = format!("it is {second}, mounted a second time, and that lies in another volume");
    let error = Error::Volume { action: "restore to", volume: Shown::from(&roots[inner].2), reason };
    Err(error.with_hint(Hint::RestoreAlone))
}

/// One path is restored beside what is in a volume, never in place of all of it.
fn check_options(options: &RestoreOptions) -> Result<()> {
    if options.skip_damaged && (options.into.is_none() || options.in_place) {
        let reason = "it needs `into`, a new directory, as it may bring less than all".to_owned();
        return Err(Error::Config { origin: Shown::from("skip_damaged"), line: None, reason });
    }
    let reason = match (&options.path, &options.into) {
        (Some(_), None) => "it needs `into`, the directory to restore below",
        (Some(_), Some(_)) if options.in_place => {
            "it cannot be combined with `in_place`, which clears the volume"
        }
        _ => return Ok(()),
    };
    Err(Error::Config { origin: Shown::from("path"), line: None, reason: reason.to_owned() })
}

fn restored(wanted: &Wanted, options: &RestoreOptions) -> RestoredVolume {
    let target = match &options.into {
        Some(into) => into.join(volume::id(&wanted.path)).as_os_str().as_bytes().to_vec(),
        None => wanted.path.clone().into_bytes(),
    };
    RestoredVolume { path: wanted.path.clone(), target, kind: wanted.kind }
}
