//! What is restored: which snapshot, sound or what is left of a damaged one, and what of it.

use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::archive::open::{Access, Reader};
use crate::archive::source::STDIN;
use crate::archive::stdin;
use crate::config::{Config, Volume};
use crate::error::{Error, Hint, Result};
use crate::fs::handle::path as path_of;
use crate::fs::stream;
use crate::name::Shown;
use crate::observer::Run;
use crate::report::{LeftOut, Skipped};
use crate::restore::narrow;
use crate::restore::options::{RestoreOptions, TarSource};
use crate::restore::sift::{self, Sifted};
use crate::restore::survey::Survey;
use crate::restore::tar::{self, Scanned, check_beginning};
use crate::restore::target::holds_something;
use crate::restore::wanted::{Wanted, want, without_read_only};
use crate::snapshot::catalog::{self, Catalog};
use crate::snapshot::salvage::{self, Remnant, Salvage};
use crate::snapshot::{Snapshot, go, index, resolve, select};
use crate::volume::VolumeType;

/// What was chosen, and how much it is.
#[derive(Debug)]
pub(super) struct Choice {
    pub(super) reader: Arc<Reader>,
    /// With gaps where members of it are damaged.
    pub(super) snapshot: Snapshot,
    pub(super) wanted: Vec<Wanted>,
    pub(super) survey: Survey,
    /// The volumes that are left alone, as they are mounted read-only.
    pub(super) read_only: Vec<String>,
    /// What to know of the choice, about the archive.
    pub(super) doubt: Option<String>,
    /// Of what may be damaged: what is left out.
    pub(super) skipped: Option<Skipped>,
    /// Of a tar of another program: what is to be said of it.
    pub(super) remarks: Vec<String>,
}

impl Choice {
    /// Chooses what `options` ask for.
    pub(super) fn make(config: &Config, options: &RestoreOptions, run: &Run) -> Result<Self> {
        if let Some(tar) = &options.from_tar {
            Self::of_tar(tar, config, options, run)
        } else if options.skip_damaged {
            Self::salvaged(config, options, run)
        } else {
            Self::sound(config, options, run)
        }
    }

    fn sound(config: &Config, options: &RestoreOptions, run: &Run) -> Result<Self> {
        let kinds = if options.into.is_none() { Some(config.check_volumes()?) } else { None };
        let (reader, catalog) = catalog::open(
            &options.archive,
            &spool(kinds.as_deref(), config, options),
            options.lock_timeout,
            run,
        )?;
        require_sound(&reader, &catalog, options)?;
        let mut snapshot = choose(&reader, &catalog, config, options)?.clone();
        if let Some(reason) = resolve::missing(&snapshot) {
            let reason = format!("snapshot {}: {reason}", snapshot.id);
            return Err(with_way_out(reader.damaged(snapshot.start, reason)));
        }
        let doubt = doubt(catalog.snapshots.iter(), &snapshot, options);
        let mut wanted = want(config, options, &snapshot, kinds.as_deref(), reader.name())?;
        let read_only = if options.skip_read_only { without_read_only(&mut wanted)? } else { Vec::new() };
        snapshot.asked = narrow::asked(&reader, &snapshot, &wanted).map_err(with_way_out)?;
        snapshot.leave_out(narrow::unwanted(&reader, &snapshot, &wanted).map_err(with_way_out)?);
        let survey = Survey::read(&reader, &snapshot, &wanted).map_err(with_way_out)?;
        Ok(Choice { read_only, doubt, ..Choice::of(reader, snapshot, wanted, survey) })
    }

