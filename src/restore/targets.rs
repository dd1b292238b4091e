//! All that is restored to: opened, locked, and held against what may be done there.

use std::path::{Path, PathBuf};

use crate::archive::entry::Kind;
use crate::error::{Context, Error, Hint, Result};
use crate::fs::handle::{join, path};
use crate::fs::lock::{self, Mode};
use crate::fs::{self, Handle, mounts};
use crate::name::Shown;
use crate::restore::below::Below;
use crate::restore::job::Job;
use crate::restore::plan::in_the_way;
use crate::restore::removal;
use crate::restore::survey;
use crate::restore::target::{self, DirTarget, FileTarget};
use crate::volume::{self, VolumeType};

/// What is restored to.
#[derive(Debug)]
pub(super) struct Targets {
    pub(super) dirs: Vec<DirTarget>,
    pub(super) files: Vec<FileTarget>,
}

/// The root of a volume that is a directory.
struct Root {
    /// Which of the wanted volumes.
    wanted: usize,
    handle: Handle,
    path: Vec<u8>,
    /// This run has made it.
    made: bool,
}

impl Targets {
    /// Opens and locks all.
    pub(super) fn open(job: &Job, mut below: Option<&mut Below>) -> Result<Self> {
        let (mut roots, mut files) = (Vec::new(), Vec::new());
        for (index, wanted) in job.wanted.iter().enumerate() {
            let path = wanted.place.as_str();
            let relative = volume::id(path).as_bytes();
            match (wanted.kind, &mut below) {
                (VolumeType::Dir, Some(below)) => {
                    let ((handle, made), path) = (below.root(relative)?, below.full(relative));
                    roots.push(Root { wanted: index, handle, path, made });
                }
                (VolumeType::Dir, None) => {
                    let handle = Handle::open_own_directory(path.as_ref()).context("open", path)?;
                    roots.push(Root { wanted: index, handle, path: path.as_bytes().to_vec(), made: false });
                }
                (VolumeType::File, Some(below)) => {
                    files.push(FileTarget::open_below(index, below, relative)?);
                }
                (VolumeType::File, None) => files.push(FileTarget::open(index, path)?),
            }
        }
        let overwritten =
            files.iter().filter_map(|file| Some((file.former.as_ref()?, Shown::from(&file.path))));
        let named = roots.iter().map(|root| (&root.handle, Shown::from(&root.path)));
        lock::lock_all(named.chain(overwritten), Mode::Exclusive, job.options.lock_timeout, job.run)?;
        check_sharing(&roots)?;
        // Only now, as it may be a stray in one of the directories.
        files.iter().filter(|file| file.former.is_none()).try_for_each(|file| file.remove_strays(job.run))?;
        let in_use = job.in_use();
        let open = |Root { wanted, handle, path, made }| {
            let nested = target::nested_in(&job.wanted[wanted].path, job.snapshot);
            let mut target = DirTarget::open(wanted, handle, &path, &in_use, nested, job.run)?;
            removal::settle(job, &job.wanted[wanted], &target.root, &mut target.pins)?;
            target.made |= made;
            Ok(target)
        };
        let dirs = roots.into_iter().map(open).collect::<Result<_>>()?;
        Ok(Targets { dirs, files })
    }

    /// Fails when the snapshot has something else where a directory must stay, or files below what stays.
    pub(super) fn check_pins(&self, job: &Job) -> Result<()> {
        let dirs = &self.dirs;
        if dirs.iter().all(|dir| dir.pins.is_empty()) {
            return Ok(());
        }
        survey::walk(job.reader, job.snapshot, job.wanted, |found| {
            let Some(dir) = dirs.iter().find(|dir| dir.wanted == found.wanted) else { return Ok(()) };
            let full = join(&dir.path, found.path);
            if let Some(pin) = dir.pins.above(found.path) {
                let pin = Shown::from(&join(&dir.path, pin));
                let reason = format!(
                    "it lies in {pin}, which is a mount now, or the filesystem's own, and is not gone into"
                );
                let error = Error::Volume { action: "restore", volume: Shown::from(&full), reason };
                return Err(error.with_hint(Hint::Unmount));
            }
            let kind = found.member.kind;
            if dir.pins.leads(found.path) && kind != Kind::Directory {
                return Err(in_the_way(&full));
            }
            if dir.pins.holds(found.path) {
                let now = dir.kind_of(found.path)?;
                let same = match now {
                    Some(fs::FileKind::Directory) => kind == Kind::Directory,
                    Some(_) => kind == Kind::File,
                    None => true,
                };
                if !same {
                    return Err(in_the_way(&full));
                }
            }
            Ok(())
        })
    }
}

/// A file volume would be overwritten, whatever it is.
pub(super) fn refuse_in_use(job: &Job) -> Result<()> {
    let in_use = job.in_use();
    for wanted in job.wanted.iter().filter(|wanted| wanted.kind == VolumeType::File) {
        let now = Handle::open_path(path(&wanted.target)).and_then(|handle| handle.stat());
        if now.is_ok_and(|now| in_use.contains(&now.id)) {
            return Err(volume::in_use("restore", Shown::from(&wanted.target)));
        }
    }
    Ok(())
}

/// Below another directory, too, no volume may be a part of another one that is mounted a second time.
fn check_sharing(roots: &[Root]) -> Result<()> {
    if roots.len() < 2 {
        return Ok(());
    }
    let path = |root: &Root| root.handle.real_path().context("find the path of", &root.path);
    let paths: Vec<PathBuf> = roots.iter().map(path).collect::<Result<_>>()?;
    let paths: Vec<&Path> = paths.iter().map(PathBuf::as_path).collect();
    let shared = mounts::shared(&paths).context("look for mounts in", &roots[0].path)?;
    let Some(mounts::SharedPath { inner, second, .. }) = shared else { return Ok(()) };
    let second = Shown::from(second.as_path());
    let reason = format!("it is {second}, mounted a second time, and that lies in another volume");
    let error = Error::Volume { action: "restore to", volume: Shown::from(&roots[inner].path), reason };
    Err(error.with_hint(Hint::RestoreAlone))
}
