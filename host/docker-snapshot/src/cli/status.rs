//! `status`: how much there is in stores, of what, and how it grows.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};
use clap::Args;
use serde::Serialize;
use snapshotter_vault::catalog::{self, About, Backup};

use crate::cli::connection::block_on;
use crate::cli::forget::time;
use crate::cli::table::table;
use crate::cli::vault::depot;
use crate::cli::{output, size};
use crate::job::found::DIRECTORY;
use crate::words;

/// The time for which growth is said.
const MONTH: Duration = Duration::from_hours(30 * 24);

#[derive(Debug, Args)]
pub(crate) struct Status {
    /// Directories and stores
    #[arg(value_name = "STORE", default_value = DIRECTORY)]
    stores: Vec<String>,
    /// What a store takes for a GiB a month, in any currency: shows what all of it costs
    #[arg(long, value_name = "PRICE")]
    price: Option<f64>,
}

#[derive(Debug, Serialize)]
struct Report {
    stores: Vec<InStore>,
    failures: Vec<String>,
}

#[derive(Debug, Serialize)]
struct InStore {
    store: String,
    sets: Vec<Set>,
    bytes: u64,
    /// A month, where a price is given.
    cost: Option<f64>,
}

/// All snapshots of a project, container or volume.
#[derive(Debug, Default, Serialize)]
struct Set {
    name: String,
    snapshots: u64,
    bytes: u64,
    /// How much was stored in the last 30 days.
    bytes_of_30_days: u64,
    oldest: Option<String>,
    newest: Option<String>,
    /// The size of the newest, as it lies there and as it is inside.
    newest_bytes: u64,
    newest_uncompressed_bytes: Option<u64>,
    /// Snapshots without a JSON that tells of them.
    undescribed: u64,
    cost: Option<f64>,
}

impl Status {
    /// Shows it.
    ///
    /// # Errors
    /// When a store cannot be listed; the others are shown.
    pub(crate) fn run(&self, json: bool) -> anyhow::Result<()> {
        let mut report = Report { stores: Vec::new(), failures: Vec::new() };
        block_on(async {
            for text in &self.stores {
                match self.store(text).await {
                    Ok(store) => report.stores.push(store),
                    Err(error) => report.failures.push(words::message(&error)),
                }
            }
            Ok(())
        })?;
        if json {
            output::print_json(&report)?;
        } else {
            report.stores.iter().try_for_each(show)?;
        }
        if report.failures.is_empty() {
            return Ok(());
        }
        report.failures.iter().for_each(|failure| output::say(failure));
        Err(output::Told.into())
    }

    async fn store(&self, text: &str) -> anyhow::Result<InStore> {
        let store = depot(text)?.store()?;
        let catalog = catalog::read(&*store, "").await?;
        let since = (SystemTime::now() - MONTH).into();
        let mut sets: BTreeMap<String, Vec<Backup>> = BTreeMap::new();
        for backup in catalog.backups {
            sets.entry(backup.group.clone()).or_default().push(backup);
        }
        let sets: Vec<_> = sets.into_iter().map(|(name, backups)| self.set(name, backups, since)).collect();
        let bytes = sets.iter().map(|set| set.bytes).sum();
        Ok(InStore { store: store.address().to_owned(), sets, bytes, cost: self.cost(bytes) })
    }

    fn set(&self, name: String, mut backups: Vec<Backup>, since: DateTime<Utc>) -> Set {
        backups.sort_by_key(|backup| backup.time);
        let bytes = |backups: &mut dyn Iterator<Item = &Backup>| backups.map(|one| one.object.size).sum();
        let all = bytes(&mut backups.iter());
        let newest = backups.last();
        Set {
            name,
            snapshots: backups.len() as u64,
            bytes: all,
            bytes_of_30_days: bytes(
                &mut backups.iter().filter(|one| one.time.is_some_and(|time| time >= since)),
            ),
            oldest: backups.iter().find_map(|one| one.time).map(time),
            newest: newest.and_then(|newest| newest.time).map(time),
            newest_bytes: newest.map_or(0, |newest| newest.object.size),
            newest_uncompressed_bytes: newest.and_then(|newest| match &newest.about {
                About::Said(record) => record.uncompressed_bytes,
                _ => None,
            }),
            undescribed: backups.iter().filter(|one| !matches!(one.about, About::Said(_))).count() as u64,
            cost: self.cost(all),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "it is money")]
    fn cost(&self, bytes: u64) -> Option<f64> {
        Some(self.price? * (bytes as f64 / (1_u64 << 30) as f64))
    }
}

fn show(store: &InStore) -> anyhow::Result<()> {
    let cost = |cost: Option<f64>| cost.map_or_else(|| "-".to_owned(), |cost| format!("{cost:.2}"));
    let row = |set: &Set| {
        let none = || "-".to_owned();
        vec![
            set.name.clone(),
            set.snapshots.to_string(),
            size::bytes(set.bytes),
            size::bytes(set.bytes_of_30_days),
            set.newest.clone().unwrap_or_else(none),
            size::bytes(set.newest_bytes),
            set.newest_uncompressed_bytes.map_or_else(none, size::bytes),
            cost(set.cost),
        ]
    };
    let total = format!("{}: {}", store.store, size::bytes(store.bytes));
    let paid = store.cost.map(|of_all| format!(", {of_all:.2} a month")).unwrap_or_default();
    output::print_line(output::one_line(&format!("{total}{paid}")))?;
    if store.sets.is_empty() {
        return Ok(());
    }
    let rows: Vec<_> = store.sets.iter().map(row).collect();
    let heads = ["OF", "SNAPSHOTS", "SIZE", "30 DAYS", "NEWEST", "ITS SIZE", "INSIDE", "COST"];
    output::print_line(table(&heads, &rows))
}