    fn salvaged(config: &Config, options: &RestoreOptions, run: &Run) -> Result<Self> {
        let (reader, _, mut salvage) =
            salvage::open(&options.archive, &spool(None, config, options), options.lock_timeout, run)?;
        let reader = reader.with_any_padding();
        let mut remnant = choose_remnant(&reader, &mut salvage, config, options)?;
        remnant.snapshot.keep_to(index::what_is_left(&reader, &remnant.snapshot, run)?);
        let others = salvage.remnants.iter().filter(|other| !other.doubtful);
        let doubt = doubt(others.map(|other| &other.snapshot), &remnant.snapshot, options);
        let mut wanted = want(config, options, &remnant.snapshot, None, reader.name())?;
        refuse_taken(&wanted, "there is something, and what is left of a damaged snapshot may be less")?;
        let entries = wanted.iter().map(|one| remnant.snapshot.volumes[one.index].entries);
        let entries = entries.fold(0, u64::saturating_add);
        let is_all = wanted.iter().all(|one| one.only.is_none());
        let recorded = Some(entries).filter(|_| remnant.counted && is_all);
        let Sifted { mut left_out, made, found } = if remnant.snapshot.is_go() {
            // Its members carry nothing that they could be held against.
            sift::what_is_left(&reader, &remnant, &mut wanted)?
        } else {
            sift::sift(&reader, &mut remnant, &mut wanted, &options.owners()?, run)?
        };
        if options.snapshot.is_none() && remnant.counted {
            left_out.extend(salvage.lost_after(remnant.snapshot.end).map(LeftOut::newer));
        }
        let snapshot = remnant.snapshot;
        let survey = Survey::read(&reader, &snapshot, &wanted)?;
        let unchecked = if snapshot.is_go() { survey.entries() } else { 0 };
        let missing = recorded.map(|recorded| recorded.saturating_sub(survey.entries()));
        let skipped = Some(Skipped { left_out, missing, found, unchecked, made });
        Ok(Choice { doubt, skipped, ..Choice::of(reader, snapshot, wanted, survey) })
    }

    /// All of a tar, to one place.
    fn of_tar(source: &TarSource, config: &Config, options: &RestoreOptions, run: &Run) -> Result<Self> {
        let (path, target) = tar_target(config, options)?;
        let wanted = vec![Wanted {
            path: path.clone(),
            place: path.clone(),
            target,
            only: None,
            index: 0,
            kind: VolumeType::Dir,
        }];
        if options.into.is_some() {
            refuse_taken(&wanted, "there is something, and a tar replaces all that is in its place")?;
        }
        let reader = if let Some(file) = &source.file {
            Reader::open(file, Access::Foreign)?
        } else {
            let spool = [path_of(&wanted[0].target).to_owned()];
            let look = |beginning: &[u8]| check_beginning(beginning, &Shown::from(STDIN));
            Reader::of_stream(stdin::taken(&spool, Hint::PipeTar { unpack: None }, look, run)?)?
        };
        let scanned = tar::scan(&reader, &source.strip, &path, run);
        let Scanned { snapshot, later, has_root, remarks } = scanned.map_err(with_tar_hint)?;
        let survey = Survey::read(&reader, &snapshot, &wanted).map_err(with_tar_hint)?;
        let survey = Survey { later, has_root, ..survey };
        Ok(Choice { remarks, ..Choice::of(reader, snapshot, wanted, survey) })
    }

    /// With nothing to be said of it.
    fn of(reader: Arc<Reader>, snapshot: Snapshot, wanted: Vec<Wanted>, survey: Survey) -> Self {
        let (read_only, remarks) = (Vec::new(), Vec::new());
        Choice { reader, snapshot, wanted, survey, read_only, doubt: None, skipped: None, remarks }
    }
}

/// Where an archive that is a stream is kept: on the filesystem that is restored to, if a directory of that can
/// have it. `kinds` has what the volumes are.
fn spool(kinds: Option<&[VolumeType]>, config: &Config, options: &RestoreOptions) -> Vec<PathBuf> {
    let kinds = kinds.unwrap_or_default();
    let is_directory = |(_, kind): &(&Volume, &VolumeType)| **kind == VolumeType::Dir;
    let volumes = config.volumes.iter().zip(kinds).filter(is_directory);
    let volumes = volumes.map(|(volume, _)| PathBuf::from(volume.path()));
    options.into.clone().into_iter().chain(volumes).chain([stream::temporary_directory()]).collect()
}

