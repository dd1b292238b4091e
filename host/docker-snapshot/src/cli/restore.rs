//! `restore`: puts snapshots back.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::Args;
use serde::Serialize;
use snapshotter::observer::{Cancel, Observer, Run};
use snapshotter::report::{RestoreReport, Warning};
use snapshotter_engine::api::Engine;
use snapshotter_engine::helper::Helpers;
use snapshotter_engine::lease::State;
use snapshotter_vault::encode::Keys;

use crate::cli::connection::{Connection, block_on};
use crate::cli::progress::Progress;
use crate::cli::vault::{self, Opening, depot};
use crate::cli::{output, recover, size};
use crate::job::contents::parse_move;
use crate::job::depot::Depot;
use crate::job::found::{self, Chosen, DIRECTORY};
use crate::job::interrupt::Interrupt;
use crate::job::restore::{self, Intent};
use crate::job::{local, tell::Notice};

pub(crate) const EXAMPLE: &str = "\
Examples:
  docker snapshot restore shop_data --force --stop-containers
  docker snapshot restore ./snapshots/shop/2026-01-31T03-00-00Z__spec-0123abcd.tar.zst --create
  docker snapshot restore shop@2026-01-31 --path /shop_data/notes.txt --into /tmp/look
  docker snapshot restore shop --from s3://bucket/backups --age-identity key.txt --create";

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(crate) struct Restore {
    /// A file, here or in a store; or the name of a volume, container or project, whose newest snapshot is
    /// meant; or NAME@TIME, as `list` shows it
    #[arg(value_name = "FILE_OR_SNAPSHOT")]
    snapshot: String,
    /// Where snapshots are looked for by name: a directory or a store
    #[arg(long, value_name = "STORE", default_value = DIRECTORY)]
    from: String,
    #[command(flatten)]
    opening: Opening,
    /// The one volume of it to restore; of a snapshot of one volume, the volume to restore to
    #[arg(value_name = "VOLUME")]
    only: Option<String>,
    /// Replace what is in a volume
    #[arg(long, conflicts_with = "into")]
    force: bool,
    /// Stop the containers that use a volume, and start them again
    #[arg(long, conflicts_with = "into")]
    stop_containers: bool,
    /// Make volumes that are not there, as they were: with driver, options and labels
    #[arg(long, conflicts_with = "into")]
    create: bool,
    /// Restore the volume OLD of the snapshot to the volume NEW; may be repeated
    #[arg(long = "volume", value_name = "OLD=NEW", value_parser = parse_move)]
    moves: Vec<(String, String)>,
    /// With --into: restore this file or directory alone; may be repeated
    #[arg(long = "path", value_name = "/VOLUME/PATH", requires = "into")]
    paths: Vec<String>,
    /// Restore to this directory, each volume to DIR/VOLUME, and ask no engine
    #[arg(long, value_name = "DIR")]
    into: Option<PathBuf>,
    /// With --into, where there is nothing yet: restore what is sound of a damaged snapshot, and say what is not
    #[arg(long, requires = "into", conflicts_with = "paths")]
    skip_damaged: bool,
    /// Check all, say what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Ask nothing
    #[arg(long)]
    yes: bool,
    /// The image of snapshotter to write volumes with, instead of the one that this program carries
    #[arg(long, value_name = "IMAGE", conflicts_with = "into")]
    helper_image: Option<String>,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Report {
    file: String,
    volumes: Vec<Restored>,
    made: Vec<String>,
    stopped: Vec<String>,
    dry_run: bool,
    /// None with `dry_run`.
    entries: Option<u64>,
    bytes: Option<u64>,
    warnings: Vec<Warning>,
}

#[derive(Debug, Serialize)]
struct Restored {
    from: String,
    to: String,
    /// Whether it held something before.
    replaced: bool,
}

impl Restore {
    /// Restores.
    ///
    /// # Errors
    /// When it cannot be done, or something does not run again.
    pub(crate) fn run(self, connection: &Connection, json: bool) -> anyhow::Result<()> {
        let keys = self.opening.keys()?;
        let depot = depot(&self.from)?;
        block_on(async {
            let chosen = chosen(&self.snapshot, &depot).await?;
            self.restore(connection, chosen, keys, json).await
        })
    }

    async fn restore(
        self,
        connection: &Connection,
        chosen: Chosen,
        keys: Arc<Keys>,
        json: bool,
    ) -> anyhow::Result<()> {
        let Chosen { archive, volume, .. } = chosen;
        let only = self.only.or(volume);
        let file = archive.shown();
        if let Some(into) = self.into {
            let (moves, paths, dry_run, skip_damaged) =
                (self.moves, self.paths, self.dry_run, self.skip_damaged);
            let request = local::Request { archive, keys, only, moves, paths, into, dry_run, skip_damaged };
            return to_directory(request, &file, json).await;
        }
        let request = restore::Request {
            archive: Arc::new(archive),
            keys,
            only,
            moves: self.moves,
            force: self.force,
            stop_containers: self.stop_containers,
            create: self.create,
            dry_run: self.dry_run,
            helper_image: self.helper_image,
        };
        let state = State::usual()?;
        let engine = connection.engine().await?;
        let (intent, report) = to_volumes(&engine, &state, &request, self.yes).await?;
        show(&intent, report.as_ref(), file, json)
    }
}

async fn to_volumes(
    engine: &Engine,
    state: &State,
    request: &restore::Request,
    yes: bool,
) -> anyhow::Result<(Intent, Option<RestoreReport>)> {
    let stop = &Interrupt::listen().context("cannot listen for signals")?;
    if !request.dry_run {
        recover::before(engine, state).await?;
    }
    let progress = Progress::new();
    let tell: &dyn Fn(&Notice<'_>) = &|notice| progress.show(notice);
    let helpers = Helpers::new(engine, state, request.helper_image.as_deref()).await?;
    let restore = restore::Restore { engine, state, request, stop, tell };
    let intent = restore.prepare(&helpers).await?;
    if request.dry_run {
        return Ok((intent, None));
    }
    if !yes {
        confirm(&[&intent])?;
    }
    stop.check("nothing was changed")?;
    let report = restore.run(&intent, &helpers).await?;
    Ok((intent, Some(report)))
}

/// The snapshot that `text` means; what was looked for in `depot` is said.
///
/// # Errors
/// As [`found::choose`].
pub(crate) async fn chosen(text: &str, depot: &Depot) -> anyhow::Result<Chosen> {
    let chosen = found::choose(text, depot, &vault::depot).await?;
    if chosen.looked_for {
        output::say(&format!("the snapshot is {}", chosen.archive.shown()));
    }
    Ok(chosen)
}

/// Asks for what cannot be undone, where there is somebody to ask. What a JSON says of volumes that lead out
/// of the engine's own directories is never believed unasked.
///
/// # Errors
/// When it was not agreed to.
pub(crate) fn confirm(intents: &[&Intent]) -> anyhow::Result<()> {
    let asks = io::stdin().is_terminal() && io::stderr().is_terminal();
    let doubts: Vec<_> = intents.iter().flat_map(|intent| &intent.made).filter_map(restore::doubt).collect();
    let replaced: Vec<_> = intents.iter().flat_map(|intent| &intent.replaced).map(String::as_str).collect();
    if !doubts.is_empty() && !asks {
        bail!(
            "cannot make {}: it may lead to any place of the engine's machine: see that it is right, and \
             give --yes",
            doubts.join(" and ")
        );
    }
    if !asks || (doubts.is_empty() && replaced.is_empty()) {
        return Ok(());
    }
    let mut questions = Vec::new();
    if !doubts.is_empty() {
        questions.push(format!("make {}", doubts.join(" and ")));
    }
    if !replaced.is_empty() {
        questions.push(format!("replace all that is in {}", replaced.join(", ")));
    }
    let question = output::one_line(&questions.join(", and "));
    let _ = write!(io::stderr(), "docker-snapshot: {question}? [y/N] ");
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).context("cannot read the answer")?;
    if !matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes") {
        bail!("cannot restore: it was not agreed to: nothing was changed");
    }
    Ok(())
}

