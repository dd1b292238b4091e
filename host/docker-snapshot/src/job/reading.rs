//! Reads the volumes of a set through a helper, into a file that grows here: written by the helper itself
//! where it sees that directory, so that what can be cloned is, else carried to it as a stream; or, where
//! nothing waits for it, encoded into its stores as it comes.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::thread;

use anyhow::Context;
use snapshotter::init_archive;
use snapshotter::report::{BackupReport, Event};
use snapshotter_engine::Error;
use snapshotter_engine::helper::{BACKUP, Collected, Helpers, Mount, Prepared, Spec, Streams, Told};
use snapshotter_vault::encode::{Compression, Encoder, Seal};
use snapshotter_vault::store::PipeWriter;

use crate::job::file::{self, Sum};
use crate::job::interrupt::Interrupt;
use crate::job::place::{Partial, new_file};
use crate::job::selection::Set;
use crate::job::tell::{self, Notice, Tell};

/// Where the helper has the directory that the archive grows in.
const DESTINATION: &str = "/destination";
/// The archive in that directory.
const ARCHIVE: &str = "archive.tar";
/// The same, encoded.
pub(crate) const ENCODED: &str = "encoded";

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

/// Where what is carried goes.
pub(crate) enum Goal<'a> {
    /// As it is, into a file of this directory; one without a name where nobody may find plain text.
    Spool { partial: &'a Partial, named: bool },
    /// Encoded, into a file of this directory.
    Encoded { partial: &'a Partial, compression: Compression, seal: &'a Seal },
    /// Encoded, into stores.
    Stores { to: PipeWriter, compression: Compression, seal: &'a Seal },
}

/// Where an archive is when it was read.
#[derive(Debug)]
pub(crate) enum Taken {
    /// As it is, in a file.
    Plain(PathBuf),
    /// As it is, in a file that has no name.
    Unnamed(File),
    /// Encoded, in a file of this name.
    Encoded(PathBuf, Sum),
    /// Encoded, on its way into stores.
    Shipped(Sum),
}

/// What was read.
pub(crate) struct Read<'h> {
    pub(crate) report: BackupReport,
    pub(crate) archive: Taken,
    /// The helper, which has ended: it is removed when nobody waits any longer.
    pub(crate) helper: Prepared<'h>,
}

impl Reading<'_> {
    /// Makes the helper. Where it is to write `direct`ly, the engine is asked for the directory that this
    /// partial has made just now, under a name that nothing else has: an engine that does not see it
    /// refuses.
    ///
    /// # Errors
    /// When no helper can be made.
    pub(crate) async fn prepare(&self, direct: Option<&Partial>) -> anyhow::Result<(Prepared<'_>, Route)> {
        if let Some((partial, directory)) =
            direct.and_then(|partial| Some((partial, partial.directory().to_str()?)))
        {
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

    /// Lets the helper read, and brings what it sends to `goal`.
    ///
    /// # Errors
    /// Unless all was read, and is here.
    pub(crate) async fn run<'h>(
        &self,
        prepared: Prepared<'h>,
        route: Route,
        goal: Goal<'_>,
        stop: &Interrupt,
    ) -> anyhow::Result<Read<'h>> {
        (self.tell)(&Notice::Step("reading"));
        let result = match (route, goal) {
            (Route::Direct, Goal::Spool { partial, .. } | Goal::Encoded { partial, .. }) => {
                let streams = Streams { input: None, output: Collected::default() };
                let observer = |told: &Told<'_>| tell::helper(self.tell, told);
                match Box::pin(prepared.run_and_keep(streams, &observer, stop.wait())).await {
                    Ok((finished, helper)) => {
                        let report = finished.output.report().map_err(anyhow::Error::from);
                        let archive = Taken::Plain(partial.path(ARCHIVE));
                        self.read(report.map(|report| (report, archive)), helper).await
                    }
                    Err(error) => Err(error.into()),
                }
            }
            (_, goal) => match sink(goal) {
                Ok(output) => self.carry(prepared, output, stop).await,
                Err(error) => {
                    self.discard(prepared).await;
                    Err(error).context("cannot store what is read")
                }
            },
        };
        (self.tell)(&Notice::Done);
        // The helper says what ended it; that it was asked to is what the user did.
        if result.is_err() {
            stop.check("what was stopped runs again, and nothing was stored")?;
        }
        result
    }

    async fn carry<'h>(
        &self,
        prepared: Prepared<'h>,
        output: Sink,
        stop: &Interrupt,
    ) -> anyhow::Result<Read<'h>> {
        let report = RefCell::new(None);
        let observer = |told: &Told<'_>| match told {
            Told::Core(Event::Report(said)) => *report.borrow_mut() = Some((**said).clone()),
            told => tell::helper(self.tell, told),
        };
        let streams = Streams { input: None, output };
        let (finished, helper) = Box::pin(prepared.run_and_keep(streams, &observer, stop.wait())).await?;
        // It waits for its writer, who may wait for what this thread does.
        let finish = tokio::task::spawn_blocking(move || finished.output.finish());
        let finish = finish.await.context("cannot go on");
        let archive = finish.and_then(|archive| archive.context("cannot store what was read"));
        let report = report.borrow_mut().take().context("the helper has not said what it read");
        self.read(archive.and_then(|archive| Ok((report?, archive))), helper).await
    }

    /// What was read, with the helper that has ended; it is removed where nothing was.
    async fn read<'h>(
        &self,
        read: anyhow::Result<(BackupReport, Taken)>,
        helper: Prepared<'h>,
    ) -> anyhow::Result<Read<'h>> {
        match read {
            Ok((report, archive)) => Ok(Read { report, archive, helper }),
            Err(error) => {
                self.discard(helper).await;
                Err(error)
            }
        }
    }
}

