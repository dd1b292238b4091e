//! Takes snapshots. The order is what keeps promises: all that can be refused is refused first; what is
//! needed is made ready, the helper too; then containers rest, are read, and go on; and only then is
//! anything compressed, summed up and given its name.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use snapshotter::report::BackupReport;
use snapshotter::time::Time;
use snapshotter_engine::Error;
use snapshotter_engine::api::Engine;
use snapshotter_engine::api::container::Container;
use snapshotter_engine::connect::endpoint::Endpoint;
use snapshotter_engine::discover::{Inventory, Storage, discover};
use snapshotter_engine::helper::Helpers;
use snapshotter_engine::hold::{Plan, Way, hold};
use snapshotter_engine::lease::State;
use snapshotter_vault::encode::{Compression, Encoding, Encryption};

use crate::job::description::{
    DOCKFORM, Description, FileChecksum, FileFacts, Passport, VERSION, VolumePassport, VolumeSpec,
};
use crate::job::file::{self, Sum};
use crate::job::grade::{self, Meanwhile};
use crate::job::interrupt::Interrupt;
use crate::job::names::Stem;
use crate::job::passport;
use crate::job::place::{Partial, Place};
use crate::job::reading::{Reading, path_in_archive};
use crate::job::selection::{Set, Wanted, select};
use crate::job::spec;
use crate::job::stopping::{StopMode, writers};
use crate::job::tell::{self, Notice, Tell};

/// What is to be done.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) wanted: Wanted,
    /// The directories that get an archive, at least one.
    pub(crate) outputs: Vec<PathBuf>,
    pub(crate) note: Option<String>,
    /// Patterns of what is not read.
    pub(crate) exclude: Vec<String>,
    pub(crate) stop: StopMode,
    pub(crate) compression: Compression,
    pub(crate) helper_image: Option<String>,
}

/// An archive that was made.
#[derive(Debug)]
pub(crate) struct Created {
    /// The files, the first output's first.
    pub(crate) files: Vec<PathBuf>,
    pub(crate) description: Description,
    pub(crate) passport: Passport,
}

/// Takes the snapshots that `request` asks for, one archive after the other.
///
/// # Errors
/// When one cannot be taken; those before it are complete.
pub(crate) async fn create(
    engine: &Engine,
    state: &State,
    request: &Request,
    stop: &Interrupt,
    tell: Tell<'_>,
) -> anyhow::Result<Vec<Created>> {
    let mut there = discover(engine, false).await?;
    let selection = select(&request.wanted, &there.storages, &there.containers)?;
    selection.notes.iter().for_each(|note| tell(&Notice::Note(note)));
    let mut job = Create { engine, state, request, stop, tell, there: &there };
    for set in &selection.sets {
        job.plan(set)?;
    }
    let helpers = Helpers::new(engine, state, request.helper_image.as_deref()).await?;
    let maps_users = engine.maps_users().await?;
    let is_here = matches!(engine.address(), Endpoint::Unix(_)) && !maps_users;
    let mut created = Vec::new();
    for (index, set) in selection.sets.iter().enumerate() {
        stop.check("what was said to be complete is so")?;
        let mut set = set.clone();
        if index > 0 {
            there = discover(engine, false).await?;
            set.volumes = select(&Wanted::Volumes(names(&set)), &there.storages, &there.containers)?
                .sets
                .into_iter()
                .flat_map(|set| set.volumes)
                .collect();
            job = Create { engine, state, request, stop, tell, there: &there };
        }
        created.push(job.one(&set, &helpers, is_here).await?);
    }
    Ok(created)
}

fn names(set: &Set) -> Vec<String> {
    set.volumes.iter().map(|volume| volume.name.clone()).collect()
}

/// What is the same for all sets, and what the engine had a moment ago.
struct Create<'a> {
    engine: &'a Engine,
    state: &'a State,
    request: &'a Request,
    stop: &'a Interrupt,
    tell: Tell<'a>,
    there: &'a Inventory,
}

/// What was read, and what is known of that time.
struct Shot {
    report: BackupReport,
    meanwhile: Meanwhile,
    /// For how long containers rested, where any did.
    rested: Option<Duration>,
    /// Where the archive is, and its sum where that is known already.
    archive: PathBuf,
    sum: Option<Sum>,
    /// What does not run again.
    stays: Option<Error>,
}

