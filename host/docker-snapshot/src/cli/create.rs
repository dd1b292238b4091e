//! `create`: takes snapshots of volumes.

use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::{ArgGroup, Args, ValueEnum};
use serde::Serialize;
use snapshotter_engine::api::Engine;
use snapshotter_engine::lease::State;
use snapshotter_vault::encode::Compression;

use crate::cli::connection::Connection;
use crate::cli::progress::Progress;
use crate::cli::{output, recover, size};
use crate::job::create::{Created, Request, create};
use crate::job::description::{Grade, Passport};
use crate::job::found::{DIRECTORY, kind_word};
use crate::job::interrupt::Interrupt;
use crate::job::place;
use crate::job::selection::Wanted;
use crate::job::stopping::StopMode;

pub(crate) const EXAMPLE: &str = "\
Examples:
  docker snapshot create shop_data
  docker snapshot create --project . --note 'before 2.0'
  docker snapshot create --all --output /srv/backups --stop pause";

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
    /// The directory that snapshots are put into; may be repeated
    #[arg(short, long = "output", value_name = "DIR", default_value = DIRECTORY)]
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
}

#[derive(Debug, Serialize)]
struct Snapshot<'a> {
    files: Vec<String>,
    created_at: &'a str,
    uncompressed_bytes: u64,
    entries: u64,
    note: Option<&'a str>,
    /// The worst of its volumes.
    grade: Option<Grade>,
    #[serde(flatten)]
    passport: &'a Passport,
}

impl Create {
    /// Takes them.
    ///
    /// # Errors
    /// When one cannot be taken, or something does not run again.
    pub(crate) fn run(self, connection: &Connection, json: bool) -> anyhow::Result<()> {
        let outputs = self.outputs.iter().map(|output| place::directory(output));
        let request = Request {
            outputs: outputs.collect::<anyhow::Result<Vec<PathBuf>>>()?,
            wanted: match (self.project, self.container) {
                (Some(project), _) => Wanted::Project(project),
                (_, Some(container)) => Wanted::Container(container),
                _ if self.all => Wanted::All,
                _ => Wanted::Volumes(self.volumes),
            },
            note: self.note,
            stop: self.stop,
            exclude: self.exclude,
            compression: match self.compression {
                CompressionChoice::Zstd => Compression::ZSTD,
                CompressionChoice::Gzip => Compression::GZIP,
                CompressionChoice::None => Compression::None,
            },
            helper_image: self.helper_image,
        };
        if request.outputs.iter().enumerate().any(|(at, output)| request.outputs[..at].contains(output)) {
            bail!("cannot store a snapshot twice in one directory: give each --output once");
        }
        let state = State::usual()?;
        let created = connection.with_engine(async |engine| take(&engine, &state, &request).await)?;
        if json { print_json(&created) } else { show(&created) }
    }
}

async fn take(engine: &Engine, state: &State, request: &Request) -> anyhow::Result<Vec<Created>> {
    let stop = Interrupt::listen().context("cannot listen for signals")?;
    recover::before(engine, state).await?;
    let progress = Progress::new();
    create(engine, state, request, &stop, &|notice| progress.show(notice)).await
}

fn print_json(created: &[Created]) -> anyhow::Result<()> {
    let snapshots = created.iter().map(|created| Snapshot {
        files: created.files.iter().map(|file| file.display().to_string()).collect(),
        created_at: &created.description.created_at,
        uncompressed_bytes: created.description.uncompressed_bytes,
        entries: created.description.file_count,
        note: created.description.notes.as_deref(),
        grade: worst(&created.passport),
        passport: &created.passport,
    });
    output::print_json(&Report { snapshots: snapshots.collect() })
}

fn worst(passport: &Passport) -> Option<Grade> {
    passport.volumes.iter().map(|volume| volume.grade).max()
}

fn show(created: &[Created]) -> anyhow::Result<()> {
    for Created { files, description, passport } in created {
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
            files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", "),
        );
        output::print_line(output::one_line(&line))?;
        for volume in passport.volumes.iter().filter(|volume| volume.grade >= Grade::LiveUnchanged) {
            let (name, grade, reasons) = (&volume.name, volume.grade, volume.reasons.join(", "));
            output::say(&format!("warning: {name} is {grade}: {reasons}"));
        }
    }
    Ok(())
}
