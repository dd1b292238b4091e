//! Removes snapshots that a policy does not keep. What it keeps in any case is said in `retention`.

use std::collections::BTreeSet;
use std::time::SystemTime;

use chrono::{DateTime, Utc};
use snapshotter_vault::catalog::{self, Backup};
use snapshotter_vault::retention::{Candidate, Policy, Reason};
use snapshotter_vault::store::{Cause, Store};

use crate::words;

/// A snapshot, and why it is kept; it is not where nothing says so.
#[derive(Debug)]
pub(crate) struct Judged {
    pub(crate) backup: Backup,
    pub(crate) reasons: BTreeSet<Reason>,
}

/// What is to become of each snapshot in `store`, or of those in the folder `only`.
///
/// # Errors
/// When the store cannot be listed.
pub(crate) async fn judge(store: &dyn Store, only: &str, policy: &Policy) -> anyhow::Result<Vec<Judged>> {
    let catalog = catalog::read(store, only).await?;
    let candidates: Vec<Candidate> = catalog.backups.iter().map(Backup::candidate).collect();
    let now: DateTime<Utc> = SystemTime::now().into();
    let reasons: Vec<_> =
        policy.judge(&candidates, now, &Utc).into_iter().map(|verdict| verdict.reasons).collect();
    let judged = catalog.backups.into_iter().zip(reasons);
    Ok(judged.map(|(backup, reasons)| Judged { backup, reasons }).collect())
}

/// Removes `backup`: first what describes it, so that a kill in between leaves an archive that can be restored.
///
/// # Errors
/// When a file of it cannot be removed.
pub(crate) async fn remove(store: &dyn Store, backup: &Backup) -> Result<(), String> {
    for name in backup.files() {
        match store.delete(&name).await {
            Err(error) if error.cause() != Some(Cause::Missing) => return Err(words::message(&error.into())),
            _ => {}
        }
    }
    Ok(())
}

/// Removes what runs that were killed have left in `store`: nothing of it is under a name, and all of it is paid
/// for. Returns what that was.
///
/// # Errors
/// When it cannot be looked for, or not be removed.
pub(crate) async fn clear(store: &dyn Store, dry_run: bool) -> anyhow::Result<Vec<String>> {
    let mut cleared = Vec::new();
    for leftover in store.leftovers().await? {
        if !dry_run {
            store.clear(&leftover).await?;
        }
        cleared.push(leftover.name.unwrap_or(leftover.id));
    }
    Ok(cleared)
}

/// Why something is kept, in a word.
pub(crate) fn word(reason: Reason) -> &'static str {
    match reason {
        Reason::Last => "last",
        Reason::Hourly => "hourly",
        Reason::Daily => "daily",
        Reason::Weekly => "weekly",
        Reason::Monthly => "monthly",
        Reason::Yearly => "yearly",
        Reason::Within => "days",
        Reason::NewestGood => "newest",
        Reason::LastVerified => "last verified",
        Reason::Unreadable => "unreadable",
        Reason::NothingBetter => "nothing better",
        Reason::Timeless => "without a time",
        Reason::Future => "of the future",
        Reason::NoPolicy => "no policy",
    }
}