fn sink(goal: Goal<'_>) -> anyhow::Result<Sink> {
    Ok(match goal {
        Goal::Spool { partial, named: true } => {
            let path = partial.path(ARCHIVE);
            Sink::Plain(new_file(&path)?, Some(path))
        }
        Goal::Spool { partial, named: false } => {
            Sink::Plain(tempfile::tempfile_in(partial.directory())?, None)
        }
        Goal::Encoded { partial, compression, seal } => {
            let path = partial.path(ENCODED);
            Sink::Encoded(file::encoder(&path, compression, seal)?, path)
        }
        Goal::Stores { to, compression, seal } => {
            Sink::Shipped(Shipped(Some(Encoder::new(to, compression, seal)?)))
        }
    })
}

/// Where a stream goes.
enum Sink {
    Plain(File, Option<PathBuf>),
    Encoded(Encoder<File>, PathBuf),
    Shipped(Shipped),
}

/// What encodes into stores. Its end is waited for in a thread of its own where it is given up: the stores
/// may have to take what it still has, and are served by the thread that gives it up.
struct Shipped(Option<Encoder<PipeWriter>>);

impl Drop for Shipped {
    fn drop(&mut self) {
        if let Some(encoder) = self.0.take() {
            thread::spawn(move || drop(encoder));
        }
    }
}

impl Sink {
    /// Closes it. A file that stays as it is has its sum then, and is on disk.
    fn finish(self) -> io::Result<Taken> {
        match self {
            Sink::Plain(_, Some(path)) => Ok(Taken::Plain(path)),
            Sink::Plain(file, None) => Ok(Taken::Unnamed(file)),
            Sink::Encoded(encoder, path) => Ok(Taken::Encoded(path, file::finished(encoder)?)),
            Sink::Shipped(mut shipped) => {
                let encoder = shipped.0.take().ok_or_else(|| io::Error::other("it is closed"))?;
                file::shipped(encoder).map(Taken::Shipped)
            }
        }
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Sink::Plain(file, _) => file.write(bytes),
            Sink::Encoded(encoder, _) => encoder.write(bytes),
            Sink::Shipped(Shipped(Some(encoder))) => encoder.write(bytes),
            Sink::Shipped(Shipped(None)) => Err(io::Error::other("it is closed")),
        }
    }

    /// Only files have anything to flush: an encoder writes what is full.
    fn flush(&mut self) -> io::Result<()> {
        match self {
            Sink::Plain(file, _) => file.flush(),
            Sink::Encoded(..) | Sink::Shipped(_) => Ok(()),
        }
    }
}
