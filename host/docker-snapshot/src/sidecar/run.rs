//! One run of a job: stop, dump, read, go on, store, forget. Whatever can be refused is refused before
//! anything is stopped, and whatever happens later, what was stopped runs again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use chrono::{DateTime, Utc};
use serde_json::json;
use snapshotter::VolumeType;
use snapshotter::config::{Config, Exclude, Need};
use snapshotter::report::BackupReport;
use snapshotter::time::Time;
use snapshotter_engine::api::Engine;
use snapshotter_engine::hold::{self, Plan, hold};
use snapshotter_engine::lease::State;
use snapshotter_vault::encode::{Encoding, Seal};
use snapshotter_vault::store::{Cause, Content, Limits, Name, Object, Store, open, put_all};

use crate::alarm::judge::{self, Sizes};
use crate::config::Job;
use crate::job::interrupt::Interrupt;
use crate::job::tell::{self, Notice, Tell};
use crate::sidecar::archive::{self, Recipe, Written};
use crate::sidecar::dumps::Work;
use crate::sidecar::manifest::{Dump, Manifest};
use crate::sidecar::state::{Ran, Record, Room, Scratch, Turn};
use crate::sidecar::{forget, services};
use crate::words::of_store;

/// How many of the core's warnings are said, unless all are asked for.
const SHOWN: usize = 10;

/// What came of a run.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) ran: Ran,
    /// What the core warned of.
    pub(crate) warnings: u64,
    /// Where the backup is.
    pub(crate) stored: Vec<String>,
    /// What was removed, since it was too old.
    pub(crate) forgotten: Vec<String>,
    sizes: Sizes,
}

impl Outcome {
    /// Whether there is a backup, and nothing is wrong with it.
    pub(crate) fn is_good(&self) -> bool {
        self.ran.problems.is_empty() && self.ran.file.is_some()
    }
}

/// What all of a run needs.
struct Running<'a> {
    job: &'a Job,
    state: &'a State,
    room: &'a Room,
    stop: &'a Interrupt,
    tell: Tell<'a>,
}

/// Runs `job` in its `turn`, and keeps how that went.
///
/// # Errors
/// When the record cannot be kept. That there is no backup is in the outcome.
pub(crate) async fn run(
    job: &Job,
    state: &State,
    turn: &Turn,
    stop: &Interrupt,
    tell: Tell<'_>,
) -> anyhow::Result<Outcome> {
    let room = Room::new(state.directory(), &job.name);
    let (begun, since) = (Time { nanos: 0, ..Time::now() }, Instant::now());
    let running = Running { job, state, room: &room, stop, tell };
    let mut record = room.record();
    let mut outcome = match running.all(turn, &record).await {
        Ok(outcome) => outcome,
        Err(error) => Outcome {
            ran: failed(begun, crate::words::message(&error)),
            warnings: 0,
            stored: Vec::new(),
            forgotten: Vec::new(),
            sizes: Sizes::new(),
        },
    };
    outcome.ran.begun = begun;
    outcome.ran.seconds = since.elapsed().as_secs_f64();
    keep(&mut record, &outcome);
    room.keep(&record)?;
    Ok(outcome)
}

fn failed(begun: Time, problem: String) -> Ran {
    Ran { begun, seconds: 0.0, problems: vec![problem], file: None, size: 0, bytes: 0 }
}

/// Puts into `record` what came of a run.
fn keep(record: &mut Record, outcome: &Outcome) {
    record.remember(outcome.ran.clone());
    if outcome.ran.file.is_some() {
        record.sizes.clone_from(&outcome.sizes);
    }
    if outcome.is_good() {
        record.last_success = Some(outcome.ran.clone());
        record.told_overdue = false;
    }
}

/// The stores of a job, opened. Nothing is sent to them yet.
///
/// # Errors
/// When settings are missing or wrong.
pub(crate) fn stores(job: &Job) -> anyhow::Result<Vec<Arc<dyn Store>>> {
    let opened = job.places.iter().map(|place| open(&place.address, &place.settings, Limits::default()));
    Ok(opened.collect::<Result<_, _>>()?)
}

