//! What a restore takes out of a volume though nobody may expect it: what the snapshot's excludes match, since
//! the snapshot does not have it, and all there is, where the snapshot is empty.

use std::collections::HashSet;
use std::io;

use crate::archive::entry::Kind;
use crate::config::Exclude;
use crate::error::{Context, Error, Hint, Result};
use crate::fs::handle::join;
use crate::fs::{Descent, FileKind, Handle, space};
use crate::name::Shown;
use crate::restore::job::Job;
use crate::restore::pins::{Fate, Pins};
use crate::restore::plan::in_the_way;
use crate::restore::survey::walk;
use crate::restore::wanted::Wanted;
use crate::staging;

/// What the snapshot's excludes match in a volume as it is now, and what a restore would take out.
#[derive(Debug, Default)]
struct Excluded {
    /// The paths that match, and none below another.
    paths: Vec<Vec<u8>>,
    /// How many entries that are, with all that lies below them.
    entries: u64,
}

/// Before anything moves: has what is excluded stay, or says that it goes; and refuses to empty a volume that
/// holds something. `root` is the directory that a wanted volume is restored to, and `pins` what stays there.
pub(super) fn settle(job: &Job, wanted: &Wanted, root: &Handle, pins: &mut Pins) -> Result<()> {
    if let Some(exclude) = excludes(job, wanted)? {
        let mut excluded = Excluded::find(job, wanted, root, pins, &exclude)?;
        if !excluded.paths.is_empty() {
            excluded.leave_stored(job, wanted, &exclude)?;
        }
        if job.options.keep_excluded {
            pins.keep(excluded.paths);
        } else if let Some(first) = excluded.paths.first().filter(|_| excluded.entries > 0) {
            let (entries, id) = (excluded.entries, &job.snapshot.id);
            let (what, go) = if entries == 1 { ("entry", "goes") } else { ("entries", "go") };
            let first = Shown::from(&join(&wanted.target, first)).to_string();
            job.warn(
                &wanted.target,
                format!(
                    "{entries} {what} that snapshot {id} excludes {go}, as it does not have them; the first is \
                     {first}: with the option keep-excluded they stay"
                ),
            )?;
        }
    }
    refuse_emptying(job, wanted, root, pins)
}

/// What the snapshot excludes, if that is anything.
fn excludes(job: &Job, wanted: &Wanted) -> Result<Option<Exclude>> {
    match Exclude::parse(job.snapshot.exclude.iter().cloned()) {
        Ok(exclude) => Ok(Some(exclude).filter(|exclude| !exclude.is_empty())),
        Err(error) => {
            let reason = format!("what snapshot {} excludes cannot be read ({error})", job.snapshot.id);
            if job.options.keep_excluded {
                let volume = Shown::from(&wanted.target);
                return Err(Error::Volume { action: "keep what is excluded in", volume, reason });
            }
            job.warn(&wanted.target, format!("{reason}: what of that is here goes"))?;
            Ok(None)
        }
    }
}

impl Excluded {
    /// Walks the volume as it is now; what stays anyhow is not gone into.
    fn find(job: &Job, wanted: &Wanted, root: &Handle, pins: &Pins, exclude: &Exclude) -> Result<Self> {
        let (mut found, mut at) = (Excluded::default(), Vec::new());
        let mut walk = || -> io::Result<Result<()>> {
            let mut descent = Descent::new(root.duplicate()?);
            // The names in each directory that are still to be looked at, and whether it is excluded.
            let mut pending = vec![(names_in_root(root)?, false)];
            while let Some((names, is_excluded)) = pending.last_mut() {
                if let Err(stopped) = job.run.cancel.check("the volumes are as they were") {
                    return Ok(Err(stopped));
                }
                let Some(name) = names.pop() else {
                    pending.pop();
                    descent.leave();
                    continue;
                };
                let mut path = Vec::new();
                descent.names().chain([name.as_slice()]).for_each(|part| path = join(&path, part));
                at.clone_from(&path);
                let fate = pins.fate(&path, wanted.only.as_ref());
                if fate == Fate::Stays {
                    continue;
                }
                // What vanishes meanwhile is not removed by the restore.
                let Some(stat) = descent.here()?.find(&name)? else { continue };
                let is_directory = stat.kind == FileKind::Directory;
                let is_below = *is_excluded;
                let is_excluded = is_below || exclude.excludes(&path, is_directory);
                found.entries += u64::from(is_excluded && fate == Fate::Exchanged);
                if is_excluded && !is_below {
                    found.paths.push(path);
                }
                if is_directory {
                    descent.enter(&name)?;
                    pending.push((sorted(descent.here()?.names()?), is_excluded));
                }
            }
            Ok(Ok(()))
        };
        let walked = walk();
        walked.context("look at", &join(&wanted.target, &at))??;
        Ok(found)
    }

    /// Leaves out what the snapshot has all the same: that is restored. To keep what it has something else in
    /// place of cannot be asked for.
    fn leave_stored(&mut self, job: &Job, wanted: &Wanted, exclude: &Exclude) -> Result<()> {
        let mut matched = Pins::default();
        matched.keep(self.paths.clone());
        let mut stored = HashSet::new();
        walk(job.reader, job.snapshot, job.wanted, |found| {
            if job.wanted[found.wanted].index != wanted.index {
                return Ok(());
            }
            let (path, is_directory) = (found.path, found.member.kind == Kind::Directory);
            let is_other = !is_directory && matched.leads(path)
                || matched.holds(path) && !exclude.excludes(path, is_directory);
            if is_other && job.options.keep_excluded {
                return Err(in_the_way(&join(&wanted.target, path)));
            }
            if matched.holds(path) && !is_other {
                stored.insert(path.to_vec());
            }
            stored.extend(matched.above(path).map(<[u8]>::to_vec));
            Ok(())
        })?;
        self.paths.retain(|path| !stored.contains(path));
        Ok(())
    }
}

/// An empty volume may have been backed up by mistake, and what is here may be the only copy.
fn refuse_emptying(job: &Job, wanted: &Wanted, root: &Handle, pins: &Pins) -> Result<()> {
    let at = job.wanted.iter().position(|one| one.index == wanted.index);
    let is_empty = at.is_some_and(|at| job.survey.volumes[at].is_empty());
    if !is_empty || wanted.only.is_some() || job.options.into.is_some() || job.options.allow_empty {
        return Ok(());
    }
    let names = names_in_root(root).context("list", &wanted.target)?;
    if names.iter().all(|name| pins.fate(name, None) == Fate::Stays) {
        return Ok(());
    }
    let what = match &job.options.from_tar {
        Some(_) => "the tar".to_owned(),
        None => format!("snapshot {}", job.snapshot.id),
    };
    let reason = format!("{what} has nothing in it, and now it holds something");
    let error = Error::Volume { action: "restore", volume: Shown::from(&wanted.target), reason };
    Err(error.with_hint(Hint::AllowEmpty))
}

/// The names at the root of a volume that are content, in the order in which [`Vec::pop`] gives the first.
fn names_in_root(root: &Handle) -> io::Result<Vec<Vec<u8>>> {
    let mut names = space::names_in_root(root)?;
    let ours: Vec<Vec<u8>> = staging::find(root)?.iter().map(|found| staging::name(found.index)).collect();
    names.retain(|name| !ours.contains(name));
    Ok(sorted(names))
}

fn sorted(mut names: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    names.sort_unstable_by(|a, b| b.cmp(a));
    names
}