impl Create<'_> {
    /// Who rests for `set`.
    fn plan(&self, set: &Set) -> anyhow::Result<Plan> {
        let wanted = writers(self.request.stop, &set.volumes, &self.there.containers)?;
        let way = Way::of_this_process(self.engine.address());
        Ok(Plan::new(&self.there.containers, &self.there.in_memory(), &wanted, &way)?)
    }

    /// Takes the snapshot of `set`.
    async fn one(&self, set: &Set, helpers: &Helpers<'_>, is_here: bool) -> anyhow::Result<Created> {
        let (created, partials) = self.begin(set)?;
        let plan = self.plan(set)?;
        let containers =
            passport::containers(self.engine, set, &self.there.containers, &plan.manners()).await?;
        let shot = self.read(set, plan, &partials[0], helpers, is_here).await?;
        // What was read is kept, also where a container does not start again: that is reported in the end.
        let (archive, sum) = self.encoded(&partials[0], &shot).await?;
        let mut passport = passport_of(set, &shot, partials[0].stem(), &sum, self.encoding());
        passport.containers = containers;
        passport.compose = passport::compose(set, &self.there.containers);
        passport.engine = self.engine.about().version.clone();
        let description = self.description(set, created, &shot, passport.clone());
        let files = self.publish(&partials, &archive, &sum, &description).await?;
        match shot.stays {
            None => Ok(Created { files, description, passport }),
            Some(stays) => {
                (self.tell)(&Notice::Note(&format!("complete: {}", files[0].display())));
                Err(stays.into())
            }
        }
    }

    /// Finds a name that is free in all outputs, and makes the places where the archive grows.
    fn begin(&self, set: &Set) -> anyhow::Result<(Time, Vec<Partial>)> {
        let volumes: Vec<_> = set.volumes.iter().map(volume).collect();
        let hash = match &volumes[..] {
            [volume] => spec::hash(volume),
            several => spec::hash_of_several(several.iter()),
        };
        let mut created = Time { nanos: 0, ..Time::now() };
        // Each second has one name.
        for _ in 0..60 {
            let stem = Stem::new(created, &hash);
            let places = self.request.outputs.iter().map(|output| Place::new(output, &set.name).begin(&stem));
            let partials: Option<Vec<_>> = places.collect::<anyhow::Result<_>>()?;
            if let Some(partials) = partials {
                return Ok((created, partials));
            }
            created.secs += 1;
        }
        bail!("cannot store a snapshot of {}: all names of this minute are taken: try again later", set.name)
    }

    /// Reads the volumes of `set` into a file in `partial`, while who can write rests.
    async fn read(
        &self,
        set: &Set,
        plan: Plan,
        partial: &Partial,
        helpers: &Helpers<'_>,
        is_here: bool,
    ) -> anyhow::Result<Shot> {
        let Create { engine, request, stop, tell, .. } = *self;
        let (note, exclude) = (request.note.as_deref(), &request.exclude[..]);
        let reading = Reading { set, note, exclude, helpers, tell };
        let direct = is_here && (!plan.is_empty() || request.compression == Compression::None);
        let spools = !plan.is_empty() && request.compression != Compression::None;
        let (prepared, route) = reading.prepare(partial, direct).await?;
        let rested = plan.manners();
        let since = engine.now().await;
        let since = match stop.check("nothing was stopped").and(since.map_err(Into::into)) {
            Ok(since) => since,
            Err(error) => {
                reading.discard(prepared).await;
                return Err(error);
            }
        };
        let begin = Instant::now();
        let observer = |event: &snapshotter_engine::hold::Event<'_>| tell(&Notice::Hold(event));
        let held = match hold(engine, self.state, plan, &observer).await {
            Ok(held) => held,
            Err(error) => {
                reading.discard(prepared).await;
                return Err(error.into());
            }
        };
        let compression = if spools { None } else { Some(request.compression) };
        let result = match stop.check("what was stopped runs again, and nothing was stored") {
            Ok(()) => reading.run(prepared, route, partial, compression, stop).await,
            Err(error) => {
                reading.discard(prepared).await;
                Err(error)
            }
        };
        let mut meanwhile = Meanwhile { rested, ..Meanwhile::default() };
        if result.is_ok() {
            self.look(&mut meanwhile, since, begin.elapsed()).await;
        }
        let rests = !held.names().is_empty();
        let (read, stays) = tell::released(tell, held, result).await?;
        let rested = rests.then(|| begin.elapsed());
        Ok(Shot { report: read.report, meanwhile, rested, archive: read.archive, sum: read.sum, stays })
    }

    /// Looks what was started while volumes were read, at the end of that time.
    async fn look(&self, meanwhile: &mut Meanwhile, since: Time, elapsed: Duration) {
        let before = |now: &Container| self.there.containers.iter().find(|container| container.id == now.id);
        match self.engine.containers().await {
            Ok(after) => {
                let started = after
                    .iter()
                    .filter(|now| {
                        before(now).is_none_or(|before| before.state.started_at != now.state.started_at)
                    })
                    .map(|container| container.id.clone());
                meanwhile.started = started.collect();
                meanwhile.after = after;
            }
            Err(error) => self.doubt(&error),
        }
        match self.engine.started(since, elapsed).await {
            Ok(started) => meanwhile.started.extend(started.into_iter().map(|started| started.id)),
            Err(error) => self.doubt(&error),
        }
    }

    fn doubt(&self, error: &Error) {
        let error = crate::words::chain(error);
        (self.tell)(&Notice::Warning(&format!(
            "cannot tell whether a container was started meanwhile, so the grade may be too good: {error}"
        )));
    }

    fn encoding(&self) -> Encoding {
        Encoding { compression: self.request.compression, encryption: Encryption::None }
    }

    /// The file as it is to lie there, and what it is.
    async fn encoded(&self, partial: &Partial, shot: &Shot) -> anyhow::Result<(PathBuf, Sum)> {
        let Create { stop, tell, .. } = *self;
        if let Some(sum) = &shot.sum {
            return Ok((shot.archive.clone(), sum.clone()));
        }
        let compression = self.request.compression;
        if compression == Compression::None {
            let sum = file::sum(&shot.archive, "summing up", stop, tell).await?;
            return Ok((shot.archive.clone(), sum));
        }
        let to = partial.path("encoded");
        let sum = file::compressed(&shot.archive, &to, compression, stop, tell).await?;
        Ok((to, sum))
    }

    fn description(&self, set: &Set, created: Time, shot: &Shot, passport: Passport) -> Description {
        let spec = match &passport.volumes[..] {
            [volume] => volume.spec.clone(),
            _ => VolumeSpec::default(),
        };
        let (_, hash) = passport.file.name.split_once("__spec-").unwrap_or_default();
        Description {
            dockform_version: DOCKFORM.to_owned(),
            created_at: created.to_rfc3339(),
            volume_name: match &set.volumes[..] {
                [volume] => volume.name.clone(),
                _ => set.name.clone(),
            },
            spec_hash: hash.split('.').next().unwrap_or_default().to_owned(),
            spec,
            uncompressed_bytes: shot.report.size,
            file_count: shot.report.entries,
            checksum: FileChecksum { algo: "sha256".to_owned(), tar_zst: passport.file.sha256.clone() },
            notes: self.request.note.clone(),
            passport: Some(passport),
        }
    }

    /// Gives the archive its name in each output, and what describes it after that: whoever finds the one
    /// finds a complete archive, and whoever finds the other knows what it is.
    async fn publish(
        &self,
        partials: &[Partial],
        archive: &std::path::Path,
        sum: &Sum,
        description: &Description,
    ) -> anyhow::Result<Vec<PathBuf>> {
        let mut json = serde_json::to_vec_pretty(description).context("cannot write JSON")?;
        json.push(b'\n');
        for partial in &partials[1..] {
            let copy = file::copied(archive, &partial.path("copy"), "copying", self.stop, self.tell).await?;
            if copy != *sum {
                bail!("cannot copy to {}: the archive was changed meanwhile", partial.directory().display());
            }
        }
        self.stop.check("nothing was stored, and what was stopped runs again")?;
        let suffix = self.encoding().suffix();
        let mut files = Vec::new();
        for (index, partial) in partials.iter().enumerate() {
            let name = archive.file_name().unwrap_or_default().to_string_lossy();
            files.push(partial.publish(if index == 0 { &name } else { "copy" }, &suffix)?);
            partial.publish_text(&json, ".json")?;
        }
        Ok(files)
    }
}

