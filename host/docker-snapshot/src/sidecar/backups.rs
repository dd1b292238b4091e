//! Which backups of a job there are, and in which of its stores.

use std::sync::Arc;

use anyhow::{Context, bail};
use snapshotter_vault::catalog::{self, Backup};
use snapshotter_vault::store::Store;

use crate::config::Job;
use crate::sidecar::forget::{is_own, stamp};
use crate::sidecar::run::stores;
use crate::words::of_store;

/// A backup in a store.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) backup: Backup,
    /// The time in its name.
    pub(crate) stamp: String,
}

/// All backups of a job, the oldest first, and why a store could not be looked into.
///
/// # Errors
/// When no store can be.
pub(crate) async fn find(job: &Job) -> anyhow::Result<(Vec<Found>, Vec<String>)> {
    let (mut all, mut problems) = (Vec::new(), Vec::new());
    let stores = stores(job)?;
    for store in &stores {
        match catalog::read(&**store, &job.name).await {
            Ok(catalog) => {
                let own = catalog.backups.into_iter().filter(|backup| is_own(job, backup));
                all.extend(own.filter_map(|backup| {
                    let stamp = stamp(job, &backup)?.to_owned();
                    Some(Found { store: Arc::clone(store), backup, stamp })
                }));
            }
            Err(error) => problems.push(of_store(&error)),
        }
    }
    if problems.len() == stores.len() {
        bail!("cannot list backups: {}", problems.join("; "));
    }
    // By what they were made at where that is known: in autumn an hour of the clock comes twice.
    all.sort_by(|a, b| (a.backup.time, &a.stamp).cmp(&(b.backup.time, &b.stamp)));
    Ok((all, problems))
}

/// The backup of the time `wanted`, in the first store that has it; the newest for `latest`.
///
/// # Errors
/// When there is none.
pub(crate) async fn choose(job: &Job, wanted: &str) -> anyhow::Result<Found> {
    let (all, problems) = find(job).await?;
    let newest = all.last().map(|found| found.stamp.clone());
    let wanted = match wanted {
        "latest" => {
            newest.with_context(|| format!("cannot restore {}: there is no backup of it", job.name))?
        }
        wanted => {
            let last = wanted.rsplit('/').next().unwrap_or(wanted);
            let stamp = last.strip_prefix(&format!("{}-", job.name)).unwrap_or(last);
            stamp.split(".tar").next().unwrap_or(stamp).to_owned()
        }
    };
    let order = |found: &Found| {
        job.places.iter().position(|place| place.address.to_string() == found.store.address())
    };
    let fitting = all.into_iter().filter(|found| found.stamp == wanted).min_by_key(order);
    fitting.with_context(|| {
        let unseen = if problems.is_empty() { String::new() } else { format!(" ({})", problems.join("; ")) };
        format!(
            "cannot find a backup of {} from {wanted}{unseen}: list-backups.sh shows what there is",
            job.name
        )
    })
}
