//! Writes the archive of a job: read by the core's library, compressed and encrypted on the way, into all
//! stores at once. No plain text of it is on any disk.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context;
use snapshotter::BackupOptions;
use snapshotter::backup_to;
use snapshotter::config::Config;
use snapshotter::observer::{Cancel, Observer, Phase, Run};
use snapshotter::report::BackupReport;
use snapshotter_vault::encode::{Compression, Encoder, Seal, Summary};
use snapshotter_vault::store::{Content, Length, PipeWriter};

use crate::job::interrupt::Interrupt;
use crate::job::tell::{Notice, Tell};

/// How often it is told how far it is.
const TICK: Duration = Duration::from_millis(500);

/// How an archive is written.
#[derive(Debug, Clone)]
pub(crate) struct Recipe {
    pub(crate) config: Config,
    pub(crate) compression: Compression,
    pub(crate) seal: Seal,
}

/// What was written.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) report: BackupReport,
    pub(crate) summary: Summary,
}

/// Counts what is read.
struct Count(Arc<AtomicU64>);

impl Observer for Count {
    fn begin(&self, _: Phase, _: Option<u64>) {}

    fn bytes(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }
}

/// Writes into a file without a name in `directory`: what rests meanwhile rests no longer than reading takes.
///
/// # Errors
/// When it cannot be read or written, or a signal came.
pub(crate) async fn spooled(
    recipe: Recipe,
    directory: &Path,
    stop: &Interrupt,
    tell: Tell<'_>,
) -> anyhow::Result<(Written, File)> {
    let shown = directory.display().to_string();
    let file = tempfile::tempfile_in(directory).with_context(|| format!("cannot write to {shown}"))?;
    let (written, file) = work(recipe, file, stop, tell).await?;
    Ok((written, file))
}

/// Writes into a pipe, whose other end is for stores. The two must be awaited together.
pub(crate) fn piped<'a>(
    recipe: Recipe,
    stop: &'a Interrupt,
    tell: Tell<'a>,
) -> (impl Future<Output = anyhow::Result<Written>> + 'a, Content) {
    let (writer, content) = Content::pipe(Length::Unknown);
    let written = async move {
        let (written, writer) = work(recipe, writer, stop, tell).await?;
        let end = move |writer: PipeWriter| writer.finish();
        tokio::task::spawn_blocking(move || end(writer)).await?.context("cannot store what was read")?;
        Ok(written)
    };
    (written, content)
}

async fn work<W: Write + Send + 'static>(
    recipe: Recipe,
    to: W,
    stop: &Interrupt,
    tell: Tell<'_>,
) -> anyhow::Result<(Written, W)> {
    tell(&Notice::Step("reading"));
    let (cancel, count) = (Cancel::default(), Arc::new(AtomicU64::new(0)));
    let (cancelled, counter) = (cancel.clone(), Count(Arc::clone(&count)));
    let mut work = tokio::task::spawn_blocking(move || write(&recipe, to, cancelled, &counter));
    let mut told = 0;
    let mut progress = || {
        let now = count.load(Ordering::Relaxed);
        tell(&Notice::Bytes(now - told));
        told = now;
    };
    let result = loop {
        tokio::select! {
            result = &mut work => break result,
            () = tokio::time::sleep(TICK) => progress(),
            () = stop.wait(), if !is_stopped(&cancel) => cancel.stop(),
        }
    };
    progress();
    tell(&Notice::Done);
    let result = result.map_err(io::Error::other).context("cannot read")?;
    if result.is_err() {
        stop.check("nothing was stored, and what was stopped runs again")?;
    }
    result
}

fn is_stopped(cancel: &Cancel) -> bool {
    cancel.check("").is_err()
}

fn write<W: Write + Send + 'static>(
    recipe: &Recipe,
    to: W,
    cancel: Cancel,
    count: &Count,
) -> anyhow::Result<(Written, W)> {
    let mut encoder = Encoder::new(to, recipe.compression, &recipe.seal)?;
    let run = Run { cancel, ..Run::new(count) };
    let options = BackupOptions::default();
    let report = backup_to(&mut encoder, "the backup", &recipe.config, &options, &run)?;
    let (to, summary) = encoder.finish()?;
    Ok((Written { report, summary }, to))
}
