//! Volumes as the filesystem has them. Two configured volumes must never share a file: it would be stored
//! twice, and a restore would write it twice.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use crate::config::document::read::DocumentPart;
use crate::config::{Config, Volume};
use crate::error::{Context as _, Hint, Result, reason};
use crate::fs::by_path::canonical;
use crate::fs::mounts::{self, MOUNTINFO, SharedPath, mount_points};
use crate::fs::{FileId, FileKind, Stat};
use crate::name::{Shown, quote};
use crate::volume::VolumeType;

impl Config {
    /// Looks at every volume, and returns what each is, in their order.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config): a volume does not exist, is a symbolic link, is neither
    /// directory nor regular file, is the same as another, or lies inside another without being a mount of
    /// its own; or that one holds it under another path too.
    /// [`Error::Io`](crate::Error::Io): the mounts cannot be read.
    pub fn check_volumes(&self) -> Result<Vec<VolumeType>> {
        let mut kinds = Vec::with_capacity(self.volumes.len());
        let mut known = HashMap::new();
        let mut paths = HashMap::new();
        for (index, volume) in self.volumes.iter().enumerate() {
            let refuse = |reason| self.volumes_origin.refuse(DocumentPart::Volume(index), reason);
            let Looked { kind, id, path } =
                look(volume).map_err(|(reason, hint)| refuse(reason).with_hint(hint))?;
            if let Some(first) = known.insert(id, volume) {
                let (this, first) = (quote(volume.path()), quote(first.path()));
                return Err(refuse(format!("{this} and {first} are the same {}: keep one", kind.name())));
            }
            kinds.push(kind);
            paths.insert(path, index);
        }
        self.check_nesting(&paths)?;
        Ok(kinds)
    }

    /// `volumes` has the path of each volume without symbolic links, and its index.
    fn check_nesting(&self, volumes: &HashMap<PathBuf, usize>) -> Result<()> {
        if volumes.len() < 2 {
            return Ok(());
        }
        let nested = volumes.iter().filter_map(|(path, &inner)| {
            let outer = path.ancestors().skip(1).find_map(|parent| volumes.get(parent))?;
            Some((inner, *outer, path))
        });
        let mut nested: Vec<_> = nested.collect();
        if nested.is_empty() {
            return self.check_sharing(volumes);
        }
        nested.sort();
        let points = mount_points().context("read", Path::new(MOUNTINFO))?;
        let points: HashSet<PathBuf> =
            points.into_iter().map(|point| OsString::from_vec(point).into()).collect();
        match nested.into_iter().find(|(_, _, path)| !points.contains(*path)) {
            None => self.check_sharing(volumes),
            Some((inner, outer, _)) => {
                let (this, outer) = (quote(self.volumes[inner].path()), quote(self.volumes[outer].path()));
                let reason =
                    format!("{this} is inside {outer} and not a mount of its own: remove one of the two");
                Err(self.volumes_origin.refuse(DocumentPart::Volume(inner), reason))
            }
        }
    }

    /// A part of a volume may be mounted a second time, as another one. A restore would move it away with the
    /// one, and remove what it has just put into the other.
    fn check_sharing(&self, volumes: &HashMap<PathBuf, usize>) -> Result<()> {
        let (paths, indices): (Vec<&Path>, Vec<usize>) =
            volumes.iter().map(|(path, &index)| (path.as_path(), index)).unzip();
        let shared = mounts::shared(&paths).context("read", Path::new(MOUNTINFO))?;
        let Some(SharedPath { inner, outer, second }) = shared else { return Ok(()) };
        let volume = |at: usize| quote(self.volumes[indices[at]].path());
        let (this, outer, second) = (volume(inner), volume(outer), Shown::from(second.as_path()));
        let reason = format!("{this} is {second} in {outer}, mounted a second time: remove one of the two");
        Err(self.volumes_origin.refuse(DocumentPart::Volume(indices[inner]), reason))
    }
}

/// What a volume is on disk.
struct Looked {
    kind: VolumeType,
    id: FileId,
    /// Without symbolic links.
    path: PathBuf,
}

/// Looks at a volume; an error is the reason why it cannot be one, and what to do.
fn look(volume: &Volume) -> Result<Looked, (String, Option<Hint>)> {
    let path = Path::new(volume.path());
    let shown = quote(volume.path());
    let unreachable = |error: std::io::Error| {
        let reason = reason(&error);
        if error.kind() == std::io::ErrorKind::NotFound {
            (format!("{shown}: {reason}"), Some(Hint::MountVolumes))
        } else {
            (format!("{shown}: {reason}: give a path that can be reached here"), None)
        }
    };
    let stat = Stat::of_path(path).map_err(unreachable)?;
    let kind = match stat.kind {
        FileKind::Directory => VolumeType::Dir,
        FileKind::File => VolumeType::File,
        FileKind::Symlink => {
            return Err((format!("{shown} is a symbolic link: give the path it leads to"), None));
        }
        other => {
            let what = match other {
                FileKind::Socket => "a socket",
                FileKind::Fifo => "a FIFO",
                _ => "a device",
            };
            return Err((
                format!("{shown} is {what}, of which there is nothing to back up: leave it out"),
                None,
            ));
        }
    };
    Ok(Looked { kind, id: stat.id, path: canonical(path).map_err(unreachable)? })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use super::*;
    use crate::config::{Exclude, Need};

    /// Checks volumes below a directory with `dir/inner`, `file`, `link` to `dir`, and `socket`.
    fn check(names: &[&str]) -> Result<Vec<VolumeType>> {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("dir/inner")).unwrap();
        fs::create_dir(root.path().join("dir2")).unwrap();
        fs::write(root.path().join("file"), "").unwrap();
        fs::hard_link(root.path().join("file"), root.path().join("same")).unwrap();
        symlink("dir", root.path().join("link")).unwrap();
        let _socket = UnixListener::bind(root.path().join("socket")).unwrap();
        let volumes = names.iter().map(|name| format!("{}/{name}", root.path().display()));
        Config::from_parts("p", volumes, Exclude::default(), Need::Volumes).unwrap().check_volumes()
    }

    #[track_caller]
    fn refused(names: &[&str], reason: &str) {
        let error = check(names).unwrap_err().to_string();
        assert!(error.starts_with("volumes: `/") && error.contains(reason), "{error}");
    }

    #[test]
    fn directories_and_files_are_told_apart() {
        assert_eq!(
            check(&["file", "dir", "dir2"]).unwrap(),
            [VolumeType::File, VolumeType::Dir, VolumeType::Dir]
        );
        assert_eq!(check(&["link/inner"]).unwrap(), [VolumeType::Dir]);
    }

    #[test]
    fn what_cannot_be_a_volume_is_refused() {
        refused(&["dir", "no"], "/no`: No such file or directory");
        assert_eq!(check(&["dir", "no"]).unwrap_err().hint(), Some(Hint::MountVolumes));
        refused(&["file/x"], "/file/x`: Not a directory");
        refused(&["link"], "is a symbolic link");
        refused(&["socket"], "is a socket, of which there is nothing to back up: leave it out");
    }

    #[test]
    fn volumes_that_share_files_are_refused() {
        refused(&["file", "same"], "/same` and `");
        refused(&["dir/inner", "link/inner"], "/link/inner` and `");
        refused(&["dir", "dir/inner"], "/dir/inner` is inside `");
        refused(&["dir/inner", "dir"], "/dir/inner` is inside `");
        refused(&["dir", "link/inner"], "/link/inner` is inside `");
    }
}