fn show(intent: &Intent, done: Option<&RestoreReport>, file: String, json: bool) -> anyhow::Result<()> {
    let volumes = intent.pairs.iter().map(|pair| Restored {
        from: pair.from.name.clone(),
        to: pair.to.clone(),
        replaced: intent.replaced.contains(&pair.to),
    });
    let report = Report {
        file,
        volumes: volumes.collect(),
        made: intent.made.iter().map(|volume| volume.name.clone()).collect(),
        stopped: intent.stopped.clone(),
        dry_run: done.is_none(),
        entries: done.map(|done| done.entries),
        bytes: done.map(|done| done.size),
        warnings: done.map(|done| done.warnings.clone()).unwrap_or_default(),
    };
    if json {
        return output::print_json(&report);
    }
    let would = if report.dry_run { "would be " } else { "" };
    let mut lines = Vec::new();
    lines.extend(report.made.iter().map(|name| format!("{name}: {would}made")));
    let stopped = |name: &String| format!("{name}: {would}stopped meanwhile");
    lines.extend(report.stopped.iter().filter(|_| report.dry_run).map(stopped));
    lines.extend(report.volumes.iter().map(|volume| {
        let from = if volume.from == volume.to { String::new() } else { format!(" from {}", volume.from) };
        let replaced = if volume.replaced { ", all that is in it replaced" } else { "" };
        format!("{}: {would}restored{from}{replaced}", volume.to)
    }));
    lines.extend(done.map(totals));
    lines.iter().try_for_each(|line| output::print_line(output::one_line(line)))
}

fn totals(report: &RestoreReport) -> String {
    format!("{} entries, {}", report.entries, size::bytes(report.size))
}

/// Shows what the core's library says in this process.
pub(crate) struct Teller;

impl Observer for Teller {
    fn warning(&self, warning: &Warning) {
        output::say(&format!("warning: {warning}"));
    }

    fn note(&self, text: &str) {
        output::say(text);
    }
}

async fn to_directory(request: local::Request, file: &str, json: bool) -> anyhow::Result<()> {
    let cancel = cancelled_by_signals()?;
    let into = request.into.display().to_string();
    let work = move || local::run(&request, &Run { observer: &Teller, cancel, strict: false });
    let report = tokio::task::spawn_blocking(work).await.context("cannot go on")??;
    let would = if report.dry_run { "would restore" } else { "restored" };
    if json {
        output::print_json(&report)?;
    } else {
        output::print_line(output::one_line(&format!("{file}: {would} {} to {into}", totals(&report))))?;
    }
    let Some(skipped) = report.skipped.filter(|skipped| !skipped.left_out.is_empty()) else { return Ok(()) };
    for left_out in &skipped.left_out {
        let name = left_out.name.as_deref().map(String::from_utf8_lossy).unwrap_or_default();
        output::say(&format!("left out: {name} at byte {}: {}", left_out.offset, left_out.reason));
    }
    Err(output::Told.into())
}

/// What stops the core's library in this process, when a signal comes.
///
/// # Errors
/// When signals cannot be listened for.
pub(crate) fn cancelled_by_signals() -> anyhow::Result<Cancel> {
    let cancel = Cancel::default();
    let stop = Interrupt::listen().context("cannot listen for signals")?;
    let stopping = cancel.clone();
    tokio::spawn(async move {
        stop.wait().await;
        stopping.stop();
    });
    Ok(cancel)
}
