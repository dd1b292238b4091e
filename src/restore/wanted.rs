//! Which snapshot is restored, and which of its volumes.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use crate::archive::open::Reader;
use crate::config::{Config, Volume};
use crate::error::{Error, Hint, Result};
use crate::name::Shown;
use crate::restore::RestoreOptions;
use crate::restore::extract::check_path;
use crate::snapshot::catalog::Catalog;
use crate::snapshot::go;
use crate::snapshot::salvage::{Remnant, Salvage};
use crate::snapshot::{Snapshot, select};
use crate::volume::{self, VolumeType};

/// A volume that is to be restored.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) path: String,
    /// Which of the snapshot's volumes.
    pub(super) index: usize,
    pub(super) kind: VolumeType,
}

/// The snapshot that is asked for, or the newest under the configured prefix.
pub(super) fn choose<'a>(
    reader: &Reader,
    catalog: &'a Catalog,
    config: &Config,
    options: &RestoreOptions,
) -> Result<&'a Snapshot> {
    let Some(id) = &options.snapshot else {
        if !options.skip_damaged {
            catalog.require_sound(reader).map_err(|damaged| damaged.with_hint(Hint::NameSnapshot))?;
        }
        return known(reader, select::newest(catalog, reader.name(), &config.prefix)?);
    };
    let snapshot = select::by_id(catalog, reader.name(), id).or_else(|none| {
        // It may lie behind the damage.
        if !options.skip_damaged {
            catalog.require_sound(reader).map_err(|damaged| damaged.with_hint(Hint::SkipDamagedToFind))?;
        }
        Err(none)
    })?;
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

/// Refuses what a later program wrote: without all that it says of the snapshot, what is restored would not be it.
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

/// The same where snapshots may be damaged: what is left of it.
pub(super) fn choose_damaged(
    reader: &Arc<Reader>,
    salvage: &mut Salvage,
    config: &Config,
    options: &RestoreOptions,
) -> Result<Remnant> {
    let paths: Vec<&str> = config.volumes.iter().map(Volume::path).collect();
    for remnant in &mut salvage.remnants {
        if remnant.snapshot.is_go() && !remnant.counted {
            go::name_volumes(&mut remnant.snapshot, &paths);
        } else if remnant.snapshot.volumes.is_empty() && remnant.is_under(&config.prefix) {
            remnant.set_volumes(reader, &config.prefix, &paths)?;
        }
    }
    // What may be none is only restored when it is named.
    let may_be_meant = |remnant: &&Remnant| options.snapshot.is_some() || !remnant.doubtful;
    let remnants = &salvage.remnants;
    let snapshots = remnants.iter().filter(may_be_meant).map(|remnant| remnant.snapshot.clone()).collect();
    let catalog = Catalog { snapshots, ..Catalog::default() };
    if catalog.snapshots.is_empty() && !salvage.gaps.is_empty() {
        let none = format!("{} is damaged, and no snapshot is left in it", reader.name());
        return Err(match remnants.last() {
            Some(doubtful) => {
                Error::NoSnapshot(none).with_hint(Hint::NameDoubtful { id: doubtful.snapshot.id.clone() })
            }
            None => Error::NoSnapshot(format!("{none}: `tar` may still bring back parts of it")),
        });
    }
    let start = choose(reader, &catalog, config, options)?.start;
    let chosen = remnants.iter().find(|remnant| remnant.snapshot.start == start);
    match chosen {
        Some(chosen) if !chosen.snapshot.volumes.is_empty() => Ok(chosen.clone()),
        chosen => {
            let first =
                chosen.and_then(|chosen| chosen.first_name()).map(|name| Shown::from(name).to_string());
            let is_whole = |other: &&Remnant| other.is_whole() && other.snapshot.prefix == config.prefix;
            let whole = remnants.iter().rev().find(is_whole).map(|other| other.snapshot.id.clone());
            let name = reader.name();
            let error = Error::NoSnapshot(format!(
                "the files that list the volumes of snapshot @{start} in {name} are damaged or cut off"
            ));
            Err(error.with_hint(Hint::NameVolumes { first, whole }))
        }
    }
}

