//! Stage, check, swap: the restore that leaves each volume whole, old or new, whatever happens.

use std::sync::Arc;

use crate::error::{Context, Error, Result};
use crate::name::Shown;
use crate::observer::Phase;
use crate::restore::extract::Extractor;
use crate::restore::files::Files;
use crate::restore::job::Job;
use crate::restore::metadata::Metadata;
use crate::restore::overwrite::FileSource;
use crate::restore::pass::{self, Destination};
use crate::restore::pins::Pins;
use crate::restore::plan::Plan;
use crate::restore::swap::{Stage, after_undo};
use crate::restore::target::{DirTarget, FileTarget, STAGED, SpaceNeed, check_space};
use crate::restore::targets::Targets;
use crate::staging::{self, NEW};

pub(super) fn restore(job: &Job, targets: &Targets) -> Result<()> {
    let Targets { dirs, files } = targets;
    let needs: Vec<SpaceNeed> = dirs.iter().map(|dir| need(job, dir)).collect();
    check_space(&needs, job.options.into.is_some())?;
    let mut stages = Vec::new();
    let swapped = stage_and_swap(job, dirs, files, &mut stages);
    job.spare.release();
    match swapped {
        Ok(files) => {
            dirs.iter().for_each(DirTarget::settled);
            finish(&stages, &mut |path, reason| job.warn(path, reason)).and(files.finish(job))
        }
        Err(error) => Err(abandon(dirs, &stages, error)),
    }
}

fn need<'a>(job: &Job, target: &'a DirTarget) -> SpaceNeed<'a> {
    let volume = &job.survey.volumes[target.wanted];
    SpaceNeed { target, bytes: volume.bytes, inodes: volume.inodes }
}

fn stage_and_swap(
    job: &Job,
    dirs: &[DirTarget],
    files: &[FileTarget],
    stages: &mut Vec<Stage>,
) -> Result<Files> {
    let sources = extract(job, dirs, files, stages)?;
    let mut plans = Vec::new();
    job.run.observer.begin(Phase::Syncing, None);
    for (dir, stage) in dirs.iter().zip(&*stages) {
        let only = job.wanted[dir.wanted].only.as_ref();
        plans.push(stage.plan(&dir.pins, only, dir.made, job.owners.may_lack)?);
        stage.root.sync_filesystem().context("sync", &dir.path)?;
    }
    job.run.cancel.check("the volumes are as they were")?;
    swap(job, stages, &plans, files, &sources)
}

/// Extracts every directory volume into its staging directory; returns the checked members of the file
/// volumes.
fn extract(
    job: &Job,
    dirs: &[DirTarget],
    files: &[FileTarget],
    stages: &mut Vec<Stage>,
) -> Result<Vec<FileSource>> {
    let mut destinations = Vec::new();
    for dir in dirs {
        let stage = dir.make_stage(&job.survey.volumes[dir.wanted].staging_names, &job.spare)?;
        let opened = stage.staging.directory(NEW).context("open the staging directory in", &dir.path);
        stages.push(stage);
        let extractor = Extractor::new(&opened?, &dir.path, Arc::clone(&job.owners), Pins::default())?;
        destinations.push((dir.wanted, Destination::Extract(Box::new(extractor.in_order_of(job)))));
    }
    let sources = pass::run(job, destinations, files)?;
    if !job.survey.has_root {
        dirs.iter().zip(&*stages).try_for_each(|(dir, stage)| keep_root(job, dir, stage))?;
    }
    Ok(sources)
}

/// What is staged gets what the volume's root is now, where it has no member of its own.
fn keep_root(job: &Job, dir: &DirTarget, stage: &Stage) -> Result<()> {
    let new = stage.staging.directory(NEW).context("open the staging directory in", &dir.path)?;
    let now = Metadata::of_handle(&dir.root).context("look at", &dir.path)?;
    let now = Metadata { mtime: dir.mtime, ..now };
    now.apply(&new, false, &dir.path, &mut |remark| job.remark(&dir.path, remark))
}

/// Swaps the directories, then writes the files. On an error all of them are put back.
fn swap(
    job: &Job,
    stages: &[Stage],
    plans: &[Plan],
    files: &[FileTarget],
    sources: &[FileSource],
) -> Result<Files> {
    let mut files = Files::prepare(job, files, sources)?;
    let mut marked = 0;
    let mut forward = || -> Result<()> {
        for (stage, plan) in stages.iter().zip(plans) {
            marked += 1;
            stage.mark(plan)?;
            stage.swap(plan, &mut |path, remark| job.remark(path, remark))?;
        }
        files.write(job, sources)
    };
    let Err(error) = forward() else { return Ok(files) };
    job.spare.release();
    let mut error = files.put_back(error);
    for stage in stages[..marked].iter().rev() {
        let is_marked = stage.staging.find(staging::SWAPPING).is_ok_and(|found| found.is_some());
        if is_marked {
            error = after_undo(error, stage.undo(), &stage.volume);
        }
    }
    Err(error)
}

