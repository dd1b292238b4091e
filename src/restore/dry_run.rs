//! What a restore would change, told from metadata: content of the same size and time counts as the same.

use std::collections::HashSet;
use std::io;

use nix::errno::Errno;

use crate::archive::decode::Head;
use crate::archive::entry::Kind;
use crate::error::{Context, Result};
use crate::fs::handle::{join, parent_and_name, path as as_path};
use crate::fs::{Descent, FileKind, Handle, Stat, has_errno, space};
use crate::report::{Change, ChangeKind};
use crate::restore::job::Job;
use crate::restore::pins::Pins;
use crate::restore::survey::{is_asked_for, walk};
use crate::restore::target;
use crate::staging;
use crate::volume::VolumeType;

pub(super) fn changes(job: &Job) -> Result<Vec<Change>> {
    let mut changes = Vec::new();
    let mut seen: Vec<HashSet<Vec<u8>>> = job.wanted.iter().map(|_| HashSet::new()).collect();
    let targets: Vec<&[u8]> = job.wanted.iter().map(|wanted| wanted.target.as_slice()).collect();
    let (mut roots, mut pins) = (Vec::new(), Vec::new());
    for (wanted, target) in job.wanted.iter().zip(targets.iter().copied()) {
        let root = open(target).context("open", target)?;
        pins.push(match (wanted.kind, &root) {
            (VolumeType::Dir, Some(root)) => {
                let found = staging::find_in(root, &wanted.path)?;
                staging::refuse_interrupted(&found, "compare", &wanted.path)?;
                let nested = target::nested_in(&wanted.path, job.snapshot);
                Pins::find(root, &job.in_use(), nested).context("look for mounts in", target)?
            }
            _ => Pins::default(),
        });
        roots.push(root.map(Descent::new));
    }
    walk(job.reader, job.snapshot, job.wanted, |found| {
        let stays = pins[found.wanted].holds(found.path);
        if stays || !is_asked_for(found.path, job.only) {
            return Ok(());
        }
        let full = join(targets[found.wanted], found.path);
        let now = match &mut roots[found.wanted] {
            Some(root) => find(root, found.path).context("look at", &full)?,
            None => None,
        };
        let kind = match now {
            None => Some(ChangeKind::Create),
            Some(now) => differs(found.member, &now, job.options.no_owner).then_some(ChangeKind::Replace),
        };
        changes.extend(kind.map(|kind| Change { kind, path: full }));
        seen[found.wanted].insert(found.path.to_vec());
        Ok(())
    })?;
    if job.only.is_none() {
        for (at, wanted) in job.wanted.iter().enumerate() {
            if let (VolumeType::Dir, Some(root)) = (wanted.kind, &mut roots[at]) {
                removals(root, targets[at], &seen[at], &pins[at], &mut changes)
                    .context("list", targets[at])?;
            }
        }
    }
    Ok(changes)
}

fn open(target: &[u8]) -> io::Result<Option<Handle>> {
    match Handle::open_path(as_path(target)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        opened => {
            let opened = opened?;
            if opened.stat()?.kind == FileKind::Directory {
                return Handle::open_directory(as_path(target)).map(Some);
            }
            Ok(Some(opened))
        }
    }
}

fn find(descent: &mut Descent, path: &[u8]) -> io::Result<Option<Stat>> {
    if path.is_empty() {
        return descent.root().stat().map(Some);
    }
    let (parent, name) = parent_and_name(path);
    match descent.go_to(parent) {
        Ok(parent) => parent.find(name),
        // It is missing, or no directory.
        Err(error) if has_errno(&error, &[Errno::ENOENT, Errno::ENOTDIR, Errno::ELOOP]) => Ok(None),
        Err(error) => Err(error),
    }
}

fn differs(entry: &Head, now: &Stat, no_owner: bool) -> bool {
    let kind = match entry.kind {
        Kind::File => FileKind::File,
        Kind::Directory => FileKind::Directory,
        Kind::Symlink => FileKind::Symlink,
        Kind::Fifo => FileKind::Fifo,
        Kind::CharDevice => FileKind::CharDevice,
        Kind::BlockDevice => FileKind::BlockDevice,
        // What it is a further name of has its own line.
        Kind::HardLink | Kind::Other(_) => now.kind,
    };
    let size = entry.kind != Kind::File || entry.stored.size == now.size;
    let mode = now.kind == FileKind::Symlink || entry.mode == now.mode;
    let owner = no_owner || (entry.uid, entry.gid) == (u64::from(now.uid), u64::from(now.gid));
    let link = entry.kind != Kind::Symlink || entry.link.len() as u64 == now.size;
    !(kind == now.kind && size && mode && owner && link && entry.mtime == now.mtime)
}

/// What is there and in no snapshot; of a directory that goes, only itself.
fn removals(
    descent: &mut Descent,
    target: &[u8],
    seen: &HashSet<Vec<u8>>,
    pins: &Pins,
    changes: &mut Vec<Change>,
) -> io::Result<()> {
    let root = descent.go_to(b"")?;
    let mut names = space::names_in_root(root)?;
    let ours: Vec<Vec<u8>> = staging::find(root)?.iter().map(|found| staging::name(found.index)).collect();
    names.retain(|name| !ours.contains(name));
    names.reverse();
    let mut pending = vec![names];
    while let Some(names) = pending.last_mut() {
        let Some(name) = names.pop() else {
            pending.pop();
            descent.leave();
            continue;
        };
        let mut at = Vec::new();
        descent.names().chain([name.as_slice()]).for_each(|part| at = join(&at, part));
        if pins.holds(&at) {
            continue;
        }
        if !seen.contains(&at) && !pins.leads(&at) {
            changes.push(Change { kind: ChangeKind::Remove, path: join(target, &at) });
            continue;
        }
        if descent.here()?.stat_name(&name)?.kind == FileKind::Directory {
            descent.enter(&name)?;
            let mut below = descent.here()?.names()?;
            below.reverse();
            pending.push(below);
        }
    }
    Ok(())
}