impl Running<'_> {
    async fn all(&self, turn: &Turn, record: &Record) -> anyhow::Result<Outcome> {
        let job = self.job;
        let stores = stores(job)?;
        let seal = job.sealing.seal()?;
        let engine = services::needed(job).await?;
        let work = Work::find(job).await?;
        let dumps = self.room.dumps(turn)?;
        let config = config(job, &work, &dumps)?;
        let plan = match &engine {
            Some(engine) => Some((engine, services::for_backup(engine, job).await?)),
            None => None,
        };
        self.stop.check("nothing was stopped")?;
        let read = Read { work: &work, dumps: &dumps, config, seal, stores: &stores };
        let (shot, stays) = match plan {
            Some((engine, plan)) => self.held(engine, plan, &read).await?,
            None => (self.unheld(&read).await?, Vec::new()),
        };
        drop(dumps);
        self.settle(shot, stays, &stores, record).await
    }

    /// Reads while what `plan` says rests; also, what does not run any more afterwards.
    async fn held(
        &self,
        engine: &Engine,
        plan: Plan,
        read: &Read<'_>,
    ) -> anyhow::Result<(Shot, Vec<String>)> {
        let names: Vec<_> = plan.names().into_iter().map(str::to_owned).collect();
        let observer = |event: &hold::Event<'_>| (self.tell)(&Notice::Hold(event));
        let held = hold(engine, self.state, plan, &observer).await?;
        let result = match self.stop.check("what was stopped runs again, and nothing was stored") {
            Ok(()) => {
                self.pause(self.job.stop_wait).await;
                self.spool(read).await
            }
            Err(error) => Err(error),
        };
        let (spooled, stays) = tell::released(self.tell, held, result).await?;
        self.pause(self.job.start_wait).await;
        let mut problems: Vec<_> = stays.iter().map(crate::words::whole).collect();
        // What was read is kept, whatever the engine says now.
        match services::ended(engine, &names).await {
            Ok(ended) => problems.extend(
                ended.iter().map(|name| format!("{name} was started again, and has ended: see its log")),
            ),
            Err(error) => problems.push(crate::words::message(&error)),
        }
        let (written, file, name, dumps) = spooled;
        (self.tell)(&Notice::Step("storing"));
        let content = Content::file(Arc::new(file)).context("cannot read what was written")?;
        let objects = tokio::select! {
            objects = put_all(read.stores, &name, content) => objects,
            () = self.stop.wait() => bail!("stopped by a signal: what was stopped runs again, nothing is stored"),
        };
        (self.tell)(&Notice::Done);
        Ok((Shot { written, objects, name, dumps }, problems))
    }

    async fn pause(&self, time: Duration) {
        tokio::select! {
            () = tokio::time::sleep(time) => {}
            () = self.stop.wait() => {}
        }
    }

    /// Dumps, and reads into a file without a name.
    async fn spool(&self, read: &Read<'_>) -> anyhow::Result<(Written, std::fs::File, Name, Vec<Dump>)> {
        let dumps = self.dump(read, true).await?;
        let name = self.name(read.stores).await?;
        let spool = self.room.spool()?;
        let (written, file) = archive::spooled(self.recipe(read), spool, self.stop, self.tell).await?;
        Ok((written, file, name, dumps))
    }

    /// Dumps, and reads into the stores.
    async fn unheld(&self, read: &Read<'_>) -> anyhow::Result<Shot> {
        let dumps = self.dump(read, false).await?;
        let name = self.name(read.stores).await?;
        let (written, content) = archive::piped(self.recipe(read), self.stop, self.tell);
        let (written, objects) = tokio::join!(written, put_all(read.stores, &name, content));
        match written {
            Ok(written) => Ok(Shot { written, objects, name, dumps }),
            // Where no store took it, that it could not be written says less than the stores do.
            Err(error) if self.stop.check("").is_ok() => Err(first(&objects).unwrap_or(error)),
            Err(error) => Err(error),
        }
    }

    async fn dump(&self, read: &Read<'_>, stopped: bool) -> anyhow::Result<Vec<Dump>> {
        let dumping = read.work.dump(read.dumps.path(), stopped, self.tell);
        let dumps = tokio::select! {
            dumps = dumping => dumps?,
            () = self.stop.wait() => bail!("stopped by a signal: nothing was stored"),
        };
        Manifest::new(&self.job.name, read.work.sources.clone(), dumps.clone()).write(read.dumps.path())?;
        Ok(dumps)
    }

    fn recipe(&self, read: &Read<'_>) -> Recipe {
        let (config, seal) = (read.config.clone(), read.seal.clone());
        Recipe { config, compression: self.job.compression, seal }
    }

    /// A name that is free, as far as the stores tell: `shop/shop-2026-01-31-030000.tar.gz.gpg`, by the clock
    /// of the job's time zone. In autumn an hour of that comes twice.
    async fn name(&self, stores: &[Arc<dyn Store>]) -> anyhow::Result<Name> {
        let job = self.job;
        let encoding =
            Encoding { compression: job.compression, encryption: job.sealing.seal()?.encryption() };
        let mut time = Utc::now();
        for _ in 0..60 {
            let stamp = stamp(time, job.zone);
            let name: Name = format!("{0}/{0}-{stamp}{1}", job.name, encoding.suffix()).parse()?;
            let mut taken = false;
            for store in stores {
                // Who may only write is not told.
                taken |= store.head(&name).await.is_ok();
            }
            if !taken {
                return Ok(name);
            }
            time += chrono::TimeDelta::seconds(1);
        }
        bail!("cannot store it: all names of this minute are taken: try again later")
    }

    /// Says what was stored where, writes what describes it, and forgets what is too old.
    async fn settle(
        &self,
        shot: Shot,
        mut problems: Vec<String>,
        stores: &[Arc<dyn Store>],
        record: &Record,
    ) -> anyhow::Result<Outcome> {
        let Shot { written, objects, name, dumps } = shot;
        let Written { report, summary } = written;
        let shown = if self.job.debug { usize::MAX } else { SHOWN };
        for warning in report.warnings.iter().take(shown) {
            (self.tell)(&Notice::Warning(&warning.to_string()));
        }
        let mut good = Vec::new();
        for (store, object) in stores.iter().zip(&objects) {
            match object {
                Ok(object) if object.size == summary.bytes_out => good.push(Arc::clone(store)),
                Ok(object) => problems.push(format!(
                    "{} has {} bytes of {name}, which has {}",
                    store.address(),
                    object.size,
                    summary.bytes_out
                )),
                Err(error) => problems.push(of_store(error)),
            }
        }
        if good.is_empty() {
            bail!("{}", problems.join("; "));
        }
        let text = description(self.job, &report, &summary, &dumps);
        problems.extend(describe(&good, &name, text).await);
        let sizes = sizes(&report, &dumps);
        let strange = judge::strange(&sizes, files(&report) + dumps.len() as u64, Some(&record.sizes));
        let is_strange = !strange.is_empty();
        problems.extend(strange.into_iter().map(|what| format!("the backup was made, but {what}")));
        let mut forgotten = Vec::new();
        if !is_strange {
            forget::clear(&good).await;
            let result = forget::forget(self.job, &good).await;
            forgotten = result.forgotten;
            problems.extend(result.problems);
        }
        let ran = Ran {
            begun: report.created,
            seconds: 0.0,
            problems,
            file: Some(name.last().to_owned()),
            size: report.size,
            bytes: summary.bytes_out,
        };
        let places = good.iter().map(|store| format!("{}/{name}", store.address())).collect();
        Ok(Outcome { ran, warnings: report.warning_count, stored: places, forgotten, sizes })
    }
}

