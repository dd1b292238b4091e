//! One restore: a snapshot's volumes, staged, checked, and swapped for what is in the volumes now.

mod batch;
mod below;
mod beside;
mod choice;
mod content;
mod crew;
mod dry_run;
mod extract;
mod files;
mod in_place;
mod job;
mod journal;
mod metadata;
mod moves;
mod narrow;
mod obstacles;
mod only;
mod options;
mod outline;
mod overwrite;
mod owners;
mod parts;
mod pass;
mod path_hash;
mod pins;
mod plan;
mod removal;
mod rules;
mod sift;
mod spare;
mod staged;
mod survey;
mod swap;
mod tar;
mod target;
mod targets;
mod wanted;
mod worker;

use std::os::unix::ffi::OsStrExt;
use std::time::Instant;

use crate::config::Config;
use crate::error::Result;
use crate::fs::ids::explain;
use crate::name::Shown;
use crate::observer::{Phase, Run};
use crate::report::{RestoreReport, RestoredVolume};
use crate::restore::below::Below;
use crate::restore::choice::{Choice, with_tar_hint, with_way_out};
use crate::restore::job::Job;
pub use crate::restore::options::{RestoreOptions, TarSource};
pub use crate::restore::owners::OwnerMapping;
use crate::restore::targets::Targets;
use crate::restore::wanted::Wanted;

/// Puts the configured volumes back as a snapshot has them.
///
/// # Errors
/// When the archive, the snapshot or a volume cannot be used, when anything in the snapshot is damaged, or
/// when something cannot be written. The volumes then are as they were, unless the error says otherwise.
pub fn restore(config: &Config, options: &RestoreOptions, run: &Run) -> Result<RestoreReport> {
    put_back(config, options, run).map_err(explain)
}

fn put_back(config: &Config, options: &RestoreOptions, run: &Run) -> Result<RestoreReport> {
    let started = Instant::now();
    options.check()?;
    let choice = Choice::make(config, options, run)?;
    let job = Job::new(config, options, &choice, run)?;
    targets::refuse_in_use(&job)?;
    for volume in &choice.read_only {
        run.observer
            .note(&format!("{}: left as it is, as it is mounted read-only", Shown::from(volume.as_str())));
    }
    if let Some(doubt) = &choice.doubt {
        job.warn(options.archive.path().as_os_str().as_bytes(), doubt)?;
    }
    for remark in &choice.remarks {
        job.warn(choice.reader.name().to_string().as_bytes(), remark.as_str())?;
    }
    run.observer.begin(Phase::Restoring, Some(choice.survey.bytes()));
    let mut changes = Vec::new();
    if options.dry_run {
        changes = dry_run::changes(&job)?;
    } else {
        let is_tar = options.from_tar.is_some();
        write(&job).map_err(if is_tar { with_tar_hint } else { with_way_out })?;
        job.report_unowned()?;
    }
    let warnings = job.warnings.into_inner();
    let Choice { reader, snapshot, wanted, survey, read_only, skipped, .. } = choice;
    Ok(RestoreReport {
        tar: options.from_tar.is_some().then(|| reader.name().to_string()),
        id: snapshot.id,
        prefix: snapshot.prefix,
        created: snapshot.created.whole(),
        volumes: wanted.into_iter().map(restored).collect(),
        read_only,
        entries: survey.entries(),
        size: survey.size(),
        unhashed: survey.unhashed(),
        warning_count: warnings.count,
        warnings: warnings.kept,
        dry_run: options.dry_run,
        changes,
        skipped,
        elapsed: started.elapsed(),
    })
}

fn write(job: &Job) -> Result<()> {
    let mut below = job.options.into.as_deref().map(Below::open).transpose()?;
    let result = Targets::open(job, below.as_mut()).and_then(|targets| {
        targets.check_pins(job)?;
        obstacles::refuse(job, &targets)?;
        if job.options.in_place { in_place::restore(job, &targets) } else { staged::restore(job, &targets) }
    });
    if let (Err(_), Some(below)) = (&result, &mut below) {
        below.remove_made();
    }
    result
}

fn restored(wanted: Wanted) -> RestoredVolume {
    let Wanted { path, target, kind, .. } = wanted;
    RestoredVolume { path, target, kind }
}
