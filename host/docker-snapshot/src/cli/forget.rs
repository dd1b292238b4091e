//! `forget`: removes snapshots that are not to be kept any longer.

use std::time::Duration;

use anyhow::ensure;
use clap::Args;
use serde::Serialize;
use snapshotter_vault::retention::Policy;

use crate::cli::connection::block_on;
use crate::cli::table::table;
use crate::cli::vault::depot;
use crate::cli::{output, size};
use crate::job::forget::{Judged, clear, judge, remove, word};
use crate::job::found::DIRECTORY;
use crate::words;

pub(crate) const EXAMPLE: &str = "\
Examples:
  docker snapshot forget --keep-last 3 --keep-daily 7 --dry-run
  docker snapshot forget s3://bucket/backups --keep-daily 7 --keep-weekly 5 --keep-monthly 12 --keep-yearly 3
  docker snapshot forget s3://bucket/backups --only shop --keep-days 30";

#[derive(Debug, Args)]
pub(crate) struct Forget {
    /// Where they are: a directory or a store
    #[arg(value_name = "STORE", default_value = DIRECTORY)]
    store: String,
    /// Only those of this project, container or volume
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    only: String,
    /// Keep the newest N of each project, container or volume
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    keep_last: usize,
    /// Keep the newest of each of the last N hours that have one
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    keep_hourly: usize,
    /// Keep the newest of each of the last N days that have one; days, weeks, months and years are those of UTC
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    keep_daily: usize,
    /// Keep the newest of each of the last N weeks that have one
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    keep_weekly: usize,
    /// Keep the newest of each of the last N months that have one
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    keep_monthly: usize,
    /// Keep the newest of each of the last N years that have one
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    keep_yearly: usize,
    /// Keep all that are not older than N days
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    keep_days: u32,
    /// Say what would be removed, and remove nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Serialize)]
struct Report {
    store: String,
    dry_run: bool,
    kept: Vec<Snapshot>,
    forgotten: Vec<Snapshot>,
    /// What runs that were killed had left under no name.
    cleared: Vec<String>,
    /// What could not be removed.
    failures: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Snapshot {
    file: String,
    /// What it is judged with.
    name: String,
    created_at: Option<String>,
    bytes: u64,
    /// Why it is kept.
    reasons: Vec<&'static str>,
}

impl Snapshot {
    fn of(judged: &Judged, store: &str) -> Self {
        Snapshot {
            file: format!("{store}/{}", judged.backup.object.name),
            name: judged.backup.group.clone(),
            created_at: judged.backup.time.map(time),
            bytes: judged.backup.object.size,
            reasons: judged.reasons.iter().map(|reason| word(*reason)).collect(),
        }
    }

    fn row(&self, verdict: String) -> Vec<String> {
        let time = self.created_at.clone().unwrap_or_else(|| "-".to_owned());
        vec![time, self.name.clone(), size::bytes(self.bytes), verdict, self.file.clone()]
    }
}

/// As RFC 3339 has it.
pub(super) fn time(time: chrono::DateTime<chrono::Utc>) -> String {
    time.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}

impl Forget {
    /// Removes them.
    ///
    /// # Errors
    /// When the store cannot be listed, or something cannot be removed; all else is then.
    pub(crate) fn run(&self, json: bool) -> anyhow::Result<()> {
        let policy = self.policy();
        ensure!(
            !policy.is_empty(),
            "cannot tell what is to be kept: say it with --keep-last, --keep-daily, --keep-weekly, \
             --keep-monthly, --keep-yearly or --keep-days"
        );
        let store = depot(&self.store)?.store()?;
        let report = block_on(async {
            let judged = judge(&*store, &self.only, &policy).await?;
            let mut report = Report {
                store: store.address().to_owned(),
                dry_run: self.dry_run,
                kept: Vec::new(),
                forgotten: Vec::new(),
                cleared: Vec::new(),
                failures: Vec::new(),
            };
            for judged in &judged {
                let snapshot = Snapshot::of(judged, store.address());
                if !judged.reasons.is_empty() {
                    report.kept.push(snapshot);
                    continue;
                }
                let removed = if self.dry_run { Ok(()) } else { remove(&*store, &judged.backup).await };
                match removed {
                    Ok(()) => report.forgotten.push(snapshot),
                    Err(error) => report.failures.push(error),
                }
            }
            match clear(&*store, self.dry_run).await {
                Ok(cleared) => report.cleared = cleared,
                Err(error) => report.failures.push(words::message(&error)),
            }
            Ok(report)
        })?;
        show(&report, json)
    }

    fn policy(&self) -> Policy {
        let day = Duration::from_hours(24);
        Policy {
            last: self.keep_last,
            hourly: self.keep_hourly,
            daily: self.keep_daily,
            weekly: self.keep_weekly,
            monthly: self.keep_monthly,
            yearly: self.keep_yearly,
            within: (self.keep_days > 0).then(|| day * self.keep_days),
        }
    }
}

fn show(report: &Report, json: bool) -> anyhow::Result<()> {
    if json {
        output::print_json(report)?;
    } else {
        let forgotten = if report.dry_run { "would be removed" } else { "removed" };
        let kept = report.kept.iter().map(|kept| kept.row(format!("kept: {}", kept.reasons.join(", "))));
        let gone = report.forgotten.iter().map(|gone| gone.row(forgotten.to_owned()));
        let mut rows: Vec<_> = kept.chain(gone).collect();
        rows.sort_by_cached_key(|row| (row[1].clone(), row[0].clone()));
        if rows.is_empty() {
            output::print_line(output::one_line(&format!("no snapshots in {}", report.store)))?;
        } else {
            output::print_line(table(&["TAKEN", "OF", "SIZE", "WHAT", "FILE"], &rows))?;
        }
        for cleared in &report.cleared {
            let line = format!("what a run that was killed had left of {cleared}: {forgotten}");
            output::print_line(output::one_line(&line))?;
        }
    }
    if report.failures.is_empty() {
        return Ok(());
    }
    report.failures.iter().for_each(|failure| output::say(failure));
    Err(output::Told.into())
}
