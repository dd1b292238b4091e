//! Reads the volumes of a set through a helper, into a file that grows here: written by the helper itself
//! where it sees that directory, so that what can be cloned is, else carried to it as a stream.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::Context;
use snapshotter::init_archive;
use snapshotter::report::{BackupReport, Event};
use snapshotter_engine::Error;
use snapshotter_engine::helper::{BACKUP, Collected, Helpers, Mount, Prepared, Spec, Streams, Told};
use snapshotter_vault::encode::{Compression, Encoder};

use crate::job::file::{self, Sum};
use crate::job::interrupt::Interrupt;
use crate::job::place::{Partial, new_file};
use crate::job::selection::Set;
use crate::job::tell::{self, Notice, Tell};

/// Where the helper has the directory that the archive grows in.
const DESTINATION: &str = "/destination";
/// The archive in that directory.
const ARCHIVE: &str = "archive.tar";

/// The path of the volume `name` in helpers, and so in archives.
pub(crate) fn path_in_archive(name: &str) -> String {
    format!("/volumes/{name}")
}

/// What is read, and by whom.
pub(crate) struct Reading<'a> {
    pub(crate) set: &'a Set,
    pub(crate) note: Option<&'a str>,
    pub(crate) exclude: &'a [String],
    pub(crate) helpers: &'a Helpers<'a>,
    pub(crate) tell: Tell<'a>,
}

/// How the archive gets here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    /// The helper writes it.
    Direct,
    /// It is carried.
    Stream,
}

/// What was read.
pub(crate) struct Read {
    pub(crate) report: BackupReport,
    /// Where the archive is.
    pub(crate) archive: PathBuf,
    /// What that file is, where it is as it is to stay.
    pub(crate) sum: Option<Sum>,
}

impl Reading<'_> {
    /// Makes the helper. Where it is to write `direct`ly, the engine is asked for the directory that
    /// `partial` has made just now, under a name that nothing else has: an engine that does not see it
    /// refuses.
    ///
    /// # Errors
    /// When no helper can be made.
    pub(crate) async fn prepare(
        &self,
        partial: &Partial,
        direct: bool,
    ) -> anyhow::Result<(Prepared<'_>, Route)> {
        if direct && let Some(directory) = partial.directory().to_str() {
            let archive = partial.path(ARCHIVE);
            init_archive(&archive).with_context(|| format!("cannot make {}", archive.display()))?;
            let mut spec = self.spec(&format!("{DESTINATION}/{ARCHIVE}"));
            spec.mounts.push(Mount::directory(directory, DESTINATION));
            match self.helpers.prepare(spec, &|_| {}).await {
                Ok(prepared) => return Ok((prepared, Route::Direct)),
                Err(Error::Refused { .. }) => std::fs::remove_file(&archive)?,
                Err(error) => return Err(error.into()),
            }
        }
        Ok((self.helpers.prepare(self.spec("-"), &|_| {}).await?, Route::Stream))
    }

    fn spec(&self, archive: &str) -> Spec {
        let fixed =
            ["backup", "--json", "--events", "json", "--archive", archive, "--prefix", &self.set.name];
        let mut arguments: Vec<_> = fixed.iter().map(|&argument| argument.to_owned()).collect();
        for volume in &self.set.volumes {
            arguments.extend(["--volume".to_owned(), path_in_archive(&volume.name)]);
        }
        let excludes = self.exclude.iter().flat_map(|pattern| ["--exclude".to_owned(), pattern.clone()]);
        arguments.extend(excludes);
        arguments.extend(self.note.map(|note| format!("--note={note}")));
        let mut spec = Spec::new(arguments, BACKUP);
        let volumes = self.set.volumes.iter();
        spec.mounts.extend(volumes.map(|volume| Mount::read(&volume.name, path_in_archive(&volume.name))));
        spec
    }

    /// Removes a helper that is not needed any longer.
    pub(crate) async fn discard(&self, prepared: Prepared<'_>) {
        prepared.discard(&|told| tell::helper(self.tell, told)).await;
    }

    /// Lets the helper read. What is carried is compressed on its way if `compression` says how, and is kept
    /// as it is where there is none: whatever waits meanwhile waits less.
    ///
    /// # Errors
    /// Unless all was read, and is here.
    pub(crate) async fn run(
        &self,
        prepared: Prepared<'_>,
        route: Route,
        partial: &Partial,
        compression: Option<Compression>,
        stop: &Interrupt,
    ) -> anyhow::Result<Read> {
        (self.tell)(&Notice::Step("reading"));
        let report = RefCell::new(None);
        let observer = |told: &Told<'_>| match told {
            Told::Core(Event::Report(said)) => *report.borrow_mut() = Some((**said).clone()),
            told => tell::helper(self.tell, told),
        };
        let result = match route {
            Route::Direct => {
                let streams = Streams { input: None, output: Collected::default() };
                let run = Box::pin(prepared.run(streams, &observer, stop.wait())).await;
                run.map_err(anyhow::Error::from).and_then(|finished| {
                    Ok(Read { report: finished.output.report()?, archive: partial.path(ARCHIVE), sum: None })
                })
            }
            Route::Stream => {
                let (file, output) = match Self::sink(partial, compression) {
                    Ok(made) => made,
                    Err(error) => {
                        self.discard(prepared).await;
                        return Err(error).context("cannot store what is read");
                    }
                };
                let run =
                    Box::pin(prepared.run(Streams { input: None, output }, &observer, stop.wait())).await;
                run.map_err(anyhow::Error::from).and_then(|finished| {
                    let sum = finished.output.finish().context("cannot store what was read")?;
                    let report =
                        report.borrow_mut().take().context("the helper has not said what it read")?;
                    Ok(Read { report, archive: file, sum })
                })
            }
        };
        (self.tell)(&Notice::Done);
        // The helper says what ended it; that it was asked to is what the user did.
        if result.is_err() {
            stop.check("what was stopped runs again, and nothing was stored")?;
        }
        result
    }

    fn sink(partial: &Partial, compression: Option<Compression>) -> io::Result<(PathBuf, Sink)> {
        let path = partial.path(if compression.is_some() { "encoded" } else { ARCHIVE });
        let sink = match compression {
            Some(compression) => Sink::Encoded(file::encoder(&path, compression)?),
            None => Sink::Plain(new_file(&path)?),
        };
        Ok((path, sink))
    }
}

/// Where a stream goes.
enum Sink {
    Plain(File),
    Encoded(Encoder<File>),
}

impl Sink {
    /// Closes it. A file that stays as it is has its sum then, and is on disk.
    fn finish(self) -> io::Result<Option<Sum>> {
        match self {
            Sink::Plain(_) => Ok(None),
            Sink::Encoded(encoder) => file::finished(encoder).map(Some),
        }
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Sink::Plain(file) => file.write(bytes),
            Sink::Encoded(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Sink::Plain(file) => file.flush(),
            Sink::Encoded(encoder) => encoder.flush(),
        }
    }
}
