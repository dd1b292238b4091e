//! What can be neither moved nor removed, found out before anything moves or is cleared: files that are
//! immutable or append-only, and Btrfs snapshots that are read-only. All that is to be replaced is looked at:
//! such a file may lie deep in a directory that moves as a whole, and would be met only when its former
//! content is deleted.

use std::io;

use nix::errno::Errno;

use crate::error::{Context, Error, Hint, Result};
use crate::fs::handle::join;
use crate::fs::{Descent, DirBuffer, DirNames, FileKind, Handle, Stat, has_errno};
use crate::name::Shown;
use crate::restore::job::Job;
use crate::restore::pins::Fate;
use crate::restore::target::DirTarget;
use crate::restore::targets::Targets;

/// Fails with the path of the first thing that is in the way.
pub(super) fn refuse(job: &Job, targets: &Targets) -> Result<()> {
    for dir in &targets.dirs {
        refuse_in(job, dir)?;
    }
    for file in &targets.files {
        let now = file.parent.find(&file.name).context("look at", &file.path)?;
        if let Some(hint) = now.as_ref().and_then(fixed) {
            return Err(refused(&file.path, hint));
        }
    }
    Ok(())
}

/// A directory that is gone through.
struct LookedInto {
    names: DirNames,
    stat: Stat,
    fate: Fate,
}

fn refuse_in(job: &Job, dir: &DirTarget) -> Result<()> {
    let path = |descent: &Descent, name: &[u8]| {
        let way = descent.names().fold(Vec::new(), |way, name| join(&way, name));
        join(&way, name)
    };
    let full = |descent: &Descent, name: &[u8]| join(&dir.path, &path(descent, name));
    let mut buffer = DirBuffer::default();
    let root = || Ok::<_, io::Error>((dir.root.duplicate()?, dir.root.stat()?));
    let (root, stat) = root().context("look at", &dir.path)?;
    if let Some(hint) = fixed(&stat).or_else(|| read_only(&root)) {
        return Err(refused(&dir.path, hint));
    }
    let names = list(&root, &mut buffer).context("list", &dir.path)?;
    let mut descent = Descent::new(root);
    let mut levels = vec![LookedInto { names, stat, fate: Fate::Opened { on_the_way: false } }];
    while let Some(LookedInto { names, stat: above, fate }) = levels.last_mut() {
        let Some((name, _)) = names.take() else {
            levels.pop();
            descent.leave();
            continue;
        };
        // All of what is exchanged is, as no pin lies in it.
        let fate = match *fate {
            Fate::Exchanged => Fate::Exchanged,
            _ => dir.pins.fate(&path(&descent, name), job.wanted[dir.wanted].only.as_ref()),
        };
        if fate == Fate::Stays {
            continue;
        }
        let looked = look(&mut descent, name, above);
        // The path is only put together when it is needed.
        let looked = looked.or_else(|error| Err(error).context("look at", &full(&descent, name)))?;
        let Some((stat, handle)) = looked else { continue };
        let is_subvolume = stat.id.dev != above.id.dev;
        let read_only = || handle.as_ref().filter(|_| is_subvolume).and_then(read_only);
        if let Some(hint) = fixed(&stat).or_else(read_only) {
            return Err(refused(&full(&descent, name), hint));
        }
        let Some(handle) = handle else { continue };
        job.run.cancel.check("the volumes are as they were")?;
        let below = list(&handle, &mut buffer).context("list", &full(&descent, name))?;
        let name = name.to_vec();
        descent.enter_open(&name, stat.id, handle);
        levels.push(LookedInto { names: below, stat, fate });
    }
    Ok(())
}

/// What is `name` in the current directory, if it is there, and its handle if it is to be gone into.
fn look(descent: &mut Descent, name: &[u8], above: &Stat) -> io::Result<Option<(Stat, Option<Handle>)>> {
    let here = descent.here()?;
    let Some(stat) = here.find(name)? else { return Ok(None) };
    let is_directory = stat.kind == FileKind::Directory && stat.mount == above.mount;
    let handle = if is_directory { open(here, name)? } else { None };
    Ok(Some((stat, handle)))
}

/// A directory, if it is there and this user may know what is in it.
fn open(parent: &Handle, name: &[u8]) -> io::Result<Option<Handle>> {
    match parent.directory(name) {
        Err(error) if has_errno(&error, &[Errno::EACCES, Errno::ENOENT, Errno::ENOTDIR, Errno::ELOOP]) => {
            Ok(None)
        }
        opened => opened.map(Some),
    }
}

fn list(directory: &Handle, buffer: &mut DirBuffer) -> io::Result<DirNames> {
    let mut names = DirNames::default();
    names.read(directory, buffer)?;
    Ok(names)
}

/// Of a file with a flag that keeps it where it is, what can be done.
fn fixed(stat: &Stat) -> Option<Hint> {
    let immutable = stat.immutable.then_some(Hint::LetGoOfImmutable);
    immutable.or_else(|| stat.append_only.then_some(Hint::LetGoOfAppendOnly))
}

fn read_only(directory: &Handle) -> Option<Hint> {
    directory.is_read_only_subvolume().then_some(Hint::ReadOnlySubvolume)
}

fn refused(path: &[u8], hint: Hint) -> Error {
    let errno = if hint == Hint::ReadOnlySubvolume { Errno::EROFS } else { Errno::EPERM };
    Error::Io { action: "replace", path: Shown::from(path), source: errno.into() }.with_hint(hint)
}
