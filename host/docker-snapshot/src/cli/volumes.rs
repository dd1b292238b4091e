//! `volumes`: where containers keep data.

use std::collections::BTreeMap;
use std::path::Path;

use clap::Args;
use serde::Serialize;
use snapshotter_engine::api::container::Status;
use snapshotter_engine::discover::{DangerKind, Storage, StorageUser, discover};

use crate::cli::connection::Connection;
use crate::cli::selection::Selection;
use crate::cli::table::table;
use crate::cli::{list, output, size};
use crate::job::found::DIRECTORY;

pub(crate) const EXAMPLE: &str = "\
Examples:
  docker snapshot volumes
  docker snapshot volumes --size --project shop
  docker snapshot volumes 'shop_*' --exclude '*cache*' --label tier=gold
  docker snapshot volumes --json | jq -r '.storages[] | select(.dangers != []) | .name'";

#[derive(Debug, Args)]
pub(crate) struct Volumes {
    /// Measure volumes too, which reads all their directories
    #[arg(long)]
    size: bool,
    /// Where to look for the last snapshot of each: a directory or a store; ./snapshots, where that is there
    #[arg(long, value_name = "STORE")]
    from: Option<String>,
    #[command(flatten)]
    selection: Selection,
}

#[derive(Debug, Serialize)]
struct Listing {
    storages: Vec<Listed>,
}

#[derive(Debug, Serialize)]
struct Listed {
    #[serde(flatten)]
    storage: Storage,
    last_snapshot: Option<LastSnapshot>,
}

/// The newest snapshot that a volume is in.
#[derive(Debug, Clone, Serialize)]
struct LastSnapshot {
    created_at: Option<String>,
    file: String,
}

impl Volumes {
    /// Lists them.
    ///
    /// # Errors
    /// When the engine does not say, or nothing is there that was asked for.
    pub(crate) fn run(&self, connection: &Connection, json: bool) -> anyhow::Result<()> {
        let there = connection.with_engine(async |engine| Ok(discover(&engine, self.size).await?))?;
        let storages = self.selection.choose(there.storages)?;
        let last = self.last_snapshots()?;
        let with_last = |storage: Storage| {
            let last_snapshot = last.get(&storage.name).filter(|_| storage.is_volume()).cloned();
            Listed { storage, last_snapshot }
        };
        let storages: Vec<_> = storages.into_iter().map(with_last).collect();
        if json {
            return output::print_json(&Listing { storages });
        }
        self.show(&storages)
    }

    /// Of each volume, by name. What cannot be read is said.
    fn last_snapshots(&self) -> anyhow::Result<BTreeMap<String, LastSnapshot>> {
        let usual = Path::new(DIRECTORY).is_dir().then_some(DIRECTORY);
        let Some(from) = self.from.as_deref().or(usual) else { return Ok(BTreeMap::new()) };
        let found = list::found_in(from)?;
        found.problems.iter().for_each(|problem| output::say(&format!("warning: {problem}")));
        let mut last = BTreeMap::new();
        // The newest come last.
        for archive in &found.archives {
            for volume in archive.volumes() {
                let snapshot = LastSnapshot { created_at: archive.time(), file: archive.shown() };
                last.insert(volume.to_owned(), snapshot);
            }
        }
        Ok(last)
    }

    fn show(&self, storages: &[Listed]) -> anyhow::Result<()> {
        let mut heading = vec!["PROJECT", "VOLUME", "KIND", "DRIVER"];
        heading.extend(self.size.then_some("SIZE"));
        heading.extend(["LAST SNAPSHOT", "USED BY", "IN DANGER"]);
        let rows: Vec<_> = storages.iter().map(|storage| self.row(storage)).collect();
        output::print_line(table(&heading, &rows))
    }

    fn row(&self, Listed { storage, last_snapshot }: &Listed) -> Vec<String> {
        let absent = || "-".to_owned();
        let mut row = vec![
            storage.project.clone().unwrap_or_else(absent),
            storage.name.clone(),
            storage.kind.word().to_owned(),
            storage.driver.clone().unwrap_or_else(absent),
        ];
        row.extend(self.size.then(|| storage.bytes.map_or_else(absent, size::bytes)));
        let last = last_snapshot.as_ref().and_then(|last| last.created_at.clone());
        row.push(last.unwrap_or_else(absent));
        row.push(joined(storage.users.iter().map(|user| used_by(storage, user))));
        row.push(joined(storage.dangers.iter().map(|danger| {
            match (danger.kind, danger.reason.rsplit_once("by its ")) {
                (DangerKind::Database, Some((_, sign))) => format!("database ({sign})"),
                (kind, _) => kind.word().to_owned(),
            }
        })));
        row
    }
}

/// `service` in its own project, else the container; what it is doing, and whether it can only read.
fn used_by(storage: &Storage, user: &StorageUser) -> String {
    let service = user.compose.as_ref().filter(|compose| Some(&compose.project) == storage.project.as_ref());
    let name = match service {
        Some(compose) if compose.one_off => format!("{} (run)", compose.service),
        Some(compose) if compose.number.unwrap_or(1) > 1 => {
            format!("{} {}", compose.service, compose.number.unwrap_or(1))
        }
        Some(compose) => compose.service.clone(),
        None => user.container.clone(),
    };
    let access = if user.writable { "" } else { " read-only" };
    let state = if user.state == Status::Running { "" } else { user.state.word() };
    match (state, access) {
        ("", "") => name,
        ("", _) => format!("{name}{access}"),
        _ => format!("{name}{access} ({state})"),
    }
}

fn joined(parts: impl Iterator<Item = String>) -> String {
    let all = parts.collect::<Vec<_>>().join(", ");
    if all.is_empty() { "-".to_owned() } else { all }
}