/// What is read, with what, and where to.
struct Read<'a> {
    work: &'a Work,
    dumps: &'a Scratch,
    config: Config,
    seal: Seal,
    stores: &'a [Arc<dyn Store>],
}

/// What was read, and what the stores say.
struct Shot {
    written: Written,
    objects: Vec<snapshotter_vault::store::Result<Object>>,
    name: Name,
    dumps: Vec<Dump>,
}

fn first(objects: &[snapshotter_vault::store::Result<Object>]) -> Option<anyhow::Error> {
    let failed = objects.iter().filter_map(|object| object.as_ref().err());
    // That the content broke off is what was known already.
    let failed = failed.filter(|error| !matches!(error.cause(), Some(Cause::Content)));
    let words: Vec<_> = failed.map(of_store).collect();
    (!words.is_empty()).then(|| anyhow::anyhow!("{}", words.join("; ")))
}

/// The time in a name.
pub(crate) fn stamp(time: DateTime<Utc>, zone: chrono_tz::Tz) -> String {
    time.with_timezone(&zone).format("%Y-%m-%d-%H%M%S").to_string()
}

/// What the core is to read.
fn config(job: &Job, work: &Work, dumps: &Scratch) -> anyhow::Result<Config> {
    let scratch = dumps.path().to_str().context("cannot work: the state directory's path is not UTF-8")?;
    let paths = work.sources.iter().map(|source| source.path.as_str()).chain([scratch]);
    let exclude = Exclude::parse(job.exclude.iter().map(String::as_str))?;
    Ok(Config::from_parts(job.name.as_str(), paths, exclude, Need::Volumes)?)
}