/// The configured volumes as the snapshot has them; without any, all that it has.
pub(super) fn want(
    config: &Config,
    snapshot: &Snapshot,
    kinds: Option<&[VolumeType]>,
    archive: &Shown,
) -> Result<Vec<Wanted>> {
    let all = || snapshot.volumes.iter().map(|volume| volume.path.as_str()).collect::<Vec<_>>();
    let paths: Vec<&str> =
        if config.volumes.is_empty() { all() } else { config.volumes.iter().map(Volume::path).collect() };
    // The last of the same path, should another program have listed one twice.
    let indices: HashMap<&str, usize> =
        snapshot.volumes.iter().enumerate().map(|(index, volume)| (volume.path.as_str(), index)).collect();
    let mut seen = HashSet::new();
    let mut wanted = Vec::new();
    for (at, path) in paths.into_iter().enumerate() {
        if !seen.insert(volume::id(path)) {
            // Its place would be locked, and waited for, a second time.
            continue;
        }
        let Some(&index) = indices.get(path) else {
            let known: Vec<String> = all().into_iter().map(|path| Shown::from(path).to_string()).collect();
            let error = Error::NoSnapshot(format!(
                "snapshot {} in {archive} does not hold the volume {}: it holds {}",
                snapshot.id,
                Shown::from(path),
                known.join(", ")
            ));
            return Err(error.with_hint(Hint::CorrectVolumes));
        };
        let kind = snapshot.volumes[index].kind;
        if let Some(now) = kinds.map(|kinds| kinds[at]).filter(|&now| now != kind) {
            let (now, id, then) = (now.name(), &snapshot.id, kind.name());
            let reason = format!("it is a {now} now, and in snapshot {id} it is a {then}");
            let error = Error::Volume { action: "restore", volume: Shown::from(path), reason };
            return Err(error.with_hint(Hint::MountAsSnapshot));
        }
        check_path(volume::id(path).as_bytes()).map_err(|reason| Error::Volume {
            action: "restore",
            volume: Shown::from(path),
            reason: format!("the archive has {reason} for it"),
        })?;
        wanted.push(Wanted { path: path.to_owned(), index, kind });
    }
    check_nesting(&wanted)?;
    Ok(wanted)
}

/// Nothing lies in a file.
fn check_nesting(wanted: &[Wanted]) -> Result<()> {
    let mut sorted: Vec<_> =
        wanted.iter().map(|wanted| (format!("{}/", volume::id(&wanted.path)), wanted)).collect();
    // So a volume is followed by those in it.
    sorted.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    let mut file: Option<&(String, &Wanted)> = None;
    for one in &sorted {
        if let Some((_, wanted)) = file.filter(|(outer, _)| one.0.starts_with(outer)) {
            return Err(Error::Volume {
                action: "restore",
                volume: Shown::from(one.1.path.as_str()),
                reason: format!(
                    "the archive has it in {}, which is a file",
                    Shown::from(wanted.path.as_str())
                ),
            });
        }
        if one.1.kind == VolumeType::File {
            file = Some(one);
        }
    }
    Ok(())
}

/// Leaves only the volume that `path` lies in, and returns the path inside it.
pub(super) fn narrow(path: &OsStr, wanted: &mut Vec<Wanted>, snapshot: &Snapshot) -> Result<Vec<u8>> {
    let path = path.as_bytes();
    let parts: Vec<&[u8]> =
        path.split(|&byte| byte == b'/').filter(|part| !matches!(*part, b"" | b".")).collect();
    let normal = [b"/", parts.join(&b'/').as_slice()].concat();
    let inside = |wanted: &Wanted| {
        let rest = normal.strip_prefix(wanted.path.as_bytes())?;
        matches!(rest, [] | [b'/', ..]).then_some(wanted.path.len())
    };
    let nearest = wanted.iter().enumerate().filter_map(|(at, wanted)| Some((inside(wanted)?, at))).max();
    let is_sound = path.starts_with(b"/") && !parts.contains(&&b".."[..]);
    let Some((length, at)) = nearest.filter(|_| is_sound) else {
        let (path, id) = (Shown::from(path), &snapshot.id);
        let reason = format!("{path} lies in no volume that is to be restored from snapshot {id}");
        return Err(Error::NoSnapshot(reason).with_hint(Hint::NamePathInVolume));
    };
    let chosen = wanted.swap_remove(at);
    *wanted = vec![chosen];
    Ok(normal[length..].strip_prefix(b"/").unwrap_or_default().to_vec())
}