fn volume(storage: &Storage) -> snapshotter_engine::api::volume::Volume {
    let spec = VolumeSpec {
        driver: storage.driver.clone().unwrap_or_default(),
        driver_opts: storage.options.clone(),
        labels: storage.labels.clone(),
    };
    spec.named(&storage.name)
}

/// What is known of `set` from itself and from what was read.
fn passport_of(set: &Set, shot: &Shot, stem: &Stem, sum: &Sum, encoding: Encoding) -> Passport {
    let report = &shot.report;
    let volumes = set.volumes.iter().map(|storage| {
        let path = path_in_archive(&storage.name);
        let stored = report.volumes.iter().find(|volume| volume.path == path);
        let (grade, reasons) = grade::of(storage, &path, &shot.meanwhile, &report.warnings);
        let volume = volume(storage);
        VolumePassport {
            name: storage.name.clone(),
            project: storage.project.clone(),
            key: storage.key.clone(),
            spec_hash: spec::hash(&volume),
            spec: VolumeSpec::of(&volume),
            entries: stored.map_or(0, |stored| stored.entries),
            bytes: stored.map_or(0, |stored| stored.size),
            path,
            grade,
            reasons,
        }
    });
    Passport {
        version: VERSION,
        set: set.name.clone(),
        kind: set.kind,
        id: report.id.clone(),
        prefix: report.prefix.clone(),
        file: FileFacts {
            name: format!("{}{}", stem.as_str(), encoding.suffix()),
            bytes: sum.bytes,
            sha256: sum.sha256.clone(),
        },
        volumes: volumes.collect(),
        containers: Vec::new(),
        compose: None,
        engine: String::new(),
        rested_seconds: shot.rested.map(|rested| rested.as_secs_f64()),
        exclude: report.exclude.clone(),
        unhashed: report.unhashed,
        warning_count: report.warning_count,
        warnings: report.warnings.clone(),
    }
}