/// Everything is in its place: removes the marks, and then the former content. A mark that stays, or a
/// warning that counts as an error, keeps no other volume from being completed.
fn finish(stages: &[Stage], warn: &mut dyn FnMut(&[u8], String) -> Result<()>) -> Result<()> {
    let (mut complete, mut failed) = (Vec::new(), None);
    for stage in stages {
        let mtime = stage.root.stat().context("look at", &stage.volume);
        match mtime.and_then(|stat| stage.commit().map(|()| stat.mtime)) {
            Ok(mtime) => complete.push((stage, mtime)),
            Err(error) => failed = failed.or(Some((stage, error))),
        }
    }
    let mut warned = Ok(());
    for (stage, mtime) in complete {
        if let Err(error) = stage.remove(mtime, false) {
            let reason = format!(
                "it is restored, and its former content could not be removed: {}; remove {} yourself",
                crate::error::chain(&error),
                Shown::from(&stage.name)
            );
            warned = warned.and(warn(&stage.volume, reason));
        }
    }
    let Some((stage, error)) = failed else { return warned };
    let volume = Shown::from(&stage.volume);
    Err(Error::Incomplete {
        what: Box::new(error),
        state: format!(
            "everything was restored, but the next restore may first put {volume} back as it was before"
        ),
    })
}

/// Removes what was staged, unless it is needed to put something back.
fn abandon(dirs: &[DirTarget], stages: &[Stage], error: Error) -> Error {
    let mut error = error;
    for (dir, stage) in dirs.iter().zip(stages) {
        if let Err(undo) = stage.remove(dir.mtime, dir.cleared.is_some())
            && !matches!(error, Error::Undo { .. })
        {
            error = Error::Undo { what: Box::new(error), undo: Box::new(undo), state: STAGED.to_owned() };
        }
    }
    // A staging directory that could not even be filled.
    for dir in dirs.iter().skip(stages.len()) {
        let _ = dir.root.set_mtime(dir.mtime);
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::{FileId, Handle};
    use crate::observer::Run;
    use crate::restore::spare::Spare;

    /// What [`swap`] leaves in volumes that held the file `old`.
    fn swapped(folders: &[tempfile::TempDir]) -> Vec<Stage> {
        let run = Run::default();
        let mut stages = Vec::new();
        for folder in folders {
            std::fs::write(folder.path().join("old"), "x").unwrap();
            let root = Handle::open_directory(folder.path()).unwrap();
            let path = folder.path().as_os_str().as_encoded_bytes();
            let target = DirTarget::open(0, root, path, &[], Vec::new(), &run).unwrap();
            let stage = target.make_stage(&[], &Spare::default()).unwrap();
            let plan = stage.plan(&Pins::default(), None, false, false).unwrap();
            stage.mark(&plan).unwrap();
            stage.swap(&plan, &mut |_, remark| panic!("{remark:?}")).unwrap();
            stages.push(stage);
        }
        stages
    }

    #[test]
    fn former_content_that_stays_is_an_error_if_strict_and_keeps_no_other_there() {
        let folders = [(); 3].map(|()| tempfile::tempdir().unwrap());
        let mut stages = swapped(&folders);
        let old = folders[0].path().join(".snapshotter-staging/old/old");
        stages[0].in_use = vec![FileId::of_path(&old).unwrap()];
        let run = Run { strict: true, ..Run::default() };
        let error =
            finish(&stages, &mut |path, reason| run.warn(path, reason).map(drop)).unwrap_err().to_string();
        assert!(error.contains(folders[0].path().to_str().unwrap()), "{error}");
        assert!(old.exists());
        for complete in &folders[1..] {
            assert_eq!(std::fs::read_dir(complete.path()).unwrap().count(), 0);
        }
    }

    #[test]
    fn a_mark_that_cannot_be_removed_keeps_no_other_volume_from_being_completed() {
        let folders = [(); 3].map(|()| tempfile::tempdir().unwrap());
        let run = Run::default();
        let stages = swapped(&folders);
        let second = folders[1].path().join(".snapshotter-staging");
        std::fs::rename(second.join("swapping"), second.join("away")).unwrap();
        let error =
            finish(&stages, &mut |path, reason| run.warn(path, reason).map(drop)).unwrap_err().to_string();
        assert!(error.contains(folders[1].path().to_str().unwrap()), "{error}");
        assert!(second.join("old/old").exists(), "the only copy");
        for complete in [&folders[0], &folders[2]] {
            assert_eq!(std::fs::read_dir(complete.path()).unwrap().count(), 0);
        }
    }
}
