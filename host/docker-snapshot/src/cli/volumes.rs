//! `volumes`: where containers keep data.

use clap::Args;
use serde::Serialize;
use snapshotter_engine::api::container::Status;
use snapshotter_engine::discover::{DangerKind, Storage, StorageUser, discover};

use crate::cli::connection::Connection;
use crate::cli::selection::Selection;
use crate::cli::table::table;
use crate::cli::{output, size};

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
    #[command(flatten)]
    selection: Selection,
}

#[derive(Debug, Serialize)]
struct Listing {
    storages: Vec<Storage>,
}

impl Volumes {
    /// Lists them.
    ///
    /// # Errors
    /// When the engine does not say, or nothing is there that was asked for.
    pub(crate) fn run(&self, connection: &Connection, json: bool) -> anyhow::Result<()> {
        let there = connection.with_engine(async |engine| Ok(discover(&engine, self.size).await?))?;
        let storages = self.selection.choose(there.storages)?;
        if json {
            return output::print_json(&Listing { storages });
        }
        self.show(&storages)
    }

    fn show(&self, storages: &[Storage]) -> anyhow::Result<()> {
        let mut heading = vec!["PROJECT", "VOLUME", "KIND", "DRIVER"];
        heading.extend(self.size.then_some("SIZE"));
        heading.extend(["USED BY", "IN DANGER"]);
        let rows: Vec<_> = storages.iter().map(|storage| self.row(storage)).collect();
        output::print_line(table(&heading, &rows))
    }

    fn row(&self, storage: &Storage) -> Vec<String> {
        let absent = || "-".to_owned();
        let mut row = vec![
            storage.project.clone().unwrap_or_else(absent),
            storage.name.clone(),
            storage.kind.word().to_owned(),
            storage.driver.clone().unwrap_or_else(absent),
        ];
        row.extend(self.size.then(|| storage.bytes.map_or_else(absent, size::bytes)));
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
