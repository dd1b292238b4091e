//! `verify`: looks whether snapshots are sound.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use clap::Args;
use serde::Serialize;
use snapshotter::observer::{Cancel, Run};
use snapshotter_engine::lease::State;
use snapshotter_vault::encode::Keys;

use crate::cli::connection::block_on;
use crate::cli::restore::{Teller, cancelled_by_signals};
use crate::cli::vault::{self, Opening, depot};
use crate::cli::{output, size};
use crate::job::depot::Depot;
use crate::job::found::{self, DIRECTORY, Found};
use crate::job::shelf;
use crate::job::verify::{Verdict, check};
use crate::words;

pub(crate) const EXAMPLE: &str = "\
Examples:
  docker snapshot verify shop
  docker snapshot verify ./snapshots s3://bucket/backups --age-identity key.txt
  docker snapshot verify s3://bucket/backups --age-identity key.txt --quick";

#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// Files, directories or stores, of which all snapshots are verified, or names of snapshots as for `restore`
    #[arg(value_name = "WHAT", required = true)]
    what: Vec<String>,
    /// Look only at what an archive says of itself: a few requests, whatever its size
    #[arg(long)]
    quick: bool,
    /// Where snapshots are looked for by name: a directory or a store
    #[arg(long, value_name = "STORE", default_value = DIRECTORY)]
    from: String,
    /// The directory where what lies in a store is kept meanwhile, as it lies there
    #[arg(long, value_name = "DIR")]
    spool: Option<PathBuf>,
    #[command(flatten)]
    opening: Opening,
}

#[derive(Debug, Serialize)]
struct Report {
    verified: Vec<Verdict>,
    /// What could not be looked at.
    failures: Vec<String>,
}

impl Verify {
    /// Verifies.
    ///
    /// # Errors
    /// When something is damaged, or cannot be looked at; what that is has been said.
    pub(crate) fn run(self, json: bool) -> anyhow::Result<()> {
        let keys = self.opening.keys()?;
        let spool = match &self.spool {
            Some(spool) => spool.clone(),
            None => State::usual()?.spool(),
        };
        let report = block_on(async {
            let cancel = cancelled_by_signals()?;
            let mut report = Report { verified: Vec::new(), failures: Vec::new() };
            for found in self.found(&mut report.failures).await? {
                let done = verdict(found, Arc::clone(&keys), self.quick, spool.clone(), cancel.clone()).await;
                match done {
                    Ok(verdict) => {
                        if !json {
                            show(&verdict)?;
                        }
                        report.verified.push(verdict);
                    }
                    Err(error) => report.failures.push(words::message(&error)),
                }
                cancel.check("what was verified is as it was said")?;
            }
            Ok(report)
        })?;
        if json {
            output::print_json(&report)?;
        }
        report.failures.iter().for_each(|failure| output::say(failure));
        if report.failures.is_empty() && report.verified.iter().all(|verdict| verdict.ok) {
            return Ok(());
        }
        Err(output::Told.into())
    }

    /// What is meant.
    async fn found(&self, failures: &mut Vec<String>) -> anyhow::Result<Vec<Found>> {
        let from = depot(&self.from)?;
        let mut all = Vec::new();
        for what in &self.what {
            let is_address = what.contains("://");
            let path = what.split('?').next().unwrap_or_default();
            let directory = if is_address && found::encoding(path).is_none() || Path::new(what).is_dir() {
                match depot(what)? {
                    Depot::Directory(directory) => found::below(&directory)?,
                    Depot::Store(store) => shelf::all(&store).await?,
                }
            } else {
                all.push(found::choose(what, &from, &vault::depot).await?.archive);
                continue;
            };
            failures.extend(directory.problems);
            all.extend(directory.archives);
        }
        Ok(all)
    }
}

async fn verdict(
    found: Found,
    keys: Arc<Keys>,
    quick: bool,
    spool: PathBuf,
    cancel: Cancel,
) -> anyhow::Result<Verdict> {
    let work = move || {
        let run = Run { observer: &Teller, cancel, strict: false };
        check(&found, &keys, quick, &spool, &run)
    };
    tokio::task::spawn_blocking(work).await.context("cannot go on")?
}

fn show(verdict: &Verdict) -> anyhow::Result<()> {
    let entries = match (verdict.entries, verdict.sound) {
        (Some(entries), Some(sound)) if sound < entries => {
            format!(", {sound} of {entries} entries are sound")
        }
        (Some(entries), _) => format!(", {entries} entries"),
        (None, _) => String::new(),
    };
    let word = if verdict.ok { "sound" } else { "DAMAGED" };
    let line = format!("{}: {word}, {}{entries}", verdict.file, size::bytes(verdict.bytes));
    output::print_line(output::one_line(&line))?;
    for problem in &verdict.problems {
        output::print_line(output::one_line(&format!("  {problem}")))?;
    }
    for note in &verdict.notes {
        output::say(note);
    }
    Ok(())
}
