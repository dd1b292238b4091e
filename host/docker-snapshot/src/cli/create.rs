//! `create`: takes snapshots of volumes.

use std::path::{PathBuf, absolute};

use anyhow::{Context, bail, ensure};
use clap::{ArgGroup, Args, ValueEnum};
use serde::Serialize;
use snapshotter_engine::api::Engine;
use snapshotter_engine::lease::State;
use snapshotter_vault::encode::Compression;

use crate::cli::connection::Connection;
use crate::cli::progress::Progress;
use crate::cli::vault::{Reach, Sealing};
use crate::cli::{output, recover, size};
use crate::job::create::{Created, Request, create};
use crate::job::depot::Depot;
use crate::job::description::{Grade, Passport};
use crate::job::found::{DIRECTORY, kind_word};
use crate::job::interrupt::Interrupt;
use crate::job::selection::Wanted;
use crate::job::stopping::StopMode;
use crate::words;

pub(crate) const EXAMPLE: &str = "\
Examples:
  docker snapshot create shop_data
  docker snapshot create --project . --note 'before 2.0'
  docker snapshot create --all --output /srv/backups --stop pause
  docker snapshot create --all -o ./snapshots -o s3://bucket/backups --age-recipients-file admins.txt";

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").required(true))]
pub(crate) struct Create {
    /// Volumes, by name; each gets a snapshot of its own
    #[arg(value_name = "VOLUME", group = "what")]
    volumes: Vec<String>,
    /// All volumes of a compose project, in one snapshot: its name, or its directory
    #[arg(long, value_name = "DIR_OR_NAME", group = "what")]
    project: Option<String>,
    /// All volumes of a container, in one snapshot
    #[arg(long, value_name = "CONTAINER", group = "what")]
    container: Option<String>,
    /// All volumes: a snapshot of each project, and of each volume that belongs to none
    #[arg(long, group = "what")]
    all: bool,
    /// Where snapshots are put: a directory, or a store (`s3://BUCKET/PREFIX`, `az://`, `gs://`,
    /// `webdavs://`); may be repeated
    #[arg(short, long = "output", value_name = "STORE", default_value = DIRECTORY)]
    outputs: Vec<String>,
    /// A text that is kept with the snapshot
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    /// What becomes of containers that can write to the volumes, while these are read
    #[arg(long, value_name = "HOW", default_value = "auto")]
    stop: StopMode,
    /// Leave out what matches, as in .gitignore, in each volume; may be repeated
    #[arg(long, value_name = "PATTERN")]
    exclude: Vec<String>,
    /// How the archive is compressed
    #[arg(long, value_name = "HOW", default_value = "zstd")]
    compression: CompressionChoice,
    /// How hard it is compressed: 1 to 19 for zstd (3 unless given), 1 to 12 for gzip (5 unless given)
    #[arg(long, value_name = "LEVEL")]
    level: Option<i32>,
    #[command(flatten)]
    sealing: Sealing,
    /// The directory where an archive waits that is to go to stores, while containers rest
    #[arg(long, value_name = "DIR")]
    spool: Option<PathBuf>,
    #[command(flatten)]
    reach: Reach,
    /// The image of snapshotter to read volumes with, instead of the one that this program carries
    #[arg(long, value_name = "IMAGE")]
    helper_image: Option<String>,
}

/// A compression by name.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum CompressionChoice {
    /// .tar.zst
    Zstd,
    /// .tar.gz
    Gzip,
    /// .tar
    None,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Report<'a> {
    snapshots: Vec<Snapshot<'a>>,
    /// What could not be stored somewhere.
    failures: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Snapshot<'a> {
    files: &'a [String],
    created_at: &'a str,
    uncompressed_bytes: u64,
    entries: u64,
    note: Option<&'a str>,
    /// The worst of its volumes.
    grade: Option<Grade>,
    #[serde(flatten)]
    passport: Passport,
}