/// The path of the one volume that a tar goes to, and where that is.
fn tar_target(config: &Config, options: &RestoreOptions) -> Result<(String, Vec<u8>)> {
    if let Some(into) = &options.into {
        return Ok(("/".to_owned(), into.as_os_str().as_bytes().to_vec()));
    }
    let kinds = config.check_volumes()?;
    let ([volume], [kind]) = (config.volumes.as_slice(), kinds.as_slice()) else {
        let reason = "a tar is restored to one volume, and there are several".to_owned();
        let error = Error::Config { origin: Shown::from("volumes"), line: None, reason };
        return Err(error.with_hint(Hint::NameOneVolume));
    };
    if *kind != VolumeType::Dir {
        let (volume, reason) =
            (Shown::from(volume.path()), "it is a file, and a tar needs a directory".to_owned());
        let error = Error::Volume { action: "restore a tar to", volume, reason };
        return Err(error.with_hint(Hint::NameOneVolume));
    }
    Ok((volume.path().to_owned(), volume.path().as_bytes().to_vec()))
}

/// What to do about a damaged snapshot.
pub(super) fn with_way_out(error: Error) -> Error {
    match error {
        Error::Damaged { .. } => error.with_hint(Hint::SkipDamaged),
        other => other,
    }
}

/// What to do about a damaged tar.
pub(super) fn with_tar_hint(error: Error) -> Error {
    match error {
        Error::Damaged { .. } => error.with_hint(Hint::UnpackByHand),
        other => other,
    }
}

/// Fails where damage may hide what is asked for.
fn require_sound(reader: &Reader, catalog: &Catalog, options: &RestoreOptions) -> Result<()> {
    match &options.snapshot {
        None => catalog.require_sound(reader).map_err(|damaged| damaged.with_hint(Hint::NameSnapshot)),
        Some(id) if select::by_id(&catalog.snapshots, reader.name(), id).is_err() => {
            catalog.require_sound(reader).map_err(|damaged| damaged.with_hint(Hint::SkipDamagedToFind))
        }
        Some(_) => Ok(()),
    }
}

/// The snapshot that is asked for, or the newest under the configured prefix.
fn choose<'a>(
    reader: &Reader,
    catalog: &'a Catalog,
    config: &Config,
    options: &RestoreOptions,
) -> Result<&'a Snapshot> {
    let Some(id) = &options.snapshot else {
        return known(reader, select::newest(catalog, reader.name(), &config.prefix)?);
    };
    let snapshot = select::by_id(&catalog.snapshots, reader.name(), id)?;
    if snapshot.prefix != config.prefix {
        let error = Error::NoSnapshot(format!(
            "snapshot {} in {} has the prefix \"{}\", and the configuration has \"{}\"",
            snapshot.id,
            reader.name(),
            Shown::from(snapshot.prefix.as_str()),
            Shown::from(config.prefix.as_str())
        ));
        return Err(error.with_hint(Hint::NamePrefix));
    }
    known(reader, snapshot)
}

/// That what counts as the newest, since it comes last, is not: an older archive may have been appended to
/// this one.
fn doubt<'a>(
    snapshots: impl Iterator<Item = &'a Snapshot>,
    chosen: &Snapshot,
    options: &RestoreOptions,
) -> Option<String> {
    if options.snapshot.is_some() {
        return None;
    }
    let snapshots: Vec<&Snapshot> = snapshots.collect();
    let at = snapshots.iter().position(|snapshot| snapshot.start == chosen.start)?;
    let later = snapshots[select::later_before(snapshots.iter().copied())[at]?];
    Some(format!(
        "snapshot {} of {} counts as the newest, as it comes last, but {} of {} comes before it: name that one \
         if it is meant",
        chosen.id,
        chosen.created.whole().to_rfc3339(),
        later.id,
        later.created.whole().to_rfc3339(),
    ))
}

