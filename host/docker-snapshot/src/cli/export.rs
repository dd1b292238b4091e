//! `export`: writes a volume of a snapshot as a flat tar.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::PathBuf;

use anyhow::{Context, bail, ensure};
use clap::Args;
use serde::Serialize;
use snapshotter_vault::encode::Keys;

use crate::cli::connection::block_on;
use crate::cli::vault::{Opening, depot};
use crate::cli::{output, restore, size};
use crate::job::found::{Chosen, DIRECTORY};
use crate::job::{contents, file, flat, place};

pub(crate) const EXAMPLE: &str = "\
Examples:
  docker snapshot export shop_data --output shop_data.tar
  docker snapshot export shop shop_data | docker run --rm -i -v copy:/data busybox tar x -C /data";

#[derive(Debug, Args)]
pub(crate) struct Export {
    /// A file, here or in a store; or the name of a volume, container or project, whose newest snapshot is
    /// meant; or NAME@TIME, as `list` shows it
    #[arg(value_name = "FILE_OR_SNAPSHOT")]
    snapshot: String,
    /// The volume of it, where it has several
    #[arg(value_name = "VOLUME")]
    only: Option<String>,
    /// A new file that the tar is written to; standard output without it
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Where snapshots are looked for by name: a directory or a store
    #[arg(long, value_name = "STORE", default_value = DIRECTORY)]
    from: String,
    #[command(flatten)]
    opening: Opening,
}

#[derive(Debug, Serialize)]
struct Exported {
    file: String,
    volume: String,
    output: String,
    entries: u64,
    bytes: u64,
}

impl Export {
    /// Writes it.
    ///
    /// # Errors
    /// When it cannot be read or written. What was written is worth nothing then.
    pub(crate) fn run(self, json: bool) -> anyhow::Result<()> {
        let keys = self.opening.keys()?;
        let depot = depot(&self.from)?;
        block_on(async {
            let chosen = restore::chosen(&self.snapshot, &depot).await?;
            let work = move || self.export(&chosen, &keys, json);
            tokio::task::spawn_blocking(work).await.context("cannot go on")?
        })
    }

    fn export(self, chosen: &Chosen, keys: &Keys, json: bool) -> anyhow::Result<()> {
        let archive = &chosen.archive;
        let shown = archive.shown();
        ensure!(
            self.output.is_some() || !(json || io::stdout().is_terminal()),
            "cannot write a tar to a terminal, or beside --json: send it to a program, or name a file \
             with --output"
        );
        let contents = contents::of(archive, keys)?;
        let Some(prefix) = contents.prefix.clone() else {
            bail!("cannot export {shown}: it is a flat tar already")
        };
        let pairs = contents.pairs(self.only.as_deref().or(chosen.volume.as_deref()), &[])?;
        let [pair] = &pairs[..] else {
            let names: Vec<_> = pairs.iter().map(|pair| pair.from.name.as_str()).collect();
            bail!("cannot export {shown}: it has several volumes: name one of {}", names.join(", "));
        };
        match archive.expected() {
            // What lies in a store is looked at as it comes: its end is kept back until then.
            Ok(expected) => {
                archive.path().map_or(Ok(()), |path| archive.check(&file::sum_of(path)?, expected))?;
            }
            Err(_) => bail!(
                "cannot export {shown}: there is no JSON with its SHA-256 beside it, and a flat tar has \
                 no checksums: \
                 restore it, which looks at those in the archive"
            ),
        }
        let inside = format!("{prefix}{}", pair.from.path);
        let mut input = contents::open(archive, keys)?;
        let mut count = Counted { to: self.sink()?, bytes: 0 };
        let written = flat::write(&mut input, &mut count, inside.trim_start_matches('/'));
        let entries = written.and_then(|entries| count.flush().map(|()| entries));
        let entries = entries.with_context(|| format!("cannot export {shown}"))?;
        ensure!(entries > 0, "cannot export {shown}: {} is not in it", pair.from.name);
        let bytes = count.bytes;
        let to = count.to.finish()?;
        let report = Exported {
            file: shown,
            volume: pair.from.name.clone(),
            output: to.as_ref().map_or("-".to_owned(), |to| to.display().to_string()),
            entries,
            bytes,
        };
        match to {
            Some(_) if json => output::print_json(&report),
            Some(to) => output::print_line(output::one_line(&format!(
                "{}: {entries} entries, {} in {}",
                report.volume,
                size::bytes(bytes),
                to.display()
            ))),
            None => Ok(()),
        }
    }

    fn sink(&self) -> anyhow::Result<Sink> {
        let Some(to) = &self.output else { return Ok(Sink::Stdout(io::stdout().lock())) };
        let failed = || format!("cannot write {}", to.display());
        ensure!(
            to.symlink_metadata().is_err(),
            "cannot write {}: it is there already: name a new file",
            to.display()
        );
        let name = to.file_name().with_context(failed)?.to_string_lossy().into_owned();
        let growing = to.with_file_name(format!(".{name}.{}.partial", place::nonce()));
        let file = place::new_file(&growing).with_context(failed)?;
        Ok(Sink::File { file: BufWriter::new(file), growing, to: to.clone() })
    }
}

/// Where the tar goes.
enum Sink {
    Stdout(io::StdoutLock<'static>),
    /// A file that gets its name when it is complete.
    File {
        file: BufWriter<File>,
        growing: PathBuf,
        to: PathBuf,
    },
}

impl Sink {
    /// Gives a file its name.
    fn finish(mut self) -> anyhow::Result<Option<PathBuf>> {
        let Sink::File { file, growing, to } = &mut self else { return Ok(None) };
        let finish = file.flush().and_then(|()| file.get_ref().sync_all());
        let named = finish.and_then(|()| place::rename(growing, to));
        named.with_context(|| format!("cannot write {}", to.display()))?;
        Ok(Some(to.clone()))
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        if let Sink::File { growing, .. } = self {
            // It is not there any longer when it has its name.
            let _ = std::fs::remove_file(growing);
        }
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Sink::Stdout(stdout) => stdout.write(bytes),
            Sink::File { file, .. } => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Sink::Stdout(stdout) => stdout.flush(),
            Sink::File { file, .. } => file.flush(),
        }
    }
}

struct Counted {
    to: Sink,
    bytes: u64,
}

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.to.write(bytes)?;
        self.bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}