impl Create {
    /// Takes them.
    ///
    /// # Errors
    /// When one cannot be taken, or something does not run again.
    pub(crate) fn run(self, connection: &Connection, json: bool) -> anyhow::Result<()> {
        let outputs = self.outputs.iter().map(|output| self.reach.open(output));
        let request = Request {
            outputs: outputs.collect::<anyhow::Result<Vec<Depot>>>()?,
            seal: self.sealing.seal()?,
            spool: self.spool.map(absolute).transpose()?,
            compression: self.compression.at(self.level)?,
            wanted: match (self.project, self.container) {
                (Some(project), _) => Wanted::Project(project),
                (_, Some(container)) => Wanted::Container(container),
                _ if self.all => Wanted::All,
                _ => Wanted::Volumes(self.volumes),
            },
            note: self.note,
            stop: self.stop,
            exclude: self.exclude,
            helper_image: self.helper_image,
        };
        let twice =
            |(at, output): (usize, &Depot)| request.outputs[..at].iter().any(|other| other.is_same(output));
        if request.outputs.iter().enumerate().any(twice) {
            bail!("cannot store a snapshot twice in one place: give each --output once");
        }
        let state = State::usual()?;
        let created = connection.with_engine(async |engine| take(&engine, &state, &request).await)?;
        if json {
            print_json(&created)?;
        } else {
            show(&created)?;
        }
        let mut failures = failures(&created).peekable();
        if failures.peek().is_none() {
            return Ok(());
        }
        failures.for_each(|failure| output::say(&failure));
        Err(output::Told.into())
    }
}

impl CompressionChoice {
    fn at(self, level: Option<i32>) -> anyhow::Result<Compression> {
        Ok(match (self, level) {
            (CompressionChoice::Zstd, None) => Compression::ZSTD,
            (CompressionChoice::Zstd, Some(level)) => Compression::Zstd { level },
            (CompressionChoice::Gzip, None) => Compression::GZIP,
            (CompressionChoice::Gzip, Some(level)) => Compression::Gzip { level },
            (CompressionChoice::None, level) => {
                ensure!(level.is_none(), "cannot compress at a level without compression: leave --level out");
                Compression::None
            }
        })
    }
}

/// What could not be stored, as it is said.
fn failures(created: &[Created]) -> impl Iterator<Item = String> {
    created.iter().flat_map(|created| &created.failures).map(words::message)
}

async fn take(engine: &Engine, state: &State, request: &Request) -> anyhow::Result<Vec<Created>> {
    let stop = Interrupt::listen().context("cannot listen for signals")?;
    recover::before(engine, state).await?;
    let progress = Progress::new();
    create(engine, state, request, &stop, &|notice| progress.show(notice)).await
}

fn print_json(created: &[Created]) -> anyhow::Result<()> {
    let snapshots = created.iter().map(|created| Snapshot {
        files: &created.files,
        created_at: &created.description.created_at,
        uncompressed_bytes: created.description.uncompressed_bytes,
        entries: created.description.file_count,
        note: created.description.notes.as_deref(),
        grade: worst(&created.passport),
        passport: created.passport.to_print(),
    });
    output::print_json(&Report { snapshots: snapshots.collect(), failures: failures(created).collect() })
}

fn worst(passport: &Passport) -> Option<Grade> {
    passport.volumes.iter().map(|volume| volume.grade).max()
}

fn show(created: &[Created]) -> anyhow::Result<()> {
    for Created { files, description, passport, .. } in created {
        let rested = passport.rested_seconds.map(|seconds| format!(", containers rested {seconds:.1} s"));
        let grade = worst(passport).map(|grade| format!(", {grade}"));
        let line = format!(
            "{} {}: {} entries, {} in {}{}{}: {}",
            kind_word(passport.kind),
            passport.set,
            description.file_count,
            size::bytes(description.uncompressed_bytes),
            size::bytes(passport.file.bytes),
            grade.unwrap_or_default(),
            rested.unwrap_or_default(),
            files.join(", "),
        );
        output::print_line(output::one_line(&line))?;
        for volume in passport.volumes.iter().filter(|volume| volume.grade >= Grade::LiveUnchanged) {
            let (name, grade, reasons) = (&volume.name, volume.grade, volume.reasons.join(", "));
            output::say(&format!("warning: {name} is {grade}: {reasons}"));
        }
    }
    Ok(())
}