/// Refuses what a later program wrote: without all that it says of the snapshot, what is restored would not
/// be it.
fn known<'a>(reader: &Reader, snapshot: &'a Snapshot) -> Result<&'a Snapshot> {
    match &snapshot.refused {
        None => Ok(snapshot),
        Some(reason) => Err(Error::NoSnapshot(format!(
            "this program cannot restore snapshot {} in {}: {reason}",
            snapshot.id,
            reader.name()
        ))),
    }
}

/// What is left of the snapshot that is asked for, in an archive that may be damaged.
fn choose_remnant(
    reader: &Arc<Reader>,
    salvage: &mut Salvage,
    config: &Config,
    options: &RestoreOptions,
) -> Result<Remnant> {
    let paths: Vec<&str> = config.volumes.iter().map(Volume::stored_path).collect();
    for remnant in &mut salvage.remnants {
        if remnant.snapshot.is_go() && !remnant.counted {
            go::name_volumes(&mut remnant.snapshot, &paths);
        } else if remnant.snapshot.volumes.is_empty() && remnant.is_under(&config.prefix) {
            remnant.set_volumes(reader, &config.prefix, &paths)?;
        }
    }
    // What may be no snapshot is only restored when it is named.
    let may_be_meant = |remnant: &&Remnant| options.snapshot.is_some() || !remnant.doubtful;
    let remnants = &salvage.remnants;
    let snapshots = remnants.iter().filter(may_be_meant).map(|remnant| remnant.snapshot.clone()).collect();
    let catalog = Catalog { snapshots, ..Catalog::default() };
    if catalog.snapshots.is_empty() && !salvage.gaps.is_empty() {
        return Err(nothing_left(reader, remnants));
    }
    let start = choose(reader, &catalog, config, options)?.start;
    let chosen = remnants.iter().find(|remnant| remnant.snapshot.start == start);
    match chosen {
        Some(chosen) if !chosen.snapshot.volumes.is_empty() => Ok(chosen.clone()),
        chosen => Err(without_volumes(reader, start, chosen, remnants, config)),
    }
}

fn nothing_left(reader: &Reader, remnants: &[Remnant]) -> Error {
    let none = format!("{} is damaged, and no snapshot is left in it", reader.name());
    match remnants.last() {
        Some(doubtful) => {
            Error::NoSnapshot(none).with_hint(Hint::NameDoubtful { id: doubtful.snapshot.id.clone() })
        }
        None => Error::NoSnapshot(format!("{none}: `tar` may still bring back parts of it")),
    }
}

fn without_volumes(
    reader: &Reader,
    start: u64,
    chosen: Option<&Remnant>,
    remnants: &[Remnant],
    config: &Config,
) -> Error {
    let first = chosen.and_then(|chosen| chosen.first_name()).map(|name| Shown::from(name).to_string());
    let is_whole = |other: &&Remnant| other.is_whole() && other.snapshot.prefix == config.prefix;
    let whole = remnants.iter().rev().find(is_whole).map(|other| other.snapshot.id.clone());
    let name = reader.name();
    let error = Error::NoSnapshot(format!(
        "the files that list the volumes of snapshot @{start} in {name} are damaged or cut off"
    ));
    error.with_hint(Hint::NameVolumes { first, whole })
}

/// What is there already is never replaced by less than all of a snapshot.
fn refuse_taken(wanted: &[Wanted], reason: &str) -> Result<()> {
    for Wanted { target, .. } in wanted {
        if holds_something(target)? {
            let (volume, reason) = (Shown::from(target), reason.to_owned());
            let error = Error::Volume { action: "restore to", volume, reason };
            return Err(error.with_hint(Hint::NameNewDirectory));
        }
    }
    Ok(())
}
