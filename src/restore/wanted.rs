//! Which volumes of a snapshot are restored, and where to.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use crate::config::{Config, Volume};
use crate::error::{Error, Hint, Result};
use crate::name::Shown;
use crate::restore::options::RestoreOptions;
use crate::restore::rules::check_path;
use crate::snapshot::Snapshot;
use crate::volume::{self, VolumeType};

/// A volume that is to be restored.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) path: String,
    /// Where it is restored to.
    pub(super) target: Vec<u8>,
    /// Which of the snapshot's volumes.
    pub(super) index: usize,
    pub(super) kind: VolumeType,
}

/// The configured volumes as the snapshot has them; without any, all that it has. With the option `path`, the
/// one volume that it lies in, and the path inside that.
pub(super) fn want(
    config: &Config,
    options: &RestoreOptions,
    snapshot: &Snapshot,
    kinds: Option<&[VolumeType]>,
    archive: &Shown,
) -> Result<(Vec<Wanted>, Option<Vec<u8>>)> {
    let mut wanted = volumes(config, options, snapshot, kinds, archive)?;
    let only = options.path.as_deref().map(|path| narrow(path, &mut wanted, snapshot)).transpose()?;
    // The volume itself is all of it.
    Ok((wanted, only.filter(|only| !only.is_empty())))
}

fn volumes(
    config: &Config,
    options: &RestoreOptions,
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
        let target = match &options.into {
            Some(into) => into.join(volume::id(path)).into_os_string().into_vec(),
            None => path.as_bytes().to_vec(),
        };
        wanted.push(Wanted { path: path.to_owned(), target, index, kind });
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
fn narrow(path: &OsStr, wanted: &mut Vec<Wanted>, snapshot: &Snapshot) -> Result<Vec<u8>> {
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
