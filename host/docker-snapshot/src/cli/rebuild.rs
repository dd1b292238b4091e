//! `rebuild`: brings projects back on a machine that has nothing but the engine, a store and the key.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf, absolute};
use std::process::{Command, Stdio};
use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use clap::Args;
use serde::Serialize;
use snapshotter_engine::api::Engine;
use snapshotter_engine::helper::Helpers;
use snapshotter_engine::lease::State;
use snapshotter_vault::encode::Keys;

use crate::cli::connection::{Connection, block_on};
use crate::cli::progress::Progress;
use crate::cli::restore::confirm;
use crate::cli::vault::{self, Opening};
use crate::cli::{output, recover, size};
use crate::job::depot::Depot;
use crate::job::description::{ComposePassport, Passport};
use crate::job::found::{self, DIRECTORY};
use crate::job::interrupt::Interrupt;
use crate::job::passport::opened;
use crate::job::rebuild::{self, Needed, Piece, passport};
use crate::job::restore::{self, Intent};
use crate::job::shelf;
use crate::job::tell::Notice;

pub(crate) const EXAMPLE: &str = "\
Examples:
  docker snapshot rebuild s3://bucket/backups --age-identity key.txt
  docker snapshot rebuild ./snapshots shop --into /srv --no-start";

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(crate) struct Rebuild {
    /// Where the snapshots are: a directory or a store
    #[arg(value_name = "STORE", default_value = DIRECTORY)]
    store: String,
    /// The projects, containers and volumes to bring back, as NAME or NAME@TIME; all that there are unless named
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    #[command(flatten)]
    opening: Opening,
    /// Write compose files to DIR/PROJECT
    #[arg(long, value_name = "DIR", default_value = ".")]
    into: PathBuf,
    /// Make and fill the volumes and write compose files, and start nothing
    #[arg(long)]
    no_start: bool,
    /// Replace what is in volumes that are there
    #[arg(long)]
    force: bool,
    /// Check all, say what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Ask nothing
    #[arg(long)]
    yes: bool,
    /// The image of snapshotter to write volumes with, instead of the one that this program carries
    #[arg(long, value_name = "IMAGE")]
    helper_image: Option<String>,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Report {
    dry_run: bool,
    snapshots: Vec<Rebuilt>,
    /// Sets whose volumes came from others.
    left_out: Vec<String>,
    /// Images that the engine does not have.
    missing_images: Vec<Missing>,
    started: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Rebuilt {
    name: String,
    file: String,
    volumes: Vec<String>,
    made: Vec<String>,
    compose_files: Vec<PathBuf>,
    /// Compose files that are not in the snapshot.
    compose_files_missing: Vec<PathBuf>,
    /// Containers that no compose file makes.
    containers: Vec<String>,
    entries: Option<u64>,
    bytes: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Missing {
    image: String,
    digest: Option<String>,
}

/// A snapshot, and what is to become of it.
struct Step {
    request: restore::Request,
    intent: Intent,
    rebuilt: Rebuilt,
    compose: Option<ComposePassport>,
}

impl Rebuild {
    /// Rebuilds.
    ///
    /// # Errors
    /// When something cannot be brought back; what was said to be restored is.
    pub(crate) fn run(self, connection: &Connection, json: bool) -> anyhow::Result<()> {
        let keys = self.opening.keys()?;
        let depot = vault::depot(&self.store)?;
        let report = block_on(async {
            let (pieces, left_out) = self.pieces(&depot).await?;
            let engine = connection.engine().await?;
            self.rebuild(&engine, pieces, &keys, left_out).await
        })?;
        if json { output::print_json(&report) } else { report.print() }
    }

    /// Which snapshots are to be restored.
    async fn pieces(&self, depot: &Depot) -> anyhow::Result<(Vec<Piece>, Vec<String>)> {
        if !self.names.is_empty() {
            let mut pieces = Vec::new();
            for name in &self.names {
                let chosen = found::choose(name, depot, &vault::depot).await?;
                pieces.push(Piece { archive: chosen.archive, only: chosen.volume });
            }
            return Ok((pieces, Vec::new()));
        }
        let found = match depot {
            Depot::Directory(directory) => found::below(directory)?,
            Depot::Store(store) => shelf::all(store).await?,
        };
        found.problems.iter().for_each(|problem| output::say(&format!("warning: {problem}")));
        ensure!(
            !found.archives.is_empty(),
            "cannot rebuild from {}: there is no snapshot in it: see with `docker snapshot list`",
            depot.shown()
        );
        Ok(rebuild::pieces(found.archives))
    }

    async fn rebuild(
        &self,
        engine: &Engine,
        pieces: Vec<Piece>,
        keys: &Arc<Keys>,
        left_out: Vec<String>,
    ) -> anyhow::Result<Report> {
        let stop = Interrupt::listen().context("cannot listen for signals")?;
        let state = State::usual()?;
        if !self.dry_run {
            recover::before(engine, &state).await?;
        }
        let progress = Progress::new();
        let tell: &dyn Fn(&Notice<'_>) = &|notice| progress.show(notice);
        let helpers = Helpers::new(engine, &state, self.helper_image.as_deref()).await?;
        // All is checked before anything is made.
        let mut steps = Vec::new();
        for piece in pieces {
            let request = self.request(piece, keys);
            let restore = restore::Restore { engine, state: &state, request: &request, stop: &stop, tell };
            let intent = restore.prepare(&helpers).await?;
            steps.push(self.step(request, intent)?);
        }
        check_once(&steps)?;
        let missing_images = missing(engine, &steps).await?;
        if !self.yes && !self.dry_run {
            confirm(&steps.iter().map(|step| &step.intent).collect::<Vec<_>>())?;
        }
        let mut started = Vec::new();
        for step in steps.iter_mut().filter(|_| !self.dry_run) {
            stop.check("what was said to be restored is")?;
            let restore =
                restore::Restore { engine, state: &state, request: &step.request, stop: &stop, tell };
            let report = restore.run(&step.intent, &helpers).await?;
            (step.rebuilt.entries, step.rebuilt.bytes) = (Some(report.entries), Some(report.size));
            self.compose(step, engine, &mut started)?;
        }
        let snapshots = steps.into_iter().map(|step| step.rebuilt).collect();
        Ok(Report { dry_run: self.dry_run, snapshots, left_out, missing_images, started })
    }

    fn request(&self, piece: Piece, keys: &Arc<Keys>) -> restore::Request {
        restore::Request {
            archive: Arc::new(piece.archive),
            keys: Arc::clone(keys),
            only: piece.only,
            moves: Vec::new(),
            force: self.force,
            stop_containers: false,
            create: true,
            dry_run: self.dry_run,
            helper_image: self.helper_image.clone(),
        }
    }

    /// What is to be done about a snapshot, whose compose files can be written.
    fn step(&self, request: restore::Request, intent: Intent) -> anyhow::Result<Step> {
        let passport = passport(&request.archive);
        let encryption = request.archive.encoding.encryption;
        let compose = passport.and_then(|passport| passport.compose.as_ref());
        let compose = compose.map(|compose| opened(compose, encryption, &request.keys)).transpose()?;
        let mut rebuilt = Rebuilt {
            name: request.archive.name(),
            file: request.archive.shown(),
            volumes: intent.pairs.iter().map(|pair| pair.to.clone()).collect(),
            made: intent.made.iter().map(|volume| volume.name.clone()).collect(),
            compose_files: Vec::new(),
            compose_files_missing: Vec::new(),
            containers: passport.map(others).unwrap_or_default(),
            entries: None,
            bytes: None,
        };
        if let Some(compose) = &compose {
            let files = rebuild::files(compose, &self.into)?;
            files.check()?;
            rebuilt.compose_files_missing.clone_from(&files.unknown);
        }
        Ok(Step { request, intent, rebuilt, compose })
    }

    /// Writes the compose files of a project, and starts it.
    fn compose(&self, step: &mut Step, engine: &Engine, started: &mut Vec<String>) -> anyhow::Result<()> {
        let Some(compose) = &step.compose else { return Ok(()) };
        let files = rebuild::files(compose, &self.into)?;
        step.rebuilt.compose_files = files.write()?;
        let is_whole = files.unknown.is_empty() && !step.rebuilt.compose_files.is_empty();
        if self.no_start || !is_whole {
            return Ok(());
        }
        let directory = absolute(&files.directory).context("cannot find the current directory")?;
        start(&compose.project, &directory, &step.rebuilt.compose_files, engine)?;
        started.push(compose.project.clone());
        Ok(())
    }
}

/// Looks that no volume is to be restored twice, as it is where names lead to snapshots that share one.
fn check_once(steps: &[Step]) -> anyhow::Result<()> {
    let mut names = BTreeSet::new();
    for volume in steps.iter().flat_map(|step| &step.rebuilt.volumes) {
        ensure!(
            names.insert(volume),
            "cannot rebuild: the volume {volume} is in two of these snapshots: name one of them"
        );
    }
    Ok(())
}

/// The containers of a snapshot that no compose file makes.
fn others(passport: &Passport) -> Vec<String> {
    let made = passport.compose.as_ref().map(|compose| &compose.project);
    let other =
        passport.containers.iter().filter(|container| made.is_none() || container.project.as_ref() != made);
    other.map(|container| format!("{} ({})", container.name, container.image)).collect()
}

async fn missing(engine: &Engine, steps: &[Step]) -> anyhow::Result<Vec<Missing>> {
    let passports = steps.iter().filter_map(|step| passport(&step.request.archive));
    let containers: Vec<_> = passports.flat_map(|passport| &passport.containers).collect();
    let missing = rebuild::missing_images(engine, &containers).await?;
    Ok(missing.into_iter().map(|Needed { image, digest }| Missing { image, digest }).collect())
}

/// Starts a project, with the compose that there is. What compose says goes to stderr.
fn start(project: &str, directory: &Path, files: &[PathBuf], engine: &Engine) -> anyhow::Result<()> {
    let files: Vec<_> = files.iter().map(absolute).collect::<Result<_, _>>()?;
    let by = |compose: &[&str]| rebuild::start_command(compose, project, directory, &files);
    let Some(compose) = rebuild::compose() else {
        bail!(
            "cannot start {project}: its volumes and compose files are back, and there is neither `docker compose` \
             nor docker-compose: start it with `{}`",
            by(&["docker", "compose"]).join(" ")
        );
    };
    let command = by(compose);
    let mut process = Command::new(&command[0]);
    process.args(&command[1..]).env("DOCKER_HOST", engine.address().to_string());
    process.stdin(Stdio::null()).stdout(std::io::stderr());
    let status = process.status().with_context(|| format!("cannot run {}", command[0]))?;
    ensure!(
        status.success(),
        "cannot start {project}: its volumes and compose files are back, and compose failed ({status}): see what \
         it says above, and then `{}`",
        command.join(" ")
    );
    Ok(())
}

impl Report {
    fn print(&self) -> anyhow::Result<()> {
        let would = if self.dry_run { "would be " } else { "" };
        let mut lines = Vec::new();
        for Rebuilt { name, file, volumes, entries, bytes, .. } in &self.snapshots {
            let totals = entries
                .zip(*bytes)
                .map(|(entries, bytes)| format!(": {entries} entries, {}", size::bytes(bytes)));
            let volumes = volumes.join(", ");
            lines
                .push(format!("{name}: {would}restored {volumes} from {file}{}", totals.unwrap_or_default()));
        }
        for rebuilt in &self.snapshots {
            lines.extend(rebuilt.compose_files.iter().map(|file| format!("{}: written", file.display())));
            lines.extend(rebuilt.compose_files_missing.iter().map(|file| {
                format!(
                    "{}: its compose file {} is not in the snapshot: put it back, and start the project",
                    rebuilt.name,
                    file.display()
                )
            }));
            let again = |container: &String| {
                format!("{container}: start it again, no compose file of a snapshot does")
            };
            lines.extend(rebuilt.containers.iter().map(again));
        }
        let from = |name: &String| {
            format!("{name}: left out, its volumes come from other snapshots: name it to have them from it")
        };
        lines.extend(self.left_out.iter().map(from));
        lines.extend(self.missing_images.iter().map(|Missing { image, digest }| {
            let digest = digest.as_ref().map(|digest| format!(" (it was {digest})"));
            format!("image {image}: this engine does not have it{}", digest.unwrap_or_default())
        }));
        lines.extend(self.started.iter().map(|project| format!("{project}: started")));
        lines.iter().try_for_each(|line| output::print_line(output::one_line(line)))
    }
}
