//! Which volumes of a snapshot are restored, and where to.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use crate::config::Config;
use crate::error::{Context, Error, Hint, Result};
use crate::fs::{Handle, space};
use crate::name::Shown;
use crate::restore::only::Only;
use crate::restore::options::RestoreOptions;
use crate::restore::rules::check_path;
use crate::snapshot::Snapshot;
use crate::volume::{self, VolumeType};

/// A volume that is to be restored.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    /// Its path in the snapshot.
    pub(super) path: String,
    /// Its path now, which is another one if that was asked for.
    pub(super) place: String,
    /// Where it is restored to: there, or below another directory.
    pub(super) target: Vec<u8>,
    /// The paths inside it that alone are restored.
    pub(super) only: Option<Only>,
    /// Which of the snapshot's volumes.
    pub(super) index: usize,
    pub(super) kind: VolumeType,
}

/// The configured volumes as the snapshot has them; without any, all that it has. With the option `paths`,
/// those that these lie in.
pub(super) fn want(
    config: &Config,
    options: &RestoreOptions,
    snapshot: &Snapshot,
    kinds: Option<&[VolumeType]>,
    archive: &Shown,
) -> Result<Vec<Wanted>> {
    let mut wanted = volumes(config, options, snapshot, kinds, archive)?;
    if !options.paths.is_empty() {
        narrow(&options.paths, &mut wanted, snapshot)?;
    }
    Ok(wanted)
}

fn volumes(
    config: &Config,
    options: &RestoreOptions,
    snapshot: &Snapshot,
    kinds: Option<&[VolumeType]>,
    archive: &Shown,
) -> Result<Vec<Wanted>> {
    let all = || snapshot.volumes.iter().map(|volume| volume.path.as_str()).collect::<Vec<_>>();
    // In the snapshot, and now.
    let paths: Vec<(&str, &str)> = if config.volumes.is_empty() {
        all().into_iter().map(|path| (path, path)).collect()
    } else {
        config.volumes.iter().map(|volume| (volume.stored_path(), volume.path())).collect()
    };
    // The last of the same path, should another program have listed one twice.
    let indices: HashMap<&str, usize> =
        snapshot.volumes.iter().enumerate().map(|(index, volume)| (volume.path.as_str(), index)).collect();
    let mut seen = HashSet::new();
    let mut wanted = Vec::new();
    for (at, (path, place)) in paths.into_iter().enumerate() {
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
            let error = Error::Volume { action: "restore", volume: Shown::from(place), reason };
            return Err(error.with_hint(Hint::MountAsSnapshot));
        }
        check_path(volume::id(path).as_bytes()).map_err(|reason| Error::Volume {
            action: "restore",
            volume: Shown::from(path),
            reason: format!("the archive has {reason} for it"),
        })?;
        let target = match &options.into {
            Some(into) => into.join(volume::id(place)).into_os_string().into_vec(),
            None => place.as_bytes().to_vec(),
        };
        let (path, place) = (path.to_owned(), place.to_owned());
        wanted.push(Wanted { path, place, target, only: None, index, kind });
    }
    check_nesting(&wanted)?;
    Ok(wanted)
}

/// Nothing lies in a file. Nor does a volume lie in another one in a place that it does not have in the
/// snapshot: what that one has there would be lost.
fn check_nesting(wanted: &[Wanted]) -> Result<()> {
    let mut sorted: Vec<_> =
        wanted.iter().map(|wanted| (format!("{}/", volume::id(&wanted.place)), wanted)).collect();
    // So a volume is followed by those in it.
    sorted.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    let mut outer: Vec<&(String, &Wanted)> = Vec::new();
    for one in &sorted {
        while outer.last().is_some_and(|(outer, _)| !one.0.starts_with(outer)) {
            outer.pop();
        }
        if let Some((place, around)) = outer.last() {
            let (volume, shown) = (Shown::from(one.1.place.as_str()), Shown::from(around.place.as_str()));
            if around.kind == VolumeType::File {
                let reason = format!("the archive has it in {shown}, which is a file");
                return Err(Error::Volume { action: "restore", volume, reason });
            }
            let inside = &one.0[place.len()..];
            let as_stored = format!("{}/{inside}", volume::id(&around.path));
            if as_stored != format!("{}/", volume::id(&one.1.path)) {
                let reason = format!("it would lie in {shown}, and in the snapshot it does not");
                let error = Error::Volume { action: "restore", volume, reason };
                return Err(error.with_hint(Hint::RestoreAlone));
            }
        }
        outer.push(one);
    }
    Ok(())
}

/// Leaves only the volumes that `paths` lie in, and of these only what the paths name.
fn narrow(paths: &[OsString], wanted: &mut Vec<Wanted>, snapshot: &Snapshot) -> Result<()> {
    let mut inside: Vec<Vec<Vec<u8>>> = wanted.iter().map(|_| Vec::new()).collect();
    for path in paths {
        let (at, path) = find(path, wanted, snapshot)?;
        inside[at].push(path);
    }
    let mut inside = inside.into_iter();
    wanted.retain_mut(|one| {
        let paths = inside.next().unwrap_or_default();
        // The volume itself is all of it.
        one.only = (!paths.iter().any(Vec::is_empty)).then(|| Only::new(paths.clone()));
        !paths.is_empty()
    });
    Ok(())
}

/// Which of the volumes `path` lies in, and the path inside it.
fn find(path: &OsStr, wanted: &[Wanted], snapshot: &Snapshot) -> Result<(usize, Vec<u8>)> {
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
    Ok((at, normal[length..].strip_prefix(b"/").unwrap_or_default().to_vec()))
}

/// Leaves out the volumes that are mounted read-only, and returns their paths.
pub(super) fn without_read_only(wanted: &mut Vec<Wanted>) -> Result<Vec<String>> {
    let is_read_only = |wanted: &Wanted| {
        let found = Handle::open_path(wanted.place.as_ref()).and_then(|handle| space::is_read_only(&handle));
        found.context("look at", wanted.place.as_str())
    };
    let mut left_alone = Vec::new();
    let mut writable = Vec::new();
    for one in wanted.drain(..) {
        if is_read_only(&one)? { left_alone.push(one.place) } else { writable.push(one) }
    }
    *wanted = writable;
    match left_alone.first() {
        Some(first) if wanted.is_empty() => {
            let reason = "it is mounted read-only, as all volumes are".to_owned();
            let error = Error::Volume { action: "restore", volume: Shown::from(first.as_str()), reason };
            Err(error.with_hint(Hint::MountVolumeWritable))
        }
        _ => Ok(left_alone),
    }
}
