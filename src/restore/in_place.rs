//! The restore for those without room for two copies: the whole snapshot is read and checked, and only then
//! is each volume cleared and extracted into. A mark makes backup refuse the volume until a restore has
//! completed.

use std::io;
use std::sync::Arc;

use crate::error::{Context, Error, Result};
use crate::fs::handle::{join, parent_and_name};
use crate::fs::{FileKind, Handle, StoreFile, remove};
use crate::observer::Phase;
use crate::restore::extract::Extractor;
use crate::restore::files::Files;
use crate::restore::job::Job;
use crate::restore::outline::Outline;
use crate::restore::pass::{self, Destination};
use crate::restore::pins::Fate;
use crate::restore::swap::Stage;
use crate::restore::target::DirTarget;
use crate::restore::targets::Targets;
use crate::staging::CLEARED;

pub(super) fn restore(job: &Job, targets: &Targets) -> Result<()> {
    let Targets { dirs, files } = targets;
    let outlines = dirs.iter().map(|dir| {
        let mut outline = Outline::new(&dir.path, Arc::clone(&job.owners), dir.pins.clone());
        if job.survey.any_order {
            outline = outline.in_any_order();
        }
        (dir.wanted, Destination::Outline(Box::new(outline)))
    });
    let sources = pass::run(job, outlines, files)?;

    // A file that is overwritten must be known to be writable before anything is cleared. One that is made
    // anew harms nothing, and may lie in what is cleared.
    let early = job.options.into.is_none();
    let mut prepared = if early { Files::prepare(job, files, &sources)? } else { Files::default() };
    let stages = make_stages(job, dirs).map_err(|error| prepared.put_back(error))?;
    let mut cleared = false;
    fill(job, dirs, &stages, &mut cleared).map_err(|error| {
        let error = prepared.put_back(error);
        if cleared { incomplete(error) } else { unmark(job, dirs, &stages, error) }
    })?;
    let written = (|| {
        if !early {
            prepared = Files::prepare(job, files, &sources)?;
        }
        prepared.write(job, &sources).map_err(|error| prepared.put_back(error))
    })();
    written.map_err(|error| match dirs.as_slice() {
        [] => error,
        _ => Error::Incomplete {
            what: Box::new(error),
            state: "the volumes that are directories are restored, those that are files are not".to_owned(),
        },
    })?;
    prepared.finish(job)
}

fn incomplete(error: Error) -> Error {
    const STATE: &str =
        "the volumes were cleared to be restored in place and are incomplete now: run the restore again";
    match error {
        Error::Stopped { signal, .. } => Error::Stopped { signal, state: STATE },
        error => Error::Incomplete { what: Box::new(error), state: STATE.to_owned() },
    }
}

/// Takes back the marks: nothing was cleared.
fn unmark(job: &Job, dirs: &[DirTarget], stages: &[Stage], mut error: Error) -> Error {
    job.spare.release();
    for (dir, stage) in dirs.iter().zip(stages) {
        if let Err(undo) = stage.remove(dir.mtime, dir.cleared.is_some()) {
            let state = "nothing was cleared, and the next restore removes what is left".to_owned();
            error = Error::Undo { what: Box::new(error), undo: Box::new(undo), state };
        }
    }
    error
}

/// Makes the staging directories, which only mark the volumes here.
fn make_stages(job: &Job, dirs: &[DirTarget]) -> Result<Vec<Stage>> {
    let mut stages = Vec::new();
    for dir in dirs {
        match dir.make_stage(&job.survey.volumes[dir.wanted].staging_names, &job.spare) {
            Ok(stage) => stages.push(stage),
            Err(error) => return Err(unmark(job, dirs, &stages, error)),
        }
    }
    Ok(stages)
}

/// Clears the volumes and extracts into them. `cleared` says afterwards whether anything in them may have
/// changed.
fn fill(job: &Job, dirs: &[DirTarget], stages: &[Stage], cleared: &mut bool) -> Result<()> {
    let mut destinations = Vec::new();
    for (dir, stage) in dirs.iter().zip(stages) {
        mark(stage).context("write the mark of a cleared volume in", &dir.path)?;
        // From here on there is nothing to put back.
        job.spare.release();
        clear(dir, stage, cleared)?;
        let extractor = Extractor::new(&dir.root, &dir.path, Arc::clone(&job.owners), dir.pins.clone())?;
        destinations.push((dir.wanted, Destination::Extract(Box::new(extractor.in_order_of(job)))));
    }
    // A volume that was empty before is no longer as it was, either.
    *cleared = true;
    pass::run(job, destinations, &[])?;
    job.run.observer.begin(Phase::Syncing, None);
    for (dir, stage) in dirs.iter().zip(stages) {
        let mtime = dir.root.stat().context("look at", &dir.path)?.mtime;
        dir.settled();
        dir.root.sync_filesystem().context("sync", &dir.path)?;
        stage.remove(mtime, false)?;
        // Else the mark could be there again after a power cut, and backup would refuse what is complete.
        dir.root.sync().context("sync", &dir.path)?;
    }
    Ok(())
}

fn mark(stage: &Stage) -> io::Result<()> {
    if stage.staging.find(CLEARED)?.is_none() {
        StoreFile::new(stage.staging.create_file(CLEARED)?).handle().sync()?;
    }
    stage.staging.sync()?;
    stage.root.sync()
}

/// Deletes all but what must stay.
fn clear(dir: &DirTarget, stage: &Stage, cleared: &mut bool) -> Result<()> {
    let mut names = dir.root.names().context("list", &dir.path)?;
    names.retain(|name| *name != stage.name);
    clear_directory(dir, &dir.root, b"", names, cleared)
}

fn clear_directory(
    dir: &DirTarget,
    here: &Handle,
    path: &[u8],
    names: Vec<Vec<u8>>,
    cleared: &mut bool,
) -> Result<()> {
    for name in names {
        let at = join(path, &name);
        let full = join(&dir.path, &at);
        match dir.pins.fate(&at, None) {
            Fate::Stays => {}
            Fate::Opened { .. } => {
                let below = here.own_directory(&name).context("open", &full)?;
                let ajar = below.ajar().context("open", &full)?;
                let mtime = below.stat().context("look at", &full)?.mtime;
                let names = below.names().context("list", &full)?;
                clear_directory(dir, &below, &at, names, cleared)?;
                drop(ajar);
                // It keeps its own where the snapshot has none for it.
                below.set_mtime(mtime).context("put back the time of", &full)?;
            }
            Fate::Exchanged => {
                let now = here.find(&name).context("look at", &full)?;
                let is_directory = now.is_some_and(|stat| stat.kind == FileKind::Directory);
                let removed = remove::remove_tree(here, &name, &dir.in_use);
                // Of a directory, some may be gone even so.
                *cleared |= removed.is_ok() || is_directory;
                removed.map_err(|error| error.below(parent_and_name(&full).0))?;
            }
        }
    }
    Ok(())
}
