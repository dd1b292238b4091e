//! Removes backups of a job that are older than it keeps them.

use std::sync::Arc;

use chrono::Utc;
use snapshotter_vault::catalog::{self, Backup};
use snapshotter_vault::retention::Candidate;
use snapshotter_vault::store::Store;

use crate::config::Job;
use crate::job::forget::remove;
use crate::words::of_store;

/// What was done.
#[derive(Debug, Default)]
pub(crate) struct Forgotten {
    /// What was removed, with its store.
    pub(crate) forgotten: Vec<String>,
    /// What could not be.
    pub(crate) problems: Vec<String>,
}

/// Removes from `stores` what the retention of `job` does not keep.
pub(crate) async fn forget(job: &Job, stores: &[Arc<dyn Store>]) -> Forgotten {
    let mut all = Forgotten::default();
    if job.retention.is_empty() {
        return all;
    }
    for store in stores {
        match catalog::read(&**store, &job.name).await {
            Ok(catalog) => one(job, &**store, &catalog.backups, &mut all).await,
            Err(error) => all.problems.push(of_store(&error)),
        }
    }
    all
}

/// Removes what killed runs have begun to store: nothing of it is under a name. Who may not look is in no one's
/// way.
pub(crate) async fn clear(stores: &[Arc<dyn Store>]) {
    for store in stores {
        for leftover in store.leftovers().await.unwrap_or_default() {
            let _ = store.clear(&leftover).await;
        }
    }
}

async fn one(job: &Job, store: &dyn Store, backups: &[Backup], all: &mut Forgotten) {
    let own: Vec<_> = backups.iter().filter(|backup| is_own(job, backup)).collect();
    let candidates: Vec<Candidate> = own.iter().map(|backup| backup.candidate()).collect();
    let verdicts = job.retention.judge(&candidates, Utc::now(), &job.zone);
    for (backup, verdict) in own.iter().zip(&verdicts) {
        if verdict.is_kept() {
            continue;
        }
        match remove(store, backup).await {
            Err(problem) => all.problems.push(problem),
            Ok(()) => all.forgotten.push(format!("{}/{}", store.address(), backup.object.name)),
        }
    }
}

/// Whether a backup is one of this job's: `shop/shop-2026-01-31-030000.tar.gz.gpg`.
pub(crate) fn is_own(job: &Job, backup: &Backup) -> bool {
    backup.object.name.folder() == job.name && stamp(job, backup).is_some()
}

/// The time in its name, by the clock of the place where it was made.
pub(crate) fn stamp<'a>(job: &Job, backup: &'a Backup) -> Option<&'a str> {
    let suffix = backup.encoding.suffix();
    let stem = backup.object.name.last().strip_suffix(suffix.as_str())?;
    let stamp = stem.strip_prefix(job.name.as_str())?.strip_prefix('-')?;
    let is_stamp = chrono::NaiveDateTime::parse_from_str(stamp, "%Y-%m-%d-%H%M%S").is_ok();
    (is_stamp && stamp.len() == 17).then_some(stamp)
}