/// How many files there are, the directories that were named not counted.
fn files(report: &BackupReport) -> u64 {
    let volumes = report.volumes.iter().filter(|volume| !volume.path.ends_with(super::manifest::DIRECTORY));
    let entries = volumes.map(|volume| match volume.kind {
        VolumeType::File => volume.entries,
        VolumeType::Dir => volume.entries.saturating_sub(1),
    });
    entries.sum()
}

/// The bytes of each part, by its name.
fn sizes(report: &BackupReport, dumps: &[Dump]) -> Sizes {
    let volumes = report.volumes.iter().filter(|volume| !volume.path.ends_with(super::manifest::DIRECTORY));
    let volumes = volumes.map(|volume| (volume.path.clone(), volume.size));
    volumes.chain(dumps.iter().map(|dump| (dump.file.clone(), dump.bytes))).collect()
}

/// What stands beside a backup: never what is secret, and no names of files.
fn description(
    job: &Job,
    report: &BackupReport,
    summary: &snapshotter_vault::encode::Summary,
    dumps: &[Dump],
) -> Vec<u8> {
    let text = json!({
        "created_at": report.created.to_rfc3339(),
        "uncompressed_bytes": report.size,
        "file_count": report.entries,
        "checksum": { "algo": "sha256", "tar_zst": summary.sha256_hex() },
        "snapshotter": {
            "size": summary.bytes_out,
            "job": job.name,
            "id": report.id,
            "databases": dumps.len(),
            "warning_count": report.warning_count,
            "program": concat!("docker-snapshot ", env!("CARGO_PKG_VERSION")),
        },
    });
    format!("{text:#}\n").into_bytes()
}

/// Puts `text` beside the backup; what went wrong.
async fn describe(stores: &[Arc<dyn Store>], name: &Name, text: Vec<u8>) -> Vec<String> {
    let suffix = Encoding::from_name(name.as_str()).map(Encoding::suffix).unwrap_or_default();
    let stem = name.as_str().strip_suffix(suffix.as_str()).unwrap_or(name.as_str());
    match format!("{stem}.json").parse() {
        Ok(name) => {
            let put = put_all(stores, &name, Content::bytes(text)).await;
            put.into_iter().filter_map(|put| Some(of_store(&put.err()?))).collect()
        }
        Err(error) => vec![error.to_string()],
    }
}
